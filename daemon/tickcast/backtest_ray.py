"""A backtest on a Ray cluster: one task for each symbol and day, the same values as in one process.

This process reads and decides, hands out pieces, and writes their answers in the file's order; the graphs run where
there is room. How much is under way is bounded: behind so many ticks that are not written yet, pieces are cut within
their days and waited for. Source: https://docs.ray.io/en/latest/ray-core/patterns/limit-pending-tasks.html
"""

import functools
import importlib
import os
import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tickcast import backtest_answers, backtest_pieces
from tickcast.backtest_answers import Answered, SteadyEngine
from tickcast.backtest_pieces import Cut, Piece, Pieces, Result
from tickcast.bundle import Bundle
from tickcast.config import Config
from tickcast.errors import MissingExtraError, UsageError
from tickcast.tick_files import Ticks

# Read and not written yet: some 300 MB here and in the object store. Two days of a million ticks go side by side.
OUTSTANDING_TICKS_MAX = 2_000_000
# Written at a time: a day's ticks as Python objects would be gigabytes.
WRITTEN_TICKS = 16_384
# In the shared memory of a cluster of this machine; what is more goes to disk.
OBJECT_STORE_BYTES = 512 << 20
QUIET = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0"}
# Ray takes the host's address for the loopback's, and listens there, unless told that no other host may join, as is
# usual on a desktop. It reads this when it is imported. And a password for this run only: Ray's own would go to ~/.ray.
LOOPBACK = "127.0.0.1"
LOCAL_ENVIRONMENT = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
TOKEN_BYTES = 32


class RayEngine:
    """Answers on a cluster: one of its own on this machine that ends with it, or the one at `address`."""

    chunk_rows = 32_768  # a symbol's ticks among them are taken together

    def __init__(
        self,
        bundle: Bundle,
        config: Config,
        workers: int,
        address: str = "",
        outstanding_ticks_max: int = OUTSTANDING_TICKS_MAX,
    ) -> None:
        """`workers` tasks at a time on a cluster of its own. Raises MissingExtraError, and UsageError for a GPU."""
        if config.inference.provider == "cuda":
            raise UsageError("--engine ray runs on CPUs: whether a GPU gives the same bits in every task is not known")
        inference = config.inference.model_copy(update={"provider": "cpu", "threads": 1})
        self._config = config.model_copy(update={"inference": inference})
        self._pieces = Pieces(self._config, bundle.manifest)
        self._outstanding_ticks_max = outstanding_ticks_max
        self._ray, self._folder = _start(workers, address)
        self._task = self._ray.remote(answer).options(num_cpus=1, max_retries=2)
        self._shared = [self._ray.put((bundle, self._config))]  # in a list: each process fetches it once by itself
        self._running: dict[Any, Cut] = {}
        self._done: list[Answered] = []  # each in order of offsets
        self._read = self._written = 0  # offsets; all below the second are written

    @property
    def fates(self) -> Counter[str]:
        """See `BacktestEngine`."""
        return self._pieces.fates

    def answers(self, chunks: Iterable[Ticks]) -> Iterator[Answered]:
        """See `BacktestEngine`."""
        for chunk in chunks:
            self._read = chunk.start + len(chunk)
            self._submit(self._pieces.take(chunk))
            self._collect(wait=False)
            yield from self._in_order()
            if self._outstanding > self._outstanding_ticks_max:
                self._submit(self._pieces.cut())
                while self._outstanding > self._outstanding_ticks_max // 2:
                    self._collect(wait=True)
                    yield from self._in_order()
        self._submit(self._pieces.cut())
        while self._running:
            self._collect(wait=True)
            yield from self._in_order()
        yield from self._in_order()  # what waited for ticks that never filled a window

    def close(self) -> None:
        """End the cluster where it is this engine's own; let go of it where it is not."""
        _end(self._ray, self._folder)

    @property
    def _outstanding(self) -> int:
        return self._read - self._written

    def _submit(self, cuts: Iterable[Cut]) -> None:
        for cut in cuts:
            self._running[self._task.remote(self._shared, cut.piece)] = cut

    def _collect(self, wait: bool) -> None:
        """Take in what is done; `wait` until something is, if anything runs."""
        if not self._running:
            return
        done, _ = self._ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
        if not done and wait:
            done, _ = self._ray.wait(list(self._running), num_returns=1)
        for each in done:
            self._done.append(self._running.pop(each).answered(*self._ray.get(each)))

    def _in_order(self) -> Iterator[Answered]:
        """What is done up to the oldest tick that is not, in the file's order."""
        first_open = self._pieces.first_open
        firsts = [cut.piece.first for cut in self._running.values()]
        until = min([*firsts, self._read if first_open is None else first_open])
        if until == self._written:
            return
        self._written = until
        ends = [int(np.searchsorted(each.offsets, until)) for each in self._done]
        heads = [each.part(slice(0, end)) for each, end in zip(self._done, ends, strict=True) if end]
        rest = ((each, end) for each, end in zip(self._done, ends, strict=True) if end < each.size)
        self._done = [each.part(slice(end, None)) for each, end in rest]
        if heads:
            joined = Answered._make(map(np.concatenate, zip(*heads, strict=True)))
            order = np.argsort(joined.offsets)
            for begin in range(0, len(order), WRITTEN_TICKS):
                yield joined.part(order[begin : begin + WRITTEN_TICKS])


def answer(shared: list[Any], piece: Piece) -> Result:
    """The task."""
    engine, config = _ready(shared[0])
    return backtest_pieces.answer(engine, config, piece)


@functools.lru_cache(maxsize=1)
def _ready(reference: Any) -> tuple[SteadyEngine, Config]:
    """A process that gets several tasks of a backtest opens its bundle once."""
    bundle, config = _ray().get(reference)
    return backtest_answers.steady(bundle, config.inference), config


def _start(workers: int, address: str) -> tuple[Any, str]:
    """Ray, connected; and the folder of a cluster that was started for this, empty where it was not."""
    os.environ.update(ENVIRONMENT)
    if address:
        ray = _ray()
        ray.init(address=address, **QUIET)
        return ray, ""
    os.environ.update(LOCAL_ENVIRONMENT)
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(TOKEN_BYTES))  # Ray reads it once
    ray, folder = _ray(), tempfile.mkdtemp(prefix="tickcast-ray-")
    started = {"num_cpus": workers, "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    try:
        ray.init(address="local", _node_ip_address=LOOPBACK, _temp_dir=folder, **started, **QUIET)
    except BaseException:
        _end(ray, folder)
        raise
    return ray, folder


def _end(ray: Any, folder: str) -> None:
    ray.shutdown()
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise MissingExtraError("--engine ray needs ray: pip install 'tickcast[ray]'") from error
