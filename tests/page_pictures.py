"""Pictures of the page for the README: `python tests/page_pictures.py BUNDLE FOLDER`.

A real daemon on the development broker, fed with ticks of the simulated market at some hundred a second; BUNDLE is one
that was trained on it, such as `make demo` leaves in demo-out/bundle. Needs Chromium and playwright: see `browser.py`.
"""

import argparse
import json
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from browser import Visit, chromium
from daemons import DaemonProcess, Job
from kafka import KafkaProducer
from tickcast import state_topic
from tickcast.broker import Broker
from tickcast.tick_columns import BOOK_COLUMNS
from tickcast_export.simulator import simulate

SYMBOLS = 24
# Of one symbol, about as the market that the model learnt from has it.
TICKS_PER_S = 9.0
WARM_UP_S = 100.0
STEP_S = 0.02
PARTITIONS = 3
CHOSEN = "SIM-F"
# name of the picture -> colour scheme, whether on a phone
PICTURES = {"page-dark": ("dark", False), "page-light": ("light", False), "page-phone": ("dark", True)}


def main() -> None:
    """Start everything, look, take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as files, Broker() as broker:
        for topic, partitions in (("ticks", PARTITIONS), ("forecasts", PARTITIONS), ("dead-letters", 1)):
            broker.create_topic(topic, partitions)
        broker.create_topic("forecasts-state", PARTITIONS, state_topic.SETTINGS)
        job = Job(broker.bootstrap_servers, "ticks", "forecasts", "dead-letters", options.bundle.resolve(), Path(files))
        daemon = DaemonProcess(job.config("desk", kafka={"client": "confluent-kafka"}))
        try:
            daemon.wait_ready()
            take_pictures(daemon.wait_for_event("metrics and health")["url"], broker.bootstrap_servers, options.folder)
            daemon.stop()
        finally:
            daemon.kill()


def take_pictures(url: str, bootstrap_servers: str, folder: Path) -> None:
    """Feed the daemon, and look at it after a while."""
    ends = threading.Event()
    feeder = threading.Thread(target=feed, args=(bootstrap_servers, ends))
    feeder.start()
    try:
        with chromium() as browser, Visit(browser) as watching:
            watching.page.goto(f"{url}/?symbol={CHOSEN}")  # so that there is a history to see
            watching.page.wait_for_timeout(1_000 * WARM_UP_S)
            for name, (scheme, phone) in PICTURES.items():
                with Visit(browser, scheme, phone) as visit:
                    visit.page.goto(f"{url}/?symbol={CHOSEN}&sort=movers")
                    visit.wait("() => document.querySelectorAll('#attention-chart .weight').length > 0")
                    visit.page.wait_for_timeout(2_500)
                    visit.page.screenshot(path=folder / f"{name}.png")
    finally:
        ends.set()
        feeder.join()


def feed(bootstrap_servers: str, ends: threading.Event) -> None:
    """Ticks of the simulated market, at their pace and with today's times."""
    ticks = simulate(SYMBOLS * 10_000, SYMBOLS, seed=7)
    due_s = (ticks.event_time_ns - ticks.event_time_ns[0]) / 1e9 * (5.0 / TICKS_PER_S)
    producer = KafkaProducer(bootstrap_servers=bootstrap_servers, linger_ms=1)
    begin_s, sent = time.monotonic(), 0
    while not ends.wait(STEP_S):
        until = int(np.searchsorted(due_s, time.monotonic() - begin_s))
        for index in range(sent, until):
            symbol = int(ticks.symbol_ids[index])
            book = dict(zip(BOOK_COLUMNS, ticks.values[index].tolist(), strict=True))
            record = {"symbol": ticks.symbols[symbol], "event_time_ns": time.time_ns(), **book}
            producer.send(
                "ticks", key=record["symbol"].encode(), value=json.dumps(record).encode(), partition=symbol % PARTITIONS
            )
        sent = until
    producer.close()


if __name__ == "__main__":
    main()
