"""A bundle read from disk, once, with every hash checked: what cannot be vouched for is not loaded.

The bytes that are hashed are the bytes that are used. Whether the graphs compute what Keras computed is `parity`'s.
"""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tickcast import bundle_files, onnx_wire
from tickcast.errors import BundleError
from tickcast.manifest import (
    CARRIED_GOLDEN_NAME,
    GOLDEN_NAME,
    MANIFEST_NAME,
    CarriedCertificate,
    GraphRole,
    Manifest,
    Tensor,
    read,
)

# The promise of every bundle; a manifest may promise more, not less.
TOLERANCE_MAX = 1e-5

GRAPH_SUFFIX = ".onnx"
GOLDEN_ARRAYS = ("forecast", "kind", "ticks")


@dataclass(frozen=True)
class Golden:
    """Windows of raw ticks and the reference's answers to them.

    With a feature graph a window has one tick more than rows; without, its rows are its ticks. Of the mode `carried`:
    runs of `steps` more ticks, and the answers at the end of the first window and after each step.
    """

    ticks: NDArray[np.float64]  # [cases, window (+ 1)(+ steps), columns]
    forecast: NDArray[np.float32]  # [cases, horizons] or [cases, 1 + steps, horizons], price units
    kind: NDArray[np.str_]  # [cases]

    def packed(self) -> bytes:
        """The content of `golden.npz`."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, ticks=self.ticks, forecast=self.forecast, kind=self.kind)
        return buffer.getvalue()

    def kinds(self) -> dict[str, int]:
        """Kind -> how many windows."""
        names, counts = np.unique(self.kind, return_counts=True)
        return {str(name): int(count) for name, count in zip(names, counts, strict=True)}


@dataclass(frozen=True)
class Bundle:
    """Everything the daemon uses of a bundle, in memory."""

    folder: Path
    manifest: Manifest
    sha256: str  # of manifest.json, which names every other file's
    graphs: dict[GraphRole, bytes]
    golden: Golden
    carried_golden: Golden | None = None


def load(folder: Path) -> Bundle:
    """Read and check the bundle in `folder`. Raises BundleError naming every problem at once."""
    manifest, sha256 = read(folder)
    problems = [*_interface_problems(manifest), *_folder_problems(folder, manifest)]
    contents: dict[str, bytes] = {}
    for name, expected in _files(manifest).items():
        try:
            contents[name] = _content(folder / name, expected)
        except BundleError as error:
            problems.append(str(error))
    golden = {
        name: _golden(name, contents[name], expected, problems)
        for name, expected in _golden_expected(manifest).items()
        if name in contents
    }
    given = golden.get(GOLDEN_NAME)
    if problems or given is None:
        raise BundleError("\n".join(f"{folder}: {problem}" for problem in problems))
    graphs = {role: contents[graph.file] for role, graph in manifest.graphs.items()}
    return Bundle(folder, manifest, sha256, graphs, given, golden.get(CARRIED_GOLDEN_NAME))


def carried_certificate(folder: Path, manifest: Manifest) -> CarriedCertificate:
    """What the bundle in `folder` is certified for in the mode `carried`. Raises BundleError where it is not."""
    if manifest.carried is None:
        raise BundleError(
            f"{folder}: not certified for inference.mode = carried: made without runs of validation ticks; "
            'train and export it anew, or set mode = "windowed"'
        )
    return manifest.carried


def _files(manifest: Manifest) -> dict[str, str]:
    """File name -> sha256, of every file but the manifest."""
    files = {graph.file: graph.sha256 for graph in manifest.graphs.values()} | {GOLDEN_NAME: manifest.golden_sha256}
    return files | ({CARRIED_GOLDEN_NAME: manifest.carried.golden_sha256} if manifest.carried else {})


def _content(path: Path, expected_sha256: str) -> bytes:
    """The bytes of a file that is the one the manifest means, and fit to be handed to who makes something of them."""
    is_graph = path.suffix == GRAPH_SUFFIX
    content = bundle_files.read(path, bundle_files.GRAPH_BYTES_MAX if is_graph else bundle_files.ARRAYS_BYTES_MAX)
    found = hashlib.sha256(content).hexdigest()
    if found != expected_sha256:
        raise BundleError(f"{path.name}: sha256 is {found}, the manifest says {expected_sha256}")
    if is_graph:
        try:
            onnx_wire.check(content)
        except BundleError as error:
            raise BundleError(f"{path.name}: {error}") from error
    return content


def _folder_problems(folder: Path, manifest: Manifest) -> Iterator[str]:
    names = [graph.file for graph in manifest.graphs.values()]
    if len(set(names)) < len(names):
        yield "manifest.json: graphs: two graphs of one file"
    for name in sorted({path.name for path in folder.iterdir()} - {MANIFEST_NAME, *_files(manifest)}):
        yield f"{name}: not in the manifest"


def _interface_problems(manifest: Manifest) -> Iterator[str]:
    """What the manifest says of its graphs against what each role must be."""
    for role, graph in manifest.graphs.items():
        inputs, outputs = _interface(role, manifest)
        for side, found, wanted in (("inputs", graph.inputs, inputs), ("outputs", graph.outputs, outputs)):
            if [(t.name, t.dtype) for t in found] != [(t.name, t.dtype) for t in wanted]:
                names = ", ".join(f"{t.name} {t.dtype}" for t in wanted)
                yield f"manifest.json: graphs.{role}.{side}: must be {names}"
                continue
            for tensor, expected in zip(found, wanted, strict=True):
                if expected.shape and not _agree(tensor.shape, expected.shape):
                    text = f"{list(tensor.shape)}, must be {list(expected.shape)}"
                    yield f"manifest.json: graphs.{role}.{side}.{tensor.name}: shape {text}"
    if manifest.certificate.tolerance > TOLERANCE_MAX:
        yield f"manifest.json: certificate.tolerance: {manifest.certificate.tolerance}, at most {TOLERANCE_MAX}"


def _interface(role: GraphRole, manifest: Manifest) -> tuple[list[Tensor], list[Tensor]]:
    """Inputs and outputs of a graph of this role; a carry's shape is the family's business and left empty."""
    window, features = manifest.rules.window, manifest.features
    ticks = Tensor(name="ticks", dtype="float64", shape=("batch", 2, len(manifest.columns)))
    row = Tensor(name="row", dtype="float32", shape=("batch", features))
    forecast = Tensor(name="forecast", dtype="float32", shape=("batch", len(manifest.horizons)))
    attention = Tensor(name="attention", dtype="float32", shape=("batch", window))
    carry = [Tensor(name=pair.finish_input, dtype="float32", shape=()) for pair in manifest.carry]
    if role == "features":
        return [ticks], [row]
    if role == "window":
        rows = Tensor(name="rows", dtype="float32", shape=("batch", window, features))
        return [rows], [forecast, *([attention] if manifest.attention else [])]
    if role == "prefix":
        rows = Tensor(name="rows", dtype="float32", shape=("batch", "rows", features))
        return [rows], [Tensor(name=pair.prefix_output, dtype="float32", shape=()) for pair in manifest.carry]
    if role in ("anchor", "carried", "fold"):
        return _carried_interface(role, manifest, forecast, ticks, row)
    following = [Tensor(name=pair.finish_output, dtype="float32", shape=()) for pair in manifest.carry]
    if role == "finish" and "step" in manifest.graphs:
        return [ticks, *carry], [forecast, row]
    return [ticks, *carry], [forecast, row, *following]


def _carried_interface(
    role: GraphRole, manifest: Manifest, forecast: Tensor, ticks: Tensor, row: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """The same for the graphs of the mode `carried`; there is a ring where the step graph reads items of one."""
    rows = Tensor(name="rows", dtype="float32", shape=("batch", manifest.rules.window, manifest.features))
    names = ("carried_state", "carried_ring", "stays", "item", "next_carried_state", "next_carried_ring")
    state, ring, stays, item, next_state, next_ring = (Tensor(name=name, dtype="float32", shape=()) for name in names)
    has_ring = any(tensor.name == stays.name for tensor in manifest.graphs["carried"].inputs)
    if role == "anchor":
        return [rows], [forecast, next_state, *([next_ring] if has_ring else [])]
    if role == "fold":
        return [state, ring], [next_state, next_ring]
    return [ticks, state, *([stays] if has_ring else [])], [forecast, row, next_state, *([item] if has_ring else [])]


def _agree(found: tuple[int | str, ...], wanted: tuple[int | str, ...]) -> bool:
    """Same rank, same fixed dimensions, and a varying one (whatever its name) where one must vary."""
    return len(found) == len(wanted) and all(
        isinstance(have, str) if isinstance(need, str) else have == need
        for have, need in zip(found, wanted, strict=True)
    )


@dataclass(frozen=True)
class _GoldenExpected:
    """What the manifest says of a file of golden windows."""

    ticks_shape: tuple[int, ...]
    forecast_shape: tuple[int, ...]
    kinds: dict[str, int]


def _golden_expected(manifest: Manifest) -> dict[str, _GoldenExpected]:
    length = manifest.rules.window + ("features" in manifest.graphs)
    columns, horizons = len(manifest.columns), len(manifest.horizons)
    given, carried = manifest.certificate, manifest.carried
    windows = _GoldenExpected((given.cases, length, columns), (given.cases, horizons), given.case_kinds)
    if carried is None:
        return {GOLDEN_NAME: windows}
    runs = (carried.cases, length + carried.steps, columns), (carried.cases, 1 + carried.steps, horizons)
    return {GOLDEN_NAME: windows, CARRIED_GOLDEN_NAME: _GoldenExpected(*runs, carried.case_kinds)}


def _golden(name: str, content: bytes, expected: _GoldenExpected, problems: list[str]) -> Golden | None:
    try:
        arrays = bundle_files.arrays(content, GOLDEN_ARRAYS)
    except BundleError as error:
        problems.append(f"{name}: {error}")
        return None
    golden = Golden(arrays["ticks"], arrays["forecast"], arrays["kind"])
    problems += [f"{name}: {problem}" for problem in _golden_problems(golden, expected)]
    return golden


def _golden_problems(golden: Golden, expected: _GoldenExpected) -> Iterator[str]:
    wanted = (
        ("ticks", golden.ticks, np.dtype(np.float64), expected.ticks_shape),
        ("forecast", golden.forecast, np.dtype(np.float32), expected.forecast_shape),
    )
    for name, array, dtype, shape in wanted:
        if (array.dtype, array.shape) != (dtype, shape):
            yield f"{name} is {array.dtype} {array.shape}, must be {dtype} {shape}"
        elif not np.isfinite(array).all():
            yield f"{name} holds values that are not finite"
    if golden.kind.dtype.kind != "U" or golden.kinds() != expected.kinds:
        yield "kinds are not those of the certificate"
