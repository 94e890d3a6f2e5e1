"""Plain runs: the windows they are asked about, and what does not fit."""

from itertools import pairwise

import numpy as np
import pytest
from manual_clock import ManualClock
from tickcast import bundle
from tickcast.bench_load import Message
from tickcast.bench_plain import Plain, feature_rows, raw_windows
from tickcast.config import InferenceConfig
from tickcast.engine import Engine
from tickcast.errors import UsageError
from tickcast.manifest import SECONDS_SINCE_PREVIOUS

CPU = InferenceConfig(provider="cpu")


def _message(symbol: str, time_ns: int, last: float) -> Message:
    value = f'{{"symbol":"{symbol}","event_time_ns":{time_ns},"last":{last}}}'
    return Message(symbol.encode(), value.encode(), time_ns)


def test_a_raw_window_is_the_last_ticks_of_one_symbol_with_the_seconds_between_them():
    messages = [
        _message("A", 1_000_000_000, 1.0),
        _message("B", 1_200_000_000, 9.0),
        _message("A", 1_500_000_000, 2.0),
        _message("A", 3_500_000_000, 3.0),
        _message("B", 3_600_000_000, 8.0),
    ]
    windows = raw_windows(messages, ("last", SECONDS_SINCE_PREVIOUS), 2, most=10)
    assert windows[:, :, 0].tolist() == [[1.0, 2.0], [2.0, 3.0], [9.0, 8.0]]
    assert windows[:, 1, 1].tolist() == [0.5, 2.0, 2.4]
    assert raw_windows(messages, ("last",), 2, most=1).shape == (1, 2, 1)


@pytest.mark.slow
def test_a_plain_run_gives_the_forecast_that_the_bundle_promises(exported):
    loaded = bundle.load(exported("additive").bundle)
    rows = feature_rows(loaded, loaded.golden.ticks, CPU)
    forecast = Engine(loaded, CPU).window(rows)
    # Extreme golden windows have forecasts of any size: tolerance as everywhere.
    scale = np.maximum(loaded.manifest.target_scale, np.abs(loaded.golden.forecast))
    assert (np.abs(forecast - loaded.golden.forecast) <= loaded.manifest.certificate.tolerance * scale).all()


class _TickingClock(ManualClock):
    """Moves a microsecond each time it is looked at."""

    def monotonic_ns(self) -> int:
        self.advance(1e-6)
        return super().monotonic_ns()


@pytest.mark.slow
def test_plain_runs_begin_at_their_arrivals_or_as_soon_as_the_one_before_is_done(exported):
    loaded = bundle.load(exported("additive").bundle)
    rows = feature_rows(loaded, loaded.golden.ticks[:3], CPU)
    plain = Plain(loaded.graphs["window"], "cpu", CPU, rows)
    timed = plain.paced(np.array([0, 0, 0, 1_000_000], np.int64), _TickingClock())
    assert len(timed.spent_s) == 4
    assert timed.latencies_s[3] < timed.latencies_s[0] + 2e-6  # its arrival was awaited
    assert all(earlier < later for earlier, later in pairwise(timed.latencies_s[:3]))  # theirs had passed


@pytest.mark.slow
def test_a_plain_graph_for_other_windows_is_refused_with_what_it_takes(exported):
    loaded = bundle.load(exported("additive").bundle)
    window, features = loaded.manifest.rules.window, loaded.manifest.features
    with pytest.raises(UsageError, match=rf"rows .*{window}.*not windows of {window + 1} rows, {features} wide"):
        Plain(loaded.graphs["window"], "cpu", CPU, np.zeros((1, window + 1, features), np.float32))
