"""Which branches of the decode path and the field mapping the fuzzer takes, by coverage.py, in a process of its own.

Tracing costs a decode ten times over, so it is measured on fewer inputs than are run.
"""

import json
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import tickcast

MODULES = ("codec.py", "codec_fields.py", "codec_json.py", "market.py")
BRANCHES_MIN = 0.95
TIMEOUT_S = 300
TESTS = Path(__file__).parents[1]


class Covered(NamedTuple):
    """Module -> branches taken, branches there are, lines with one that is not taken; None: there is no coverage.py."""

    modules: dict[str, tuple[int, int, list[int]]] | None

    @property
    def share(self) -> float:
        """Of all branches, those taken."""
        counts = list((self.modules or {}).values())
        return sum(taken for taken, _, _ in counts) / max(1, sum(there for _, there, _ in counts))

    @property
    def holds(self) -> bool:
        """Whether enough was covered, or nothing can be said."""
        return self.modules is None or self.share >= BRANCHES_MIN

    def table(self) -> str:
        """For people."""
        if self.modules is None:
            return "branch coverage: not measured, coverage.py is not installed"
        rows = [
            f"  {name}: {taken} of {there}" + (f", not at lines {', '.join(map(str, lines))}" if lines else "")
            for name, (taken, there, lines) in self.modules.items()
        ]
        return "\n".join([f"branch coverage: {self.share:.1%}", *rows])


def measured(inputs: int, seed: int) -> Covered:
    """What `inputs` inputs of the fuzzer cover. Raises CalledProcessError where the fuzzer fails."""
    if find_spec("coverage") is None:
        return Covered(None)
    package = Path(tickcast.__file__).parent
    include = ",".join(str(package / module) for module in MODULES)
    with tempfile.TemporaryDirectory() as folder:
        data, report = f"--data-file={folder}/data", f"{folder}/report.json"
        fuzz = ["-m", "chaos.fuzz", f"--inputs={inputs}", f"--seed={seed}"]
        _coverage("run", "--branch", data, f"--include={include}", *fuzz)
        _coverage("json", data, "-o", report)
        files = json.loads(Path(report).read_text("utf-8"))["files"]
    return Covered({Path(name).name: _counts(file) for name, file in sorted(files.items())})


def _coverage(*arguments: str) -> None:
    paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COVERAGE_RCFILE": os.devnull}
    subprocess.run(
        [sys.executable, "-m", "coverage", *arguments],
        check=True,
        timeout=TIMEOUT_S,
        stdout=subprocess.DEVNULL,
        env=environment,
    )


def _counts(file: dict[str, dict[str, int]]) -> tuple[int, int, list[int]]:
    summary = file["summary"]
    lines = sorted({abs(line) for line, _ in file["missing_branches"]})
    return summary["covered_branches"], summary["num_branches"], lines
