"""What a bundle says of itself: `manifest.json`, and nothing the daemon must know of a model lies elsewhere."""

import hashlib
import itertools
import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tickcast import bundle_files
from tickcast.errors import BundleError

MANIFEST_NAME = "manifest.json"
GOLDEN_NAME = "golden.npz"
CARRIED_GOLDEN_NAME = "carried.npz"

# A column of this name is not read from the record: the windows module computes it, from int64 nanoseconds.
SECONDS_SINCE_PREVIOUS = "seconds_since_previous"

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
GraphRole = Literal["features", "window", "prefix", "finish", "step", "anchor", "carried", "fold"]


class Part(BaseModel):
    """A part of the manifest: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class WindowRules(Part):
    """What decides which ticks share a window; part of the model, so it travels with it."""

    window: int = Field(ge=1, le=65_536, description="rows in a window")
    sampling: Literal["all", "on_change", "grid_ms"] = Field("all", description="which ticks make a row")
    change_columns: tuple[str, ...] = Field(
        (), description="`on_change`: a row where one of these differs from the previous tick"
    )
    grid_ms: int = Field(
        0, ge=0, description="`grid_ms`: a row where floor(event_time / grid) differs from the previous tick's"
    )
    max_gap_s: float | None = Field(None, gt=0, description="a longer silence starts a fresh run")
    order: Literal["accept", "skip", "reset"] = Field("accept", description="a tick whose event time goes backwards")
    duplicates: Literal["accept", "skip"] = Field(
        "accept", description="a tick with the previous tick's sequence number"
    )

    @model_validator(mode="after")
    def _sampling_has_what_it_needs(self) -> "WindowRules":
        if self.sampling == "on_change" and not self.change_columns:
            raise ValueError("sampling = on_change needs change_columns")
        if self.sampling == "grid_ms" and not self.grid_ms:
            raise ValueError("sampling = grid_ms needs grid_ms > 0")
        return self

    def text(self) -> str:
        """One canonical line, the same for equal rules: what rule hashes are made of."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))


class Tensor(Part):
    """An input or output of a graph; a dimension that varies is given by name."""

    name: str
    dtype: Literal["float32", "float64"]
    shape: tuple[int | str, ...]


class Graph(Part):
    """One ONNX file."""

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+\.onnx$")]
    sha256: Sha256
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class CarryPair(Part):
    """One tensor handed from prefix to finish and to step, and the name under which step hands on its successor.

    Without a step graph finish does.
    """

    prefix_output: str
    finish_input: str
    finish_output: str


class GraphCertificate(Part):
    """How far one path through the graphs was from the reference over all golden windows."""

    path: Literal["window", "finish"]
    error_max: float = Field(ge=0, description="largest |graph - reference| / max(target_scale, |reference|)")
    error_p99: float = Field(ge=0)


class Certificate(Part):
    """What was checked when the bundle was made."""

    reference: Literal["keras", "onnxruntime-cpu"] = Field(description="whose answers the golden windows carry")
    cases: int = Field(ge=1)
    case_kinds: dict[str, int] = Field(description="kind of golden window -> how many")
    tolerance: float = Field(gt=0)
    graphs: tuple[GraphCertificate, ...] = Field(min_length=1)


class Distance(Part):
    """How far carried answers were from the windowed ones, each tick by its horizon that is farthest off."""

    median: float = Field(ge=0)
    p99: float = Field(ge=0)
    maximum: float = Field(ge=0)


class CarriedCertificate(Part):
    """What was checked and measured of the mode `carried`: it answers another question than the window does."""

    interval_offsets: int = Field(ge=1, description="a symbol's state is re-anchored once in so many partition offsets")
    cases: int = Field(ge=1, description="golden runs, a window and the steps after it")
    steps: int = Field(ge=1)
    case_kinds: dict[str, int] = Field(description="kind of golden run -> how many")
    error_max: float = Field(ge=0, description="largest |graph - Keras| / max(target_scale, |Keras|), every step")
    error_p99: float = Field(ge=0)
    golden_sha256: Sha256
    ticks: int = Field(ge=1, description="validation ticks over which the distance was measured")
    runs: int = Field(ge=1, description="how many runs they make, each anchored once, at its first window")
    distance: Distance = Field(description="to the windowed answer, in units of target_scale")
    distance_absolute: Distance = Field(description="the same in `unit`")
    windowed_spread: float = Field(ge=0, description="the windowed answers' root mean square, in units of target_scale")


class Bands(Part):
    """How far off the forecasts were on validation ticks: what bands around them begin with (split conformal)."""

    level: float = Field(gt=0, lt=1, description="share of what happens that a band is to hold")
    levels: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        min_length=1, max_length=1_000, description="levels that half-widths are known for, ascending"
    )
    half_widths: tuple[tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...], ...] = Field(
        description="for each of `levels` one per horizon, in `unit`: quantiles of the absolute error"
    )
    cases: int = Field(ge=1, description="validation windows that they are of")

    @model_validator(mode="after")
    def _is_a_curve(self) -> "Bands":
        if list(self.levels) != sorted(set(self.levels)):
            raise ValueError("levels ascend")
        if len(self.half_widths) != len(self.levels):
            raise ValueError("half_widths: one line for each of levels")
        for narrower, wider in itertools.pairwise(self.half_widths):
            if len(narrower) != len(wider) or any(a > b for a, b in zip(narrower, wider, strict=True)):
                raise ValueError("half_widths: every line has as many, none smaller than in the line before")
        return self


