"""What the Kafka bench's reader has seen, and that it reads to the end that there was when it was told to stop."""

import json
from pathlib import Path

import numpy as np
from memory_client import MemoryClient, MemoryCluster
from tickcast import bench_kafka_reader as module
from tickcast.bench_kafka_reader import PATHS, Reader, Reading
from tickcast.clients import Partition, Record

TOPIC = "forecasts"
PARTITIONS = (Partition(TOPIC, 0), Partition(TOPIC, 1))
FORECAST = {"event_time_ns": 5, "received_time_ns": 6, "sent_time_ns": 7, "path": "finish", "more": [1]}
TICK = {"symbol": "A", "event_time_ns": 5, "bid": 1.0}


def reading(from_start: bool) -> Reading:
    return Reading("kafka-python", "127.0.0.1:1", TOPIC, from_start, "unused")


def cluster_with(*values: dict[str, object]) -> MemoryCluster:
    cluster = MemoryCluster()
    for partition in PARTITIONS:
        for value in values:
            cluster.append(partition, json.dumps(value).encode())
    return cluster


def test_forecasts_and_echoed_ticks_are_told_apart(tmp_path: Path) -> None:
    records = [Record(PARTITIONS[0], n, 9, None, json.dumps(v).encode(), ()) for n, v in enumerate((FORECAST, TICK))]
    seen = module.table([(11, records[0]), (12, records[1])])
    np.savez(tmp_path / "seen.npz", **seen._asdict())
    again = module.load(tmp_path / "seen.npz")
    assert again.seen_ns.tolist() == [11, 12]
    assert again.due_ns.tolist() == [5, 5]
    assert again.received_ns.tolist() == [6, 0]
    assert again.sent_ns.tolist() == [7, 0]
    assert again.stored_ms.tolist() == [9, 9]
    assert [PATHS[place] for place in again.path.tolist()] == ["finish", None]


def test_nothing_seen_is_a_table_without_rows() -> None:
    assert [len(column) for column in module.table([])] == [0] * 6


def test_reader_starts_at_the_end_and_finishes_with_what_came_meanwhile() -> None:
    cluster = cluster_with(FORECAST)
    reader = Reader(MemoryClient(cluster, PARTITIONS), reading(from_start=False))
    assert not reader.ready
    reader.step()
    assert reader.ready
    cluster.append(PARTITIONS[1], json.dumps(TICK).encode())
    reader.finish()
    assert [(record.partition, record.offset) for _, record in reader.records] == [(PARTITIONS[1], 1)]


def test_reader_from_the_start_reads_everything() -> None:
    reader = Reader(MemoryClient(cluster_with(FORECAST, TICK), PARTITIONS), reading(from_start=True))
    while not reader.ready:
        reader.step()
    reader.finish()
    assert len(reader.records) == 4
