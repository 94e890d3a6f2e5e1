"""What `make bench-peers` makes of forecasts: rates, accounts, errors, ratios, table, picture. No broker, no peers."""

import dataclasses
import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from bench import peers, peers_reference, peers_report, peers_results, peers_systems, peers_ticks, picture
from bench.peers_results import Answers, Look, Run, Spread
from bench.peers_systems import SYSTEMS, Job
from rich.console import Console

WINDOW_FILLS = 3  # of these tests' windows: a symbol's first ticks without an answer
RUN = Run(100, 2.0, 50.0, 0, 0, error_max=0.0, cpu_us_per_tick=70.0, broker_us_per_tick=12.4)


def answers(numbers, stamps_ms=None, forecasts=None):
    """Forecasts of the ticks with these numbers, in this order."""
    ticks = list(peers_ticks.ticks(max(numbers) + 1))
    return Answers(
        stamps_ms=np.array(stamps_ms if stamps_ms is not None else range(len(numbers)), np.int64),
        symbols=[ticks[number].symbol for number in numbers],
        event_time_ns=np.array([ticks[number].event_time_ns for number in numbers], np.int64),
        forecasts=np.array(forecasts if forecasts is not None else np.zeros((len(numbers), 2)), np.float64),
    )


def of_symbol(symbol, first, end):
    """The numbers of one symbol's ticks, counted by symbol from 0."""
    return [turn * peers_ticks.SYMBOLS + symbol for turn in range(first, end)]


def runs(*rates):
    return [dataclasses.replace(RUN, ticks_per_s=rate) for rate in rates]


# -- ticks


def test_the_same_ticks_every_time_and_every_symbol_in_turn():
    ticks = list(peers_ticks.ticks(200))
    assert ticks == list(peers_ticks.ticks(200))
    assert [tick.symbol for tick in ticks[:65]] == [*(f"S{at:04d}" for at in range(64)), "S0000"]
    assert all(tick.bid < tick.last < tick.ask and tick.bid_size > 0 for tick in ticks)


