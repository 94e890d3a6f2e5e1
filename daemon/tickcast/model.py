"""The configured bundles ready to answer: all that takes time to make, so that a reload can make it beside the loop.

Before the way of a tick.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tickcast import attention, bundle, carried_parity, codec_framed, codec_routed, commit_note, shadow_fit, symbols
from tickcast.carried_engine import CarriedEngine
from tickcast.codec import Decoder
from tickcast.config import Config, ModelConfig
from tickcast.engine import Engine
from tickcast.known_schemas import Schemas
from tickcast.manifest import Manifest
from tickcast.parity import PathParity
from tickcast.symbols import Route


class Model(NamedTuple):
    """A bundle's graphs, warm and verified on the provider in use."""

    engine: Engine
    carried: CarriedEngine | None  # in the mode `carried`
    parity: Sequence[PathParity]  # how far each path was from the reference, on this machine
    shadow: Engine | None = None  # of a second bundle for the same ticks

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of itself."""
        return self.engine.bundle.manifest

    @property
    def sha256(self) -> str:
        """The bundle's identity."""
        return self.engine.bundle.sha256


class Models(NamedTuple):
    """All that answer, in the configuration's order, and what they share: whose a symbol is, what reads a record."""

    each: tuple[Model, ...]
    route: Route
    decoder: Decoder

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """What the bundles say of themselves."""
        return tuple(model.manifest for model in self.each)

    @property
    def schemas(self) -> Schemas | None:
        """What is known of the registry's schemas; None where records name none."""
        return codec_framed.schemas_of(self.decoder)


def load(config: Config) -> Models:
    """The configured bundles, read, verified and warm. Raises as `load_one` and `together` do."""
    return together(config, [load_one(config, entry) for entry in config.models])


def load_one(config: Config, entry: ModelConfig) -> Model:
    """The bundle of one entry of the configuration, read, verified and warm.

    Raises BundleError, ProviderError where the provider cannot be had, and as `around` does.
    """
    engine = Engine(bundle.load(entry.bundle), config.inference)
    engine.warm()
    shadow = None if entry.shadow is None else load_shadow(config, entry.shadow, engine.bundle.manifest)
    return around(engine, config)._replace(shadow=shadow)


def load_shadow(config: Config, folder: Path, answering: Manifest) -> Engine:
    """The bundle in `folder`, verified and warm, beside the one of `answering`.

    Raises BundleError, also where it cannot answer the same ticks, and ProviderError.
    """
    loaded = bundle.load(folder)
    shadow_fit.check(answering, loaded.manifest, config.inference.mode)
    engine = Engine(loaded, config.inference.model_copy(update={"finish_path": False}))
    engine.warm()
    return engine


def around(engine: Engine, config: Config) -> Model:
    """`engine`, which is warm, with whatever else the mode asks for.

    Raises BundleError for a bundle that is not certified for the mode.
    """
    if config.inference.mode != "carried":
        return Model(engine, None, engine.parity)
    carried = CarriedEngine(engine.bundle, config.inference)
    stepped = carried_parity.warm(carried, engine.features)
    return Model(engine, carried, [*engine.parity, *stepped])


def together(config: Config, each: Sequence[Model]) -> Models:
    """The models of the configuration's entries, with what they share.

    Raises ConfigurationError for an input mapping, or symbols in `output.attention`, that do not fit the bundles.
    """
    manifests = [model.manifest for model in each]
    route = symbols.route(config.models, manifests)
    shadows = [None if model.shadow is None else model.shadow.bundle.manifest for model in each]
    attention.check(config, manifests, shadows)
    return Models(tuple(each), route, codec_routed.configured(config, manifests, route))


def windows_go_on(config: Config, old: Sequence[Manifest], new: Sequence[Manifest]) -> bool:
    """Whether the windows that were filled for some bundles are, row by row, those of others in their places.

    They are where the same ticks make the same rows: by equal rules and columns and the same feature graph. In the mode
    `carried` states are no function of the window, and start anew only where windows are read again.
    """
    same_ticks = commit_note.rules_hash(config, old) == commit_note.rules_hash(config, new)
    same_rows = all(_row_maker(was) == _row_maker(now) for was, now in zip(old, new, strict=True))
    return same_ticks and same_rows and config.inference.mode != "carried"


def _row_maker(manifest: Manifest) -> tuple[int, str]:
    """What makes rows of ticks; without a feature graph they are the ticks."""
    graph = manifest.graphs.get("features")
    return manifest.features, graph.sha256 if graph else ""
