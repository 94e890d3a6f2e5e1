"""A bundle put together and written: certified first, whole or not at all."""

import ctypes
import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import onnx
import onnxruntime
from tickcast import __version__, bundle
from tickcast.bundle import Bundle, Golden
from tickcast.errors import BundleError, UsageError
from tickcast.manifest import (
    CARRIED_GOLDEN_NAME,
    GOLDEN_NAME,
    MANIFEST_NAME,
    CarryPair,
    Graph,
    GraphRole,
    Manifest,
    sealed,
)

from tickcast_export.certificate import certify, uncertified
from tickcast_export.conversion import interface
from tickcast_export.model_card import ModelCard

TOOLS = ("tensorflow", "keras", "tf2onnx", "onnx")

# linux/fs.h: swap two paths in one step.
RENAME_EXCHANGE = 2
# A bundle is no secret, and whoever may write it says what is forecast: less where the umask asks for less, never more.
FOLDER_MODE, FILE_MODE = 0o755, 0o644
AT_FDCWD = -100


def draft(
    card: ModelCard,
    graphs: Mapping[GraphRole, onnx.ModelProto],
    carry: Sequence[CarryPair],
    golden: Golden,
    reference: str,
) -> Bundle:
    """A bundle in memory, not yet certified; `reference` says whose answers the golden windows carry."""
    contents = {role: model.SerializeToString(deterministic=True) for role, model in graphs.items()}
    manifest = Manifest(
        schema_version=1,
        name=card.name,
        version=card.version,
        family=card.family,
        columns=card.columns,
        reference_columns=card.reference_columns,
        features=len(card.feature_names),
        feature_names=card.feature_names,
        rules=card.rules,
        horizons=card.horizons,
        target=card.target,
        unit=card.unit,
        target_scale=card.target_scale,
        graphs={role: graph_entry(role, graphs[role], contents[role]) for role in graphs},
        carry=tuple(carry),
        attention=any(value.name == "attention" for value in graphs["window"].graph.output),
        opset=max(entry.version for entry in graphs["window"].opset_import if entry.domain in ("", "ai.onnx")),
        tools=_tools(),
        certificate=uncertified(golden, reference),
        golden_sha256=hashlib.sha256(golden.packed()).hexdigest(),
        training=card.training,
        reference_quantiles=card.reference_quantiles,
        symbols=card.symbols,
    )
    return Bundle(Path(card.name), manifest, "", contents, golden)


def write(unwritten: Bundle, out: Path, replace: bool = False) -> Bundle:
    """Certify and write the folder `out`; returns it as read back.

    Raises BundleError, with nothing written, where the graphs do not compute what the model computes; UsageError
    where `out` is there already. With `replace` a bundle that is there is exchanged in one step.
    """
    if out.exists() and not replace:
        raise UsageError(f"{out}: exists already; --force replaces it")
    if out.exists() and not (out / MANIFEST_NAME).is_file():
        raise UsageError(f"{out}: exists and is no bundle; not replaced")
    certified = unwritten.manifest.model_copy(update={"certificate": certify(unwritten)})
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(f".{out.name}.{os.getpid()}")
    unfinished.mkdir(FOLDER_MODE)
    try:
        _fill(unfinished, certified, unwritten)
        bundle.load(unfinished)
        _put_in_place(unfinished, out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return bundle.load(out)


def graph_entry(role: GraphRole, model: onnx.ModelProto, content: bytes) -> Graph:
    """What the manifest says of a graph."""
    return Graph(
        file=f"{role}.onnx",
        sha256=hashlib.sha256(content).hexdigest(),
        inputs=interface(model.graph.input),
        outputs=interface(model.graph.output),
    )


def _tools() -> dict[str, str]:
    versions = {tool: version(tool) for tool in TOOLS}
    return {"tickcast": __version__, "onnxruntime": onnxruntime.__version__, **versions}


def _fill(folder: Path, manifest: Manifest, content: Bundle) -> None:
    for role, graph in manifest.graphs.items():
        _write(folder / graph.file, content.graphs[role])
    _write(folder / GOLDEN_NAME, content.golden.packed())
    if content.carried_golden is not None:
        _write(folder / CARRIED_GOLDEN_NAME, content.carried_golden.packed())
    _write(folder / MANIFEST_NAME, sealed(manifest).model_dump_json(indent=2).encode())
    _sync(folder)


def _write(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put_in_place(unfinished: Path, out: Path) -> None:
    if out.exists():
        _exchange(unfinished, out)
    else:
        unfinished.rename(out)
    _sync(out.parent)


def _exchange(one: Path, other: Path) -> None:
    """Swap two folders: at no moment is either path missing. Raises BundleError where the file system cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise BundleError(f"{other}: cannot be replaced in one step ({reason}); move it away first")