def test_each_partition_has_as_many_symbols_and_a_symbol_one_partition():
    places = {}
    for number, tick in enumerate(peers_ticks.ticks(300)):
        places.setdefault(tick.symbol, set()).add(peers_ticks.partition_of(number))
    assert all(len(of_one) == 1 for of_one in places.values())
    counts = np.bincount([of_one.pop() for of_one in places.values()])
    assert counts.tolist() == [peers_ticks.SYMBOLS // peers_ticks.PARTITIONS] * peers_ticks.PARTITIONS


def test_a_series_is_one_symbol_s_ticks_in_order():
    series = peers_ticks.series(200, 2)
    assert set(series) == {"S0000", "S0001"}
    assert series["S0001"].event_time_ns.tolist() == [peers_ticks.START_NS + n * 1_000 for n in (1, 65, 129, 193)]
    tick = list(peers_ticks.ticks(66))[65]
    assert series["S0001"].values[1].tolist() == [
        tick.bid,
        tick.ask,
        tick.bid_size,
        tick.ask_size,
        tick.last,
        tick.last_size,
    ]


def test_the_reference_s_features_are_the_frameworks_features():
    (series,) = peers_ticks.series(3, 1).values()
    bid, ask, bid_size, ask_size, last, last_size = series.values[0]
    wanted = [bid, ask, bid_size, ask_size, last, last_size, (bid + ask) / 2]
    row = peers_reference.plain_rows(series)[0]
    assert row[:7].tolist() == np.float32(wanted).tolist()
    assert row[7] == np.float32((bid_size - ask_size) / (bid_size + ask_size))


# -- figures of one run


def test_a_rate_leaves_out_the_forecasts_that_came_with_the_first():
    ticks_per_s, seconds = peers_results.rate(np.array([1_000, 1_000, 1_000, 1_500, 2_000, 3_000]))
    assert (ticks_per_s, seconds) == (1.5, 2.0)


def test_a_rate_does_not_depend_on_the_order_of_reading():
    stamps = np.array([1_000, 1_250, 2_000, 1_000, 1_750])
    assert peers_results.rate(stamps) == peers_results.rate(stamps[::-1]) == (3.0, 1.0)


def test_forecasts_of_one_millisecond_have_no_rate():
    with pytest.raises(ValueError, match="too few"):
        peers_results.rate(np.array([5, 5, 5]))


def test_a_full_account_has_nothing_missing_and_nothing_doubled():
    both = of_symbol(0, WINDOW_FILLS, 8) + of_symbol(5, WINDOW_FILLS, 7)  # one symbol is further than the other
    assert peers_results.missing_and_doubled(answers(both), WINDOW_FILLS) == (0, 0)


def test_a_gap_and_a_late_start_are_missing():
    numbers = of_symbol(0, WINDOW_FILLS + 1, 6) + of_symbol(0, 8, 9)
    assert peers_results.missing_and_doubled(answers(numbers), WINDOW_FILLS) == (3, 0)


def test_a_forecast_too_many_is_doubled():
    numbers = of_symbol(3, WINDOW_FILLS, 9)
    assert peers_results.missing_and_doubled(answers(numbers + numbers[:2]), WINDOW_FILLS) == (0, 2)


def test_forecasts_that_do_not_say_their_tick_have_no_account():
    unsaid = dataclasses.replace(answers(of_symbol(0, 3, 5)), event_time_ns=np.array([-1, -1]))
    assert peers_results.missing_and_doubled(unsaid, WINDOW_FILLS) == (None, None)


def test_processor_time_counts_from_the_first_look_to_the_last():
    first, last = Look(1_000, 3.0, 10.0), Look(5_000, 3.4, 10.1)
    assert peers_results.us_per_tick(first, last) == pytest.approx((100.0, 25.0))


def test_processor_time_of_no_tick_is_not_said():
    assert peers_results.us_per_tick(Look(5, 1.0, 1.0), Look(5, 2.0, 2.0)) == (None, None)
    unseen = [dataclasses.replace(RUN, cpu_us_per_tick=None, broker_us_per_tick=None)]
    assert peers_results.table({"one": unseen}, [], {"one": "One"}).endswith("| One | 50 | 50-50 |  |  |")


REFERENCE = {
    "S0000": (
        np.array([peers_ticks.START_NS + n * 1_000 for n in of_symbol(0, 3, 6)]),
        np.array([[0.1, 4.0], [0.2, 5.0], [0.3, 6.0]], np.float32),
    )
}


def test_an_error_is_relative_above_one_and_absolute_below():
    given = answers(of_symbol(0, 3, 5), forecasts=[[0.1, 4.0], [0.2, 5.5]])
    assert peers_results.error_max(given, REFERENCE) == pytest.approx(0.1)
    given = answers(of_symbol(0, 3, 5), forecasts=[[0.1, 4.0], [0.25, 5.0]])
    assert peers_results.error_max(given, REFERENCE) == pytest.approx(0.05)


def test_a_forecast_of_another_tick_of_the_symbol_is_an_error():
    swapped = answers(of_symbol(0, 3, 5), forecasts=[[0.2, 5.0], [0.1, 4.0]])
    assert peers_results.error_max(swapped, REFERENCE) > 0.1


def test_a_forecast_that_does_not_say_its_tick_is_held_against_the_nearest():
    unsaid = answers(of_symbol(0, 3, 5), forecasts=[[0.2, 5.0], [0.1, 4.0]])
    unsaid = dataclasses.replace(unsaid, event_time_ns=np.array([-1, -1]))
    assert peers_results.error_max(unsaid, REFERENCE) < 1e-7


def test_not_a_number_and_nothing_to_compare_are_no_small_error():
    broken = answers(of_symbol(0, 3, 5), forecasts=[[0.1, np.nan], [0.2, 5.0]])
    assert not peers_results.error_max(broken, REFERENCE) <= 1e9
    assert not np.isfinite(peers_results.error_max(answers(of_symbol(1, 3, 5)), REFERENCE))


# -- figures of all rounds


def test_ratios_are_taken_within_rounds():
    # The machine was twice as slow in the second round, for both: the ratio of the medians would be 2.5.
    assert peers_results.ratios([1_000.0, 500.0, 900.0], [400.0, 200.0, 450.0]) == Spread(2.5, 2.0, 2.5)


def test_a_spread_is_median_and_range():
    assert peers_results.spread([3.0, 1.0, 2.0, 10.0, 4.0]) == Spread(3.0, 1.0, 10.0)


def test_the_table_has_the_fastest_first_and_our_ratio_to_each():
    table = peers_results.table(
        {"slow": runs(100.0, 200.0, 100.0), "ours": runs(1_000.0, 1_200.0, 800.0)},
        ["ours"],
        {"slow": "Slow", "ours": "Ours"},
    )
    assert table.splitlines() == [
        "| system | ticks/s, median | range | CPU us a tick | broker's | Ours is |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| Ours | 1,000 | 800-1,200 | 70 | 12 |  |",
        "| Slow | 100 | 100-200 | 70 | 12 | 8.00x |",
    ]


def test_each_round_begins_with_another_system():
    names = ["a", "b", "c"]
    orders = [peers.in_turn(names, number) for number in range(3)]
    assert all(sorted(order) == names for order in orders)
    assert {order[0] for order in orders} == set(names)


def test_the_size_comes_from_the_environment():
    assert peers.Size.of({}) == peers.Size(tuple(SYSTEMS), 5, 120_000, 8.0)
    asked = peers.Size.of({"SYSTEMS": "faust,quix", "ROUNDS": "2", "TICKS": "9000", "RUN_SECONDS": "1.5"})
    assert asked == peers.Size(("faust", "quix"), 2, 9_000, 1.5)
    with pytest.raises(KeyError, match="flink"):
        peers.Size.of({"SYSTEMS": "flink"})


# -- systems


@pytest.mark.parametrize("name", [name for name, system in SYSTEMS.items() if system.environment != "sketch"])
def test_a_system_is_started_on_its_own_output_and_group(name, tmp_path):
    job = Job("127.0.0.1:1", f"{name}-0", 1_000, tmp_path / "models", tmp_path)
    started = SYSTEMS[name].start(job)
    said = " ".join([*started.environment.values(), *(path.read_text() for path in tmp_path.glob("*.toml"))])
    assert "127.0.0.1:1" in said
    assert said.count(f"{name}-0") >= 2
    assert started.command[0] == peers_systems.python_of(SYSTEMS[name].environment)


def test_a_system_has_answered_everything_with_a_forecast_for_each_full_window():
    assert SYSTEMS["quix"].expected(40_000) == 40_000 - 63 * 64
    assert SYSTEMS["tickcast-confluent"].expected(40_000) == 40_000 - 65 * 64


@pytest.mark.parametrize("environment", sorted({system.environment for system in SYSTEMS.values()} - {""}))
def test_an_environment_is_pinned_by_name_and_version_alone(environment):
    lines = (peers_systems.PEERS / environment / "requirements.txt").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    pinned = {line.partition("==")[0].lower() for line in lines}
    wanted = {
        package for system in SYSTEMS.values() if system.environment == environment for package in system.packages
    }
    assert wanted <= pinned


def test_every_peer_runs_the_onnxruntime_that_tickcast_runs():
    ours = (peers_systems.ROOT / "constraints.txt").read_text()
    version = re.search(r"^onnxruntime-gpu==(.+)$", ours, flags=re.MULTILINE)
    assert version
    for requirements in peers_systems.PEERS.glob("*/requirements.txt"):
        assert f"onnxruntime=={version[1]}" in requirements.read_text().splitlines(), requirements


# -- what is left behind

TOLD = {
    "date": "2026-01-02 03:04 UTC",
    "cpu": "a processor",
    "cores": 2,
    "load_before": 0.1,
    "python": "3.11.7",
    "kafka": "4.1.1",
    "rounds": 3,
    "ticks": 1_000,
    "seconds_max": 8.0,
    "symbols": 64,
    "partitions": 4,
    "window": 64,
    "features": 8,
    "versions": {"tickcast-confluent": {"tickcast": "0.1.0"}, "faust": {"faust-streaming": "0.15.3"}},
}


def test_results_hold_figures_ratios_versions_and_what_was_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(peers_report, "RESULTS", tmp_path / "results")
    done = {"tickcast-confluent": runs(900.0, 1_000.0, 1_100.0), "faust": runs(100.0, 100.0, 100.0)}
    peers_report.write(done, TOLD, {"quix": "ended with status 1\na trace"}, Console(quiet=True))
    text = (tmp_path / "results" / "peers.md").read_text()
    assert "| Faust | 100 | 100-100 | 70 | 12 | 10.00x |" in text
    assert "left out: Quix Streams: ended with status 1\n" in text
    assert "faust-streaming 0.15.3" in text
    document = json.loads((tmp_path / "results" / "peers.json").read_text())
    assert document["ratios"]["tickcast-confluent"]["faust"] == {"median": 10.0, "low": 9.0, "high": 11.0}
    assert [each["ticks_per_s"] for each in document["systems"]["tickcast-confluent"]["rounds"]] == [900, 1_000, 1_100]
    assert (tmp_path / "results" / "peers.png").read_bytes().startswith(b"\x89PNG")


def test_the_picture_names_every_system_with_its_median(tmp_path):
    picture.save({"Ours": Spread(20_000, 19_000, 21_500), "Theirs": Spread(9.4, 9, 10)}, TOLD, tmp_path / "peers")
    drawing = ElementTree.parse(tmp_path / "peers.svg")
    said = "".join(drawing.getroot().itertext())
    for words in ("Ours", "Theirs", "20,000", "9"):
        assert words in said
