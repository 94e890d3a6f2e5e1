"""Taking records out of kafka-python's fetcher, without waiting where there is nothing to wait for.

Stage `poll` of the way of a tick; used by `client_kafka_python` alone. `KafkaConsumer.poll` is not used for the reasons
that `kafka_python_membership` gives, and for two of its own, both below.
"""

import time
from typing import Any

import kafka
from kafka.structs import TopicPartition

from tickcast.kafka_python_records import read_leniently

# With no fetch on its way (no partition, or all of them paused) there is nothing to be woken by.
IDLE_PAUSE_S = 0.005


class Fetching:
    """The fetches of one consumer. Everything is called from the thread that polls."""

    def __init__(self, consumer: kafka.KafkaConsumer) -> None:
        read_leniently(consumer)
        self._fetcher = consumer._fetcher
        self._on_their_way = 0
        self._disturbed = True

    def disturb(self) -> None:
        """Positions or pauses have changed: other fetches may be wanted than those on their way."""
        self._disturbed = True

    def take(self, timeout_s: float, records_max: int) -> dict[TopicPartition, list[Any]]:
        """At most `records_max` records, at once when there are any, else none after `timeout_s`."""
        if not timeout_s and self._nothing_happened():
            return {}
        fetcher = self._fetcher
        fetcher.maybe_validate_positions()  # KIP-320: notice where a new leader's log is shorter than what we have read
        fetcher.validate_offsets_if_needed()
        if not fetcher._next_partition_records:
            # kafka-python puts what is left of a paused partition's records aside, and takes them up again only where
            # this is None. It leaves the finished records of another partition in it, and the partition stalls.
            fetcher._next_partition_records = None
        batches, idle = fetcher.fetch_records(records_max, timeout_ms=timeout_s * 1_000)
        if idle and not batches:
            time.sleep(min(timeout_s, IDLE_PAUSE_S))
        self._on_their_way = self._count()
        self._disturbed = bool(batches)
        return dict(batches)

    def held(self, records_max: int) -> dict[TopicPartition, list[Any]]:
        """At most `records_max` records of what was fetched already: no round trip to the event loop, and no new fetch.

        For partitions of which none is ever paused.
        """
        fetcher = self._fetcher
        if not fetcher._completed_fetches and not fetcher._next_partition_records:
            return {}
        self._disturbed = True
        batches, _ = fetcher.fetched_records(records_max)
        return dict(batches)

    def _nothing_happened(self) -> bool:
        """Whether all that was on its way still is: a look is then free of the two round trips to the event loop."""
        fetcher = self._fetcher
        if self._disturbed or fetcher._completed_fetches or fetcher._next_partition_records:
            return False
        return 0 < self._on_their_way <= self._count()

    def _count(self) -> int:
        return sum(not fetch.is_done for fetch in tuple(self._fetcher._fetch_futures))
