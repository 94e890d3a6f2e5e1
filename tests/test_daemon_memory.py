"""A million ticks through a daemon: its memory stays where it was after the first ones."""

import subprocess
import sys
from collections.abc import Callable

import psutil
import pytest
from daemons import DaemonProcess, Job, wait_until
from prometheus_client.parser import text_string_to_metric_families

PARTITIONS = 2
SYMBOLS = 1_000
TICKS = 1_000_000
WARM_TICKS = 200_000
GROWTH_MAX_BYTES = 10_000_000
TIMEOUT_S = 600

PRODUCE = """
import sys
from kafka import KafkaProducer
servers, topic, ticks, symbols, partitions = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
producer = KafkaProducer(bootstrap_servers=servers, linger_ms=50, batch_size=262_144)
template = b'{"symbol":"S%d","event_time_ns":%d,"bid":%d.5,"ask":%d.6,"bid_size":%d,"ask_size":%d}'
for tick in range(ticks):
    symbol, price = tick % symbols, 60_000 + tick * 7919 % 13
    value = template % (symbol, 1_700_000_000_000_000_000 + tick * 1_000_000, price, price, 1 + tick % 7, 1 + tick % 11)
    producer.send(topic, value, partition=symbol % partitions)
producer.close()
"""


@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT_S)
def test_memory_at_the_end_of_a_million_ticks_is_that_after_the_first_200_000(
    exported, job: Callable[..., Job], start_daemon: Callable[..., DaemonProcess]
) -> None:
    work = job(exported("stacked").bundle, PARTITIONS)
    arguments = [work.bootstrap_servers, work.input_topic, *map(str, (TICKS, SYMBOLS, PARTITIONS))]
    producer = subprocess.Popen([sys.executable, "-c", PRODUCE, *arguments])
    try:
        daemon = start_daemon(work.config())
        daemon.wait_ready()
        wait_until(lambda: processed(daemon) >= WARM_TICKS, f"{WARM_TICKS} ticks", TIMEOUT_S)
        warm_bytes = psutil.Process(daemon.pid).memory_info().rss
        assert producer.wait(TIMEOUT_S) == 0
        wait_until(lambda: processed(daemon) == TICKS, f"{TICKS} ticks", TIMEOUT_S)
        end_bytes = psutil.Process(daemon.pid).memory_info().rss
    finally:
        producer.kill()
        producer.wait()
    assert daemon.stop() == 0
    assert end_bytes - warm_bytes <= GROWTH_MAX_BYTES


def processed(daemon: DaemonProcess) -> float:
    """Ticks that met their fate so far."""
    families = text_string_to_metric_families(daemon.get("/metrics")[1])
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == "tickcast_ticks_processed_total"
    )
