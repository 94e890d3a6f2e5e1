"""Which sampling rule serves a market best: one network trained under each rule, all asked at the same clock times.

`python -m tickcast_export.sampling TICKS... --out FOLDER` writes `sampling.json` and a table `sampling.md`. Ticks ahead
are not the same under two rules, so here a horizon is in seconds: a network learns the change of the mid over so many
seconds from each of its rows. It is then asked every `every_s` seconds, with the window that it has by then, what the
mid will be; all rules are scored on the same questions against persistence. A window whose newest row is older than the
time between two questions does not answer, which counts as no change: what it said was said of another moment.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import keras
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from tickcast import tick_files, tick_options
from tickcast.clock import SystemClock
from tickcast.errors import UsageError
from tickcast.manifest import WindowRules
from tickcast.tick_files import Ticks
from tickcast.windows import NANOSECONDS

from tickcast_export import dataset, families, memories, progress
from tickcast_export.checkpoint import Checkpoints
from tickcast_export.dataset import Indices, Rows, Split
from tickcast_export.features import TickFeatures
from tickcast_export.fitting import Examples, Fit
from tickcast_export.scores import of_forecasts
from tickcast_export.training import lessons_of
from tickcast_export.training_settings import TrainingSettings

MID = ("bid", "ask")
Array = NDArray[np.float64]


class Tape:
    """The mid over time, of one symbol's ticks: what all rules are measured by."""

    def __init__(self, ticks: Ticks, rules: WindowRules) -> None:
        """Raises UsageError for more than one symbol."""
        if len(ticks.symbols) != 1:
            raise UsageError("sampling rules are compared on the ticks of one symbol")
        rows = dataset.cut(ticks, rules)
        self.time_ns = ticks.event_time_ns[rows.current]
        self.mid = rows.mid(MID)
        self.run = rows.run

    def at(self, time_ns: Indices) -> Indices:
        """The newest tick by then, as a place in the tape: [n]; -1 before the first."""
        return np.searchsorted(self.time_ns, time_ns, "right") - 1

    def unbroken(self, from_ns: Indices, to_ns: Indices) -> NDArray[np.bool_]:
        """Whether one run covers both times, and goes on after them: [n]"""
        first, last = self.at(from_ns), self.at(to_ns)
        inside = (first >= 0) & (last + 1 < len(self.run))
        after = np.minimum(last + 1, len(self.run) - 1)
        covered: NDArray[np.bool_] = inside & (self.run[first] == self.run[after])
        return covered


@dataclass(frozen=True)
class ClockExamples(Examples):
    """Windows whose targets lie so many nanoseconds ahead: `horizons`."""

    time_ns: Indices  # [rows]
    tape: Tape

    def targets(self, ends: Indices) -> Array:
        """[n, horizons], in price units"""
        later = self.time_ns[ends][:, None] + np.array(self.horizons)
        changed: Array = self.tape.mid[self.tape.at(later)] - self.mid[ends][:, None]
        return changed


@dataclass(frozen=True)
class Trial:
    """What is the same for every rule."""

    ticks: Ticks
    tape: Tape
    horizons_ns: tuple[int, ...]
    asked_ns: Indices  # questions' times, in the test part
    every_ns: int  # from one to the next
    validation_ns: int  # where the parts begin
    test_ns: int
    settings: TrainingSettings


def rules_of(text: str, window: int, max_gap_s: float) -> WindowRules:
    """`all`, `on_change:bid,ask` or `grid_ms:500`."""
    sampling, _, value = text.partition(":")
    rule: dict[str, object] = {"sampling": sampling}
    if sampling == "on_change":
        rule["change_columns"] = tuple(value.split(","))
    if sampling == "grid_ms":
        rule["grid_ms"] = int(value)
    return WindowRules.model_validate({"window": window, "max_gap_s": max_gap_s, **rule})


def trial(
    ticks: Ticks, horizons_s: Sequence[float], every_s: float, parts_ns: tuple[int, int], **settings: object
) -> Trial:
    """`parts_ns`: where validation and test begin."""
    tape = Tape(ticks, WindowRules(window=2, max_gap_s=60))
    horizons_ns = tuple(round(horizon * NANOSECONDS) for horizon in horizons_s)
    asked_ns = np.arange(parts_ns[1], int(tape.time_ns[-1]), round(every_s * NANOSECONDS))
    asked_ns = asked_ns[tape.unbroken(asked_ns, asked_ns + max(horizons_ns))]
    given = TrainingSettings.model_validate({"horizons": horizons_ns, **settings})
    return Trial(ticks, tape, horizons_ns, asked_ns, round(every_s * NANOSECONDS), *parts_ns, given)


