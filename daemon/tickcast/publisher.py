"""Forecasts and dead letters on their way out.

Stages `encode` and `produce` of the way of a tick.
"""

from collections.abc import Callable, Sequence
from math import isfinite
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from tickcast import records as wire
from tickcast.attention import Weights
from tickcast.bundle import Bundle
from tickcast.clients import Record
from tickcast.clock import Clock
from tickcast.config import Config
from tickcast.deliveries import Batch, Send
from tickcast.errors import BadRecord, NonFiniteForecast
from tickcast.inference import Answers
from tickcast.instruments import Instruments
from tickcast.lag import NO_REMARK, Remark, Remarks
from tickcast.manifest import Manifest
from tickcast.windows import Row, Tick, Values


class Received(NamedTuple):
    """When a poll's records were in hand."""

    wall_ns: int
    monotonic_ns: int


class Work(NamedTuple):
    """What a poll comes to: rows in the order they were decided, their records, and which of them are due."""

    rows: list[Row]
    records: list[Record]
    due: list[bool]
    remarks: Remarks | None = None  # None: every due tick is answered, however old


class _Encoded(msgspec.Struct, gc=False):
    """A forecast on its way: of the row at `row` of the work, by which path, and when it got how far."""

    row: int
    value: bytes
    path: wire.AnswerPath
    sent_wall_ns: int
    handed_ns: int = 0


class BandMaker(Protocol):
    """Whoever knows how far off forecasts may be; `bands.LiveBands`."""

    def of(self, rows: Sequence[Row], forecasts: NDArray[np.float32]) -> Sequence[wire.Bands]:
        """The bands of each of `rows`, which are answered with `forecasts`; a symbol's in order."""

    def pass_over(self, rows: Sequence[Row]) -> None:
        """`rows` were due and get no forecast; before later ones of their symbols do."""


