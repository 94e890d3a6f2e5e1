"""Membership in the consumer group, taken step by step: what keeps rebalances and the loop out of each other's way.

Stage `poll` of the way of a tick; used by `client_kafka_python` alone. This is why `KafkaConsumer.poll` is not used,
and the place that knows the inside of kafka-python's groups (3.0.12; the conformance suite holds it):

- kafka-python calls its rebalance listener on its event loop's thread while the polling thread waits for that loop. A
  listener that waited for the polling thread would wait for ever. Here it only notes what happened, having paused what
  is new, and the client tells the pipeline before it goes on. The group waits for that all the same: under the
  cooperative protocol (KIP-429) others get what we give up at the *next* join, and only a step of ours joins.
  `KafkaConsumer.poll` takes as many steps as its timeout allows, the second of which would join unasked.
- `KafkaConsumer.poll` fetches nothing while a join waits for the other members. Here what we keep is read on.
- A join that completes between two calls of `KafkaConsumer.poll` is dropped, and the next call begins another. Two
  members polled in turn can keep each other joining for ever. See `_Undropped`.
- A join that the leader began because a topic has other partitions than before counts as not needed any more as soon as
  the leader has shared them out, half way through. Nobody would complete it; hence `request_rejoin` while joining.
"""

import time
from collections import deque
from collections.abc import Collection
from typing import Any, Literal, NamedTuple

import kafka
from kafka import errors
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.structs import MemberState, TopicPartition

from tickcast.clients import Partition

# Between looks at a join that must be complete before the caller can go on.
JOIN_LOOK_INTERVAL_S = 0.002
# To learn which partitions the topics have. A first join without it gets nothing and is followed by a second one.
METADATA_TIMEOUT_MS = 1_000

What = Literal["assigned", "revoked", "lost"]


class Note(NamedTuple):
    """One thing the group decided."""

    what: What
    partitions: frozenset[Partition]


class Membership:
    """One consumer's membership. Everything is called from the thread that polls."""

    def __init__(self, consumer: kafka.KafkaConsumer) -> None:
        self._consumer = consumer
        self._coordinator = consumer._coordinator
        self._notebook = _Notebook(consumer)
        self.notes = self._notebook.notes  # oldest first; whoever takes a note tells the pipeline of it

    def subscribe(self, topics: Collection[str]) -> None:
        """Want partitions of `topics`; the steps to come see to getting them."""
        self._consumer.subscribe(topics=list(topics), listener=self._notebook)
        cluster = self._consumer._cluster
        try:
            self._consumer._net.run(self._consumer._manager.wait_for, cluster.request_update(), METADATA_TIMEOUT_MS)
        except errors.RetriableError:
            return  # the first join will do without, and be repeated when the metadata comes

    def step(self) -> None:
        """Go on with whatever the group needs, without waiting for others. Not while a note is left untold.

        Raises kafka-python's errors, fencing and missing authorisation among them.
        """
        assert not self.notes, "a step may join, and a join gives away what the pipeline was not told of"
        coordinator = self._coordinator
        if self.joining:
            coordinator.request_rejoin()
        if coordinator.need_rejoin() or coordinator.coordinator_unknown():
            join = coordinator._join_task
            if join is not None and not isinstance(join, _Undropped):
                if not join.is_done:
                    return
                coordinator._join_task = _Undropped(join)
            coordinator.poll(timeout_ms=0)
        else:
            coordinator.poll_heartbeat()  # tells that we are alive, and raises what ended the heartbeats

    @property
    def joining(self) -> bool:
        """Whether a join is under way: nobody may commit in the middle of one."""
        return bool(self._coordinator.state is MemberState.REBALANCING)

    @property
    def ousted(self) -> bool:
        """Whether the group has put us out."""
        return bool(self._coordinator.state is MemberState.UNJOINED)

    def complete_join(self, deadline_s: float) -> None:
        """See a join that is under way through, if that takes no longer than until `deadline_s` (monotonic)."""
        while self.joining and not self.notes and time.monotonic() < deadline_s:
            self.step()
            if self.joining:
                time.sleep(JOIN_LOOK_INTERVAL_S)

    def lost(self) -> set[Partition]:
        """Partitions that are lost and not told of yet."""
        return {partition for note in self.notes if note.what == "lost" for partition in note.partitions}

    def close(self, timeout_ms: int) -> None:
        """Close the consumer. What this gives up is not noted: the pipeline has been told before."""
        self._notebook.closed = True
        self._consumer.close(autocommit=False, timeout_ms=timeout_ms)


class _Notebook(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python has no types
    """Notes what the group decides, on the event loop's thread. One step adds three notes at most."""

    def __init__(self, consumer: kafka.KafkaConsumer) -> None:
        self.notes: deque[Note] = deque()
        self.closed = False
        self._consumer = consumer

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Keep the new ones from being read, or positioned by the library, until the pipeline has placed them."""
        for topic_partition in assigned:
            self._consumer.pause(topic_partition)
            self._consumer.seek(topic_partition, 0)
        self._note("assigned", assigned)

    def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        self._note("revoked", revoked)

    def on_partitions_lost(self, lost: Collection[TopicPartition]) -> None:
        self._note("lost", lost)

    def _note(self, what: What, changed: Collection[TopicPartition]) -> None:
        if changed and not self.closed:
            self.notes.append(Note(what, frozenset(Partition(*each) for each in changed)))


class _Undropped:
    """A completed join that looks unfinished: kafka-python takes the result of a join it still waits for, only."""

    is_done = False

    def __init__(self, join: Any) -> None:
        self.add_callback = join.add_callback  # called at once, as the join has completed
        self.add_errback = join.add_errback
