"""One daemon of `tickcast bench fleet`, turn by turn: what a poll finds there, what answering it costs, who waits.

Beside the way of a tick, whose loop it imitates: polls are bounded; ticks whose carry is ready are finished, all others
share window runs; carries are prepared while there is nothing to answer; partitions taken over are rebuilt in slices
between two polls, then what came for them meanwhile is answered in slices, and then they are like the others.
"""

from bisect import bisect_right
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tickcast.fleet_arrivals import Times
from tickcast.fleet_costs import Costs
from tickcast.inference import SLICE_COST_MAX, SLICE_MAX
from tickcast.pipeline import BACKLOG_MIN
from tickcast.rebuilds import LEARNING, SLICE_ALONE_S, SLICE_RECORDS, SLICE_S


class Shape(NamedTuple):
    """What of a daemon's settings and symbols its turns depend on."""

    poll_records_max: int = 512
    symbols: int = 64
    carries_max: int = 64  # so many symbols' carries fit into the pool


class Takeover(NamedTuple):
    """Partitions that a daemon takes over."""

    at_s: float  # when it has them
    replay_records: int  # read back until their windows stand
    arrivals: Times  # their ticks from the last commit of the former owner on


class Served(NamedTuple):
    """What became of a daemon's own ticks, and of what it took over."""

    latencies_s: NDArray[np.float64]  # [ticks]: there -> handed over, of the daemon's own
    in_hand_s: NDArray[np.float64]  # [ticks]: polled -> handed over
    ended_s: float
    answering_s: float  # spent on answers
    preparing_s: float  # on carries, with nothing to answer
    finished: int  # ticks answered by the finish path
    rebuilt_s: float | None = None  # when the windows of what it took over stood; None: not by the end
    caught_up_s: float | None = None  # when nothing that had come was unanswered
    lag_max: int = 0  # most ticks of what it took over that were there and not answered


def turn_s(costs: Costs, poll_records_max: int, finished: int, windows: int) -> float:
    """What answering a poll costs. By window runs a full one comes to `full_s` a tick, a lone one to `window_s`."""
    if not windows:
        return costs.finish_s + (finished - 1) * costs.finish_more_s
    more_s = max(0.0, (costs.full_s * poll_records_max - costs.window_s) / max(1, poll_records_max - 1))
    return costs.window_s + (windows - 1) * more_s + finished * costs.finish_more_s


def serve(arrivals: Times, costs: Costs, shape: Shape, seed: list[int], until_s: float) -> Served:
    """A daemon with its own ticks only."""
    return _Loop(costs, shape, seed).run(arrivals, None, until_s)


def take_over(
    arrivals: Times, takeover: Takeover, costs: Costs, shape: Shape, seed: list[int], until_s: float
) -> Served:
    """A daemon with its own ticks and what another one left behind, until that is all answered, or `until_s`."""
    return _Loop(costs, shape, seed).run(arrivals, takeover, until_s)


