"""The daemon process: puts the parts together, runs the loop, takes it apart again in order."""

import functools
import platform
import signal
from collections.abc import Callable, Mapping
from types import FrameType

from tickcast import __version__, clients, faults, log, model, state_topic, topic_limits
from tickcast.assembly import Assembly
from tickcast.board import Board
from tickcast.clients import Client
from tickcast.clock import Clock
from tickcast.config import Config
from tickcast.control_follower import ControlFollower
from tickcast.errors import ConfigurationError
from tickcast.garbage import GarbageWatch
from tickcast.keep_warm import KeepWarm
from tickcast.model import Models
from tickcast.notify import Notifier
from tickcast.pulse import Pulse
from tickcast.reload import Reloads
from tickcast.shared_memory import SharedMemory
from tickcast.sidecar import Sidecar
from tickcast.spotlight import Spotlight
from tickcast.state_topic import StateTopic

TOPIC_TIMEOUT_S = 10.0


class Daemon:
    """One instance: `run` returns after SIGTERM or SIGINT, everything drained and committed."""

    def __init__(
        self, config: Config, reread: Callable[[], Config], environment: Mapping[str, str], clock: Clock
    ) -> None:
        """`reread` reads the configuration again, as it is written at a reload."""
        self._config = config
        self._reread = reread
        follows = bool(config.promotion.control_topic)
        self._follower = ControlFollower(config, self._ask_reload) if follows else None
        self._clock = clock
        self._log = log.get("daemon")
        self._notifier = Notifier(environment, clock)
        self._fault = faults.armed(environment)
        self._stopping = False
        self._serving = False
        self._reload_asked = False
        self._started_ns = clock.monotonic_ns()

    def run(self) -> None:
        """Serve until told to stop; reload the bundle when told to by SIGHUP.

        Raises BundleError or ConfigurationError for what a restart will not mend, ProviderError where the provider
        cannot be had, BrokerError where the cluster does not answer, DeliveryError where a forecast was finally not
        delivered: then nothing is committed.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._reload)
        try:
            self._run()
        except _StoppedEarlyError:
            self._log.info("stopped", reason="signal before anything was consumed")

    def _run(self) -> None:
        shared = SharedMemory.create(self._clock)
        hang_timeout_s = self._config.health.hang_timeout_s
        sidecar = Sidecar.launch(shared, self._config.http, hang_timeout_s, self._config.name)
        try:
            if self._follower is not None:
                self._follower.read()
                self._config = self._follower.applied(self._config)
            loaded = self._load(shared.board)
            self._log.info("metrics and health", url=sidecar.url)
            kafka = topic_limits.applied(self._config.kafka, state_topic.wanted(self._config, loaded.manifests))
            self._config = self._config.model_copy(update={"kafka": kafka})
            client = clients.connect(kafka, self._config.instance_id)
            try:
                state = self._check_topics(client, loaded)
                self._serve(shared, sidecar, loaded, client, state)
            finally:
                client.close(self._config.recovery.drain_timeout_ms / 1_000)
        finally:
            if self._follower is not None:
                self._follower.stop()
            sidecar.stop()
            self._notifier.close()

    def _load(self, board: Board) -> Models:
        loaded = model.load(self._config)
        requested = self._config.inference.provider
        for each in loaded.each:
            engine, manifest = each.engine, each.manifest
            say = self._log.warning if engine.provider_reason else self._log.info
            say("provider", provider=engine.provider, reason=engine.provider_reason)
            self._log.info("model", name=manifest.name, version=manifest.version, sha256=each.sha256)
            board.gauge("tickcast_provider_info", provider=engine.provider, requested=requested).set(1)
            if engine.remark:
                self._log.warning("distant memory", reason=engine.remark)
        board.gauge("tickcast_build_info", version=__version__, python=platform.python_version()).set(1)
        board.gauge("tickcast_start_time_seconds").set(self._clock.wall_ns() / 1e9)
        return loaded

    def _check_topics(self, client: Client, loaded: Models) -> StateTopic | None:
        """The one that live state is kept in, if it is. Raises ConfigurationError where one is missing."""
        kafka = self._config.kafka
        wanted = {*kafka.input_topics, kafka.output_topic, kafka.dead_letter_topic, *self._config.shadow_topics}
        partitions_of = functools.partial(client.partitions_of, timeout_s=TOPIC_TIMEOUT_S)
        missing = sorted(topic for topic in wanted if not partitions_of(topic))
        problems = [f"kafka: topics that do not exist: {', '.join(missing)}; create them first"] if missing else []
        try:
            policy_of = state_topic.cleanup_policy_of(self._config)
            state = state_topic.found(self._config, loaded.manifests, partitions_of, policy_of)
        except ConfigurationError as error:
            problems.append(str(error))
        if problems:
            raise ConfigurationError("\n".join(problems))
        return state

    def _serve(
        self, shared: SharedMemory, sidecar: Sidecar, loaded: Models, client: Client, state: StateTopic | None
    ) -> None:
        clock, board, tape = self._clock, shared.board, shared.tape

        def alive() -> None:
            board.turn(clock.monotonic_ns())
            self._notifier.watchdog()

        assembly = Assembly(self._config, loaded, client, board, tape, clock, alive, self._fault, state_topic=state)
        pipeline, ownership = assembly.pipeline, assembly.ownership
        reloads = Reloads(self._config, assembly, self._as_in_force, board, self._notifier, clock)
        keep_warm = KeepWarm(assembly.stay_warm, loaded.each[0].engine.keep_warm_interval_ms, clock)
        pulse = Pulse(
            self._config,
            board,
            self._notifier,
            sidecar,
            pipeline,
            ownership,
            clock,
            self._started_ns,
            assembly.schema_gate,
        )
        spotlight = Spotlight(shared.wish, tape, clock)
        garbage = GarbageWatch(board.histogram("tickcast_gc_pause_seconds"), clock)
        garbage.start()
        if self._follower is not None:
            self._follower.start()
        self._serving = True
        try:
            while not self._stopping:
                keep_warm.turn(pipeline.turn())
                alive()
                pulse.turn(reloads.outcome)
                assembly.explain(spotlight)
                if pulse.ready:
                    self._turn_of(reloads)
        finally:
            garbage.stop()
            reloads.close()
        board.set_ready(False)
        self._notifier.stopping("draining")
        self._log.info("stopping", reason="signal")

    def _as_in_force(self) -> Config:
        """The configuration as it is written now, with the bundles in force."""
        read = self._reread()
        return read if self._follower is None else self._follower.applied(read)

    def _turn_of(self, reloads: Reloads) -> None:
        if self._reload_asked:
            self._reload_asked = False
            reloads.ask()
        reloads.turn()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        first, self._stopping = not self._stopping, True
        if first and not self._serving:  # nothing to drain yet, and connecting may take half a minute
            raise _StoppedEarlyError

    def _reload(self, number: int, frame: FrameType | None) -> None:
        self._ask_reload()

    def _ask_reload(self) -> None:
        """Safe in a signal's handler, and on any thread."""
        self._reload_asked = True


class _StoppedEarlyError(BaseException):
    """Raised out of whatever the start was waiting for. No Exception: nothing on the way out takes it for a failure."""
