"""A second bundle on the same windows: it answers the ticks that are answered already, to a topic of its own.

Behind the way of a tick. Rows are noted when their forecasts are on the way, worked off on a thread of the shadow's own
many at once, and published in slices between two turns of the loop. Whatever does not keep up is dropped and counted:
no tick waits for a shadow, and nothing that a shadow does makes the loop wait.
"""

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from math import isfinite
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tickcast import log, symbols
from tickcast import records as wire
from tickcast.board import Board
from tickcast.clients import Partition, Record
from tickcast.clock import Clock
from tickcast.commits import Commits
from tickcast.config import KafkaConfig
from tickcast.deliveries import Deliveries
from tickcast.engine import Engine
from tickcast.inference import Answers
from tickcast.publisher import Received, Work, reference_mid_of
from tickcast.row_pool import RowPool
from tickcast.scores import Scores
from tickcast.shadow_counters import ShadowCounters
from tickcast.shadow_windows import Seats, ShadowWindows
from tickcast.windows import Row

# Worked off at once: so many windows share a run of the graph, and wait no longer than this for company.
ROWS_AT_ONCE = 256
AGE_NS_MAX = 50_000_000
# Rows that wait to be worked off: more is a shadow that does not keep up, or a producer that has no room. A few MB.
WAITING_MAX = 4_096
# Between two turns: as long as other work that no tick asked for may take.
PUBLISHING_NS_MAX = 300_000
# A producer as full as this is needed for what was asked for.
LOAD_MAX = 0.25


class ShadowRecords(NamedTuple):
    """What makes a shadow's forecasts records, and gets them on their way with all others."""

    encode: Callable[[wire.Forecast], bytes]
    commits: Commits
    deliveries: Deliveries
    limits: KafkaConfig

    @property
    def has_room(self) -> bool:
        """Whether nobody else needs the producer."""
        load = self.deliveries.load(self.limits.outstanding_max, self.limits.outstanding_bytes_max)
        return load <= LOAD_MAX and not self.commits.busy


class _Noted(NamedTuple):
    rows: Sequence[Row]
    records: Sequence[Record]
    due: Sequence[bool]
    seats: Seats
    received: Received


class _Outgoing(NamedTuple):
    value: bytes
    key: bytes
    headers: list[tuple[str, bytes]]