class Publisher:
    """Encodes each answer and hands it to the producer."""

    def __init__(
        self,
        config: Config,
        bundle: Bundle,
        encode: Callable[[wire.Forecast], bytes],
        send: Send,
        instruments: Instruments,
        clock: Clock,
        bands: BandMaker | None = None,
    ) -> None:
        """`encode` makes a forecast a record's value; without `bands` forecasts carry none."""
        manifest = bundle.manifest
        self._bundle = wire.BundleName(manifest.name, manifest.version, bundle.sha256)
        self._horizons = manifest.horizons
        self._unit = manifest.unit
        self._reference_mid = reference_mid_of(manifest)
        self._output_topic = config.kafka.output_topic
        self._dead_letter_topic = config.kafka.dead_letter_topic
        self._dead_letter_bytes_max = config.input.dead_letter_bytes_max
        self._letter_bytes_max = wire.dead_letter_limit(config.kafka.batch_bytes_max)
        self._encode_forecast = encode
        self._send = send
        self._instruments = instruments
        self._clock = clock
        self._bands = bands
        self._encoded: list[_Encoded] = []  # since the last `hand_over`
        self._sent: list[_Encoded] = []  # since the last `account`

    def pass_over(self, work: Work) -> None:
        """Before anything of `work` is answered: not all of its rows that could be are."""
        if self._bands is not None:
            self._bands.pass_over([row for row, due in zip(work.rows, work.due, strict=True) if row.due and not due])

    def publish(self, work: Work, answers: Answers, received: Received, batch: Batch) -> None:
        """Encode the forecast of each answer; one that is not finite makes its tick a dead letter.

        What took the finish path is handed over at once. The rest waits for `hand_over`: a backlog's forecasts make
        few requests of the producer if they come within a moment.
        """
        remarks = work.remarks
        bands, attention = self._bands_of(work, answers), answers.attention or [None] * len(answers.indices)
        values = answers.forecasts.tolist()
        for index, forecast, band, weights in zip(answers.indices, values, bands, attention, strict=True):
            row, record = work.rows[index], work.records[index]
            if not isfinite(sum(forecast)):  # of float32 values: the sum of finite ones is finite
                self.bury(record, NonFiniteForecast("the model's answer is not finite"), batch)
                continue
            now_ns = self._clock.wall_ns()
            remark = NO_REMARK if remarks is None else remarks.take(index)
            value = self._encode(
                record, row.tick, forecast, answers.path, received.wall_ns, now_ns, remark, band, weights
            )
            self._encoded.append(_Encoded(index, value, answers.path, now_ns))
        self._instruments.stages.mark("encode")
        if answers.path == "finish":
            self.hand_over(work, batch)

    def hand_over(self, work: Work, batch: Batch) -> None:
        """Give what is encoded to the producer."""
        encoded, self._encoded = self._encoded, []
        send, on_delivery = self._send, batch.on_delivery
        batch.sent += len(encoded)
        batch.bytes += sum([len(each.value) for each in encoded])
        for each in encoded:
            record = work.records[each.row]
            headers = wire.source_headers(record.partition, record.offset)
            send(self._output_topic, each.value, work.rows[each.row].tick.symbol.encode(), headers, on_delivery)
            each.handed_ns = self._clock.monotonic_ns()
        self._sent += encoded
        self._instruments.stages.mark("produce")

    def account(self, work: Work, received: Received) -> None:
        """Count what was published of `work`: once for a poll, when the forecasts are on their way."""
        if not self._sent:
            return
        instruments = self._instruments
        rows = [work.rows[each.row] for each in self._sent]
        written_ms = [work.records[each.row].timestamp_ms for each in self._sent]
        sent_ns = [each.sent_wall_ns for each in self._sent]
        paths = [each.path for each in self._sent]
        to_handed_ns = [each.handed_ns - received.monotonic_ns for each in self._sent]
        self._sent = []
        since_event_ns = [now_ns - row.tick.event_time_ns for now_ns, row in zip(sent_ns, rows, strict=True)]
        since_written_ns = [now_ns - ms * 1_000_000 for now_ns, ms in zip(sent_ns, written_ms, strict=True)]
        instruments.event_to_sent.observe([ns / 1e9 for ns in since_event_ns])
        instruments.kafka_to_sent.observe([ns / 1e9 for ns in since_written_ns])
        instruments.received_to_handed.observe([ns / 1e9 for ns in to_handed_ns])
        for path, counter in instruments.forecasts.items():
            counter.add(paths.count(path))
        # Sampled ticks of the same symbol that were received with it: so far ahead the forecast comes too late.
        late = [row.window.sequence - 1 - row.position for row in rows]
        if any(late):
            instruments.count_expired(late, self._horizons)

    def bury(self, record: Record, error: BadRecord, batch: Batch) -> None:
        """Send `record` to the dead-letter topic, with its reason."""
        letter = wire.dead_letter(record, error, self._dead_letter_bytes_max, self._letter_bytes_max)
        batch.sent += 1
        batch.bytes += len(letter.value or b"")
        self._send(self._dead_letter_topic, letter.value, letter.key, letter.headers, batch.on_delivery)
        self._instruments.dead_letters[error.reason].add()

    def _bands_of(self, work: Work, answers: Answers) -> Sequence[wire.Bands | None]:
        if self._bands is None:
            return [None] * len(answers.indices)
        return self._bands.of([work.rows[index] for index in answers.indices], answers.forecasts)

    def _encode(
        self,
        record: Record,
        tick: Tick,
        values: list[float],
        path: wire.AnswerPath,
        received_ns: int,
        sent_ns: int,
        remark: Remark,
        bands: wire.Bands | None,
        attention: Weights,
    ) -> bytes:
        skipped_before, flags = remark
        forecast = wire.Forecast(  # by position: names would cost as much as the encoding
            wire.VERSION,
            tick.symbol,
            record.partition.topic,
            record.partition.number,
            record.offset,
            tick.event_time_ns,
            record.timestamp_ms * 1_000_000,
            received_ns,
            sent_ns,
            self._horizons,
            values,
            self._unit,
            self._reference_mid(tick.values),
            skipped_before,
            self._bundle,
            path,
            flags,
            bands,
            attention,
        )
        return self._encode_forecast(forecast)


def reference_mid_of(manifest: Manifest) -> Callable[[Values], float | None]:
    """What a forecast's change starts from: the mean of the reference columns, None where there are none."""
    places = [manifest.record_columns.index(column) for column in manifest.reference_columns]
    if not places:
        return lambda values: None
    if len(places) == 2:  # bid and ask
        first, second = places
        return lambda values: (values[first] + values[second]) / 2
    return lambda values: sum(values[place] for place in places) / len(places)
