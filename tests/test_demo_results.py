"""What a run came to: checked against reading the same records by hand, one tick at a time."""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from factories import manifest_with
from tickcast import records
from tickcast.clients import Partition, Record
from tickcast.config import Config
from tickcast.manifest import WindowRules
from tickcast.records import BundleName, Forecast
from tickcast_export import demo_results
from tickcast_export.demo_results import percentile

GAP_NS = 100 * 10**9
HORIZONS = (1, 3)
MANIFEST = manifest_with(horizons=HORIZONS, rules=WindowRules(window=4, max_gap_s=50), reference_columns=("bid", "ask"))


def _config() -> Config:
    kafka = {
        "bootstrap_servers": "127.0.0.1:1",
        "group_id": "test",
        "input_topics": ("ticks",),
        "output_topic": "forecasts",
        "dead_letter_topic": "dead-letters",
    }
    return Config.model_validate({"name": "test", "kafka": kafka, "models": [{"bundle": Path("bundle")}]})


def _ticks() -> list[dict[str, object]]:
    """Two symbols, each with a silence in its middle that starts a fresh run."""
    random = np.random.default_rng(3)
    ticks = []
    for i in range(120):
        time_ns = i * 10**9 + (GAP_NS if i >= 70 else 0)
        bid = float(random.integers(50, 60))
        ticks.append({"symbol": "AB"[i % 3 == 0], "event_time_ns": time_ns, "bid": bid, "ask": bid + 1})
    return ticks


def _input(ticks: list[dict[str, object]]) -> list[Record]:
    """Symbol A on partition 0, B on partition 1."""
    placed: dict[int, int] = defaultdict(int)
    made = []
    for tick in ticks:
        number = "AB".index(str(tick["symbol"]))
        value = json.dumps(tick).encode()
        made.append(Record(Partition("ticks", number), placed[number], 5, b"", value, ()))
        placed[number] += 1
    return made


def _answer(tick: Record, symbol: str, forecast: list[float]) -> Record:
    answer = Forecast(
        v=1,
        symbol=symbol,
        topic="ticks",
        partition=tick.partition.number,
        offset=tick.offset,
        event_time_ns=0,
        tick_time_ns=1_000_000,
        received_time_ns=3_000_000,
        sent_time_ns=4_000_000 + tick.offset,
        horizons=HORIZONS,
        forecast=forecast,
        unit="price",
        reference_mid=0.0,
        skipped_before=0,
        bundle=BundleName("test", "1", "0"),
        path="finish",
        flags=(),
    )
    return Record(Partition("forecasts", 0), 0, 5, b"", records.encode(answer), ())


def _by_hand(ticks: list[dict[str, object]]) -> dict[str, list[tuple[float, int]]]:
    """Per symbol its rows: (mid, run). Every tick after its run's first two makes one, and the first run has no cut."""
    rows: dict[str, list[tuple[float, int]]] = {"A": [], "B": []}
    before: dict[str, int] = {}
    primed: dict[str, bool] = {}
    run = {"A": 0, "B": 0}
    for tick in ticks:
        symbol, time_ns, bid = str(tick["symbol"]), int(str(tick["event_time_ns"])), float(str(tick["bid"]))
        if symbol not in before or time_ns - before[symbol] > 50 * 10**9:
            primed[symbol] = False
            run[symbol] += 1
        elif not primed[symbol]:
            primed[symbol] = True
        else:
            rows[symbol].append((bid + 0.5, run[symbol]))
        before[symbol] = time_ns
    return rows


@pytest.fixture
def run() -> demo_results.Results:
    """Every tick from the fifth of its symbol on is answered with (1.0, -1.0), right or wrong."""
    inputs = _input(_ticks())
    answered = [record for record in inputs if record.offset >= 5]
    answers = [_answer(record, "AB"[record.partition.number], [1.0, -1.0]) for record in answered]
    return demo_results.collect(_config(), MANIFEST, inputs, answers)


