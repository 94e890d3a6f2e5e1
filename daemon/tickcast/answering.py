"""What answers: for each configured bundle the parts that are its own, made anew for each model and swapped as one."""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, Protocol

from tickcast import attention, faults, symbols
from tickcast.bands import LiveBands, scored_horizons
from tickcast.board import Board
from tickcast.carried_inference import CarriedInference
from tickcast.carries import Carries
from tickcast.clients import Partition
from tickcast.clock import Clock
from tickcast.codec import Decoder
from tickcast.config import Config
from tickcast.deliveries import Send
from tickcast.drift import Drift
from tickcast.engine import Engine
from tickcast.faults import Fault
from tickcast.inference import Answers, Inference
from tickcast.instruments import Instruments
from tickcast.model import Model, Models
from tickcast.publisher import Publisher, Received, Work, reference_mid_of
from tickcast.recorder import Recorder
from tickcast.records import Forecast
from tickcast.row_pool import RowPool
from tickcast.score_counters import ScoreCounters
from tickcast.scores import Scores
from tickcast.shadow import Shadow, ShadowRecords
from tickcast.state_kept import KeptState
from tickcast.symbols import Route
from tickcast.tape import Tape, Track


class Watcher(Protocol):
    """Whoever makes something of a poll once all its forecasts are on their way."""

    def note(self, work: Work, answers: Sequence[Answers], received: Received) -> None:
        """All of `work` is on its way; `answers` are the forecasts of those of its rows that got one."""

    def turn(self) -> None:
        """Once a turn of the loop: work off some of what is noted, if it is time."""

    def flush(self) -> None:
        """Work off all that is noted."""

    def keep(self, partitions: Collection[Partition]) -> None:
        """Those that are ours; others left, or are read anew."""

    def close(self) -> None:
        """Work off all that is noted, the last of this bundle's."""


class Answering(NamedTuple):
    """The parts of the way of a tick that are one bundle's own."""

    rows: RowPool
    inference: Inference | CarriedInference
    publisher: Publisher
    watchers: tuple[Watcher, ...]
    kept: KeptState | None = None  # what is to outlive the process; one of the watchers

    def close(self) -> None:
        """Another bundle answers from now on."""
        self.inference.close()
        for watcher in self.watchers:
            watcher.close()


class Answered(NamedTuple):
    """What one bundle had to answer in a poll, and did."""

    by: Answering
    work: Work
    answers: list[Answers]


class Answerings:
    """Those of all bundles, in the configuration's order, and what tells whose a tick is."""

    def __init__(self, each: Sequence[Answering], route: Route, decoder: Decoder) -> None:
        self.each = tuple(each)
        self.route = route
        self.decoder = decoder
        self._slices = 0  # of carries prepared: bundles take turns

    @property
    def carries_wanted(self) -> bool:
        """Whether a window of any bundle waits for a carry."""
        return any(answering.inference.carries_wanted for answering in self.each)

    def prepare(self) -> None:
        """Prepare a slice of the carries that one bundle wants."""
        if wanting := [answering.inference for answering in self.each if answering.inference.carries_wanted]:
            self._slices += 1
            wanting[self._slices % len(wanting)].prepare()

    def turn(self) -> None:
        """Once a turn of the loop: what the watchers have to do."""
        for answering in self.each:
            for watcher in answering.watchers:
                watcher.turn()

    def forget_windows(self, kept: Collection[Partition]) -> None:
        """Windows were dropped: what was prepared for them is void. Partitions `kept` are ours."""
        for answering in self.each:
            answering.inference.forget_windows()
            for watcher in answering.watchers:
                watcher.keep(kept)


