"""`make bench-peers`: one job on tickcast, stream frameworks, the seed's own way and a bare sketch, side by side.

A topic is filled beforehand; then, round by round, every system answers it from its start, alone on the machine but
for the broker. Rates come from the broker's own time stamps on the forecasts. Writes table, figures and picture to
`tests/bench/results`. ROUNDS, TICKS, RUN_SECONDS and SYSTEMS (names, with commas) in the environment change the size.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import peers_environments, peers_reference, peers_report
from bench.peers_race import Race, SystemFailedError
from bench.peers_results import Run
from bench.peers_systems import DEAD_LETTERS, SKETCH, SYSTEMS
from bench.peers_topics import Topics
from rich.console import Console
from tickcast.broker import Broker


@dataclass(frozen=True)
class Size:
    """How much is run: all of it with the defaults takes about twelve minutes."""

    systems: tuple[str, ...]
    rounds: int
    ticks: int
    seconds_max: float

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Size":
        """As asked for. Raises KeyError for a system that there is not."""
        asked = environment.get("SYSTEMS")
        systems = tuple(asked.split(",")) if asked else tuple(SYSTEMS)
        for name in systems:
            SYSTEMS[name]
        return cls(
            systems=systems,
            rounds=int(environment.get("ROUNDS") or 5),
            ticks=int(environment.get("TICKS") or 120_000),
            seconds_max=float(environment.get("RUN_SECONDS") or 8),
        )


class Comparison:
    """What came of it so far, and which systems had to be left out."""

    def __init__(self, size: Size, console: Console) -> None:
        self.size = size
        self.left_out: dict[str, str] = {}
        self.runs: dict[str, list[Run]] = {name: [] for name in size.systems}
        self.console = console

    def leave_out(self, name: str, reason: str) -> None:
        """Without the system from now on; said here and in the results."""
        del self.runs[name]
        self.left_out[name] = reason
        self.console.print(f"left out: {SYSTEMS[name].label}: {reason}")

    def prepare(self) -> None:
        """Environments; the sketch only where it lies beside the checkout."""
        for name in self.size.systems:
            if SYSTEMS[name].environment == "sketch" and not SKETCH.is_dir():
                self.leave_out(name, "the sketch is not beside the checkout")
        for environment in sorted({SYSTEMS[name].environment for name in self.runs} - {""}):
            self.console.print(f"environment {environment} ...")
            peers_environments.ensure(environment)

    def run(self, race: Race) -> None:
        """All rounds, each with another system first."""
        for round_number in range(self.size.rounds):
            for name in in_turn(list(self.runs), round_number):
                try:
                    self._add(name, round_number, race.run(name, round_number))
                except SystemFailedError as error:
                    self.leave_out(name, str(error))

    def _add(self, name: str, round_number: int, run: Run) -> None:
        self.runs[name].append(run)
        self.console.print(
            f"round {round_number + 1}  {SYSTEMS[name].label:52} {run.ticks_per_s:9,.0f} ticks/s"
            f"  ({run.answered:,} in {run.seconds:.1f} s, error {run.error_max:.0e};"
            f" {run.cpu_us_per_tick:,.0f} us of CPU a tick, {run.broker_us_per_tick:,.0f} us the broker's)"
        )


def main() -> int:
    """The whole comparison; 1 where a system failed."""
    console = Console(highlight=False, soft_wrap=True)
    size = Size.of(os.environ)
    comparison = Comparison(size, console)
    comparison.prepare()
    facts = peers_report.facts(list(comparison.runs), size.rounds, size.ticks, size.seconds_max)
    with (
        tempfile.TemporaryDirectory(prefix="tickcast-peers-") as temporary,
        Broker() as broker,
        Topics(broker) as topics,
    ):
        folder, models = Path(temporary), Path(temporary) / "models"
        console.print("model and bundles ...")
        _make(models)
        console.print(f"{size.ticks:,} ticks ...")
        broker.create_topic(DEAD_LETTERS)
        topics.fill(size.ticks)
        references = peers_reference.references(models, size.ticks)
        comparison.run(Race(broker, topics, references, size.ticks, size.seconds_max, models, folder))
    if not comparison.runs:
        return 1
    peers_report.write(comparison.runs, facts, comparison.left_out, console)
    return int(any(SYSTEMS[name].environment != "sketch" for name in comparison.left_out))


def in_turn(names: list[str], round_number: int) -> list[str]:
    """Another one first each round."""
    shift = round_number * 2 % max(1, len(names))
    return names[shift:] + names[:shift]


def _make(models: Path) -> None:
    """In a process of its own: TensorFlow's memory and threads are gone when the rounds begin."""
    models.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "bench.peers_model", str(models)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the models cannot be made:\n{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