class Shadow:
    """Of one bundle. Everything but `_work` and what that calls is on the loop's thread."""

    def __init__(
        self,
        engine: Engine,
        rows: RowPool,
        topic: str,
        records: ShadowRecords,
        trained: Sequence[str],
        board: Board,
        clock: Clock,
    ) -> None:
        """`engine` is warm and nobody else's; `rows` are the loop's; `trained` is all it answers, where not empty."""
        bundle = engine.bundle
        manifest = self._manifest = bundle.manifest
        self._name = wire.BundleName(manifest.name, manifest.version, bundle.sha256)
        self._windows = ShadowWindows(engine)
        self._scores = Scores(board, manifest, rows, ShadowCounters)
        self._reference_mid = reference_mid_of(manifest)
        self._rows = rows
        self._topic = topic
        self._records = records
        self._knows = symbols.matcher(trained or ("*",))
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "shadow")
        self._waiting: list[_Noted] = []
        self._waiting_rows = 0
        self._due_ns = 0
        self._working: Future[list[_Outgoing]] | None = None
        self._outgoing: list[_Outgoing] = []  # last first
        self._failed = False
        self._log = log.get("shadow")
        self._published = board.counter("tickcast_shadow_forecasts_total")
        self._dropped = board.counter("tickcast_shadow_dropped_ticks_total")
        self._info = board.gauge(
            "tickcast_shadow_info", name=manifest.name, version=manifest.version, sha256=bundle.sha256
        )
        self._info.set(1)

    def note(self, work: Work, answers: Sequence[Answers], received: Received) -> None:
        """See `Watcher`: what was answered is answered once more."""
        if not work.rows or self._failed:
            return
        if self._waiting_rows + len(work.rows) > WAITING_MAX:
            self._dropped.add(sum(work.due))
            return
        if not self._waiting:
            self._due_ns = received.monotonic_ns + AGE_NS_MAX
        slots = np.array([row.window.slot for row in work.rows], np.intp)
        seats = Seats(slots, self._rows.seated[slots])
        self._waiting.append(_Noted(work.rows, work.records, work.due, seats, received))
        self._waiting_rows += len(work.rows)

    def turn(self) -> None:
        """See `Watcher`: publish a slice of what is done, and have more done."""
        if self._outgoing:
            self._publish()
        elif self._working is not None:
            if self._working.done():
                self._take(self._working)
        elif self._waiting and (self._waiting_rows >= ROWS_AT_ONCE or self._clock.monotonic_ns() >= self._due_ns):
            noted, self._waiting, self._waiting_rows = self._waiting, [], 0
            self._working = self._thread.submit(self._work, noted)

    def flush(self) -> None:
        """See `Watcher`: a shadow takes its time, and nobody waits for it."""

    def keep(self, partitions: Collection[Partition]) -> None:
        """See `Watcher`: whose a slot is tells its windows apart, and what is on its way is right all the same."""

    def close(self) -> None:
        """See `Watcher`: nothing more comes of it."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._info.clear()

    def _take(self, working: "Future[list[_Outgoing]]") -> None:
        self._working = None
        error = working.exception()
        if error is None:
            self._outgoing = working.result()
            return
        # Whatever it was, the bundle that answers is none the worse for it.
        self._log.error("shadow failed and is no more", sha256=self._name.sha256, exc_info=error)
        self._failed = True
        self._waiting, self._waiting_rows = [], 0
        self.close()

    def _publish(self) -> None:
        if not self._records.has_room:
            return
        until_ns = self._clock.monotonic_ns() + PUBLISHING_NS_MAX
        send, batch = self._records.commits.send, self._records.deliveries.open()
        while self._outgoing and self._clock.monotonic_ns() <= until_ns:
            value, key, headers = self._outgoing.pop()
            batch.sent += 1
            batch.bytes += len(value)
            send(self._topic, value, key, headers, batch.on_delivery)
            self._published.add()

    # -- on the shadow's thread

    def _work(self, noted: Sequence[_Noted]) -> list[_Outgoing]:
        """Forecasts ready to be sent, the last one first; and what became of earlier ones is scored."""
        rows = [row for each in noted for row in each.rows]
        due = [
            is_due and self._knows(row.tick.symbol)
            for each in noted
            for row, is_due in zip(each.rows, each.due, strict=True)
        ]
        sources = [(record, each.received) for each in noted for record in each.records]
        seats = Seats(*(np.concatenate(parts) for parts in zip(*(each.seats for each in noted), strict=True)))
        forecasts = self._windows.answer(rows, seats, due)
        self._score(rows, seats, forecasts)
        made = []
        for row, (record, received), values in zip(rows, sources, forecasts.tolist(), strict=True):
            if isfinite(sum(values)):
                headers = wire.source_headers(record.partition, record.offset)
                made.append(_Outgoing(self._encoded(row, record, received, values), row.tick.symbol.encode(), headers))
        made.reverse()
        return made

    def _score(self, rows: Sequence[Row], seats: Seats, forecasts: NDArray[np.float32]) -> None:
        full = [at for at, row in enumerate(rows) if row.due]
        if not full:
            return
        mids = np.array([self._reference_mid(rows[at].tick.values) for at in full], np.float64)  # None becomes NaN
        mids[np.isinf(mids)] = np.nan
        positions = np.array([rows[at].position for at in full], np.int64)
        self._scores.add(seats.slots[full], positions, mids, forecasts[full])

    def _encoded(self, row: Row, record: Record, received: Received, values: list[float]) -> bytes:
        manifest, tick = self._manifest, row.tick
        forecast = wire.Forecast(
            v=wire.VERSION,
            symbol=tick.symbol,
            topic=record.partition.topic,
            partition=record.partition.number,
            offset=record.offset,
            event_time_ns=tick.event_time_ns,
            tick_time_ns=record.timestamp_ms * 1_000_000,
            received_time_ns=received.wall_ns,
            sent_time_ns=self._clock.wall_ns(),
            horizons=manifest.horizons,
            forecast=values,
            unit=manifest.unit,
            reference_mid=self._reference_mid(tick.values),
            skipped_before=0,
            bundle=self._name,
            path="window",
            flags=(),
        )
        return self._records.encode(forecast)
