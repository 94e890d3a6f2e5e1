"""What the page costs the process that serves it: `python tests/page_load.py`.

Ten thousand symbols with ten thousand simulated ticks a second on the tape; nobody, one and eight viewers, and ten
scrapes a second. Prints CPU time (not wall time: others may share the cores), memory, and how long scrapes took.
"""

import contextlib
import statistics
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection
from urllib.parse import urlsplit

import numpy as np
import psutil
from simulated_loop import HORIZONS, WINDOW, SimulatedLoop
from tickcast.config import HttpConfig
from tickcast.page_feed import LINGER_S
from tickcast.page_table import SORTS
from tickcast.sidecar import Sidecar
from tickcast.tape import Ticks

SYMBOLS = 10_000
TICKS_PER_S = 10_000
STEP_S = 0.05
SETTLE_S = 8.0  # the tape is read, and the first order made
MEASURE_S = 6.0
SCRAPE_INTERVAL_S = 0.1
VIEWERS = (0, 1, 8)
PIECE_BYTES = 65_536


def main() -> None:
    """Measure and print."""
    names = [f"SIM-{number:05d}" for number in range(SYMBOLS)]
    with SimulatedLoop(names) as loop:
        loop.begin()
        sidecar = Sidecar.start(loop.shared, HttpConfig(port=0), 60)
        try:
            with writing(loop):
                for viewers in VIEWERS:
                    with looking(sidecar.url, names[:viewers]):
                        time.sleep(SETTLE_S)
                        say(f"{viewers} viewers: {measured(sidecar)}")
                time.sleep(2 * LINGER_S)
                say(f"when nobody has looked for a while: {memory(sidecar)}")
        finally:
            sidecar.stop()


@contextlib.contextmanager
def writing(loop: SimulatedLoop) -> Iterator[None]:
    """Somebody writes ticks, as cheaply as can be."""
    ends = threading.Event()
    count = round(TICKS_PER_S * STEP_S)
    random = np.random.default_rng(1)

    def write() -> None:
        begin_s, written = time.monotonic(), 0
        while not ends.wait(STEP_S):
            while written < (time.monotonic() - begin_s) * TICKS_PER_S:
                numbers = np.arange(written, written + count)
                written += count
                now_ns = np.full(count, time.time_ns())
                symbols = [loop.symbols[index] for index in (numbers % SYMBOLS).tolist()]
                forecasts = random.normal(0.0, 0.01, (count, len(HORIZONS))).astype(np.float32)
                mids = 100 + random.normal(0.0, 0.01, count)
                paths = np.ones(count, np.uint32)
                positions = numbers // SYMBOLS + WINDOW
                loop.shared.tape.append(Ticks(symbols, paths, positions, now_ns, now_ns, mids, forecasts))
            loop.turn()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join()


@contextlib.contextmanager
def looking(url: str, symbols: list[str]) -> Iterator[None]:
    """A viewer of each of `symbols`, who reads all he is sent."""
    with contextlib.ExitStack() as viewers:
        for number, symbol in enumerate(symbols):
            viewers.enter_context(looker(url, symbol, list(SORTS)[number % len(SORTS)]))
        yield


@contextlib.contextmanager
def looker(url: str, symbol: str, sort: str) -> Iterator[None]:
    """One viewer."""
    ends = threading.Event()
    connection = HTTPConnection(urlsplit(url).netloc, timeout=30)
    connection.request("GET", f"/stream?symbol={symbol}&sort={sort}")
    answer = connection.getresponse()

    def read() -> None:
        while not ends.is_set() and answer.read1(PIECE_BYTES):
            pass

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join()
        connection.close()


def measured(sidecar: Sidecar) -> str:
    """CPU time, scrapes, memory."""
    process = psutil.Process(sidecar.pid)
    before, begin_s, scrapes_ms = process.cpu_times(), time.monotonic(), list[float]()
    while time.monotonic() - begin_s < MEASURE_S:
        asked_s = time.monotonic()
        with urllib.request.urlopen(f"{sidecar.url}/metrics", timeout=30) as answer:
            answer.read()
        scrapes_ms.append((time.monotonic() - asked_s) * 1e3)
        time.sleep(SCRAPE_INTERVAL_S)
    after, seconds = process.cpu_times(), time.monotonic() - begin_s
    share = (after.user + after.system - before.user - before.system) / seconds
    scrapes = f"scrapes p50 {statistics.median(scrapes_ms):.1f} ms, max {max(scrapes_ms):.1f} ms"
    return f"{share:.1%} of a core, {scrapes}, {memory(sidecar)}"


def memory(sidecar: Sidecar) -> str:
    """Of the serving process."""
    return f"{psutil.Process(sidecar.pid).memory_info().rss >> 20} MiB, load {psutil.getloadavg()[0]:.1f}"


def say(text: str) -> None:
    """To standard output, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
