"""`tickcast bench fleet`: a consumer group simulated, from measured costs of single ticks.

Beside the way of a tick. Daemons share nothing but the market's bursts, so a few of many stand for all: the busiest,
and others drawn by chance. After a loss, the one with most to read back and the one with most ticks.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tickcast.bench_percentiles import percentiles
from tickcast.fleet import Group, Plan, hosts_for, summed
from tickcast.fleet_arrivals import Arrivals, Bursts, Market, Recorded
from tickcast.fleet_costs import Source
from tickcast.fleet_daemon import Served, Shape, Takeover, serve, take_over

# Ticks that are simulated for the percentiles of a plan, about: some seconds of any machine's time.
TICKS_MAX = 300_000
SAMPLE_MAX = 8
# What came of a loss is looked at for so long.
HORIZON_S = 300.0
LOSS_TICKS_MAX = 1_500_000
# Of its capacity that a daemon may have to answer on average, for bursts, a lost host and a bad day.
LOAD_MAX = 0.5
# Partitions for which a daemon's metrics have room.
PARTITIONS_MAX = 2_000

Report = dict[str, Any]


@dataclass(frozen=True)
class Scene:
    """A plan, what ticks cost, and how they come."""

    plan: Plan
    source: Source
    bursts: Bursts
    duration_s: float
    recorded_ns: NDArray[np.int64] | None = None  # times of a recording, whose gaps are then everybody's

    def market(self, duration_s: float) -> Arrivals:
        """Arrivals of all daemons for so long."""
        if self.recorded_ns is not None:
            return Recorded(self.recorded_ns, duration_s)
        return Market(self.bursts, duration_s, self.plan.seed)


def run(scene: Scene) -> Report:
    """Everything there is to say of a plan. Raises UsageError for one that cannot be."""
    group = Group(scene.plan)
    found = {"group": _group(group, scene), "steady": _steady(group, scene), "loss": _loss(group, scene)}
    costs, origins = scene.source.costs, scene.source.origins
    return {
        "bench": "fleet",
        "plan": asdict(scene.plan) | {"bursts": scene.bursts._asdict(), "duration_s": scene.duration_s},
        "costs": {name: {"value": value, "from": origins[name]} for name, value in costs._asdict().items()},
        **found,
        "traffic": group.traffic(),
        "warnings": _warnings(group, scene, found),
    }


def _group(group: Group, scene: Scene) -> Report:
    plan, capacity = scene.plan, scene.source.costs.capacity
    counts = np.bincount(group.owners, minlength=plan.daemons)
    most = int(group.daemon_symbols.max())
    return {
        "daemons": plan.daemons,
        "partitions_of_a_daemon": {"least": int(counts.min()), "most": int(counts.max())},
        "symbols_of_a_daemon": most,
        "memory_of_a_daemon": group.memory_bytes(most),
        "memory_of_a_host": group.memory_bytes(most) * (plan.cores // plan.daemon_cores),
        "capacity_of_a_daemon": capacity,
        "load": {
            "average": float(group.daemon_rates.mean() / capacity),
            "busiest": float(group.daemon_rates.max() / capacity),
            "busiest_in_bursts": float(group.daemon_rates.max() / capacity * scene.bursts.factor),
        },
        "busiest_symbol": {
            "ticks_per_s": float(group.symbol_rates[0]),
            "of_capacity": float(group.symbol_rates[0] / capacity),
        },
        "never_full": group.never_full,
        "hosts_at_half_load": hosts_for(plan.ticks_per_s, capacity, plan.cores // plan.daemon_cores, LOAD_MAX),
    }


def _steady(group: Group, scene: Scene) -> Report:
    rates = group.daemon_rates
    busiest = int(rates.argmax())
    affordable = int(TICKS_MAX / max(1.0, rates.mean() * scene.duration_s))
    busy = np.flatnonzero(rates)
    random = np.random.default_rng([scene.plan.seed, 4])
    sample = random.permutation(busy)[: int(np.clip(affordable, 1, SAMPLE_MAX))]
    market = scene.market(scene.duration_s)
    return {
        "average": _served([_serve(group, scene, market, int(daemon)) for daemon in sample]),
        "busiest": _served([_serve(group, scene, market, busiest)]),
        "daemons_simulated": len({*sample.tolist(), busiest}),
    }


def _serve(group: Group, scene: Scene, market: Arrivals, daemon: int) -> Served:
    seed = [scene.plan.seed, 5, daemon]
    arrivals = market.arrivals(float(group.daemon_rates[daemon]), seed)
    return serve(
        arrivals, scene.source.costs, _shape(scene.plan, int(group.daemon_symbols[daemon])), seed, market.duration_s
    )


def _shape(plan: Plan, symbols: int) -> Shape:
    return Shape(plan.poll_records_max, max(1, symbols), plan.carries_bytes_max // plan.carry_bytes)


def _served(found: list[Served]) -> Report:
    latencies = np.concatenate([served.latencies_s for served in found])
    ended_s = sum(served.ended_s for served in found)
    return {
        "latency": percentiles(latencies).microseconds(),
        "answering": sum(served.answering_s for served in found) / ended_s,
        "preparing": sum(served.preparing_s for served in found) / ended_s,
        "finish_share": sum(served.finished for served in found) / max(1, len(latencies)),
        "ticks_per_s": len(latencies) / ended_s,
        "ticks": len(latencies),
    }


def _loss(group: Group, scene: Scene) -> Report | None:
    """What the heirs make of it; None where no host is lost, or none of what it had."""
    lost = group.lost
    if not len(lost):
        return None
    heirs = group.heirs()
    daemons = scene.plan.daemons
    replay = summed(heirs, group.replay[lost], daemons)
    taken = summed(heirs, group.rates[lost], daemons)
    worst = [int(replay.argmax()), int(heirs[(group.daemon_rates + taken)[heirs].argmax()])]
    found = [_heir(group, scene, daemon, lost[heirs == daemon]) for daemon in sorted(set(worst))]
    slowest = max(found, key=lambda each: (each["caught_up_s"] is None, each["caught_up_s"] or 0.0))
    return {
        "hosts": scene.plan.lost_hosts,
        "partitions": len(lost),
        "takeover_s": scene.plan.takeover_s,
        "load_after": float((group.daemon_rates + taken).max() / scene.source.costs.capacity),
        **slowest,
        "rebuilt_s": _latest([each["rebuilt_s"] for each in found]),
        "ticks_waiting_at_most": round(slowest["lag_max"] * float(group.rates[lost].sum()) / slowest["taken_per_s"]),
    }


def _heir(group: Group, scene: Scene, daemon: int, partitions: NDArray[np.int64]) -> Report:
    plan, costs = scene.plan, scene.source.costs
    own_per_s, taken_per_s = float(group.daemon_rates[daemon]), float(group.rates[partitions].sum())
    replay = int(group.replay[partitions].sum())
    horizon_s = _horizon_s(scene, own_per_s, taken_per_s, replay)
    market, seed = scene.market(horizon_s), [plan.seed, 6, daemon]
    own = market.arrivals(own_per_s, seed)
    # What the former owner answered since its last commit is answered again: half an interval on average.
    again = np.zeros(round(taken_per_s * plan.commit_interval_s / 2))
    taken = np.concatenate([again, market.arrivals(taken_per_s, [*seed, 1])])
    symbols = int(group.daemon_symbols[daemon] + group.symbols[partitions].sum())
    takeover = Takeover(plan.takeover_s, replay, taken)
    served = take_over(own, takeover, costs, _shape(plan, symbols), seed, horizon_s)
    came = own[: len(served.latencies_s)]
    return {
        "replayed_records": replay,
        "replayed_bytes": replay * plan.tick_bytes,
        "taken_per_s": taken_per_s,
        "rebuilt_s": served.rebuilt_s,
        "caught_up_s": served.caught_up_s,
        "looked_at_s": horizon_s,
        "lag_max": served.lag_max,
        "own_meanwhile": percentiles(served.latencies_s[came >= plan.takeover_s]).microseconds(),
    }


def _horizon_s(scene: Scene, own_per_s: float, taken_per_s: float, replay: int) -> float:
    """Long enough to see the end of it, where there is one."""
    costs, plan = scene.source.costs, scene.plan
    rebuild_s = 10 * replay * costs.replay_s
    spare = max(0.05, 1 - (own_per_s + taken_per_s) * costs.full_s)
    wanted_s = plan.takeover_s + rebuild_s + 5 * taken_per_s * (plan.takeover_s + rebuild_s) * costs.full_s / spare
    affordable_s = LOSS_TICKS_MAX / max(1.0, own_per_s + taken_per_s)
    return float(max(2 * plan.takeover_s, min(wanted_s + 10, affordable_s, HORIZON_S)))


def _latest(times: list[float | None]) -> float | None:
    known = [each for each in times if each is not None]
    return max(known) if len(known) == len(times) else None


def _warnings(group: Group, scene: Scene, found: Report) -> list[str]:
    plan, load, loss = scene.plan, found["group"]["load"], found["loss"]
    said = {
        "the busiest daemon does not keep up: its lag grows without end": load["busiest"] >= 1,
        "in a burst more ticks come than the busiest daemon answers: its lag grows until the burst is over": (
            load["busiest"] < 1 <= load["busiest_in_bursts"]
        ),
        "the busiest symbol alone is more than a daemon answers; a symbol cannot be divided": (
            found["group"]["busiest_symbol"]["of_capacity"] >= 1
        ),
        f"{plan.daemons - plan.partitions:,} daemons have no partition": plan.daemons > plan.partitions,
        f"{group.never_full:.1%} of the symbols come too rarely to have a full window within"
        f" {plan.replay_records_max:,} records of their partition: they never get a forecast": group.never_full > 0,
        "after the loss the busiest daemon does not keep up": loss is not None and loss["load_after"] >= 1,
        f"daemons own more partitions than their metrics have room for ({PARTITIONS_MAX:,})": (
            found["group"]["partitions_of_a_daemon"]["most"] > PARTITIONS_MAX
        ),
    }
    return [text for text, holds in said.items() if holds]
