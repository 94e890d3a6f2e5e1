"""One graph on a GPU: fixed buffers on both sides, runs padded to a few sizes, each of them captured once.

Stages `features`, `engine.run` and `engine.prefix` of the way of a tick. A run copies its rows to the device, runs the
smallest bucket that holds them, and copies as many rows back. Addresses and shapes never change, which is what a CUDA
graph needs: https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#using-cuda-graphs-preview.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from tickcast import providers
from tickcast.bindings import Array, Slot

# While one thread captures, CUDA refuses other threads of the process what copies and runs need (cudaStreamBeginCapture
# in the mode "global", which is onnxruntime's): a bundle that is loaded must not capture while another one answers.
TURNS = threading.Lock()


class Device(Protocol):
    """Where buffers are: a GPU."""

    kind: str  # onnxruntime's name for its memory
    index: int

    def allocate(self, length_bytes: int) -> int:
        """The address of so many bytes of its memory, all zero."""

    def pin(self, array: Array) -> None:
        """Keep a host array where it is."""

    def to_device(self, address: int, array: Array) -> None:
        """Copy a contiguous host array there."""

    def to_host(self, array: Array, address: int) -> None:
        """Fill a contiguous host array from there."""


class _Buffer(NamedTuple):
    """A tensor's memory [rows_max, ...] on both sides."""

    slot: Slot
    host: Array
    address: int


class _Bucket(NamedTuple):
    """A run of one size, bound."""

    rows: int
    io: Any
    options: Any


def buckets(rows_max: int) -> list[int]:
    """The sizes runs are padded to: the powers of two up to `rows_max`, and that."""
    sizes = [1 << power for power in range(rows_max.bit_length()) if 1 << power < rows_max]
    return [*sizes, rows_max]


class DeviceGraph:
    """A session on a GPU. Several threads may ask; they take turns, with those of all other graphs too.

    `open_session(captures)` opens it, with CUDA graph capture or without. Where capturing fails, `warm` goes on without
    it, and `uncaptured` says why.
    """

    def __init__(
        self,
        open_session: Callable[[bool], Any],
        inputs: Sequence[Slot],
        outputs: Sequence[Slot],
        rows_max: int,
        device: Device,
        captures: bool,
    ) -> None:
        self.rows_max = rows_max
        self.uncaptured = "" if captures else "inference.cuda_graphs is off"
        self._open = open_session
        self._device = device
        self._inputs = {each.name: self._buffer(each) for each in inputs}
        self._outputs = [self._buffer(each) for each in outputs]
        self._bind(captures)

    def warm(self) -> None:
        """Run every bucket, the largest first: memory is taken once, and what can be captured is."""
        try:
            self._run_all()
        except providers.RUN_ERRORS as error:
            if self.uncaptured:
                raise
            self.uncaptured = str(error)
            self._bind(captures=False)
            self._run_all()

    def run(self, count: int, given: Mapping[str, Array]) -> list[Array]:
        """As `Graph.run` says. Rows of another shape than the buffers' go the plain way, uncaptured."""
        with TURNS:
            if any(array.shape[1:] != self._inputs[name].slot.row_shape for name, array in given.items()):
                names = [each.slot.name for each in self._outputs]
                results: list[Array] = self._session.run(names, given, providers.run_options(None))
                return results
            for name, array in given.items():
                buffer = self._inputs[name]
                buffer.host[:count] = array
                self._device.to_device(buffer.address, buffer.host[:count])
            self._run(next(bucket for bucket in self._buckets if bucket.rows >= count))
            return [self._fetched(each, count) for each in self._outputs]

    def _buffer(self, each: Slot) -> _Buffer:
        host = each.empty(self.rows_max)
        self._device.pin(host)
        return _Buffer(each, host, self._device.allocate(host.nbytes))

    def _bind(self, captures: bool) -> None:
        self._session = self._open(captures)
        self._buckets = [
            _Bucket(rows, self._bound(rows), providers.run_options(number if captures else None))
            for number, rows in enumerate(buckets(self.rows_max))
        ]

    def _bound(self, rows: int) -> Any:
        io = self._session.io_binding()
        place = self._device.kind, self._device.index
        for each in self._inputs.values():
            io.bind_input(each.slot.name, *place, each.slot.dtype.type, (rows, *each.slot.row_shape), each.address)
        for each in self._outputs:
            io.bind_output(each.slot.name, *place, each.slot.dtype.type, (rows, *each.slot.row_shape), each.address)
        return io

    def _run(self, bucket: _Bucket) -> None:
        self._session.run_with_iobinding(bucket.io, bucket.options)
        bucket.io.synchronize_outputs()

    def _run_all(self) -> None:
        for bucket in reversed(self._buckets):
            with TURNS:  # each by itself: a tick that waits for another bundle waits for one of them
                self._run(bucket)

    def _fetched(self, each: _Buffer, count: int) -> Array:
        self._device.to_host(each.host[:count], each.address)
        return each.host[:count].copy()
