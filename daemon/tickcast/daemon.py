"""The daemon process: puts the parts together, runs the loop, takes it apart again in order."""

import platform
import signal
from collections.abc import Mapping
from types import FrameType

from tickcast import __version__, bundle, clients, log
from tickcast.assembly import assemble
from tickcast.board import Board
from tickcast.clients import Client
from tickcast.clock import Clock
from tickcast.config import Config
from tickcast.engine import Engine
from tickcast.errors import ConfigurationError
from tickcast.garbage import GarbageWatch
from tickcast.keep_warm import KeepWarm
from tickcast.notify import Notifier
from tickcast.ownership import Ownership
from tickcast.sidecar import Sidecar

# How often gauges, the readiness detail and STATUS are brought up to date; one round trip to the broker each time.
PULSE_INTERVAL_NS = 1_000_000_000
# A member that gets no partition (more daemons than partitions) is a ready spare after so long.
SPARE_GRACE_NS = 10_000_000_000
TOPIC_TIMEOUT_S = 10.0


class Daemon:
    """One instance: `run` returns after SIGTERM or SIGINT, everything drained and committed."""

    def __init__(self, config: Config, environment: Mapping[str, str], clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._log = log.get("daemon")
        self._notifier = Notifier(environment, clock)
        self._stopping = False
        self._serving = False
        self._ready = False
        self._started_ns = clock.monotonic_ns()
        self._pulse_due_ns = 0

    def run(self) -> None:
        """Serve until told to stop.

        Raises BundleError or ConfigurationError for what a restart will not mend, ProviderError where the provider
        cannot be had, BrokerError where the cluster does not answer, DeliveryError where a forecast was finally not
        delivered: then nothing is committed.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._stop)
        try:
            self._run()
        except _StoppedEarlyError:
            self._log.info("stopped", reason="signal before anything was consumed")

    def _run(self) -> None:
        board = Board.create(self._clock)
        sidecar = Sidecar.launch(board, self._config.http)
        try:
            engine = self._engine(board)
            self._log.info("metrics and health", url=sidecar.url)
            client = clients.connect(self._config.kafka, self._config.instance_id)
            try:
                self._check_topics(client)
                self._serve(board, sidecar, engine, client)
            finally:
                client.close(self._config.recovery.drain_timeout_ms / 1_000)
        finally:
            sidecar.stop()
            self._notifier.close()

    def _engine(self, board: Board) -> Engine:
        model = self._config.models[0]
        engine = Engine(bundle.load(model.bundle), self._config.inference)
        engine.warm()
        manifest = engine.bundle.manifest
        say = self._log.warning if engine.provider_reason else self._log.info
        say("provider", provider=engine.provider, reason=engine.provider_reason)
        self._log.info("model", name=manifest.name, version=manifest.version, sha256=engine.bundle.sha256)
        board.gauge("tickcast_build_info", version=__version__, python=platform.python_version()).set(1)
        board.gauge(
            "tickcast_model_info",
            name=manifest.name,
            version=manifest.version,
            sha256=engine.bundle.sha256,
            family=manifest.family,
        ).set(1)
        requested = self._config.inference.provider
        board.gauge("tickcast_provider_info", provider=engine.provider, requested=requested).set(1)
        board.gauge("tickcast_uncaptured_graphs").set(len(engine.uncaptured))
        for reason in engine.uncaptured:
            self._log.warning("graph runs without CUDA graphs", reason=reason)
        if engine.remark:
            self._log.warning("distant memory", reason=engine.remark)
        board.gauge("tickcast_start_time_seconds").set(self._clock.wall_ns() / 1e9)
        return engine

    def _check_topics(self, client: Client) -> None:
        kafka = self._config.kafka
        wanted = {*kafka.input_topics, kafka.output_topic, kafka.dead_letter_topic}
        missing = sorted(topic for topic in wanted if not client.partitions_of(topic, TOPIC_TIMEOUT_S))
        if missing:
            raise ConfigurationError(f"kafka: topics that do not exist: {', '.join(missing)}; create them first")

    def _serve(self, board: Board, sidecar: Sidecar, engine: Engine, client: Client) -> None:
        clock = self._clock

        def alive() -> None:
            board.turn(clock.monotonic_ns())
            self._notifier.watchdog()

        pipeline, ownership = assemble(self._config, engine, client, board, clock, alive)
        keep_warm = KeepWarm(engine.stay_warm, engine.keep_warm_interval_ms, clock)
        garbage = GarbageWatch(board.histogram("tickcast_gc_pause_seconds"), clock)
        garbage.start()
        self._serving = True
        try:
            while not self._stopping:
                keep_warm.turn(pipeline.turn())
                alive()
                self._pulse(board, sidecar, ownership)
        finally:
            garbage.stop()
        board.set_ready(False)
        self._notifier.stopping("draining")
        self._log.info("stopping", reason="signal")

    def _pulse(self, board: Board, sidecar: Sidecar, ownership: Ownership) -> None:
        now_ns = self._clock.monotonic_ns()
        became_ready = not self._ready and (ownership.states or now_ns - self._started_ns > SPARE_GRACE_NS)
        if now_ns < self._pulse_due_ns and not became_ready:
            return
        self._pulse_due_ns = now_ns + PULSE_INTERVAL_NS
        sidecar.check()
        ownership.measure()
        status = _status(ownership)
        board.set_detail({"status": status, "partitions": _positions(ownership)})
        if became_ready:
            self._ready = True
            board.set_ready(True)
            self._notifier.ready(status)
            self._log.info("ready", status=status, after_s=round((now_ns - self._started_ns) / 1e9, 3))
        else:
            self._notifier.status(status)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        first, self._stopping = not self._stopping, True
        if first and not self._serving:  # nothing to drain yet, and connecting may take half a minute
            raise _StoppedEarlyError


class _StoppedEarlyError(BaseException):
    """Raised out of whatever the start was waiting for. No Exception: nothing on the way out takes it for a failure."""


def _status(ownership: Ownership) -> str:
    states = ownership.states.values()
    rebuilding = sum(max(state.publish_from - state.position, 0) for state in states)
    lag = sum(max(state.end - state.position, 0) for state in states)
    symbols = sum(len(state.windows) for state in states)
    if rebuilding:
        return f"rebuilding windows, {rebuilding} records to go; {len(states)} partitions"
    return f"{len(states)} partitions, {symbols} symbols, lag {lag}"


def _positions(ownership: Ownership) -> dict[str, dict[str, int | bool]]:
    return {
        f"{partition.topic}/{partition.number}": {"position": state.position, "rebuilding": state.rebuilding}
        for partition, state in ownership.states.items()
    }
