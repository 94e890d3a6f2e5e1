"""Forecasts and dead letters on their way out.

Stages `encode` and `produce` of the way of a tick.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tickcast import records as wire
from tickcast.bundle import Bundle
from tickcast.clients import Client, Headers, Record
from tickcast.clock import Clock
from tickcast.config import Config
from tickcast.deliveries import Batch
from tickcast.errors import BadRecord, NonFiniteForecast
from tickcast.inference import Answers
from tickcast.instruments import Instruments
from tickcast.windows import Row, Tick


class Due(NamedTuple):
    """A tick that gets a forecast."""

    record: Record
    tick: Tick
    row: Row


class Received(NamedTuple):
    """When a poll's records were in hand."""

    wall_ns: int
    monotonic_ns: int


class Publisher:
    """Encodes each answer and hands it to the producer."""

    def __init__(self, config: Config, bundle: Bundle, client: Client, instruments: Instruments, clock: Clock) -> None:
        manifest = bundle.manifest
        self._bundle = wire.BundleName(manifest.name, manifest.version, bundle.sha256)
        self._horizons = manifest.horizons
        self._unit = manifest.unit
        self._reference = tuple(manifest.record_columns.index(column) for column in manifest.reference_columns)
        self._output_topic = config.kafka.output_topic
        self._dead_letter_topic = config.kafka.dead_letter_topic
        self._dead_letter_bytes_max = config.input.dead_letter_bytes_max
        self._client = client
        self._instruments = instruments
        self._clock = clock

    def publish(self, due: Sequence[Due], answers: Answers, received: Received, batch: Batch) -> None:
        """Send the forecast of each due tick; an answer that is not finite makes its tick a dead letter."""
        due, answers = self._finite(due, answers, batch)
        latencies = np.empty((len(due), 3))  # event to sent, Kafka to sent, received to handed; seconds
        encode_ns = produce_ns = 0
        begun_ns = self._clock.monotonic_ns()
        for index, values in enumerate(answers.forecasts.tolist()):
            record, tick, _ = due[index]
            sent_wall_ns = self._clock.wall_ns()
            value = self._encode(record, tick, values, answers.paths[index], received, sent_wall_ns)
            encoded_ns = self._clock.monotonic_ns()
            headers = wire.source_headers(record.partition, record.offset)
            self._send(self._output_topic, value, tick.symbol.encode(), headers, batch)
            handed_ns = self._clock.monotonic_ns()
            latencies[index] = (
                (sent_wall_ns - tick.event_time_ns) / 1e9,
                (sent_wall_ns - record.timestamp_ms * 1_000_000) / 1e9,
                (handed_ns - received.monotonic_ns) / 1e9,
            )
            encode_ns += encoded_ns - begun_ns
            produce_ns += handed_ns - encoded_ns
            begun_ns = handed_ns
        self._measure(due, answers, latencies, encode_ns, produce_ns)

    def bury(self, record: Record, error: BadRecord, batch: Batch) -> None:
        """Send `record` to the dead-letter topic, with its reason."""
        letter = wire.dead_letter(record, error, self._dead_letter_bytes_max)
        self._send(self._dead_letter_topic, letter.value, letter.key, letter.headers, batch)
        self._instruments.dead_letters[error.reason].add()

    def _finite(self, due: Sequence[Due], answers: Answers, batch: Batch) -> tuple[Sequence[Due], Answers]:
        """What can be sent of `due` and `answers`; the others' ticks are buried."""
        finite = np.isfinite(answers.forecasts).all(axis=1)
        if np.all(finite):
            return due, answers
        for index in np.flatnonzero(~finite).tolist():
            self.bury(due[index].record, NonFiniteForecast("the model's answer is not finite"), batch)
        kept = np.flatnonzero(finite).tolist()
        return [due[i] for i in kept], Answers(answers.forecasts[kept], [answers.paths[i] for i in kept])

    def _send(self, topic: str, value: bytes | None, key: bytes | None, headers: Headers, batch: Batch) -> None:
        batch.sent += 1
        self._client.send(topic, value, key, headers, batch.on_delivery)

    def _encode(
        self,
        record: Record,
        tick: Tick,
        values: list[float],
        path: wire.AnswerPath,
        received: Received,
        sent_wall_ns: int,
    ) -> bytes:
        reference = [tick.values[index] for index in self._reference]
        forecast = wire.Forecast(
            v=wire.VERSION,
            symbol=tick.symbol,
            topic=record.partition.topic,
            partition=record.partition.number,
            offset=record.offset,
            event_time_ns=tick.event_time_ns,
            tick_time_ns=record.timestamp_ms * 1_000_000,
            received_time_ns=received.wall_ns,
            sent_time_ns=sent_wall_ns,
            horizons=self._horizons,
            forecast=values,
            unit=self._unit,
            reference_mid=sum(reference) / len(reference) if reference else None,
            skipped_before=0,
            bundle=self._bundle,
            path=path,
            flags=(),
        )
        return wire.encode(forecast)

    def _measure(
        self, due: Sequence[Due], answers: Answers, latencies: NDArray[np.float64], encode_ns: int, produce_ns: int
    ) -> None:
        instruments = self._instruments
        instruments.event_to_sent.observe(latencies[:, 0])
        instruments.kafka_to_sent.observe(latencies[:, 1])
        instruments.received_to_handed.observe(latencies[:, 2])
        instruments.stages.book("encode", encode_ns)
        instruments.stages.book("produce", produce_ns)
        for path, counter in instruments.forecasts.items():
            counter.add(answers.paths.count(path))
        # Sampled ticks of the same symbol that were received with it: so far ahead the forecast comes too late.
        late = np.array([row.window.sequence - 1 - row.position for _, _, row in due])
        if late.any():
            for horizon, counter in instruments.expired.items():
                counter.add(int(np.count_nonzero(late >= horizon)))
