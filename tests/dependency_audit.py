"""Whether anything that constraints.txt pins has a known vulnerability, as far as the configured package index tells.

`python tests/dependency_audit.py constraints.txt` asks what pip would ask: the index that pip is configured for, by its
JSON interface (warehouse.pypa.io/api-reference/json.html), which names the vulnerabilities of each version. Many
mirrors have none: then it says that nothing was audited, and that is no failure. Exit 1 where something is vulnerable.
"""

import json
import re
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pip._internal.commands import create_command

TIMEOUT_S = 10.0
AT_ONCE = 8
# Vulnerability -> why it is none of ours.
ACCEPTED: Mapping[str, str] = {}


class UntoldError(Exception):
    """The index has no answer; `str(error)` is why."""


def main(arguments: Sequence[str]) -> int:
    """Print what was found; the exit status."""
    pinned = pins(Path(arguments[0]).read_text("utf-8"))
    options = create_command("download").parser.get_default_values()
    context = ssl.create_default_context(cafile=options.cert)
    try:
        found = audit(options.index_url, pinned, context)
    except UntoldError as error:
        sys.stdout.write(f"dependencies not audited: {error}\n")
        return 0
    sys.stdout.writelines(f"{line}\n" for line in found)
    sys.stdout.write(f"{len(pinned)} dependencies audited, {len(found)} vulnerabilities\n")
    return 1 if found else 0


def pins(text: str) -> list[tuple[str, str]]:
    """Name and version of each line of a file of constraints."""
    return re.findall(r"^([\w.-]+)==([\w.]+)$", text, re.MULTILINE)


def audit(index_url: str, pinned: Sequence[tuple[str, str]], context: ssl.SSLContext | None = None) -> list[str]:
    """One line for each vulnerability of what is pinned. Raises UntoldError."""
    base = index_url.rstrip("/").removesuffix("/simple")

    def ask(pin: tuple[str, str]) -> list[str]:
        return list(_lines(*pin, _told(f"{base}/pypi/{pin[0]}/{pin[1]}/json", context)))

    first = ask(pinned[0])  # alone: where the index does not tell, one question is enough to know it
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [*first, *(line for lines in pool.map(ask, pinned[1:]) for line in lines)]


def _told(url: str, context: ssl.SSLContext | None) -> list[dict[str, Any]]:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S, context=context) as answer:
            told = json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            raise UntoldError(f"the package index answers {error.code} where it would name vulnerabilities") from error
    except (OSError, ValueError) as error:
        raise UntoldError("the package index cannot be reached") from error
    if "vulnerabilities" not in told:
        raise UntoldError("the package index does not name vulnerabilities")
    vulnerabilities: list[dict[str, Any]] = told["vulnerabilities"]
    return vulnerabilities


def _lines(name: str, version: str, vulnerabilities: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for each in vulnerabilities:
        if not each.get("withdrawn") and each["id"] not in ACCEPTED:
            fixed = ", ".join(each.get("fixed_in") or ["no version yet"])
            yield f"{name} {version}: {each['id']}, fixed in {fixed}: {each.get('summary') or each.get('link', '')}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