class _Loop:
    """The clock of one daemon, and what it has at hand."""

    def __init__(self, costs: Costs, shape: Shape, seed: list[int]) -> None:
        self._costs = costs
        self._shape = shape
        self._fitting = min(shape.symbols, shape.carries_max)  # symbols that can have a carry
        self._random = np.random.default_rng([*seed, 1])
        self._draws: list[float] = []
        self._factors: list[float] = []
        self._now_s = 0.0
        self._wanted = 0  # symbols whose carry is to be prepared
        self._cold = 0  # symbols last answered in a backlog: none is prepared for them
        self._answering_s = self._preparing_s = 0.0
        self._finished = 0
        self._begins: list[float] = []  # of each turn with own ticks
        self._ends: list[float] = []  # when its forecasts were handed over
        self._counts: list[int] = []  # how many of them

    def run(self, arrivals: Times, takeover: Takeover | None, until_s: float) -> Served:
        own = arrivals.tolist()
        if takeover is None:
            self._answer_all(own, until_s)
            return self._served(arrivals)
        at = self._answer_until(own, takeover.at_s)
        self._now_s = max(self._now_s, takeover.at_s)
        at, is_rebuilt = self._rebuild(own, at, takeover.replay_records, until_s)
        rebuilt_s, taken = self._now_s, takeover.arrivals.tolist()
        there = bisect_right(taken, rebuilt_s)
        if not is_rebuilt:
            return self._served(arrivals)._replace(lag_max=there)
        at, answered = self._catch_up(own, at, taken[:there], until_s)
        lag_max = max(there, bisect_right(taken, self._now_s) - answered)
        meanwhile = self._served(arrivals)
        caught_up_s = self._answer_both(sorted([*own[at:], *taken[answered:]]), until_s)
        return meanwhile._replace(rebuilt_s=rebuilt_s, caught_up_s=caught_up_s, lag_max=lag_max)

    # -- ticks

    def _answer_all(self, own: list[float], until_s: float) -> None:
        at = 0
        while at < len(own):
            self._idle_until(own[at])
            at = self._poll(own, at)
        self._idle_until(until_s)

    def _answer_until(self, own: list[float], until_s: float) -> int:
        """The ticks that come before `until_s`, while there is time; the first that is left."""
        at = 0
        while self._now_s < until_s and at < len(own) and own[at] < until_s:
            self._idle_until(own[at])
            at = self._poll(own, at)
        return at

    def _answer_both(self, both: list[float], until_s: float) -> float | None:
        """Own ticks and those taken over, until all that has come is answered; when that is."""
        at = 0
        while at < len(both) and both[at] <= self._now_s < until_s:
            at = self._poll(both, at)
        return self._now_s if self._now_s < until_s else None

    def _poll(self, own: list[float], at: int) -> int:
        """Answer what is there, a poll at most; the first that is left. There may be nothing."""
        most = self._shape.poll_records_max
        end = bisect_right(own, self._now_s, at, min(len(own), at + most))
        if end > at:
            self._begins.append(self._now_s)
            self._ends.append(self._answer(end - at, is_backlog=end - at >= max(most, BACKLOG_MIN)))
            self._counts.append(end - at)
        return end

    def _answer(self, ticks: int, is_backlog: bool, are_cold: bool = False) -> float:
        """Answer `ticks`; when their forecasts are handed over. The loop is free a little later."""
        costs, shape = self._costs, self._shape
        missing = self._wanted + self._cold + shape.symbols - self._fitting
        share = 1.0 if are_cold else missing / shape.symbols
        windows = int(ticks * share + self._draw()) if 0 < share < 1 else round(ticks * share)
        finished = ticks - windows
        spent_s = turn_s(costs, shape.poll_records_max, finished, windows)
        # What a whole batch takes differs little from time to time, what its first tick takes does.
        spent_s += (self._factor() - 1) * (costs.window_s if windows else costs.finish_s)
        handed_s = self._now_s + spent_s
        spent_s += costs.after_s if finished else 0.0
        self._now_s += spent_s
        self._answering_s += spent_s
        self._finished += finished
        if is_backlog:
            self._cold = min(self._fitting, self._cold + ticks)
            self._wanted = min(self._wanted, self._fitting - self._cold)
        elif missing:
            self._cold -= min(self._cold, round(windows * self._cold / missing))
            again = round(windows * self._wanted / missing)
            self._wanted = min(self._fitting - self._cold, self._wanted + ticks - again)
        else:
            self._wanted = min(self._fitting, ticks)
        return handed_s

    def _idle_until(self, next_s: float) -> None:
        """Prepare carries while nothing is there; a tick that comes meanwhile waits for the slice."""
        prefix_s = self._costs.prefix_s
        while self._wanted and self._now_s < next_s:
            count = min(SLICE_MAX, self._wanted)
            spent_s = prefix_s * (1 + (SLICE_COST_MAX - 1) * (count - 1) / (SLICE_MAX - 1))
            self._now_s += spent_s
            self._preparing_s += spent_s
            self._wanted -= count
        self._now_s = max(self._now_s, next_s)

    # -- what was taken over

    def _rebuild(self, own: list[float], at: int, records: int, until_s: float) -> tuple[int, bool]:
        """Read windows back, a slice a turn; the first of `own` that is left, and whether the windows stand."""
        replay_s = self._costs.replay_s
        of_slice = int(np.clip((SLICE_S if own else SLICE_ALONE_S) / replay_s, *SLICE_RECORDS))
        while records > 0:
            if self._now_s >= until_s:
                return at, False
            at = self._poll(own, at)
            count = min(records, of_slice)
            records -= count
            self._now_s += count * replay_s
        return at, True

    def _catch_up(self, own: list[float], at: int, there: list[float], until_s: float) -> tuple[int, int]:
        """Answer what had come when the windows stood, a slice a turn; the first of each that is left."""
        answered, record_s = 0, self._costs.replay_s
        least, most = SLICE_RECORDS
        while own and answered < len(there) and self._now_s < until_s:
            at = self._poll(own, at)
            wanted = most if record_s * most <= SLICE_S else max(least, int(SLICE_S / record_s))
            count = min(wanted, len(there) - answered)
            before_s = self._now_s
            self._answer(count, is_backlog=True, are_cold=True)
            answered += count
            record_s += LEARNING * ((self._now_s - before_s) / count - record_s)
        return at, answered

    def _served(self, arrivals: Times) -> Served:
        begins, ends = (np.repeat(times, self._counts) for times in (self._begins, self._ends))
        spent = (self._answering_s, self._preparing_s, self._finished)
        return Served(ends - arrivals[: len(ends)], ends - begins, self._now_s, *spent)

    def _draw(self) -> float:
        if not self._draws:
            self._draws = self._random.random(4_096).tolist()
        return self._draws.pop()

    def _factor(self) -> float:
        """By what a tick alone takes longer, or less long, than the median."""
        if not self._factors:
            self._factors = np.exp(self._costs.spread * self._random.standard_normal(4_096)).tolist()
        return self._factors.pop()
