"""Forecasts and dead letters on their way out.

Stages `encode` and `produce` of the way of a tick.
"""

from collections.abc import Callable, Sequence
from math import isfinite
from typing import NamedTuple

from tickcast import records as wire
from tickcast.bundle import Bundle
from tickcast.clients import Client, Record
from tickcast.clock import Clock
from tickcast.config import Config
from tickcast.deliveries import Batch
from tickcast.errors import BadRecord, NonFiniteForecast
from tickcast.inference import Answers
from tickcast.instruments import Instruments
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


class _Sent(NamedTuple):
    """One lot of answers, and when each of them was encoded and handed over."""

    indices: list[int]
    path: wire.AnswerPath
    sent_wall_ns: list[int]
    handed_ns: list[int]


class Publisher:
    """Encodes each answer and hands it to the producer."""

    def __init__(self, config: Config, bundle: Bundle, client: Client, instruments: Instruments, clock: Clock) -> None:
        manifest = bundle.manifest
        self._bundle = wire.BundleName(manifest.name, manifest.version, bundle.sha256)
        self._horizons = manifest.horizons
        self._unit = manifest.unit
        self._reference_mid = _mean([manifest.record_columns.index(column) for column in manifest.reference_columns])
        self._output_topic = config.kafka.output_topic
        self._dead_letter_topic = config.kafka.dead_letter_topic
        self._dead_letter_bytes_max = config.input.dead_letter_bytes_max
        self._client = client
        self._instruments = instruments
        self._clock = clock
        self._sent: list[_Sent] = []  # since the last `account`

    def publish(self, work: Work, answers: Answers, received: Received, batch: Batch) -> None:
        """Send the forecast of each answer; one that is not finite makes its tick a dead letter."""
        stages = self._instruments.stages
        indices: list[int] = []
        values: list[bytes] = []
        sent_wall_ns: list[int] = []
        for index, forecast in zip(answers.indices, answers.forecasts.tolist(), strict=True):
            row, record = work.rows[index], work.records[index]
            if not isfinite(sum(forecast)):  # of float32 values: the sum of finite ones is finite
                self.bury(record, NonFiniteForecast("the model's answer is not finite"), batch)
                continue
            now_ns = self._clock.wall_ns()
            values.append(self._encode(record, row.tick, forecast, answers.path, received.wall_ns, now_ns))
            indices.append(index)
            sent_wall_ns.append(now_ns)
        stages.mark("encode")
        handed_ns = []
        send, on_delivery = self._client.send, batch.on_delivery
        batch.sent += len(values)
        for index, value in zip(indices, values, strict=True):
            record = work.records[index]
            headers = wire.source_headers(record.partition, record.offset)
            send(self._output_topic, value, work.rows[index].tick.symbol.encode(), headers, on_delivery)
            handed_ns.append(self._clock.monotonic_ns())
        stages.mark("produce")
        self._sent.append(_Sent(indices, answers.path, sent_wall_ns, handed_ns))

    def account(self, work: Work, received: Received) -> None:
        """Count what was published of `work`: once for a poll, when the forecasts are on their way."""
        instruments = self._instruments
        for indices, path, sent_wall_ns, handed_ns in self._sent:
            rows = [work.rows[index] for index in indices]
            written_ms = [work.records[index].timestamp_ms for index in indices]
            sent = zip(sent_wall_ns, rows, written_ms, strict=True)
            since = [((now_ns - row.tick.event_time_ns) / 1e9, now_ns / 1e9 - ms / 1e3) for now_ns, row, ms in sent]
            instruments.event_to_sent.observe([event_s for event_s, _ in since])
            instruments.kafka_to_sent.observe([kafka_s for _, kafka_s in since])
            instruments.received_to_handed.observe([(now_ns - received.monotonic_ns) / 1e9 for now_ns in handed_ns])
            instruments.forecasts[path].add(len(indices))
            # Sampled ticks of the same symbol received with it: so far ahead the forecast comes too late.
            late = [row.window.sequence - 1 - row.position for row in rows]
            if any(late):
                instruments.count_expired(late)
        self._sent = []

    def bury(self, record: Record, error: BadRecord, batch: Batch) -> None:
        """Send `record` to the dead-letter topic, with its reason."""
        letter = wire.dead_letter(record, error, self._dead_letter_bytes_max)
        batch.sent += 1
        self._client.send(self._dead_letter_topic, letter.value, letter.key, letter.headers, batch.on_delivery)
        self._instruments.dead_letters[error.reason].add()

    def _encode(
        self, record: Record, tick: Tick, values: list[float], path: wire.AnswerPath, received_ns: int, sent_ns: int
    ) -> bytes:
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
            0,
            self._bundle,
            path,
            (),
        )
        return wire.encode(forecast)


def _mean(places: Sequence[int]) -> Callable[[Values], float | None]:
    """The mean of the values at `places`, None of none."""
    if not places:
        return lambda values: None
    if len(places) == 2:  # bid and ask
        first, second = places
        return lambda values: (values[first] + values[second]) / 2
    return lambda values: sum(values[place] for place in places) / len(places)
