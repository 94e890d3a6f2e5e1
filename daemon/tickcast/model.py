"""One bundle ready to answer: all of it that takes time to make, so that a reload can make it beside the loop.

Before the way of a tick.
"""

from collections.abc import Sequence
from typing import NamedTuple

from tickcast import bundle, carried_parity, codec, commit_note
from tickcast.carried_engine import CarriedEngine
from tickcast.codec import Decoder
from tickcast.config import Config
from tickcast.engine import Engine
from tickcast.manifest import Manifest
from tickcast.parity import PathParity


class Model(NamedTuple):
    """A bundle's graphs, warm and verified on the provider in use, and what reads the columns they ask for."""

    engine: Engine
    carried: CarriedEngine | None  # in the mode `carried`
    decoder: Decoder
    parity: Sequence[PathParity]  # how far each path was from the reference, on this machine

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of itself."""
        return self.engine.bundle.manifest

    @property
    def sha256(self) -> str:
        """The bundle's identity."""
        return self.engine.bundle.sha256


def load(config: Config) -> Model:
    """The configuration's bundle, read, verified and warm.

    Raises BundleError, ProviderError where the provider cannot be had, and as `around` does.
    """
    engine = Engine(bundle.load(config.models[0].bundle), config.inference)
    engine.warm()
    return around(engine, config)


def around(engine: Engine, config: Config) -> Model:
    """`engine`, which is warm, with whatever else the mode asks for.

    Raises ConfigurationError for an input mapping that does not fit the bundle, BundleError for a bundle that is not
    certified for the mode.
    """
    decoder = codec.configured(config, engine.bundle.manifest.record_columns)
    if config.inference.mode != "carried":
        return Model(engine, None, decoder, engine.parity)
    carried = CarriedEngine(engine.bundle, config.inference)
    stepped = carried_parity.warm(carried, engine.features)
    return Model(engine, carried, decoder, [*engine.parity, *stepped])


def windows_go_on(config: Config, old: Manifest, new: Manifest) -> bool:
    """Whether the windows that were filled for one bundle are, row by row, those of the other.

    They are where the same ticks make the same rows: by equal rules and columns and the same feature graph. In the mode
    `carried` states are no function of the window, and start anew only where windows are read again.
    """
    same_ticks = commit_note.rules_hash(config, old) == commit_note.rules_hash(config, new)
    return same_ticks and _row_maker(old) == _row_maker(new) and config.inference.mode != "carried"


def _row_maker(manifest: Manifest) -> tuple[int, str]:
    """What makes rows of ticks; without a feature graph they are the ticks."""
    graph = manifest.graphs.get("features")
    return manifest.features, graph.sha256 if graph else ""