class Manifest(Part):
    """The whole of `manifest.json`."""

    schema_version: Literal[1] = 1
    name: Name
    version: Name
    family: str = Field(description="`stacked`, `additive`, `seq2seq` or `foreign`")
    columns: tuple[str, ...] = Field(min_length=1, description="columns of a raw tick, in order; float64")
    reference_columns: tuple[str, ...] = Field(
        description="columns whose mean is `reference_mid`; empty: there is none"
    )
    features: int = Field(ge=1, le=65_536, description="width of a feature row")
    feature_names: tuple[str, ...]
    rules: WindowRules
    horizons: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        min_length=1, max_length=1_000, description="sampled ticks ahead, one per forecast value"
    )
    target: str
    unit: str
    target_scale: float = Field(gt=0, description="standard deviation of the target: the unit of every tolerance")
    graphs: dict[GraphRole, Graph]
    carry: tuple[CarryPair, ...] = ()
    attention: bool = Field(False, description="the window graph has a second output `attention` [batch, window]")
    opset: int
    tools: dict[str, str] = Field(description="tool -> version that made the bundle")
    certificate: Certificate
    carried: CarriedCertificate | None = Field(None, description="without it the mode `carried` is refused")
    bands: Bands | None = Field(None, description="without it forecasts carry no bands")
    golden_sha256: Sha256
    content_sha256: Sha256 | Literal[""] = Field("", description="of everything else in here, as `digest` computes it")
    training: dict[str, object] = Field(
        default_factory=dict, description="how it was trained and its test error against persistence"
    )
    reference_quantiles: dict[str, tuple[float, ...]] = Field(
        default_factory=dict, description="column -> quantiles in training"
    )
    symbols: tuple[str, ...] = Field((), description="names or shell patterns of the symbols it was trained for")

    @model_validator(mode="after")
    def _graphs_fit_together(self) -> "Manifest":
        if "window" not in self.graphs:
            raise ValueError("graphs: a window graph is required")
        if ("prefix" in self.graphs) != ("finish" in self.graphs) or ("finish" in self.graphs) != bool(self.carry):
            raise ValueError("graphs: prefix, finish and carry go together")
        if "finish" in self.graphs and "features" not in self.graphs:
            raise ValueError("graphs: finish takes raw ticks and needs a feature graph")
        if "step" in self.graphs and "finish" not in self.graphs:
            raise ValueError("graphs: step is of no use without finish")
        if ("anchor" in self.graphs) != (self.carried is not None) or ("carried" in self.graphs) != (
            "anchor" in self.graphs
        ):
            raise ValueError("graphs: anchor, carried and the certificate `carried` go together")
        if self.bands is not None and len(self.bands.half_widths[0]) != len(self.horizons):
            raise ValueError("bands: half_widths has one value per horizon")
        if "fold" in self.graphs and self.carried is None:
            raise ValueError("graphs: fold is of no use without anchor and carried")
        if "carried" in self.graphs and ("features" not in self.graphs or self.rules.window < 2):
            raise ValueError("graphs: carried takes raw ticks and needs a feature graph, and a window of two rows")
        if SECONDS_SINCE_PREVIOUS in self.columns[:-1]:
            raise ValueError(f"columns: {SECONDS_SINCE_PREVIOUS} stands last")
        return self

    @property
    def record_columns(self) -> tuple[str, ...]:
        """The columns that are read from a record."""
        return tuple(column for column in self.columns if column != SECONDS_SINCE_PREVIOUS)


def digest(manifest: Manifest) -> str:
    """What `content_sha256` must be: the sha256 of the manifest without it.

    A section that is not there counts for nothing: bundles keep their digest when a new one is thought of.
    """
    bare = manifest.model_copy(update={"content_sha256": ""})
    absent = {name for name in ("carried", "bands") if getattr(bare, name) is None}
    return hashlib.sha256(bare.model_dump_json(exclude=absent).encode()).hexdigest()


def sealed(manifest: Manifest) -> Manifest:
    """`manifest` with its digest in it, as it is written."""
    return manifest.model_copy(update={"content_sha256": digest(manifest)})


def read(folder: Path) -> tuple[Manifest, str]:
    """The manifest of the bundle in `folder`, and its sha256: the bundle's identity. Raises BundleError."""
    path = folder / MANIFEST_NAME
    try:
        content = bundle_files.read(path, bundle_files.MANIFEST_BYTES_MAX)
    except BundleError as error:
        hint = "" if folder.is_dir() else "; a bundle is a folder made by `tickcast export`"
        raise BundleError(f"{folder}: {error}{hint}") from error
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        problems = (f"{path}: {'.'.join(map(str, p['loc']))}: {p['msg']}" for p in error.errors())
        raise BundleError("\n".join(problems)) from error
    if manifest.content_sha256 != digest(manifest):
        raise BundleError(f"{path}: content_sha256 does not hold: it was changed after `tickcast export` wrote it")
    return manifest, hashlib.sha256(content).hexdigest()
