"""The control topic: which bundle a group's daemons are to answer with, as records that all of them read.

Beside the way of a tick. One record for each switch, keyed by group and model; the topic is compacted, so that the
newest of each key stays for ever. Whatever else is in there is said, and passed over.
"""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from tickcast import clients, log, manifest, promotion_record
from tickcast.clients import OffsetRange, Partition, Record
from tickcast.clock import Clock
from tickcast.config import Config, KafkaConfig, ModelConfig
from tickcast.errors import BundleError
from tickcast.promotion_record import Control
from tickcast.replay import TopicSink
from tickcast.topic_reader import TopicReader

# Under this name a switch is written: in no group, in no transaction.
WRITER = "tickcast-promote"
CLOSE_TIMEOUT_S = 5.0
# A key says for which entry of the configuration a record is; of a long list of symbols the rest is a hash.
KEY_CHARACTERS_MAX = 200


class InForce(NamedTuple):
    """The configuration as the control topic wants it, and what is to be said about that."""

    config: Config
    remarks: tuple[str, ...]


class ControlTopic:
    """What the topic says so far: `read` takes in what has come since."""

    def __init__(self, reader: TopicReader, topic: str) -> None:
        self.controls: dict[str, Control] = {}
        self._reader = reader
        self._topic = topic
        self._next: dict[Partition, int] = {}
        self._log = log.get("control")

    def read(self) -> bool:
        """Read to the topic's end; whether a bundle came into force by it. Raises BrokerError."""
        held = self._reader.held(self._reader.partitions(self._topic))
        ranges = {p: OffsetRange(max(at.first, self._next.get(p, 0)), at.end) for p, at in held.items()}
        before = {key: control.in_force for key, control in self.controls.items()}
        for record in self._reader.read(ranges):
            self._take(record)
        self._next = {partition: at.end for partition, at in ranges.items()}
        return any(control.in_force != before.get(key) for key, control in self.controls.items())

    def _take(self, record: Record) -> None:
        """A key's records lie in one partition, in the order of its switches."""
        if record.value is None:  # deleted by hand: from the next start on the configuration counts
            return
        try:
            control = promotion_record.decode(record.value)
            if record.key != control.model.encode():
                raise ValueError(f"the record of {control.model} has another key")
        except ValueError as error:
            self._log.warning("control record passed over", offset=record.offset, reason=str(error))
            return
        self.controls[control.model] = control


def key_of(config: Config, entry: ModelConfig) -> str:
    """The control topic's key for an entry of `models`: the same in every daemon of the group."""
    key = f"{config.kafka.group_id}/{','.join(entry.symbols)}"
    if len(key) <= KEY_CHARACTERS_MAX:
        return key
    return f"{key[:KEY_CHARACTERS_MAX]}...{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def applied(config: Config, controls: Mapping[str, Control]) -> InForce:
    """`config` with the bundle in force answering in each entry, and the other one as its shadow.

    An entry whose bundle in force is neither is left as it is written. Raises BundleError where a manifest cannot be
    read.
    """
    entries, remarks = [], []
    for place, entry in enumerate(config.models):
        control = controls.get(key_of(config, entry))
        wanted = None if control is None else control.in_force
        if wanted is not None and wanted != _sha256(entry):
            if entry.shadow is not None and wanted == manifest.read(entry.shadow)[1]:
                entry = entry.model_copy(update={"bundle": entry.shadow, "shadow": entry.bundle})
            else:
                remarks.append(
                    f"models.{place}: the bundle in force is {wanted}, which is neither `bundle` nor `shadow`: "
                    "`bundle` answers"
                )
        entries.append(entry)
    return InForce(config.model_copy(update={"models": tuple(entries)}), tuple(remarks))


def write(kafka: KafkaConfig, topic: str, control: Control, clock: Clock) -> None:
    """Append `control`'s record and wait for its acknowledgement. Raises BrokerError, UsageError without the topic."""
    value = promotion_record.encode(control)
    topics = {"input_topics": (topic,), "output_topic": topic, "dead_letter_topic": topic}
    apart = kafka.model_copy(update={"group_id": WRITER, "delivery": "at_least_once", **topics})
    client = clients.connect(apart, WRITER)
    try:
        sink = TopicSink(client, topic, clock, kafka.request_timeout_ms / 1_000)
        sink.send(value, control.model.encode())
        sink.finish()
    finally:
        client.close(CLOSE_TIMEOUT_S)


def _sha256(entry: ModelConfig) -> str | None:
    """Of the bundle that is written in the configuration; None where that is away: the other may be in force."""
    try:
        return manifest.read(entry.bundle)[1]
    except BundleError:
        if entry.shadow is None:
            raise
        return None