def test_rows_and_changes_are_those_of_each_symbol_and_end_where_a_run_does(run: demo_results.Results) -> None:
    for series, rows in zip(run.series, _by_hand(_ticks()).values(), strict=True):
        assert series.mid.tolist() == [mid for mid, _ in rows]
        for at, (mid, its_run) in enumerate(rows):
            for h, ahead in enumerate(HORIZONS):
                reached = at + ahead < len(rows) and rows[at + ahead][1] == its_run
                expected = rows[at + ahead][0] - mid if reached else np.nan
                np.testing.assert_equal(series.happened[at, h], expected)


def test_error_against_persistence_is_pooled_over_symbols_and_horizons(run: demo_results.Results) -> None:
    squared = persistence = 0.0
    for series in run.series:
        for forecast, happened in zip(series.forecast, series.happened, strict=True):
            if np.isfinite([*forecast, *happened]).all():
                squared += sum((f - h) ** 2 for f, h in zip(forecast, happened, strict=True))
                persistence += sum(h**2 for h in happened)
    assert persistence > 0
    assert run.error_vs_persistence() == pytest.approx(1 - squared / persistence)


def test_a_perfect_forecast_saves_all_of_persistences_error_and_none_saves_nothing() -> None:
    inputs = _input(_ticks())
    first = demo_results.collect(_config(), MANIFEST, inputs, [])
    assert first.error_vs_persistence() is None
    assert first.scores() == ()
    nothing = [_answer(record, "AB"[record.partition.number], [0.0, 0.0]) for record in inputs]
    assert demo_results.collect(_config(), MANIFEST, inputs, nothing).error_vs_persistence() == 0.0
    happened = {series.symbol: iter(series.happened.tolist()) for series in first.series}
    is_row = _is_row()
    perfect = [
        _answer(record, symbol, [change if np.isfinite(change) else 0.0 for change in next(happened[symbol])])
        for record, row in zip(inputs, is_row, strict=True)
        if row
        for symbol in ["AB"[record.partition.number]]
    ]
    result = demo_results.collect(_config(), MANIFEST, inputs, perfect)
    assert result.error_vs_persistence() == 1.0
    assert [score.below_persistence for score in result.scores()] == [1.0, 1.0]


def test_latencies_are_counted_from_the_kafka_timestamp_and_from_receipt(run: demo_results.Results) -> None:
    assert len(run.latency_us) == sum(record.offset >= 5 for record in _input(_ticks()))
    assert run.latency_us.min() == pytest.approx(3_000.005)
    np.testing.assert_allclose(run.latency_us - run.own_latency_us, 2_000)


def test_raw_pairs_are_the_sampled_tick_before_and_the_tick(run: demo_results.Results) -> None:
    for series in run.series:
        np.testing.assert_equal(series.pairs[:, 1].mean(axis=1), series.mid)
        same_run = np.diff(series.run) == 0
        np.testing.assert_equal(series.pairs[1:, 0][same_run], series.pairs[:-1, 1][same_run])


def test_percentile_is_a_value_that_was_measured() -> None:
    values = np.array([5.0, 1.0, 3.0, 2.0, 4.0])
    assert [percentile(values, share) for share in (0.2, 0.5, 0.99)] == [1.0, 3.0, 5.0]
    assert percentile(np.array([]), 0.5) is None


def _is_row() -> list[bool]:
    """For each tick whether it makes a row: not the first two of a run."""
    before: dict[str, int] = {}
    seen: dict[str, int] = {}
    made = []
    for tick in _ticks():
        symbol, time_ns = str(tick["symbol"]), int(str(tick["event_time_ns"]))
        is_cut = symbol not in before or time_ns - before[symbol] > 50 * 10**9
        seen[symbol] = 0 if is_cut else seen[symbol] + 1
        made.append(seen[symbol] >= 2)
        before[symbol] = time_ns
    return made
