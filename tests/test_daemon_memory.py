"""A million ticks through a daemon, or a good part of them: its memory stays where it was after the first ones."""

import subprocess
import sys
from collections.abc import Callable

import psutil
import pytest
from daemons import DaemonProcess, Job, wait_until
from thorough import THOROUGH

PARTITIONS = 2
SYMBOLS = 1_000
TICKS, WARM_TICKS = (1_000_000, 200_000) if THOROUGH else (300_000, 100_000)
# A leak would grow with the ticks; what a process breathes in and out, about 5 MB, does not.
GROWTH_MAX_BYTES = 10_000_000 if THOROUGH else 6_000_000
TIMEOUT_S = 600
LOOK_INTERVAL_S = 0.5  # a scrape takes time from the daemon
PROCESSED = "tickcast_ticks_processed_total"

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
def test_memory_at_the_end_of_all_ticks_is_that_after_the_first(
    exported, job: Callable[..., Job], start_daemon: Callable[..., DaemonProcess]
) -> None:
    work = job(exported("stacked").bundle, PARTITIONS)
    arguments = [work.bootstrap_servers, work.input_topic, *map(str, (TICKS, SYMBOLS, PARTITIONS))]
    producer = subprocess.Popen([sys.executable, "-c", PRODUCE, *arguments])
    try:
        daemon = start_daemon(work.config())
        daemon.wait_ready()
        wait_until(lambda: daemon.total(PROCESSED) >= WARM_TICKS, f"{WARM_TICKS} ticks", TIMEOUT_S, LOOK_INTERVAL_S)
        warm_bytes = psutil.Process(daemon.pid).memory_info().rss
        assert producer.wait(TIMEOUT_S) == 0
        wait_until(lambda: daemon.total(PROCESSED) == TICKS, f"{TICKS} ticks", TIMEOUT_S, LOOK_INTERVAL_S)
        end_bytes = psutil.Process(daemon.pid).memory_info().rss
    finally:
        producer.kill()
        producer.wait()
    assert daemon.stop() == 0
    assert end_bytes - warm_bytes <= GROWTH_MAX_BYTES
