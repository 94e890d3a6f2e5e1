"""Sampling rules compared: the same questions for all, answered from what each rule's window holds by then."""

from pathlib import Path

import numpy as np
import pytest
from tickcast import tick_files
from tickcast.errors import UsageError
from tickcast.manifest import WindowRules

pytest.importorskip("tensorflow", reason="the extra `export` is not installed")
from tickcast_export import sampling, simulator
from tickcast_export.family import FamilySettings
from tickcast_export.sampling import Tape

pytestmark = pytest.mark.slow  # TensorFlow trains or exports

SECOND = 1_000_000_000
SMALL = FamilySettings(units=6, second_units=4, attention_units=5)


def test_rules_are_said_in_a_word() -> None:
    assert sampling.rules_of("all", 8, 60) == WindowRules(window=8, max_gap_s=60)
    on_change = WindowRules(window=8, max_gap_s=60, sampling="on_change", change_columns=("bid", "ask"))
    assert sampling.rules_of("on_change:bid,ask", 8, 60) == on_change
    assert sampling.rules_of("grid_ms:500", 8, 60).grid_ms == 500


def test_the_tape_knows_the_mid_of_any_time_and_where_it_was_broken() -> None:
    ticks = simulator.simulate(10, symbols=1)
    ticks.event_time_ns[:] = np.array([0, 1, 2, 3, 4, 100, 101, 102, 103, 104]) * SECOND
    tape = Tape(ticks, WindowRules(window=2, max_gap_s=60))  # of the third tick of each run and those after it
    assert tape.at((np.array([1, 2, 2.5, 3]) * SECOND).astype(np.int64)).tolist() == [-1, 0, 0, 1]
    assert tape.mid[0] == ticks.values[2, :2].mean()
    asked = (np.array([1.5, 2.0, 3.5, 50.0, 102.0]) * SECOND).astype(np.int64)
    assert tape.unbroken(asked, asked + SECOND).tolist() == [False, True, False, False, True]
    with pytest.raises(UsageError, match="one symbol"):
        Tape(simulator.simulate(20, symbols=2), WindowRules(window=2))


def test_every_rule_is_trained_and_asked_the_same(tmp_path: Path) -> None:
    ticks = simulator.simulate(1_500, symbols=1, seed=3)
    parts = sampling.dataset.parts_by_share(ticks)
    span_s = float(np.diff(ticks.event_time_ns).mean()) / SECOND
    asked = sampling.trial(
        ticks, (2 * span_s, 5 * span_s), 3 * span_s, parts, network=SMALL, epochs=1, steps_per_epoch=2
    )
    found = {rule: sampling.score(asked, sampling.rules_of(rule, 4, 60)) for rule in ("all", "on_change:bid,ask")}
    assert found["all"]["rows"] == pytest.approx(1, abs=0.01)
    assert found["all"]["answered"] > 0.8  # type: ignore[operator]
    assert 0 < found["on_change:bid,ask"]["rows"] < 0.5  # type: ignore[operator]
    assert len(asked.asked_ns) > 50
    lines = sampling.table(found, (0.5, 2.0)).splitlines()
    assert lines[0] == "| rule | ticks that make a row | answered | 0.5 s ahead | 2 s ahead |"
    assert len(lines) == 4
    assert not list(tmp_path.iterdir())


def test_a_forecast_counts_from_the_time_of_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window older than the question forecasts a mid; what is scored is that mid's distance from the present one."""
    ticks = simulator.simulate(1_500, symbols=1, seed=3)
    span_s = float(np.diff(ticks.event_time_ns).mean()) / SECOND
    asked = sampling.trial(
        ticks, (2 * span_s,), 3 * span_s, sampling.dataset.parts_by_share(ticks), network=SMALL, steps_per_epoch=1
    )
    monkeypatch.setattr(sampling.Fit, "run", lambda fit: None)
    monkeypatch.setattr(sampling.ClockExamples, "forecasts", lambda examples, core, ends: examples.targets(ends))
    found = sampling.score(asked, sampling.rules_of("all", 4, 60))
    assert found["below_persistence"][0] > 0.5  # type: ignore[index]  # perfect, but for ticks in between


def test_files_of_ticks_become_a_table(tmp_path: Path) -> None:
    tick_files.write_csv(tmp_path / "ticks.csv", simulator.simulate(1_000, symbols=1, seed=3))
    with pytest.raises(UsageError, match="days"):
        sampling.main([tmp_path / "ticks.csv"], tmp_path / "out", ["all"], day_starts_at=sampling.datetime.min)
