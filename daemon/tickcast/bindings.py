"""One graph on the CPU, its inputs and outputs bound to numpy buffers once: a run then costs the graph and little else.

Part of the stages `features` and `engine.run` of the way of a tick. A plain `session.run` of a small graph spends a
seventh of its time, a fifth with cold caches, on naming, checking and allocating what is the same every time.
"""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tickcast.manifest import Tensor

# Bindings are kept for runs of up to so many rows; a longer run takes much longer than the 10 us of binding it anew.
KEPT_COUNT_MAX = 64
# Rows of so many bytes are bound where they lie: that takes 1.5 us, and copying 0.1 us a KB.
LARGE_ROW_BYTES = 12_288
# The one provider that reads host memory where it lies.
ON_HOST = "CPUExecutionProvider"

Array = NDArray[Any]


class Graph(Protocol):
    """A graph of which certain outputs are wanted, ready to run."""

    rows_max: int  # of one run

    def run(self, count: int, given: Mapping[str, Array]) -> list[Array]:
        """Run over arrays [count, ...], one for every input.

        Returns arrays [count, ...] that are the caller's own, in the order of the outputs.
        """


class Slot(NamedTuple):
    """An input or output of a graph: its name, the shape of one row, and its type."""

    name: str
    row_shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.dtype.itemsize * math.prod(self.row_shape)

    @property
    def is_large(self) -> bool:
        """Whether a row is better not copied."""
        return self.row_bytes >= LARGE_ROW_BYTES

    def empty(self, rows: int) -> Array:
        """An array [rows, ...], not filled."""
        return np.empty((rows, *self.row_shape), self.dtype)


def slot(tensor: Tensor, sizes: Mapping[str, int] = MappingProxyType({})) -> Slot:
    """The slot of a manifest's tensor [batch, ...]; `sizes` says how long its other named dimensions are."""
    shape = tuple(sizes[each] if isinstance(each, str) else each for each in tensor.shape[1:])
    return Slot(tensor.name, shape, np.dtype(tensor.dtype))


def grows(tensor: Tensor) -> bool:
    """Whether the shape of a row of this tensor [batch, ...] varies."""
    return any(isinstance(each, str) for each in tensor.shape[1:])


class PlainGraph:
    """A session asked in the plain way: any shape, large outputs, several threads at once."""

    def __init__(self, session: Any, outputs: Sequence[str], rows_max: int) -> None:
        self.rows_max = rows_max
        self._run = session.run
        self._outputs = outputs

    def run(self, count: int, given: Mapping[str, Array]) -> list[Array]:
        """As `Graph.run` says."""
        results: list[Array] = self._run(self._outputs, given)
        return results


class _Binding(NamedTuple):
    """What is bound for one count: onnxruntime's side, and ours [count, ...]."""

    io: Any
    inputs: dict[str, Array]
    outputs: list[Array]


class HostGraph:
    """A session over buffers; not thread-safe. A run takes just the rows it has: padding gains nothing here.

    Inputs other than those in `inputs` are used where they lie.
    """

    def __init__(self, session: Any, inputs: Sequence[Slot], outputs: Sequence[Slot], rows_max: int) -> None:
        self.rows_max = rows_max
        self._inputs = {each.name: each.empty(rows_max) for each in inputs}
        self._session = session
        self._outputs = {each.name: each.empty(rows_max) for each in outputs}
        self._bindings: dict[int, _Binding] = {}

    def run(self, count: int, given: Mapping[str, Array]) -> list[Array]:
        """As `Graph.run` says."""
        io, inputs, outputs = self._bindings.get(count) or self._bind(count)
        for name, array in given.items():
            buffer = inputs.get(name)
            if buffer is None:
                io.bind_cpu_input(name, array)
            else:
                assert array.shape == buffer.shape, f"{name} is {array.shape}, must be {buffer.shape}"
                buffer[...] = array
        self._session.run_with_iobinding(io)
        return [output.copy() for output in outputs]

    def _bind(self, count: int) -> _Binding:
        assert count <= self.rows_max, f"{count} rows, at most {self.rows_max}"
        io = self._session.io_binding()
        inputs = {name: buffer[:count] for name, buffer in self._inputs.items()}
        outputs = {name: buffer[:count] for name, buffer in self._outputs.items()}
        for name, array in inputs.items():
            io.bind_cpu_input(name, array)
        for name, array in outputs.items():
            io.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        binding = _Binding(io, inputs, list(outputs.values()))
        if count <= KEPT_COUNT_MAX:
            self._bindings[count] = binding
        return binding