def score(trial: Trial, rules: WindowRules) -> dict[str, object]:
    """Train under `rules` and answer the questions: share of ticks that make a row, share of the questions that there
    is a fresh window for, error below persistence per horizon; no answer counts as no change."""
    keras.utils.set_random_seed(trial.settings.seed)
    rows = dataset.cut(trial.ticks, rules)
    examples, split, layer = _examples(trial, rows, rules.window)
    model = families.build(
        trial.settings.family, rules.window, layer, len(trial.horizons_ns), examples.scale, trial.settings.network
    )
    core = families.core_of(model)
    memories.spread(core, rules.window, trial.settings.seed)
    lessons = lessons_of(core, rules.window, trial.settings)
    Fit(core, lessons, examples, split, trial.settings, progress.Silent(), SystemClock(), Checkpoints(None)).run()
    now = trial.tape.mid[trial.tape.at(trial.asked_ns)][:, None]
    later = trial.tape.mid[trial.tape.at(trial.asked_ns[:, None] + np.array(trial.horizons_ns))]
    newest = np.searchsorted(examples.time_ns, trial.asked_ns, "right") - 1
    fresh = trial.asked_ns - examples.time_ns[newest] <= trial.every_ns
    full = fresh & np.isin(newest, rows.ends(rules.window, 0))
    full &= trial.tape.unbroken(examples.time_ns[newest], trial.asked_ns)
    forecasts = np.zeros(later.shape)
    forecasts[full] = examples.mid[newest[full]][:, None] + examples.forecasts(core, newest[full]) - now[full]
    return {
        "rows": len(rows) / len(trial.ticks),
        "answered": float(full.mean()),
        "below_persistence": [
            found.below_persistence for found in of_forecasts(forecasts, later - now, trial.horizons_ns)
        ],
    }


def _examples(trial: Trial, rows: Rows, window: int) -> tuple[ClockExamples, Split, TickFeatures]:
    time_ns = rows.ticks.event_time_ns[rows.current]
    ends = rows.ends(window, 0)
    first_ns, last_ns = time_ns[ends - window + 1], time_ns[ends] + max(trial.horizons_ns)
    kept = trial.tape.unbroken(first_ns, last_ns)
    ends, first_ns, last_ns = ends[kept], first_ns[kept], last_ns[kept]
    validating = (first_ns >= trial.validation_ns) & (last_ns < trial.test_ns)
    split = Split(ends[last_ns < trial.validation_ns], ends[validating], ends[first_ns >= trial.test_ns])
    layer = TickFeatures().adapt(rows.pairs(np.flatnonzero(time_ns < trial.validation_ns)))
    examples = ClockExamples(
        rows.features(layer),
        rows.mid(MID),
        rows.spread(MID),
        window,
        trial.horizons_ns,
        np.ones(len(trial.horizons_ns)),
        layer.mirror(),
        time_ns,
        trial.tape,
    )
    scale = examples.targets(split.train).std(axis=0)
    return examples.with_scale(scale), split, layer


def main(
    ticks: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="Ticks of one symbol.")],
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for what is found.")],
    rule: Annotated[list[str], typer.Option(help="all, on_change:bid,ask or grid_ms:500; repeatable.")],
    horizons_s: Annotated[str, typer.Option(help="Seconds ahead, several with commas.")] = "1,5",
    every_s: Annotated[float, typer.Option(help="Seconds from question to question.")] = 1.0,
    window: Annotated[int, typer.Option(min=2, help="Rows in a window.")] = 64,
    max_gap_s: Annotated[float, typer.Option(help="A longer silence starts a fresh run.")] = 60.0,
    family: Annotated[str, typer.Option(help="Network.")] = "stacked",
    epochs: Annotated[int, typer.Option(help="Most epochs.")] = 16,
    day_starts_at: Annotated[datetime | None, typer.Option(formats=["%H:%M"], help="UTC; splits by day.")] = None,
) -> None:
    """Compare sampling rules."""
    mapping = tick_options.mapping(
        ticks[0], event_time="", event_time_unit=None, symbol="", symbol_name="", sequence="", pairs=None
    )
    read = tick_files.read_all(ticks, mapping)
    horizons = [float(text) for text in horizons_s.split(",")]
    asked = trial(read, horizons, every_s, _parts(read, day_starts_at), family=family, epochs=epochs)
    out.mkdir(parents=True, exist_ok=True)
    found = {}
    for text in rule:
        found[text] = score(asked, rules_of(text, window, max_gap_s))
        Console().print(f"{text}: {found[text]}", highlight=False)
    (out / "sampling.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (out / "sampling.md").write_text(table(found, horizons), encoding="utf-8")


def table(found: dict[str, dict[str, object]], horizons_s: Sequence[float]) -> str:
    """Markdown."""
    heads = ["rule", "ticks that make a row", "answered", *(f"{seconds:g} s ahead" for seconds in horizons_s)]
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " --- |" * (len(heads) - 1)]
    for text, values in found.items():
        shares = [values["rows"], values["answered"], *values["below_persistence"]]  # type: ignore[misc]
        lines.append(f"| {text} | " + " | ".join(f"{share:.1%}" for share in shares) + " |")
    return "\n".join(lines) + "\n"


def _parts(ticks: Ticks, day_starts_at: datetime | None) -> tuple[int, int]:
    if day_starts_at is None:
        return dataset.parts_by_share(ticks)
    return dataset.parts_by_day(ticks, day_starts_at.time())


if __name__ == "__main__":
    typer.run(main)
