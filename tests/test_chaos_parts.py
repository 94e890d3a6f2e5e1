"""The parts of `make chaos` and `make soak` that need no broker: plans, proxy, verdict, figures, tables."""

import json
import socket
import threading
from collections import Counter
from types import SimpleNamespace

import pytest
from chaos import plans, report, soak_series
from chaos.course import restarts
from chaos.matrix import DELIVERIES, KILLS, STAGE_STRIKES_MIN, Size
from chaos.plans import OUTSIDE
from chaos.proxy import HOST, Proxy
from chaos.report import Row
from chaos.soak_series import LOOP, SIDECAR, Footprint, Sample
from chaos.verdict import Answers, Verdict
from tickcast import faults
from tickcast.clients import CLIENTS

PATIENCE_S = 30.0
INFINITE = float("inf")
ROW = Row(
    scenario="kill -9",
    client="kafka-python",
    delivery="exactly_once",
    seconds=60.0,
    strikes={"decode": 10, OUTSIDE: 3},
    unreached={},
    ticks=12_345,
    ticks_per_s=1_000.4,
    missing=0,
    doubled=0,
    deviation=4e-7,
    restarts_s=[0.9, 1.5, 1.1],
    takeovers_s={"other host": [6.54]},
    statuses=[1],
    problems=[],
)
VERDICT = Verdict(
    10, missing=0, doubled=0, unexpected=0, different=0, deviation=1e-7, undisturbed_doubled=0, sent_ns=[]
)


# -- plans


@pytest.mark.parametrize("clients", [tuple(CLIENTS), ("kafka-python",)])
@pytest.mark.parametrize("deliveries", [DELIVERIES, ("at_least_once",), ("exactly_once",)])
def test_a_hundred_kills_strike_every_stage_ten_times_whatever_part_is_run(clients, deliveries):
    kills = round(KILLS / len(clients) / len(deliveries))
    drawn = [
        strike
        for delivery in deliveries
        for client in clients
        for strike in plans.strikes(kills, len(deliveries), delivery, client, 0)
    ]
    struck = Counter(strike.stage for strike in drawn)
    wanted = {stage for delivery in deliveries for stage in plans.stages(delivery)}
    assert len(drawn) == KILLS
    assert all(struck[stage] >= STAGE_STRIKES_MIN for stage in wanted)
    assert struck[OUTSIDE] > 0
    assert struck.keys() - {OUTSIDE} == wanted


def test_every_strike_can_be_armed_and_the_seed_decides_which_they_are():
    drawn = plans.strikes(40, 1, "exactly_once", "kafka-python", 7)
    assert drawn == plans.strikes(40, 1, "exactly_once", "kafka-python", 7)
    assert drawn != plans.strikes(40, 1, "exactly_once", "kafka-python", 8)
    for strike in drawn:
        fault = faults.armed(strike.environment)
        assert (fault is None) == (strike.stage == OUTSIDE)
        assert fault is None or (fault.stage, fault.count) == (strike.stage, strike.count)


def test_what_is_run_is_what_was_asked_for():
    asked = {"CLIENT": "confluent-kafka", "KILLS": "7", "SCENARIO": "stopped,kill -9"}
    size = Size.of(asked)
    assert (size.clients, size.deliveries, size.kills) == (("confluent-kafka",), DELIVERIES, 7)
    assert size.scenarios == ("stopped", "kill -9")
    assert not size.is_whole
    assert Size.of({}).is_whole
    with pytest.raises(KeyError, match="sarama: allowed: kafka-python"):
        Size.of({"CLIENT": "sarama"})


# -- proxy


def test_what_is_sent_while_the_network_is_cut_arrives_when_it_is_mended():
    with socket.create_server((HOST, 0)) as server, Proxy(server.getsockname()[1]) as proxy:
        threading.Thread(target=_echo, args=(server,), daemon=True).start()
        with socket.create_connection((HOST, proxy.port), PATIENCE_S) as before:
            assert _asked(before, b"one") == b"one"
            proxy.cut()
            before.sendall(b"two")
            before.settimeout(0.2)
            with pytest.raises(TimeoutError):
                before.recv(10)
            with socket.create_connection((HOST, proxy.port), PATIENCE_S) as meanwhile:  # taken up, not answered
                meanwhile.sendall(b"three")
                proxy.mend()
                before.settimeout(PATIENCE_S)
                assert before.recv(10) == b"two"
                assert meanwhile.recv(10) == b"three"


def test_a_connection_that_one_side_closes_is_closed_on_the_other():
    with socket.create_server((HOST, 0)) as server, Proxy(server.getsockname()[1]) as proxy:
        with socket.create_connection((HOST, proxy.port), PATIENCE_S) as near:
            far = server.accept()[0]
            near.sendall(b"x")
            assert far.recv(10) == b"x"
        far.settimeout(PATIENCE_S)
        assert far.recv(10) == b""
        far.close()


def _asked(connection: socket.socket, question: bytes) -> bytes:
    connection.sendall(question)
    return connection.recv(100)


def _echo(server: socket.socket) -> None:
    while True:
        try:
            connection = server.accept()[0]
        except OSError:
            return
        threading.Thread(target=_echo_one, args=(connection,), daemon=True).start()


def _echo_one(connection: socket.socket) -> None:
    with connection:
        while chunk := connection.recv(100):
            connection.sendall(chunk)


# -- verdict


