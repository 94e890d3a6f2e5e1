"""A virtual environment for each peer, made of its pinned requirements, and made again when those change."""

import hashlib
import json
import subprocess
import sys
import venv
from collections.abc import Sequence

from bench.peers_systems import ENVIRONMENTS, PEERS, python_of

INSTALL = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement")
VERSIONS = "import importlib.metadata as m, json, sys; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"


def ensure(name: str) -> None:
    """Make the environment `name` unless it is there as its requirements say."""
    requirements = PEERS / name / "requirements.txt"
    wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    stamp = ENVIRONMENTS / name / "installed"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    venv.create(ENVIRONMENTS / name, clear=True, with_pip=True)
    subprocess.run([python_of(name), *INSTALL, str(requirements)], check=True)
    stamp.write_text(wanted)


def versions(name: str, packages: Sequence[str]) -> dict[str, str]:
    """What of `packages` is installed in the environment."""
    done = subprocess.run([python_of(name), "-c", VERSIONS, *packages], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found
