"""The parts of a pipeline put together, in the one way there is: for the daemon and for what measures it.

Also the one way its model is swapped for another: between two turns, when nothing is half processed.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

from tickcast import clients, faults, log
from tickcast.board import Board, Gauge
from tickcast.carried_inference import CarriedInference
from tickcast.carries import Carries
from tickcast.clients import Client, Reader
from tickcast.clock import Clock
from tickcast.codec import Decoder
from tickcast.commits import AtLeastOnce, Commits
from tickcast.config import Config, KafkaConfig
from tickcast.deliveries import Deliveries
from tickcast.faults import Fault
from tickcast.inference import Inference
from tickcast.instruments import Instruments
from tickcast.model import Model, windows_go_on
from tickcast.offers import Offers
from tickcast.ownership import Ownership
from tickcast.pipeline import Pipeline
from tickcast.publisher import Publisher
from tickcast.rebuilds import Rebuilds
from tickcast.row_pool import RowPool
from tickcast.takeovers import FenceOwner
from tickcast.transactions import ExactlyOnce

# `kafka.delivery` -> how what was handed over comes to count.
COMMITS: dict[str, Callable[..., Commits]] = {"at_least_once": AtLeastOnce, "exactly_once": ExactlyOnce}


class Swapped(NamedTuple):
    """What came of a swap."""

    windows_go_on: bool  # else they are filled anew from the topic, before anything is answered
    retired: list[object]  # what answered before; to free it takes milliseconds


class Assembly:
    """A pipeline over a client, and the model that answers in it.

    What its owner needs: `pipeline.turn()`, what is owned, and `swap`.
    """

    def __init__(
        self,
        config: Config,
        model: Model,
        client: Client,
        board: Board,
        clock: Clock,
        alive: Callable[[], None],
        fault: Fault | None = None,
        fence: FenceOwner | None = None,
        open_reader: Callable[[], Reader] | None = None,
    ) -> None:
        """`client` joins its group with it; `alive` is called while the loop waits for the cluster.

        `fault` is where the process is to end in a crash test; `fence` ends a former owner, `open_reader`
        makes what reads windows back: by default as the configured client's library does.
        """
        client = faults.client(client, fault)
        self.model = model
        self._config = config
        self._board = board
        self._clock = clock
        self._fault = fault
        self._log = log.get("assembly")
        self._instruments = Instruments(board, clock, config.kafka.input_topics, model.manifest.horizons)
        self.deliveries = Deliveries(clock)
        self._rows = _rows(model)
        self._inference = self._inference_of(model)
        offers = Offers(config, model.manifest)
        self.commits = COMMITS[config.kafka.delivery](
            config, client, offers, self.deliveries, self._instruments, clock, alive
        )
        self.ownership = Ownership(
            config,
            model.manifest,
            client,
            offers,
            self.commits,
            self.deliveries,
            self._instruments,
            clock,
            Rebuilds(client, open_reader or self._open_reader, self._instruments, clock),
            fence or functools.partial(_fence, config.kafka),
            lambda: self._inference.forget_windows(),
        )
        self.pipeline = Pipeline(
            config,
            client,
            self._decoder_of(model),
            self._inference,
            self._publisher_of(model),
            self.ownership,
            self.commits,
            self.deliveries,
            self._instruments,
            clock,
        )
        self._shown = self._show(model)
        client.subscribe(config.kafka.input_topics, self.ownership)

    def swap(self, model: Model) -> Swapped:
        """From the next turn on `model` answers. Call it between two turns.

        Of the old model nothing stays: carries are made anew. Raises BrokerError where the cluster does not answer what
        has to be asked before windows are filled anew; then nothing has changed.
        """
        go_on = windows_go_on(self._config, self.model.manifest, model.manifest)
        if go_on:
            self.ownership.adopt(model.manifest)
        else:
            self.ownership.reread(model.manifest)
            self._rows = _rows(model)
        retired: list[object] = [self.model, self._inference]
        self._inference.close()
        self._inference = self._inference_of(model)
        self._instruments.forecast_ahead(model.manifest.horizons)
        self.pipeline.swap(self._decoder_of(model), self._inference, self._publisher_of(model))
        self.model = model
        self._shown.clear()
        self._shown = self._show(model)
        return Swapped(go_on, retired)

    def stay_warm(self) -> None:
        """A run for nobody, on whatever answers now."""
        self.model.engine.stay_warm()

    def _inference_of(self, model: Model) -> Inference | CarriedInference:
        config, stages = self._config.inference, self._instruments.stages
        if model.carried is not None:
            return CarriedInference(model.engine, model.carried, self._rows, stages)
        carries = Carries(model.engine, self._rows, config.carries_bytes_max)
        return Inference(model.engine, self._rows, carries, stages, config.threads)

    def _open_reader(self) -> Reader:
        kafka = self._config.kafka
        return faults.reader(clients.reader_of(kafka, self._config.instance_id), self._fault)

    def _decoder_of(self, model: Model) -> Decoder:
        return faults.decoder(model.decoder, self._fault)

    def _publisher_of(self, model: Model) -> Publisher:
        return Publisher(self._config, model.engine.bundle, self.commits.send, self._instruments, self._clock)

    def _show(self, model: Model) -> Gauge:
        manifest = model.manifest
        shown = self._board.gauge(
            "tickcast_model_info",
            name=manifest.name,
            version=manifest.version,
            sha256=model.sha256,
            family=manifest.family,
        )
        shown.set(1)
        self._board.gauge("tickcast_uncaptured_graphs").set(len(model.engine.uncaptured))
        for reason in model.engine.uncaptured:
            self._log.warning("graph runs without CUDA graphs", reason=reason)
        return shown


def _rows(model: Model) -> RowPool:
    return RowPool(model.manifest.rules.window, model.manifest.features)


def _fence(config: KafkaConfig, owner: str) -> None:
    """End what the group's member `owner` has open, and that member."""
    clients.fence_of(config)(config, clients.transactional_id(config, owner))
