"""`tickcast bench fleet` as a user runs it: what it prints, what it refuses, and the tables of deploy/SIZING.md."""

import json
import re
import shlex
import time
from pathlib import Path

import numpy as np
import pytest
from tickcast import bench_fleet_check, cli, errors, fleet_costs, log
from tickcast.bench_fleet_measure import Run
from tickcast.bench_kafka import Found, Settings
from tickcast.bench_kafka_load import Sent
from tickcast.bench_kafka_rounds import Paced
from tickcast.fleet_costs import BUILT_IN

ROOT = Path(__file__).parents[1]
RUN = ROOT / "tests" / "bench" / "results" / "fleet.json"
SIZING = ROOT / "deploy" / "SIZING.md"
QUICK = ["--ticks-per-s", "2000", "--symbols", "200", "--partitions", "16", "--hosts", "2", "--duration-s", "1"]
# Another processor's logarithm may differ in its last bit, and a tick come in another poll then.
SAME_WITHIN = 0.05


@pytest.fixture(autouse=True)
def other_tests_keep_their_logging(monkeypatch):
    monkeypatch.setattr(log, "configure", lambda config, clock: None)


def _bench(*arguments: str) -> int | str | None:
    try:
        cli.main(["bench", "fleet", *arguments])
    except SystemExit as ended:
        return ended.code
    return 0


def test_the_same_seed_gives_the_same_figures_and_another_seed_others(tmp_path, capsys):
    texts = []
    for number, seed in enumerate(("7", "7", "8")):
        path = tmp_path / f"{number}.json"
        assert _bench(*QUICK, "--seed", seed, "--json", str(path)) == 0
        texts.append((path.read_text(), capsys.readouterr().out))
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_a_list_sizes_each_and_a_single_number_is_for_all(tmp_path, capsys):
    path = tmp_path / "report.json"
    assert _bench(*QUICK[2:], "--ticks-per-s", "2000,9000", "--json", str(path)) == 0
    report = json.loads(path.read_text())
    slow, fast = report["plans"]
    assert [plan["plan"]["ticks_per_s"] for plan in (slow, fast)] == [2_000, 9_000]
    assert slow["plan"]["hosts"] == fast["plan"]["hosts"] == 2
    assert fast["group"]["load"]["busiest"] > 4 * slow["group"]["load"]["busiest"]
    assert fast["steady"]["average"]["latency"]["p50_us"] >= slow["steady"]["average"]["latency"]["p50_us"]
    assert set(slow["costs"]) == set(BUILT_IN._fields)
    assert slow["loss"]["rebuilt_s"] > slow["loss"]["takeover_s"]
    out = capsys.readouterr().out
    assert "left out: the way through Kafka" in out
    assert "built in: 2 cores" in out


def test_of_one_host_none_is_lost(tmp_path):
    path = tmp_path / "report.json"
    assert _bench(*QUICK[:-4], "--hosts", "1,3", "--duration-s", "1", "--json", str(path)) == 0
    alone, three = json.loads(path.read_text())["plans"]
    assert alone["loss"] is None
    assert three["loss"]["hosts"] == 1


def test_what_a_plan_lacks_is_said(capsys):
    assert _bench(*QUICK[2:], "--ticks-per-s", "500000", "--skew", "1.2", "--partitions", "4") == 0
    out = capsys.readouterr().out
    assert "warning: the busiest daemon does not keep up" in out
    assert "warning: the busiest symbol alone is more than a daemon answers" in out
    assert "warning: 12 daemons have no partition" in out
    assert "not in " in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hosts", "1,x"], "--hosts 1,x: whole numbers from 1 on"),
        (["--hosts", "1,2", "--symbols", "1,2,3"], "lists of different lengths: --hosts 2, --symbols 3\n"),
        (["--hosts", "3", "--lost-hosts", "3"], "one has to be left"),
        (["--burst", "50"], "factor times share at most 1"),
        (["--check", "1000"], "--check needs --bundle"),
        (["--bundle", ".", "--measured", __file__], "give one of them"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, message, capsys):
    assert _bench(*arguments) == errors.UsageError.exit_status
    assert message in capsys.readouterr().err


