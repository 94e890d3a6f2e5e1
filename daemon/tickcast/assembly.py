"""The parts of a pipeline put together, in the one way there is: for the daemon and for what measures it.

Also the one way its model is swapped for another: between two turns, when nothing is half processed.
"""

import functools
from collections.abc import Callable
from math import nan
from typing import NamedTuple

from tickcast import clients, codec_framed, faults, forecast_formats, log
from tickcast.answering import AnsweringMaker, rows_of
from tickcast.board import Board, Gauge
from tickcast.clients import Client, Reader
from tickcast.clock import Clock
from tickcast.commits import AtLeastOnce, Commits
from tickcast.config import Config, KafkaConfig
from tickcast.deliveries import Deliveries
from tickcast.faults import Fault
from tickcast.instruments import Instruments
from tickcast.metrics import ANSWER_PATHS
from tickcast.model import Model, windows_go_on
from tickcast.offers import Offers
from tickcast.ownership import Ownership
from tickcast.pipeline import Pipeline
from tickcast.rebuilds import Rebuilds
from tickcast.schema_waits import SchemaGate
from tickcast.spotlight import Spotlight
from tickcast.takeovers import FenceOwner
from tickcast.tape import Tape
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
        tape: Tape,
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
        schemas = codec_framed.schemas_of(model.decoder)
        self.schema_gate = None if schemas is None else SchemaGate(schemas, clock)
        if self.schema_gate is not None:
            client = self.schema_gate.client(client)
        self.model = model
        self._config = config
        self._board = board
        self._fault = fault
        self._log = log.get("assembly")
        self._instruments = instruments = Instruments(board, clock, config.kafka.input_topics, model.manifest.horizons)
        self.deliveries = Deliveries(clock)
        offers = Offers(config, model.manifest)
        self.commits = COMMITS[config.kafka.delivery](
            config, client, offers, self.deliveries, instruments, clock, alive
        )
        encode, send = forecast_formats.encoder(config), self.commits.send
        self._maker = AnsweringMaker(config, board, tape, instruments, clock, encode, send, fault)
        self._answering = self._maker.of(model, rows_of(model))
        self.ownership = Ownership(
            config,
            model.manifest,
            client,
            offers,
            self.commits,
            self.deliveries,
            instruments,
            clock,
            Rebuilds(client, self._gated(open_reader or self._open_reader), instruments, clock),
            fence or functools.partial(_fence, config.kafka),
            lambda: self._answering.inference.forget_windows(),
        )
        self.pipeline = Pipeline(
            config, client, self._answering, self.ownership, self.commits, self.deliveries, instruments, clock
        )
        self._shown = self._show(model)
        client.subscribe(config.kafka.input_topics, self.ownership)

    def swap(self, model: Model) -> Swapped:
        """From the next turn on `model` answers. Call it between two turns.

        Of the old model nothing stays: carries are made anew. Raises BrokerError where the cluster does not answer what
        has to be asked before windows are filled anew; then nothing has changed.
        """
        was = self._answering
        was.recorder.flush()
        rows = was.rows
        go_on = windows_go_on(self._config, self.model.manifest, model.manifest)
        if go_on:
            self.ownership.adopt(model.manifest)
        else:
            self.ownership.reread(model.manifest)
            rows = rows_of(model)
        was.inference.close()
        self._instruments.forecast_ahead(model.manifest.horizons)
        if self.schema_gate is not None and (schemas := codec_framed.schemas_of(model.decoder)) is not None:
            self.schema_gate.adopt(schemas)
        retired: list[object] = [self.model, was]
        self._answering = self._maker.of(model, rows)
        self.pipeline.swap(self._answering)
        self.model = model
        self._shown.clear()
        self._shown = self._show(model)
        return Swapped(go_on, retired)

    def explain(self, spotlight: Spotlight) -> None:
        """Say what the symbol that somebody looks at leans on, if it is time. Call it between two turns."""
        spotlight.turn(self.model, self._answering.rows, self.ownership.states.values())

    def stay_warm(self) -> None:
        """A run for nobody, on whatever answers now."""
        self.model.engine.stay_warm()

    def _open_reader(self) -> Reader:
        kafka = self._config.kafka
        return faults.reader(clients.reader_of(kafka, self._config.instance_id), self._fault)

    def _gated(self, open_reader: Callable[[], Reader]) -> Callable[[], Reader]:
        gate = self.schema_gate
        return open_reader if gate is None else lambda: gate.reader(open_reader())

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
        for path in ANSWER_PATHS:
            measured = [each.error_max for each in model.parity if each.path == path]
            gauge = self._board.gauge("tickcast_certificate_error_ratio", path=path)
            gauge.set(max(measured, default=nan))  # nan: absent
        self._board.gauge("tickcast_certificate_tolerance_ratio").set(manifest.certificate.tolerance)
        self._board.gauge("tickcast_uncaptured_graphs").set(len(model.engine.uncaptured))
        for reason in model.engine.uncaptured:
            self._log.warning("graph runs without CUDA graphs", reason=reason)
        return shown


def _fence(config: KafkaConfig, owner: str) -> None:
    """End what the group's member `owner` has open, and that member."""
    clients.fence_of(config)(config, clients.transactional_id(config, owner))