def test_copies_are_held_against_the_undisturbed_run_in_the_unit_of_every_tolerance():
    found, wanted = Answers(), Answers()
    source = ("ticks", 0, 5)
    wanted.add(source, 1, (2.0, -4.0), scale=1.0)
    found.add(source, 1, (2.0, -4.0), scale=1.0)
    found.add(source, 1, (2.0, -4.000_002), scale=1.0)
    found.compare(source, 1, (2.0, -4.0), wanted, scale=1.0)
    assert (found.copies, len(found.fields), found.different) == (2, 1, 0)
    assert found.deviation == pytest.approx(5e-7)


def test_a_copy_with_another_field_or_a_value_that_is_no_number_is_noticed():
    answers = Answers()
    source = ("ticks", 0, 5)
    answers.add(source, 1, (2.0,), scale=1.0)
    answers.add(source, 2, (float("nan"),), scale=1.0)
    assert answers.different == 1
    assert answers.deviation != answers.deviation


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"doubled": 3}, ["doubled 3"]),
        ({"missing": 1, "unexpected": 2}, ["missing 1", "unexpected 2"]),
        ({"different": 1}, ["different 1"]),
        ({"deviation": 2e-6}, ["deviation 2e-06"]),
        ({"deviation": float("nan")}, ["deviation nan"]),
    ],
)
def test_what_does_not_hold_is_said(changes, said):
    assert VERDICT._replace(**changes).problems("exactly_once") == said


def test_at_least_once_may_repeat_itself():
    assert VERDICT._replace(doubled=3).problems("at_least_once") == []


def test_a_restart_is_timed_to_the_first_forecast_of_its_own_process():
    lives = [SimpleNamespace(started_ns=start, ended_ns=end) for start, end in ((0, 9), (10, 12), (20, 29), (30, 0))]
    assert restarts([1, 5, 24, 25, 37], lives) == [4e-9, 7e-9]  # the second process did not get so far


# -- soak


def sample(at_s: float, counts: list[float], resident: int = 100, descriptors: int = 20) -> Sample:
    """Buckets up to 1 ms, 2 ms and beyond, counted from the start."""
    footprint = Footprint(resident, descriptors, 5)
    buckets = dict(zip((0.001, 0.002, INFINITE), counts, strict=True))
    return Sample(at_s, {LOOP: footprint, SIDECAR: footprint}, {"latency": buckets})


def test_a_quantile_lies_within_its_bucket_and_counts_only_what_came_between():
    before, after = {0.001: 100.0, 0.002: 100.0, INFINITE: 100.0}, {0.001: 150.0, 0.002: 200.0, INFINITE: 200.0}
    assert soak_series.quantile(before, after, 0.5) == pytest.approx(0.001)
    assert soak_series.quantile(before, after, 0.75) == pytest.approx(0.0015)
    assert soak_series.quantile({}, {0.001: 0.0, INFINITE: 10.0}, 0.99) == INFINITE
    assert soak_series.quantile(after, after, 0.99) != soak_series.quantile(after, after, 0.99)  # not a number


def test_a_flat_run_holds_all_it_promised():
    samples = [sample(at, [90 * at, 100 * at, 100 * at], resident=100 + at % 2) for at in range(61)]
    made = soak_series.checks(samples, warm_s=10, span_s=10)
    assert all(check.holds for check in made)
    assert len(made) == 7
    assert soak_series.table(made).count("| yes |") == 7


@pytest.mark.parametrize(
    ("last", "broken"),
    [
        (sample(60, [5_400, 6_000, 6_000], resident=103), "resident memory"),
        (sample(60, [5_400, 6_000, 6_000], descriptors=21), "descriptors"),
        (sample(60, [4_500, 5_100, 6_000]), "p99"),
    ],
)
def test_growth_and_drift_are_noticed(last, broken):
    samples = [*(sample(at, [90 * at, 100 * at, 100 * at]) for at in range(60)), last]
    made = soak_series.checks(samples, warm_s=10, span_s=10)
    assert {check.what.rpartition(": ")[2] for check in made if not check.holds} == {broken}


def test_what_happens_in_the_warm_up_does_not_count():
    warming = [sample(at, [0, 0, 0], resident=10, descriptors=3) for at in range(10)]
    samples = [*warming, *(sample(at, [90 * at, 100 * at, 100 * at]) for at in range(10, 61))]
    assert all(check.holds for check in soak_series.checks(samples, warm_s=10, span_s=10))


# -- tables


def test_the_table_has_a_line_for_each_run_and_says_what_does_not_hold():
    lines = report.table([ROW, ROW._replace(problems=["missing 3"])]).splitlines()
    assert len(lines) == 4
    assert "decode 10, outside 3 | 12,345 | 1,000 | 0 | 0 | 4e-07 | 1.10 / 1.50 | other host 6.5 | 1 | yes" in lines[2]
    assert lines[3].endswith("| no |")


def test_the_results_are_written_for_readers_and_for_programs(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    report.write([ROW, ROW._replace(problems=["missing 3"])], {"seed": 1}, "chaos")
    document = json.loads((tmp_path / "chaos.json").read_text())
    assert document["strikes"] == {"decode": 20, OUTSIDE: 6}
    assert document["rows"][0]["ticks"] == 12_345
    assert "- kill -9, kafka-python, exactly_once: missing 3" in (tmp_path / "chaos.md").read_text()
