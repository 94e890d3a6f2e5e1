"""The simulated consumer group: its queue against queueing theory, its sums against themselves, its costs' origins."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tickcast import fleet_costs
from tickcast.errors import UsageError
from tickcast.fleet import Group, Plan, hosts_for
from tickcast.fleet_arrivals import Bursts, Market, Recorded
from tickcast.fleet_costs import BUILT_IN, Costs
from tickcast.fleet_daemon import Shape, Takeover, serve, take_over, turn_s

TESTS = Path(__file__).parent
# One tick at a time, always for as long, nothing beside it: a queue that theory knows.
SERVICE_S = 100e-6
PLAIN = Costs(SERVICE_S, SERVICE_S, SERVICE_S, SERVICE_S, after_s=0.0, prefix_s=0.0, replay_s=10e-6, spread=0.0)
ONE_AT_A_TIME = Shape(poll_records_max=1)
STEADY = Bursts()


def _arrivals(rate: float, duration_s: float, seed: int = 1):
    return Market(STEADY, duration_s, seed).arrivals(rate, [seed])


# -- one daemon


@pytest.mark.slow
@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_one_tick_at_a_time_waits_as_an_m_d_1_queue_has_it(load):
    """Pollaczek-Khinchine for a constant service time: mean wait = load * service / (2 * (1 - load))."""
    served = serve(_arrivals(load / SERVICE_S, 60.0), PLAIN, ONE_AT_A_TIME, [1], 60.0)
    waited_s = (served.latencies_s - served.in_hand_s).mean()
    assert waited_s == pytest.approx(load * SERVICE_S / (2 * (1 - load)), rel=0.05)
    assert served.answering_s / served.ended_s == pytest.approx(load, rel=0.01)


def test_service_times_that_differ_make_ticks_wait_as_an_m_g_1_queue_has_it():
    """Pollaczek-Khinchine: mean wait = rate * E[service^2] / (2 * (1 - load)), the service being lognormal."""
    spread, rate = 0.5, 4_000
    served = serve(_arrivals(rate, 60.0), PLAIN._replace(spread=spread), ONE_AT_A_TIME, [1], 60.0)
    mean_s, square = SERVICE_S * np.exp(spread**2 / 2), SERVICE_S**2 * np.exp(2 * spread**2)
    waited_s = (served.latencies_s - served.in_hand_s).mean()
    assert waited_s == pytest.approx(rate * square / (2 * (1 - rate * mean_s)), rel=0.07)


def test_more_ticks_than_it_can_answer_are_answered_at_its_capacity():
    served = serve(_arrivals(3 * BUILT_IN.capacity, 3.0), BUILT_IN, Shape(), [1], 3.0)
    assert len(served.latencies_s) / served.ended_s == pytest.approx(BUILT_IN.capacity, rel=0.01)


def test_a_backlog_is_answered_in_batches_that_cost_less_a_tick():
    costs = [turn_s(BUILT_IN, 512, 0, ticks) / ticks for ticks in (1, 8, 64, 512)]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] == BUILT_IN.window_s
    assert costs[-1] == pytest.approx(BUILT_IN.full_s)


def test_a_lone_tick_takes_the_finish_path_and_ticks_without_pause_do_not():
    calm = serve(_arrivals(100, 20.0), BUILT_IN, Shape(), [1], 20.0)
    assert calm.finished / len(calm.latencies_s) > 0.99
    assert np.median(calm.in_hand_s) == pytest.approx(BUILT_IN.finish_s, rel=0.05)
    assert np.log(calm.in_hand_s).std() == pytest.approx(BUILT_IN.spread, rel=0.1)
    assert calm.preparing_s > 0
    rushed = serve(_arrivals(0.9 * BUILT_IN.capacity, 5.0), BUILT_IN, Shape(), [1], 5.0)
    assert rushed.finished / len(rushed.latencies_s) < 0.05


def test_symbols_whose_carries_find_no_room_take_the_window_path():
    served = serve(_arrivals(200, 20.0), BUILT_IN, Shape(symbols=1_000, carries_max=250), [1], 20.0)
    assert served.finished / len(served.latencies_s) == pytest.approx(0.25, abs=0.03)


def test_what_was_taken_over_is_rebuilt_and_caught_up_in_the_time_that_own_ticks_leave():
    own, taken = _arrivals(2_000, 60.0), _arrivals(1_000, 60.0, seed=2)
    served = take_over(own, Takeover(7.0, 200_000, taken), PLAIN, Shape(), [1], 60.0)
    alone = take_over(np.empty(0), Takeover(7.0, 200_000, taken), PLAIN, Shape(), [1], 60.0)
    assert alone.rebuilt_s == pytest.approx(7.0 + 200_000 * PLAIN.replay_s, rel=1e-6)
    assert served.rebuilt_s == pytest.approx(7.0 + 200_000 * PLAIN.replay_s / (1 - 2_000 * SERVICE_S), rel=0.02)
    assert served.lag_max == pytest.approx(served.rebuilt_s * 1_000, rel=0.1)
    # What came by then, and what comes meanwhile, in the time that all ticks leave.
    wanted_s = served.rebuilt_s * 1_000 * SERVICE_S / (1 - 3_000 * SERVICE_S)
    assert served.caught_up_s - served.rebuilt_s == pytest.approx(wanted_s, rel=0.15)
    before = served.latencies_s[own[: len(served.latencies_s)] < 7.0]
    assert served.latencies_s.max() > before.max()


def test_more_than_it_can_answer_after_a_takeover_is_never_caught_up():
    own, taken = _arrivals(6_000, 20.0), _arrivals(6_000, 20.0, seed=2)
    served = take_over(own, Takeover(1.0, 1_000, taken), PLAIN, Shape(), [1], 20.0)
    assert served.rebuilt_s is not None
    assert served.caught_up_s is None


# -- arrivals


def test_bursts_bring_as_many_ticks_in_all_and_come_together_everywhere():
    market = Market(Bursts(factor=10.0, share=0.05), 40.0, 3)
    counts = [np.histogram(market.arrivals(5_000, [daemon]), bins=4_000, range=(0, 40.0))[0] for daemon in (1, 2)]
    for each in counts:
        assert each.sum() == pytest.approx(5_000 * 40, rel=0.02)
        assert (each > 3 * each.mean()).mean() == pytest.approx(0.05, abs=0.02)
    assert np.corrcoef(counts)[0, 1] > 0.9


def test_bursts_that_would_bring_more_ticks_than_there_are_are_refused():
    with pytest.raises(UsageError, match="factor times share at most 1"):
        Market(Bursts(factor=30.0, share=0.05), 1.0, 1)


def test_recorded_gaps_keep_their_form_at_another_rate():
    gaps_ns = np.tile([10_000, 10_000, 980_000], 200)
    arrivals = Recorded(np.cumsum(gaps_ns), 10.0).arrivals(300.0, [1])
    assert len(arrivals) == pytest.approx(3_000, rel=0.01)
    gaps = np.sort(np.diff(arrivals))
    assert gaps[-1] / gaps[0] == pytest.approx(98)
    with pytest.raises(UsageError, match="at least 100"):
        Recorded(np.arange(50), 10.0)


# -- the group


def test_every_tick_symbol_and_partition_is_somebody_s():
    group = Group(Plan(skew=0.8))
    assert group.daemon_rates.sum() == pytest.approx(group.plan.ticks_per_s)
    assert group.daemon_symbols.sum() == group.plan.symbols
    counts = np.bincount(group.owners)
    assert counts.max() - counts.min() <= 1


def test_what_a_lost_rack_had_is_dealt_out_evenly_to_the_others():
    plan = Plan(hosts=10, partitions=1_000, lost_hosts=3)
    group = Group(plan)
    heirs = group.heirs()
    assert len(heirs) == len(group.lost) == pytest.approx(300, abs=15)
    assert heirs.min() >= 3 * 8
    owners = group.owners.copy()
    owners[group.lost] = heirs
    counts = np.bincount(owners)[24:]
    assert counts.max() - counts.min() <= 1


def test_a_skewed_market_reads_back_up_to_r_and_leaves_its_slowest_symbols_without_a_window():
    even, skewed = Group(Plan()), Group(Plan(skew=1.5))
    assert even.never_full == 0
    assert even.replay.max() < even.plan.replay_records_max
    assert skewed.replay.max() == skewed.plan.replay_records_max
    assert 0 < skewed.never_full < 1
    assert skewed.symbol_rates[0] > 0.3 * skewed.plan.ticks_per_s


def test_traffic_counts_every_copy_once():
    plan = Plan(ticks_per_s=1_000, tick_bytes=100, forecast_bytes=500, replication=3, readers=2, retention_h=1)
    assert Group(plan).traffic() == {
        "from_producers": 600_000,
        "to_consumers": 1_100_000,
        "between_brokers": 1_200_000,
        "to_disk": 1_800_000,
        "kept": 1_800_000 * 3_600,
    }


def test_hosts_are_rounded_up():
    assert hosts_for(100_000, capacity=20_000, daemons_per_host=8, load_max=0.5) == 2
    assert hosts_for(10, capacity=20_000, daemons_per_host=8, load_max=0.5) == 1


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (Plan(cores=2, daemon_cores=4), "no room for daemons of 4"),
        (Plan(hosts=3, lost_hosts=3), "one has to be left"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(plan, message):
    with pytest.raises(UsageError, match=message):
        Group(plan)


def test_one_host_is_sized_without_a_loss():
    assert len(Group(replace(Plan(), hosts=1, lost_hosts=0)).lost) == 0


# -- costs


def test_the_built_in_costs_are_those_of_the_run_that_lies_beside():
    found = fleet_costs.read([TESTS / "bench" / "results" / "fleet.json"])
    assert found.costs == pytest.approx(BUILT_IN, rel=1e-3)
    replayed = fleet_costs.read([TESTS / "chaos" / "results" / "recovery.json"])
    assert replayed.costs.replay_s == pytest.approx(BUILT_IN.replay_s, rel=0.4)  # runs of other days


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"bench": "kafka"}', '{"bench": "fleet"}', '{"runs": {}}'])
def test_what_is_no_report_is_refused_with_its_name(tmp_path, text):
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"report\.json: "):
        fleet_costs.read([path])


def test_a_later_report_stands_over_an_earlier_one(tmp_path):
    paths = []
    for rate in (10_000.0, 20_000.0):
        paths.append(tmp_path / f"{rate}.json")
        saturated = {"ticks_per_s": rate, "stages_us_per_tick": {"run": 20.0}}
        report = {"bench": "kafka", "clients": {"kafka-python": {"saturated": saturated}}}
        paths[-1].write_text(json.dumps(report))
    found = fleet_costs.read(paths)
    assert found.costs.capacity == pytest.approx(20_000)
    assert found.costs.finish_more_s == pytest.approx(30e-6)
    assert found.origins["full_s"] == str(paths[1])
    assert found.origins["prefix_s"].startswith("built in")


@pytest.mark.parametrize(("p90_us", "spread"), [(400.0, 0.541), (9_000.0, fleet_costs.SPREAD_MAX)])
def test_what_ticks_alone_differ_by_is_read_up_to_what_a_daemon_does_itself(tmp_path, p90_us, spread):
    path = tmp_path / "report.json"
    in_hand = {"received to sent": {"p50_us": 200.0, "p90_us": p90_us}}
    path.write_text(json.dumps({"bench": "kafka", "clients": {"confluent-kafka": {"daemon": {"stretches": in_hand}}}}))
    costs = fleet_costs.read([path]).costs
    assert costs.finish_s == pytest.approx(200e-6)
    assert costs.spread == pytest.approx(spread, rel=1e-2)
    assert costs.window_s - costs.finish_s == pytest.approx(BUILT_IN.window_s - BUILT_IN.finish_s)
