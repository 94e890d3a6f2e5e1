"""A backtest on a local Ray cluster: the values of one process, to the bit, and nothing left running."""

import functools
import importlib.util
import itertools
import random
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import backtests
import numpy as np
import psutil
import pytest
from backtests import assert_same, joined, parts_of, settings_with, ticks_of, toy
from hypothesis import given, settings
from hypothesis import strategies as st
from tickcast import backtest, backtest_answers, backtest_ray, bundle
from tickcast.backtest_pieces import DAY_NS
from tickcast.backtest_ray import RayEngine
from tickcast.config import Config
from tickcast.errors import UsageError
from tickcast.tick_files import Ticks
from tickcast_export.simulator import simulate


def three_days() -> Ticks:
    """Simulated ticks, a few minutes around midnight made into days: most are of the second one."""
    ticks = simulate(6_000, symbols=3)
    first, last = ticks.event_time_ns[[1_000, 5_000]]
    days = np.searchsorted([first, last], ticks.event_time_ns, side="right")
    midnight = first // DAY_NS * DAY_NS
    times = np.where(days == 0, midnight - (first - ticks.event_time_ns), midnight + ticks.event_time_ns - first)
    times[days == 2] = midnight + DAY_NS + (ticks.event_time_ns - last)[days == 2]
    return Ticks(ticks.columns, ticks.symbols, ticks.symbol_ids, times, ticks.values, ticks.sequence)


@pytest.mark.slow
def test_two_workers_give_the_bits_of_one_process_and_end_with_it(exported) -> None:
    if importlib.util.find_spec("ray") is None:  # not imported here: it reads its settings when it is
        pytest.skip("ray is not installed: pip install 'tickcast[ray]'")
    loaded, ticks = bundle.load(exported("additive").bundle), three_days()
    config = backtest.settings(loaded.folder, None, provider="cpu", threads=2)
    engine = backtest_answers.steady(loaded, config.inference)
    whole, fates = backtests.answered_here(engine, config, ticks, size=777)
    before = set(psutil.Process().children(recursive=True))
    with closing(RayEngine(loaded, config, workers=2, outstanding_ticks_max=2_500)) as spread:
        apart = joined(list(spread.answers(parts_of(ticks, 500))))  # days are cut: the second is too long
        started = set(psutil.Process().children(recursive=True)) - before
        assert started
    assert_same(apart, whole)
    assert dict(spread.fates) == fates
    _, alive = psutil.wait_procs(started, timeout=30)
    assert not alive


class Scattered:
    """A Ray of this process: tasks are done at random, and told of in any order."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def init(self, **settings: object) -> None:
        """There is no cluster."""

    def shutdown(self) -> None:
        """Nor is there one to end."""

    def put(self, value: object) -> object:
        return value

    def remote(self, task: Callable[..., object]) -> SimpleNamespace:
        numbers = itertools.count()
        asked = SimpleNamespace(remote=lambda *given: (next(numbers), functools.partial(task, *given)))
        return SimpleNamespace(options=lambda **settings: asked)

    def wait(self, asked: list[object], num_returns: int, timeout: float | None = None) -> tuple[list[object], None]:
        count = self._random.randint(0, len(asked)) if timeout == 0 else num_returns
        return self._random.sample(asked, count), None

    def get(self, asked: tuple[int, Callable[[], object]]) -> object:
        return asked[1]()


@settings(max_examples=40, deadline=None)
@given(backtests.steps, backtests.rules, st.integers(0, 99), st.integers(1, 30), st.sampled_from([10, 1_000]))
def test_whatever_order_tasks_end_in_forecasts_come_in_the_file_s(steps, window_rules, seed, size, most) -> None:
    ticks, engine, config = ticks_of(steps), toy(window_rules), settings_with()
    whole, fates = backtests.answered_here(engine, config, ticks)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(backtest_ray, "_ray", lambda: Scattered(seed))
        patched.setattr(backtest_ray, "_ready", lambda shared: (engine, config))
        patched.setattr(backtest_ray, "WRITTEN_TICKS", 5)
        with closing(RayEngine(engine.bundle, config, workers=2, outstanding_ticks_max=most)) as spread:
            apart = list(spread.answers(parts_of(ticks, size)))
    assert dict(spread.fates) == fates
    assert sum(each.size for each in apart) == whole.size
    if apart:
        assert_same(joined(apart), whole)


def test_a_gpu_is_refused(tmp_path: Path) -> None:
    config: Config = backtest.settings(tmp_path, None, provider="cuda")
    with pytest.raises(UsageError, match="runs on CPUs"):
        RayEngine(None, config, workers=1)  # type: ignore[arg-type]