class AnsweringMaker:
    """Makes them, for whatever models come."""

    def __init__(
        self,
        config: Config,
        board: Board,
        tape: Tape,
        instruments: Instruments,
        clock: Clock,
        encode: Callable[[Forecast], bytes],
        send: Send,
        fault: Fault | None,
        shadow_records: ShadowRecords,
        keeps_state: bool,
    ) -> None:
        self._keeps_state = keeps_state
        self._shadow_records = shadow_records
        self._config = config
        self._board = board
        self._tape = tape
        self._instruments = instruments
        self._clock = clock
        self._encode = encode
        self._send = send
        self._fault = fault

    def of(self, models: Models, rows: Sequence[RowPool], kept: Sequence[Answering | None]) -> Answerings:
        """What answers with `models` from now on, over the windows in `rows`: what is `kept` as it is, all else new."""
        if None in kept:
            told = [_told(model) for model in models.each]
            horizons = max(len(manifest.horizons) for manifest in models.manifests)
            self._tape.begin(horizons, told[0], told[1:])
        each = (
            answering or self._made(model, pool, place)
            for place, (model, pool, answering) in enumerate(zip(models.each, rows, kept, strict=True))
        )
        return Answerings(tuple(each), models.route, faults.decoder(models.decoder, self._fault))

    def _made(self, model: Model, rows: RowPool, place: int) -> Answering:
        bundle, bands = model.engine.bundle, self._bands(model, rows)
        recorder = self._recorder(model, rows, place)
        shadow = None if model.shadow is None else self._shadow(model.shadow, rows, place)
        kept = (
            KeptState(model.sha256, rows, recorder, bands, self._config.kafka.batch_bytes_max)
            if self._keeps_state
            else None
        )
        return Answering(
            rows,
            self._inference(model, rows, place),
            Publisher(self._config, bundle, self._encode, self._send, self._instruments, self._clock, bands),
            tuple(watcher for watcher in (recorder, bands, shadow, kept) if watcher is not None),
            kept,
        )

    def _shadow(self, engine: Engine, rows: RowPool, place: int) -> Shadow:
        entry = self._config.models[place]
        topic = entry.shadow_topic_of(self._config.kafka.output_topic)
        known = symbols.trained_symbols(entry, engine.bundle.manifest)
        return Shadow(engine, rows, topic, self._shadow_records, known, self._board, self._clock)

    def _bands(self, model: Model, rows: RowPool) -> LiveBands | None:
        """For a bundle that knows how far off it was in validation, about changes of a mid."""
        manifest = model.manifest
        if manifest.bands is None or not manifest.reference_columns:
            return None
        covered = ScoreCounters(self._board, scored_horizons(manifest)).count_bands
        begun = self._board.counter("tickcast_bands_begun_total")
        return LiveBands(manifest, rows, reference_mid_of(manifest), covered, begun, self._clock)

    def _inference(self, model: Model, rows: RowPool, place: int) -> Inference | CarriedInference:
        config, stages = self._config.inference, self._instruments.stages
        leaning = attention.of(self._config, place, model.engine)
        if model.carried is not None:
            return CarriedInference(model.engine, model.carried, rows, stages, leaning)
        carries = Carries(model.engine, rows, config.carries_bytes_max // len(self._config.models))
        return Inference(model.engine, rows, carries, stages, config.threads, leaning)

    def _recorder(self, model: Model, rows: RowPool, place: int) -> Recorder:
        manifest, horizons = model.manifest, len(model.manifest.horizons)
        scores, drift = Scores(self._board, manifest, rows), Drift(self._board, manifest)
        return Recorder(scores, drift, Track(self._tape, place), reference_mid_of(manifest), horizons, self._clock)


def rows_of(model: Model) -> RowPool:
    """Room for the windows that `model` answers."""
    return RowPool(model.manifest.rules.window, model.manifest.features)


def _told(model: Model) -> dict[str, object]:
    """What whoever looks at forecasts should know of where they come from."""
    manifest = model.manifest
    return {
        "name": manifest.name,
        "version": manifest.version,
        "sha256": model.sha256,
        "family": manifest.family,
        "provider": model.engine.provider,
        "window": manifest.rules.window,
        "horizons": manifest.horizons,
        "unit": manifest.unit,
        "target_scale": manifest.target_scale,
        "attention": manifest.attention,
    }
