"""The parts of a pipeline put together, in the one way there is: for the daemon and for what measures it."""

from collections.abc import Callable
from typing import NamedTuple

from tickcast import carried_parity, codec
from tickcast.board import Board
from tickcast.carried_engine import CarriedEngine
from tickcast.carried_inference import CarriedInference
from tickcast.carries import Carries
from tickcast.clients import Client
from tickcast.clock import Clock
from tickcast.config import Config, InferenceConfig
from tickcast.deliveries import Deliveries
from tickcast.engine import Engine
from tickcast.inference import Inference
from tickcast.instruments import Instruments, StageTimer
from tickcast.ownership import Ownership
from tickcast.pipeline import Pipeline
from tickcast.publisher import Publisher
from tickcast.row_pool import RowPool


class Assembly(NamedTuple):
    """What the loop's owner needs of it: `pipeline.turn()`, and what is owned."""

    pipeline: Pipeline
    ownership: Ownership


def assemble(
    config: Config, engine: Engine, client: Client, board: Board, clock: Clock, alive: Callable[[], None]
) -> Assembly:
    """A pipeline over `client`, which joins its group with it; `alive` is called while the loop waits for the cluster.

    Raises ConfigurationError for an input mapping that does not fit the bundle, BundleError for a bundle that is not
    certified for the mode asked for.
    """
    manifest = engine.bundle.manifest
    instruments = Instruments(board, clock, config.kafka.input_topics, manifest.horizons)
    deliveries = Deliveries(clock)
    rows = RowPool(manifest.rules.window, manifest.features)
    inference, windows_dropped = _inference(config.inference, engine, rows, instruments.stages)
    ownership = Ownership(config, manifest, client, deliveries, instruments, clock, alive, windows_dropped)
    pipeline = Pipeline(
        config,
        client,
        codec.decoder(config.input, manifest.record_columns),
        inference,
        Publisher(config, engine.bundle, client, instruments, clock),
        ownership,
        deliveries,
        instruments,
        clock,
    )
    client.subscribe(config.kafka.input_topics, ownership)
    return Assembly(pipeline, ownership)


def _inference(
    config: InferenceConfig, engine: Engine, rows: RowPool, stages: StageTimer
) -> tuple[Inference | CarriedInference, Callable[[], None]]:
    """What answers in the mode asked for, and what to tell it when windows were dropped."""
    if config.mode == "carried":
        carried = CarriedEngine(engine.bundle, config)
        carried_parity.warm(carried, engine.features)
        return CarriedInference(engine, carried, rows, stages), lambda: None  # states go with their windows' slots
    carries = Carries(engine, rows, config.carries_bytes_max)
    return Inference(engine, rows, carries, stages, config.threads), carries.clear
