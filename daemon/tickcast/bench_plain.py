"""What a tick costs without any of tickcast's means: one plain `session.run` of a window graph for each window.

Beside the way of a tick: the yardstick of the benches.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tickcast import providers
from tickcast.bench_client import wait_until
from tickcast.bench_load import Message
from tickcast.bundle import Bundle
from tickcast.clock import Clock
from tickcast.config import InferenceConfig
from tickcast.errors import UsageError
from tickcast.manifest import SECONDS_SINCE_PREVIOUS
from tickcast.windows import NANOSECONDS


class Timed(NamedTuple):
    """What each run of a schedule took."""

    latencies_s: NDArray[np.float64]  # [runs], scheduled arrival -> forecast there
    spent_s: NDArray[np.float64]  # [runs], the run alone


class Plain:
    """A session over a window graph, run as anybody would: arrays in, arrays out, one window at a time."""

    def __init__(self, graph: bytes, provider: str, config: InferenceConfig, rows: NDArray[np.float32]) -> None:
        """`rows` [windows, window, features] are asked about in turn. Raises UsageError where they do not fit."""
        session = providers.session(graph, provider, config)
        inputs = session.get_inputs()
        shape = inputs[0].shape if len(inputs) == 1 else []
        if len(shape) != 3 or any(
            isinstance(n, int) and n != m for n, m in zip(shape[1:], rows.shape[1:], strict=True)
        ):
            wanted = ", ".join(f"{each.name} {each.shape}" for each in inputs)
            raise UsageError(
                f"the plain graph takes {wanted}: not windows of {rows.shape[1]} rows, {rows.shape[2]} wide"
            )
        self._run = session.run
        self._outputs = [session.get_outputs()[0].name]
        self._feeds: list[dict[str, Any]] = [{inputs[0].name: rows[at : at + 1]} for at in range(len(rows))]

    def at_once(self, runs: int, clock: Clock) -> NDArray[np.float64]:
        """Seconds of each of so many runs, one after the other."""
        times_ns = np.empty(runs + 1, np.int64)
        times_ns[0] = clock.monotonic_ns()
        for at in range(runs):
            self._run(self._outputs, self._feeds[at % len(self._feeds)])
            times_ns[at + 1] = clock.monotonic_ns()
        return np.diff(times_ns) / NANOSECONDS

    def paced(self, arrivals_ns: NDArray[np.int64], clock: Clock) -> Timed:
        """A run at each arrival [runs], or as soon after it as the run before is done."""
        due_ns = (arrivals_ns + clock.monotonic_ns()).tolist()
        begun_ns, ended_ns = np.empty(len(due_ns), np.int64), np.empty(len(due_ns), np.int64)
        for at, due in enumerate(due_ns):
            begun_ns[at] = wait_until(clock, due)
            self._run(self._outputs, self._feeds[at % len(self._feeds)])
            ended_ns[at] = clock.monotonic_ns()
        return Timed((ended_ns - np.array(due_ns)) / NANOSECONDS, (ended_ns - begun_ns) / NANOSECONDS)


def raw_windows(messages: Iterable[Message], columns: Sequence[str], ticks: int, most: int) -> NDArray[np.float64]:
    """The first windows of `ticks` raw ticks of a symbol in `messages`: [at most `most`, ticks, columns].

    Each tick counts, whatever the bundle's rules: what a window costs does not depend on which ticks are in it.
    """
    recent: defaultdict[str, deque[list[float]]] = defaultdict(lambda: deque(maxlen=ticks))
    before_ns: dict[str, int] = {}
    found: list[list[list[float]]] = []
    for message in messages:
        fields = msgspec.json.decode(message.value)
        symbol, time_ns = fields["symbol"], fields["event_time_ns"]
        fields[SECONDS_SINCE_PREVIOUS] = (time_ns - before_ns.get(symbol, time_ns)) / NANOSECONDS
        before_ns[symbol] = time_ns
        window = recent[symbol]
        window.append([float(fields[column]) for column in columns])
        if len(window) == ticks:
            found.append(list(window))
            if len(found) == most:
                break
    return np.array(found, np.float64).reshape(len(found), ticks, len(columns))


def feature_rows(bundle: Bundle, raw: NDArray[np.float64], config: InferenceConfig) -> NDArray[np.float32]:
    """Rows [windows, window, features] of raw ones [windows, window + 1, columns]; without a feature graph: ticks."""
    graph = bundle.graphs.get("features")
    if graph is None:
        return raw[:, 1:].astype(np.float32)
    pairs = np.stack([raw[:, :-1], raw[:, 1:]], axis=2)  # [windows, window, 2, columns]
    flat: NDArray[np.float64] = pairs.reshape(-1, 2, raw.shape[2])
    rows: NDArray[np.float32] = providers.session(graph, "cpu", config).run(["row"], {"ticks": flat})[0]
    return rows.reshape(len(raw), raw.shape[1] - 1, -1)
