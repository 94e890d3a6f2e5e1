"""Topics in memory, as a `TopicReader` reads them: for whoever reads topics without a group."""

from collections.abc import Collection, Iterator, Mapping

from memory_client import MemoryClient, MemoryCluster
from tickcast.clients import OffsetRange, Partition, Record


class TopicLog:
    """Fulfils `tickcast.recording.Topics`. `asked` are the ranges read, in order."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster()
        self.asked: list[dict[Partition, OffsetRange]] = []

    def write(self, partition: Partition, timestamp_ms: int, value: bytes | None) -> None:
        """The partition's next record."""
        log = self.cluster.topics[partition]
        log.append(Record(partition, log[-1].offset + 1 if log else 0, timestamp_ms, None, value, ()))

    def delete_before(self, partition: Partition, offset: int) -> None:
        """As retention does."""
        self.cluster.topics[partition] = [one for one in self.cluster.topics[partition] if one.offset >= offset]

    def partitions(self, topic: str) -> list[Partition]:
        return sorted(partition for partition in self.cluster.topics if partition.topic == topic)

    def held(self, partitions: Collection[Partition]) -> dict[Partition, OffsetRange]:
        return self._client(partitions).offset_range(partitions, 0)

    def offsets_at(self, partitions: Collection[Partition], time_ms: int) -> dict[Partition, int | None]:
        return self._client(partitions).offsets_for_time(partitions, time_ms, 0)

    def read(self, ranges: Mapping[Partition, OffsetRange]) -> Iterator[Record]:
        self.asked.append(dict(ranges))
        for partition, (first, end) in ranges.items():
            yield from (one for one in self.cluster.topics[partition] if first <= one.offset < end)

    def _client(self, partitions: Collection[Partition]) -> MemoryClient:
        return MemoryClient(self.cluster, list(partitions))
