"""A bundle read from disk, once, with every hash checked: what cannot be vouched for is not loaded.

The bytes that are hashed are the bytes that are used. Whether the graphs compute what Keras computed is `parity`'s.
"""

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tickcast.errors import BundleError
from tickcast.manifest import GOLDEN_NAME, MANIFEST_NAME, GraphRole, Manifest, Tensor, read

# The promise of every bundle; a manifest may promise more, not less.
TOLERANCE_MAX = 1e-5

# How a graph says that its weights lie in another file: the key of an `external_data` entry, as protobuf writes it.
EXTERNAL_DATA = b"\x0a\x08location"

GOLDEN_ARRAYS = ("forecast", "kind", "ticks")


@dataclass(frozen=True)
class Golden:
    """Windows of raw ticks and the reference's answers to them.

    With a feature graph a window has one tick more than rows; without, its rows are its ticks.
    """

    ticks: NDArray[np.float64]  # [cases, window (+ 1), columns]
    forecast: NDArray[np.float32]  # [cases, horizons], price units
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


def load(folder: Path) -> Bundle:
    """Read and check the bundle in `folder`. Raises BundleError naming every problem at once."""
    if (folder / MANIFEST_NAME).is_symlink():
        raise BundleError(f"{folder / MANIFEST_NAME}: a symbolic link")
    manifest, sha256 = read(folder)
    problems = [*_interface_problems(manifest), *_folder_problems(folder, manifest)]
    contents: dict[str, bytes] = {}
    for name, expected in _files(manifest).items():
        try:
            contents[name] = _content(folder / name, expected)
        except BundleError as error:
            problems.append(str(error))
    outside = sorted(name for name, content in contents.items() if name != GOLDEN_NAME and EXTERNAL_DATA in content)
    problems += [f"{name}: keeps weights in another file" for name in outside]
    golden = _golden(contents[GOLDEN_NAME], manifest, problems) if GOLDEN_NAME in contents else None
    if problems or golden is None:
        raise BundleError("\n".join(f"{folder}: {problem}" for problem in problems))
    return Bundle(folder, manifest, sha256, {role: contents[g.file] for role, g in manifest.graphs.items()}, golden)


def _files(manifest: Manifest) -> dict[str, str]:
    """File name -> sha256, of every file but the manifest."""
    return {graph.file: graph.sha256 for graph in manifest.graphs.values()} | {GOLDEN_NAME: manifest.golden_sha256}


def _content(path: Path, expected_sha256: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        reason = "a symbolic link" if path.is_symlink() else error.strerror
        raise BundleError(f"{path.name}: cannot be read: {reason}") from error
    with os.fdopen(descriptor, "rb") as file:
        content = file.read()
    found = hashlib.sha256(content).hexdigest()
    if found != expected_sha256:
        raise BundleError(f"{path.name}: sha256 is {found}, the manifest says {expected_sha256}")
    return content


def _folder_problems(folder: Path, manifest: Manifest) -> Iterator[str]:
    names = [graph.file for graph in manifest.graphs.values()]
    if len(set(names)) < len(names):
        yield "manifest.json: graphs: two graphs of one file"
    for name in sorted({path.name for path in folder.iterdir()} - set(names) - {MANIFEST_NAME, GOLDEN_NAME}):
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
    following = [Tensor(name=pair.finish_output, dtype="float32", shape=()) for pair in manifest.carry]
    return [ticks, *carry], [forecast, row, *following]


def _agree(found: tuple[int | str, ...], wanted: tuple[int | str, ...]) -> bool:
    """Same rank, same fixed dimensions, and a varying one (whatever its name) where one must vary."""
    return len(found) == len(wanted) and all(
        isinstance(have, str) if isinstance(need, str) else have == need
        for have, need in zip(found, wanted, strict=True)
    )


def _golden(content: bytes, manifest: Manifest, problems: list[str]) -> Golden | None:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            if sorted(arrays.files) != list(GOLDEN_ARRAYS):
                problems.append(f"{GOLDEN_NAME}: holds {sorted(arrays.files)}, must hold {list(GOLDEN_ARRAYS)}")
                return None
            golden = Golden(arrays["ticks"], arrays["forecast"], arrays["kind"])
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        problems.append(f"{GOLDEN_NAME}: not arrays: {error}")
        return None
    problems += _golden_problems(golden, manifest)
    return golden


def _golden_problems(golden: Golden, manifest: Manifest) -> Iterator[str]:
    cases = manifest.certificate.cases
    length = manifest.rules.window + ("features" in manifest.graphs)
    wanted = (
        ("ticks", golden.ticks, np.dtype(np.float64), (cases, length, len(manifest.columns))),
        ("forecast", golden.forecast, np.dtype(np.float32), (cases, len(manifest.horizons))),
    )
    for name, array, dtype, shape in wanted:
        if (array.dtype, array.shape) != (dtype, shape):
            yield f"{GOLDEN_NAME}: {name} is {array.dtype} {array.shape}, must be {dtype} {shape}"
        elif not np.isfinite(array).all():
            yield f"{GOLDEN_NAME}: {name} holds values that are not finite"
    if golden.kind.dtype.kind != "U" or golden.kinds() != manifest.certificate.case_kinds:
        yield f"{GOLDEN_NAME}: kinds are not those of the certificate"
