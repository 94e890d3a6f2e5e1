"""What answers, all of it of one bundle: made anew for each model, and swapped as one."""

from collections.abc import Callable
from typing import NamedTuple

from tickcast import faults
from tickcast.board import Board
from tickcast.carried_inference import CarriedInference
from tickcast.carries import Carries
from tickcast.clock import Clock
from tickcast.codec import Decoder
from tickcast.commits import Send
from tickcast.config import Config
from tickcast.faults import Fault
from tickcast.inference import Inference
from tickcast.instruments import Instruments
from tickcast.model import Model
from tickcast.publisher import Publisher, reference_mid_of
from tickcast.recorder import Recorder
from tickcast.records import Forecast
from tickcast.row_pool import RowPool
from tickcast.scores import Scores
from tickcast.tape import Tape


class Answering(NamedTuple):
    """The parts of the way of a tick that are a bundle's own."""

    decoder: Decoder
    rows: RowPool
    inference: Inference | CarriedInference
    publisher: Publisher
    recorder: Recorder


class AnsweringMaker:
    """Makes them, for whatever model comes."""

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
    ) -> None:
        self._config = config
        self._board = board
        self._tape = tape
        self._instruments = instruments
        self._clock = clock
        self._encode = encode
        self._send = send
        self._fault = fault

    def of(self, model: Model, rows: RowPool) -> Answering:
        """What answers with `model` from now on, over the windows in `rows`; the tape begins anew."""
        bundle = model.engine.bundle
        return Answering(
            faults.decoder(model.decoder, self._fault),
            rows,
            self._inference(model, rows),
            Publisher(self._config, bundle, self._encode, self._send, self._instruments, self._clock),
            self._recorder(model, rows),
        )

    def _inference(self, model: Model, rows: RowPool) -> Inference | CarriedInference:
        config, stages = self._config.inference, self._instruments.stages
        if model.carried is not None:
            return CarriedInference(model.engine, model.carried, rows, stages)
        carries = Carries(model.engine, rows, config.carries_bytes_max)
        return Inference(model.engine, rows, carries, stages, config.threads)

    def _recorder(self, model: Model, rows: RowPool) -> Recorder:
        manifest, horizons = model.manifest, len(model.manifest.horizons)
        self._tape.begin(horizons, _told(model))
        scores = Scores(self._board, manifest, rows)
        return Recorder(scores, self._tape, reference_mid_of(manifest), horizons, self._clock)


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
