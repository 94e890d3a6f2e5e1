"""The parts of a pipeline put together, in the one way there is: for the daemon and for what measures it.

Also the one way its models are swapped for others: between two turns, when nothing is half processed.
"""

import functools
from collections.abc import Callable, Sequence
from math import nan
from typing import NamedTuple

from tickcast import attention, clients, faults, forecast_formats, log
from tickcast import state_topic as state_topics
from tickcast.answering import Answering, AnsweringMaker, Answerings, rows_of
from tickcast.board import Board, Gauge
from tickcast.clients import Client, Reader
from tickcast.clock import Clock
from tickcast.commits import AtLeastOnce, Commits
from tickcast.config import Config, KafkaConfig
from tickcast.deliveries import Deliveries
from tickcast.faults import Fault
from tickcast.instruments import Instruments
from tickcast.metrics import ANSWER_PATHS
from tickcast.model import Model, Models, windows_go_on
from tickcast.offers import Offers
from tickcast.ownership import Ownership
from tickcast.pipeline import Pipeline
from tickcast.rebuilds import Rebuilds
from tickcast.row_pool import RowPool
from tickcast.schema_waits import SchemaGate
from tickcast.shadow import ShadowRecords
from tickcast.spotlight import Spotlight
from tickcast.state_keeper import StateKeeper
from tickcast.state_restores import StateRestores
from tickcast.state_topic import StateTopic
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
    """A pipeline over a client, and the models that answer in it.

    What its owner needs: `pipeline.turn()`, what is owned, and `swap`.
    """

    def __init__(
        self,
        config: Config,
        models: Models,
        client: Client,
        board: Board,
        tape: Tape,
        clock: Clock,
        alive: Callable[[], None],
        fault: Fault | None = None,
        fence: FenceOwner | None = None,
        open_reader: Callable[[], Reader] | None = None,
        state_topic: StateTopic | None = None,
    ) -> None:
        """`client` joins its group with it; `alive` is called while the loop waits for the cluster.

        `fault` is where the process is to end in a crash test; `fence` ends a former owner, `open_reader` makes what
        reads back: by default as the configured client's library does. Without `state_topic` no live state is kept.
        """
        client = faults.client(client, fault)
        self.schema_gate = None if models.schemas is None else SchemaGate(models.schemas, clock)
        if self.schema_gate is not None:
            client = self.schema_gate.client(client)
        self.models = models
        self._config = config
        self._board = board
        self._fault = fault
        self._log = log.get("assembly")
        self._instruments = instruments = Instruments(board, clock, config.kafka.input_topics, _horizons(models))
        self.deliveries = Deliveries(clock)
        offers = Offers(config, models.manifests)
        self._keeper = StateKeeper(state_topic, config.kafka.group_id, offers, self.deliveries, board, clock)
        self.commits = COMMITS[config.kafka.delivery](
            config, client, offers, self.deliveries, self._keeper, instruments, clock, alive
        )
        encode, send = forecast_formats.encoder(config), self.commits.send
        records = ShadowRecords(encode, self.commits, self.deliveries, config.kafka)
        self._maker = AnsweringMaker(
            config, board, tape, instruments, clock, encode, send, fault, records, bool(state_topic)
        )
        rows = [rows_of(model) for model in models.each]
        self._answerings = self._made(models, rows, [None] * len(rows))
        self.ownership = Ownership(
            config,
            models.manifests,
            client,
            offers,
            self.commits,
            self.deliveries,
            instruments,
            clock,
            self._rebuilds(client, offers, open_reader or self._open_reader, clock),
            fence or functools.partial(_fence, config.kafka),
            self._windows_dropped,
        )
        self.pipeline = Pipeline(
            config, client, self._answerings, self.ownership, self.commits, self.deliveries, instruments, clock
        )
        self._shown = self._show(models)
        client.subscribe(config.kafka.input_topics, self.ownership)

    def swap(self, models: Models) -> Swapped:
        """From the next turn on `models` answer; those among them that did before go on. Call it between two turns.

        Of a model that goes nothing stays: carries are made anew. Raises BrokerError where the cluster does not answer
        what has to be asked before windows are filled anew; then nothing has changed.
        """
        pairs = list(zip(self._answerings.each, self.models.each, models.each, strict=True))
        for was, _, _ in pairs:
            for watcher in was.watchers:
                watcher.flush()
        go_on = windows_go_on(self._config, self.models.manifests, models.manifests)
        if go_on:
            self.ownership.adopt(models.manifests)
        else:
            self.ownership.reread(models.manifests)
        retired: list[object] = []
        for was, old, new in pairs:
            if new is not old:
                was.close()
                retired += [was, old]
        self._instruments.forecast_ahead(_horizons(models))
        if self.schema_gate is not None and models.schemas is not None:
            self.schema_gate.adopt(models.schemas)
        rows = [was.rows if go_on or new is old else rows_of(new) for was, old, new in pairs]
        kept = [was if new is old else None for was, old, new in pairs]
        self._answerings = self._made(models, rows, kept)
        if self._keeper.topic is None and (topic := state_topics.wanted(self._config, models.manifests)):
            self._log.warning("bands and scores are kept from the next start on only", topic=topic)
        self.pipeline.swap(self._answerings)
        self.models = models
        for shown in self._shown:
            shown.clear()
        self._shown = self._show(models)
        return Swapped(go_on, retired)

    def explain(self, spotlight: Spotlight) -> None:
        """Say what the symbol that somebody looks at leans on, if it is time. Call it between two turns."""
        spotlight.turn(self.models, self._answerings.each, self.ownership.states.values())

    def stay_warm(self) -> None:
        """A run for nobody, on whatever answers now."""
        for model in self.models.each:
            model.engine.stay_warm()

    def _made(self, models: Models, rows: Sequence[RowPool], kept: Sequence[Answering | None]) -> Answerings:
        """What answers with `models` from now on; what it knows is kept."""
        made = self._maker.of(models, rows, kept)
        self._keeper.adopt([answering.kept for answering in made.each])
        return made

    def _rebuilds(self, client: Client, offers: Offers, open_reader: Callable[[], Reader], clock: Clock) -> Rebuilds:
        restores = StateRestores(self._config.kafka, client, open_reader, self._keeper, offers, self._board, clock)
        return Rebuilds(client, self._gated(open_reader), restores, self._instruments, clock)

    def _windows_dropped(self) -> None:
        self._answerings.forget_windows(self.ownership.states)

    def _open_reader(self) -> Reader:
        kafka = self._config.kafka
        return faults.reader(clients.reader_of(kafka, self._config.instance_id), self._fault)

    def _gated(self, open_reader: Callable[[], Reader]) -> Callable[[], Reader]:
        gate = self.schema_gate
        return open_reader if gate is None else lambda: gate.reader(open_reader())

    def _show(self, models: Models) -> list[Gauge]:
        """Name the bundles on the board; and how far one is from its reference, the one nearest to its tolerance."""
        shown = []
        for model in models.each:
            told = model.manifest
            labels = {"name": told.name, "version": told.version, "sha256": model.sha256, "family": told.family}
            shown.append(self._board.gauge("tickcast_model_info", **labels))
            shown[-1].set(1)
        nearest = max(models.each, key=_strain)
        for path in ANSWER_PATHS:
            measured = [each.error_max for each in nearest.parity if each.path == path]
            gauge = self._board.gauge("tickcast_certificate_error_ratio", path=path)
            gauge.set(max(measured, default=nan))  # nan: absent
        self._board.gauge("tickcast_certificate_tolerance_ratio").set(nearest.manifest.certificate.tolerance)
        for remark in attention.remarks(self._config, models.manifests):
            self._log.warning("forecasts without attention", reason=remark)
        uncaptured = [reason for model in models.each for reason in model.engine.uncaptured]
        self._board.gauge("tickcast_uncaptured_graphs").set(len(uncaptured))
        for reason in uncaptured:
            self._log.warning("graph runs without CUDA graphs", reason=reason)
        return shown


def _horizons(models: Models) -> list[int]:
    """All that forecasts are made for."""
    return sorted({horizon for manifest in models.manifests for horizon in manifest.horizons})


def _strain(model: Model) -> float:
    """The model's largest error on this machine, as a share of what is tolerated."""
    return max((each.error_max for each in model.parity), default=0.0) / model.manifest.certificate.tolerance


def _fence(config: KafkaConfig, owner: str) -> None:
    """End what the group's member `owner` has open, and that member."""
    clients.fence_of(config)(config, clients.transactional_id(config, owner))
