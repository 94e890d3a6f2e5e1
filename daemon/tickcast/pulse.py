"""About once a second: gauges, readiness, and what `/readyz` and STATUS say of how the loop gets on."""

from tickcast import log
from tickcast.board import Board
from tickcast.clock import Clock
from tickcast.config import Config
from tickcast.errors import StalledError
from tickcast.notify import Notifier
from tickcast.ownership import Ownership
from tickcast.pace import Pace
from tickcast.pipeline import Pipeline
from tickcast.schema_waits import SchemaGate
from tickcast.sidecar import Sidecar
from tickcast.stalls import Stalls

# One round trip to the broker each time.
INTERVAL_NS = 1_000_000_000
# A member that gets no partition (more daemons than partitions) is a ready spare after so long.
SPARE_GRACE_NS = 10_000_000_000
# Partitions are taken up within a second, or two when a dead owner has to be fenced. When it takes so long, others
# should know.
PENDING_MAX_NS = 10_000_000_000
# Back-pressure comes and goes; when it lasts so long, others should know.
PAUSED_MAX_NS = 2_000_000_000


class Pulse:
    """What is looked at from time to time. `turn` is called once a turn of the loop."""

    def __init__(
        self,
        config: Config,
        board: Board,
        notifier: Notifier,
        sidecar: Sidecar,
        pipeline: Pipeline,
        ownership: Ownership,
        clock: Clock,
        started_ns: int,
        schemas: SchemaGate | None = None,
    ) -> None:
        """`started_ns`: when the process began, on the monotonic clock; `schemas`: where records wait for theirs."""
        self.ready = False  # whether the supervisor was told so, which it is once
        self._board = board
        self._notifier = notifier
        self._sidecar = sidecar
        self._pipeline = pipeline
        self._ownership = ownership
        self._clock = clock
        self._started_ns = started_ns
        self._schemas = schemas
        self._pace = Pace(board, config.kafka.input_topics, clock.monotonic_ns())
        self._stalls = Stalls(config.health.stall_timeout_s)
        self._log = log.get("pulse")
        self._due_ns = 0
        self._pending_since_ns: int | None = None
        self._hindered = ""

    def turn(self, remark: str) -> None:
        """Look, if it is time; `remark` goes into the status.

        Raises TickcastError when the metrics process has ended, StalledError when a partition is not read any more.
        """
        now_ns = self._clock.monotonic_ns()
        becomes_ready = not self.ready and self._is_settled(now_ns)
        if now_ns < self._due_ns and not becomes_ready:
            return
        self._due_ns = now_ns + INTERVAL_NS
        self._sidecar.check()
        answered = self._ownership.measure()
        paused = self._pipeline.paused_ns(now_ns) > 0 or self._waiting_ns(now_ns) > 0
        try:
            self._stalls.look(self._ownership.states, exempt=paused or not answered, now_ns=now_ns)
        except StalledError:
            self._board.counter("tickcast_stalls_total").add()
            raise
        self._say(self._hindrance(answered, now_ns), remark, becomes_ready, now_ns)

    def _is_settled(self, now_ns: int) -> bool:
        if self._ownership.pending:
            return False
        return bool(self._ownership.states) or now_ns - self._started_ns > SPARE_GRACE_NS

    def _hindrance(self, answered: bool, now_ns: int) -> str:
        """Why nobody should count on us just now; empty where nothing hinders."""
        if not answered:
            return "the cluster does not answer"
        if not self._ownership.pending:
            self._pending_since_ns = None
        elif self._pending_since_ns is None:
            self._pending_since_ns = now_ns
        elif now_ns - self._pending_since_ns > PENDING_MAX_NS:
            return f"{self._ownership.pending} partitions cannot be taken up"
        if self._pipeline.paused_ns(now_ns) >= PAUSED_MAX_NS:
            return f"consuming is paused: {self._pipeline.pause_reason}"
        if self._schemas is not None and self._waiting_ns(now_ns) >= PAUSED_MAX_NS:
            return f"ticks wait for their schema: {self._schemas.reason}"
        return ""

    def _waiting_ns(self, now_ns: int) -> int:
        """For how long ticks have waited for their schema."""
        return 0 if self._schemas is None else self._schemas.waiting_ns(now_ns)

    def _say(self, hindrance: str, remark: str, becomes_ready: bool, now_ns: int) -> None:
        status = "; ".join(filter(None, (hindrance, _status(self._ownership, self._pace, now_ns), remark)))
        self._board.set_detail({"status": status, "partitions": _positions(self._ownership)})
        self.ready = self.ready or becomes_ready
        self._board.set_ready(self.ready and not hindrance)
        if hindrance != self._hindered:
            self._hindered = hindrance
            say = self._log.warning if hindrance else self._log.info
            say("not ready" if hindrance else "ready again", reason=hindrance)
        if becomes_ready:
            self._notifier.ready(status)
            self._log.info("ready", status=status, after_s=round((now_ns - self._started_ns) / 1e9, 3))
        else:
            self._notifier.status(status)


def _status(ownership: Ownership, pace: Pace, now_ns: int) -> str:
    """`2 partitions, 64 symbols, 1,204 ticks/s, lag 0, p99 under 300 us`."""
    states = ownership.states.values()
    rebuilding = sum(max(state.publish_from - state.position, 0) for state in states)
    lag = sum(max(state.end - state.position, 0) for state in states)
    symbols = sum(len(state.windows) for state in states)
    rate, latency = pace.look(now_ns)
    partitions = _counted(len(states), "partition")
    pending = f"{ownership.pending} not taken up yet" if ownership.pending else ""
    if rebuilding:
        parts = [f"rebuilding windows, {rebuilding:,} records to go", partitions, pending]
    else:
        parts = [partitions, pending, _counted(symbols, "symbol"), rate, f"lag {lag:,}", latency]
    return ", ".join(filter(None, parts))


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _positions(ownership: Ownership) -> dict[str, dict[str, int | bool]]:
    return {
        f"{partition.topic}/{partition.number}": {"position": state.position, "rebuilding": state.rebuilding}
        for partition, state in ownership.states.items()
    }
