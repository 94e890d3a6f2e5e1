"""What lies under deploy/, as its tests read it, and the programs that they ask about it."""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
IMAGE = ROOT / "deploy" / "image"
COMPOSE = ROOT / "deploy" / "compose"
KUBERNETES = ROOT / "deploy" / "kubernetes"

# Where `go install` and `go mod download` put what they make and fetch, when nothing says otherwise.
GO = Path(os.environ.get("GOPATH", Path.home() / "go"))
GO_MODULES = Path(os.environ.get("GOMODCACHE", GO / "pkg" / "mod"))


class Instruction(NamedTuple):
    """One instruction of a Dockerfile; `stage` is the name of the one that it belongs to, empty before the first."""

    stage: str
    keyword: str
    arguments: str

    def words(self) -> list[str]:
        """The arguments in the form that no shell reads: a list of texts."""
        words: list[str] = json.loads(self.arguments)
        return words


def program(name: str, installed_by: str) -> str:
    """The path of a program, of this virtual environment first; the test is skipped where there is none."""
    folders = (str(Path(sys.executable).parent), os.environ.get("PATH", ""), str(GO / "bin"))
    found = shutil.which(name, path=os.pathsep.join(folders))
    if found is None:
        pytest.skip(f"{name} is not installed: {installed_by}")
    return found


def instructions(dockerfile: Path) -> list[Instruction]:
    """Its instructions in order, comments left out and continued lines joined."""
    lines = [line for line in dockerfile.read_text("utf-8").splitlines() if line.strip() and line.lstrip()[0] != "#"]
    found, stage = [], ""
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        keyword, _, arguments = line.strip().partition(" ")
        arguments = " ".join(arguments.split())
        if keyword == "FROM":
            stage = arguments.rpartition(" ")[2]
        found.append(Instruction(stage, keyword, arguments))
    return found


def of_target(found: list[Instruction], target: str) -> list[Instruction]:
    """The instructions that an image of stage `target` is made by, of the stages below it too."""
    own = [each for each in found if each.stage == target]
    base = own[0].arguments.split()[0]
    return [*(of_target(found, base) if any(each.stage == base for each in found) else []), *own]


def last(found: list[Instruction], keyword: str) -> Instruction:
    """The one that counts."""
    return [each for each in found if each.keyword == keyword][-1]


def pod_of(stateful_set: Mapping[str, Any]) -> dict[str, Any]:
    """The specification of its pods."""
    pod: dict[str, Any] = stateful_set["spec"]["template"]["spec"]
    return pod
