"""Somebody who watches an instance, and stops when asked: scrapes of its metrics, and its page open on one symbol.

Beside the way of a tick. A process of its own (`python -m tickcast.bench_watcher URL SYMBOL SCRAPES_PER_S`), as a
browser and a scraper are: what they take of a processor is not the loop's.
"""

import http.client
import os
import sys
import threading
import time
from collections.abc import Callable

from tickcast.bench_child import Asked, answer
from tickcast.errors import TickcastError
from tickcast.top_stream import Address, Stream

# So much was told when the page counts as open: what opening it takes is over.
DOCUMENTS_FIRST = 3
START_TIMEOUT_S = 20.0
# What Prometheus asks for.
METRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


def child(url: str, symbol: str, scrapes_per_s: float) -> Asked:
    """A process that watches from one question to the next; to the second it answers what `Watcher.stop` returns."""
    return Asked(["tickcast.bench_watcher", url, symbol, str(scrapes_per_s)], {})


class Watcher:
    """Watches from `start` to `stop`."""

    def __init__(self, address: Address, symbol: str, scrapes_per_s: float) -> None:
        self._address = address
        self._scrape_interval_s = 1 / scrapes_per_s
        self._query: dict[str, str | int] = {"symbol": symbol, "sort": "movers", "limit": 50}
        self._over = threading.Event()
        self._open = threading.Event()  # the page; or it failed
        self._failure: Exception | None = None
        self._scrapes = self._documents = 0

    def start(self) -> None:
        """Returns when the page is open. Raises TickcastError where it does not open, or nothing can be scraped."""
        self._stream = Stream(self._address, self._query)
        self._threads = [threading.Thread(target=self._run, args=(each,)) for each in (self._view, self._scrape)]
        self._started_s = time.monotonic()
        for thread in self._threads:
            thread.start()
        if not self._open.wait(START_TIMEOUT_S):
            self._failure = TickcastError(f"{self._address} told nothing within {START_TIMEOUT_S:g} s")
        if self._failure is not None:
            self.stop()

    def stop(self) -> list[float]:
        """For how many seconds it watched, how often it scraped, how much it was told. Raises what went wrong."""
        seen = [time.monotonic() - self._started_s, self._scrapes, self._documents]
        self._over.set()
        self._stream.break_off()
        for thread in self._threads:
            thread.join()
        self._stream.close()
        if self._failure is not None:
            raise self._failure
        return seen

    def _run(self, part: Callable[[], None]) -> None:
        try:
            part()
        except (OSError, http.client.HTTPException, TickcastError) as error:
            if not self._over.is_set():
                self._failure = error
                self._open.set()

    def _view(self) -> None:
        while not self._over.is_set():
            self._stream.read()
            self._documents += 1
            if self._documents == DOCUMENTS_FIRST:
                self._open.set()

    def _scrape(self) -> None:
        address = self._address
        while not self._over.wait(self._started_s + self._scrapes * self._scrape_interval_s - time.monotonic()):
            connection = http.client.HTTPConnection(address.host, address.port, timeout=START_TIMEOUT_S)
            try:
                connection.request("GET", f"{address.prefix}/metrics", headers={"Accept": METRICS})
                answered = connection.getresponse()
                answered.read()
            finally:
                connection.close()
            if answered.status != http.HTTPStatus.OK:
                raise TickcastError(f"{address}/metrics: {answered.status} {answered.reason}")
            self._scrapes += 1


def main() -> None:
    """The process."""
    address, symbol, scrapes_per_s = Address.of(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    # A browser and a scraper run on hosts of their own: here at least on time that nobody else wants.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    watching: list[Watcher] = []

    def toggle() -> list[float]:
        if watching:
            return watching.pop().stop()
        watching.append(Watcher(address, symbol, scrapes_per_s))
        watching[0].start()
        return []

    answer(toggle)


if __name__ == "__main__":
    main()
