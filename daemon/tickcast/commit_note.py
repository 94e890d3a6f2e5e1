"""The one line of metadata that travels with each committed offset: Kafka is the only store.

v=1 replay_from=1234 window=64 rules=0123456789abcdef owner=NAME
"""

import hashlib
import re
from collections.abc import Sequence
from typing import NamedTuple

from tickcast import symbols
from tickcast.config import Config, ModelConfig
from tickcast.manifest import Manifest

VERSION = 1
BYTES_MAX = 200  # the design page's limit; brokers accept 4,096
RULES_DIGITS = 16
_LINE = re.compile(r"v=1 replay_from=(\d{1,19}) window=(\d{1,9}) rules=([0-9a-f]{16}) owner=(\S*)")


class CommitNote(NamedTuple):
    """Where a rebuild may start, and for which rules that holds."""

    replay_from: int
    window: int
    rules_hash: str
    owner: str

    def text(self) -> str:
        """The line, at most `BYTES_MAX` bytes; a longer owner is cut."""
        head = f"v={VERSION} replay_from={self.replay_from} window={self.window} rules={self.rules_hash} owner="
        owner = re.sub(r"\s", "_", self.owner).encode()[: BYTES_MAX - len(head)]
        return head + owner.decode(errors="ignore")


def parse(text: str) -> CommitNote | None:
    """The note in `text`, or None where it is none of ours. A trailing NUL (librdkafka's) is no part of it."""
    match = _LINE.fullmatch(text.rstrip("\x00"))
    if match is None:
        return None
    return CommitNote(int(match[1]), int(match[2]), match[3], match[4])


def rules_hash(config: Config, manifests: Sequence[Manifest]) -> str:
    """A hash over all that windows are a function of: symbols, rules, columns, how they are read, R, symbol limit.

    `manifests` are of the configured bundles, in the configuration's order, which tells whose a symbol is.
    """
    limits = config.recovery
    lines = [
        f"replay_records_max={limits.replay_records_max} max_symbols={limits.max_symbols}",
        config.input.model_dump_json(exclude={"dead_letter_bytes_max"}),
    ]
    for entry, manifest in zip(config.models, manifests, strict=True):
        lines.append(_line(entry, manifest))
        if config.inference.mode == "carried" and manifest.carried is not None:  # more is read back than for windows
            lines.append(f"carried interval_offsets={manifest.carried.interval_offsets}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:RULES_DIGITS]


def _line(entry: ModelConfig, manifest: Manifest) -> str:
    """Whose windows there are, and by which rules."""
    line = f"{','.join(entry.symbols)} {','.join(manifest.columns)} {manifest.rules.text()}"
    trained = symbols.trained_symbols(entry, manifest)
    return f"{line} trained={','.join(sorted(trained))}" if trained else line