def test_gaps_of_a_tick_file_take_the_place_of_bursts(tmp_path):
    ticks, path = tmp_path / "ticks.csv", tmp_path / "report.json"
    times_ns = np.cumsum(np.tile([1_000, 1_000, 3_000_000], 100)).tolist()
    ticks.write_text("event_time_ns,symbol\n" + "".join(f"{time_ns},A\n" for time_ns in times_ns))
    assert _bench(*QUICK, "--ticks", str(ticks), "--json", str(path)) == 0
    (recorded,) = json.loads(path.read_text())["plans"]
    assert recorded["plan"]["bursts"]["factor"] == 1
    # Two of three ticks come with another before them.
    assert recorded["steady"]["average"]["latency"]["p50_us"] > BUILT_IN.finish_s * 1e6


def test_the_default_plan_takes_some_seconds(capsys):
    begun_s = time.process_time()
    assert _bench() == 0
    assert time.process_time() - begun_s < 10  # 2 where nobody else computes
    assert "hosts at half load" in capsys.readouterr().out


def test_measurement_and_simulation_stand_side_by_side(capsys):
    rate, ticks = 500.0, 2_000
    settings = Settings(
        bundle=Path("bundle"),
        clients=("confluent-kafka",),
        load_client="confluent-kafka",
        bootstrap_servers="",
        rate=rate,
        saturate=False,
        rounds=1,
        symbols=64,
        partitions=4,
        ticks=ticks,
        seed=1,
    )
    in_hand = np.full(ticks, 2 * BUILT_IN.finish_s)
    paths = {"finish": 1_500, "window": 500}
    paced = Paced(Sent(ticks, 4.0, 0.0, 0.0, 0), in_hand, {"received to sent": in_hand}, paths, 0, 0, 100.0)
    found = bench_fleet_check.point(Run(settings, Found(daemon=[paced]), {}, 0.5), BUILT_IN)
    assert found.measured.p50 == 2 * BUILT_IN.finish_s
    assert found.simulated.p50 == pytest.approx(BUILT_IN.finish_s, rel=0.1)
    assert found.as_dict()["ratio"]["p50"] == pytest.approx(2, rel=0.1)
    assert (found.finish_measured, found.load) == (0.75, 0.5)
    assert found.finish_simulated > 0.95
    assert bench_fleet_check.table({"points": [found.as_dict()]}).row_count == 1


def test_the_daemon_s_loop_without_a_broker_is_foretold_within_a_third():
    """By the run that lies beside, taken on a quiet machine: only its medians went into the costs."""
    engine = json.loads(RUN.read_text())["reports"][0]
    found = bench_fleet_check.without_broker(engine, fleet_costs.read([RUN]))
    assert found.finish_simulated == pytest.approx(found.finish_measured, abs=0.01)
    assert found.as_dict()["ratio"] == pytest.approx({"p50": 1, "p90": 1, "p99": 1}, rel=0.33)


# -- deploy/SIZING.md


def _tables() -> list[tuple[str, str]]:
    """Command and table, each pair of blocks that a comment marks."""
    text = SIZING.read_text("utf-8")
    return re.findall(r"```sh\n(tickcast bench fleet .*?)\n```\n\n(\|.*?\|)\n(?:\n|$)", text, flags=re.DOTALL)


def test_sizing_has_tables():
    assert len(_tables()) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(_tables()) if SIZING.exists() else 0))
def test_the_tables_of_the_sizing_document_are_what_their_commands_print(number, capsys):
    command, table = _tables()[number]
    arguments = shlex.split(command.replace("\\\n", " "))[3:]
    assert "--markdown" in arguments
    assert _bench(*arguments) == 0
    printed = capsys.readouterr().out.strip()
    numbers = re.compile(r"\d[\d,]*\.?\d*")
    assert numbers.sub("#", printed) == numbers.sub("#", table)
    pairs = zip(numbers.findall(printed), numbers.findall(table), strict=True)
    off = [(now, then) for now, then in pairs if _value(now) != pytest.approx(_value(then), rel=SAME_WITHIN, abs=1)]
    assert off == []


def _value(text: str) -> float:
    return float(text.replace(",", "").rstrip("."))
