"""A local Kafka for development: the real Apache Kafka, one KRaft node, listening on loopback only.

Before every stage of the way of a tick: the demo, the tests and the benchmarks run against this broker. It needs
nothing but the extra `demo`, dies with the process that started it (see `broker_child`), and leaves nothing behind
unless a data folder is given, which the next start takes up again.
"""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import kafka.errors

from tickcast import broker_child, kafka_jars
from tickcast.cluster import Cluster
from tickcast.errors import BrokerError

HOST = "127.0.0.1"
READY_TIMEOUT_S = 60.0  # 4 s are usual; a loaded continuous-integration machine has been seen to take 20
STOP_TIMEOUT_S = 20.0  # half a second is usual; then SIGKILL, from which Kafka recovers its logs
PROBE_INTERVAL_S = 0.05
PROBE_TIMEOUT_S = 2.0
LOG_LINES_SHOWN = 15
# A free port may be taken between our look and Kafka's start. A port that was asked for is never tried twice.
START_ATTEMPTS = 3
PORT_TAKEN = "Address already in use"

JAVA_OPTIONS = (
    "-Xmx512m",
    "-XX:+UseSerialGC",  # no collector threads to compete for two cores
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",  # no files outside the data folder
    "--enable-native-access=ALL-UNNAMED",  # compression libraries; silences a warning on Java 24 and later
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)

PROTOCOLS = "listener.security.protocol.map"
SETTINGS: dict[str, str] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    PROTOCOLS: "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "auto.create.topics.enable": "false",  # a mistyped topic name is an error
    "group.initial.rebalance.delay.ms": "0",  # 3 s by default: a whole group is not waited for
    "offsets.topic.num.partitions": "1",  # 50 by default, each created and loaded at the first commit
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "log.cleaner.dedupe.buffer.size": "4194304",  # 128 MB by default, a quarter of this heap
}


class Listener(NamedTuple):
    """One more port for clients, of loopback like the first, for which a free one is best chosen beforehand.

    `advertised` is the `host:port` that whoever asks there is told to use; empty: the port itself.
    """

    port: int
    protocol: str = "PLAINTEXT"
    advertised: str = ""


class Broker(Cluster):
    """One Kafka node. `with Broker() as broker:` starts it, waits until it answers, and stops it at the end.

    `port` 0 takes a free one. `data` is a folder that outlives the broker; without it everything is temporary.
    `settings` are added to, or replace, those of `SETTINGS`. `listeners` are further ones, by name.
    """

    def __init__(
        self,
        port: int = 0,
        data: Path | None = None,
        settings: Mapping[str, str] | None = None,
        listeners: Mapping[str, Listener] | None = None,
    ) -> None:
        super().__init__("")
        self._asked_port = port
        self._data = data
        self._settings = {**SETTINGS, **(settings or {})}
        self._listeners = dict(listeners or {})
        self._port = port
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap_servers(self) -> str:
        """What a client is to be given, `127.0.0.1:PORT`; known once started."""
        return f"{HOST}:{self._port}"

    @property
    def pid(self) -> int:
        """Kafka's own process."""
        if self._process is None:
            raise BrokerError("the broker is not running")
        return self._process.pid

    @property
    def log_path(self) -> Path:
        """Kafka's warnings and errors of this start."""
        if self._folder is None:
            raise BrokerError("the broker is not running")
        return self._folder / "kafka.log"

    def start(self) -> None:
        """Start and wait until requests are answered.

        Raises MissingExtraError without Java or jgo, BrokerError with the end of Kafka's log when it does not come up.
        """
        if self._process is not None:
            raise BrokerError(f"the broker is running already, on {self.bootstrap_servers}")
        java, jars = kafka_jars.java(), kafka_jars.jars()
        try:
            if self._folder is None:  # else it was killed
                self._folder = self._data or Path(tempfile.mkdtemp(prefix="tickcast-broker-"))
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / "tmp").mkdir(exist_ok=True)
            command = [str(java), *JAVA_OPTIONS, f"-Djava.io.tmpdir={self._folder / 'tmp'}"]
            self._start_on_free_ports([*command, "-cp", ":".join(map(str, jars))])
        except OSError as error:
            self.stop()
            raise BrokerError(f"the broker cannot start: {error}") from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop Kafka, by force after 20 s, and delete what was temporary. Harmless when not running."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._folder is not None and self._data is None:
            shutil.rmtree(self._folder)
        self._folder = None

    def kill(self) -> None:
        """End Kafka by SIGKILL. The next `start` takes up the same folder, on the same port."""
        if self._process is None:
            raise BrokerError("the broker is not running")
        self._process.kill()
        self._process.wait()
        self._process = None
        self._asked_port = self._port

    def check(self) -> None:
        """Raise BrokerError, with the end of its log, if Kafka has ended by itself."""
        if self._process is None:
            raise BrokerError("the broker is not running")
        status = self._process.poll()
        if status is not None:
            raise BrokerError(f"Kafka ended with status {status}; the end of its log:\n{self._log_end()}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _start_on_free_ports(self, java: list[str]) -> None:
        for attempts_left in reversed(range(START_ATTEMPTS)):
            self._port, controller_port = _choose_ports(self._asked_port)
            properties = self._write_properties(controller_port)
            self._format(java, properties)
            self._launch(java, properties)
            try:
                self._wait_until_ready()
                return
            except BrokerError:
                lost_the_race = self._asked_port == 0 and PORT_TAKEN in self._log_end()
                if not (attempts_left and lost_the_race):
                    raise

    def _write_properties(self, controller_port: int) -> Path:
        assert self._folder is not None
        more = self._listeners.items()
        own = f"PLAINTEXT://{self.bootstrap_servers}"
        protocols = [f"{name}:{listener.protocol}" for name, listener in more]
        addresses = [f"{name}://{HOST}:{listener.port}" for name, listener in more]
        advertised = [f"{name}://{listener.advertised or f'{HOST}:{listener.port}'}" for name, listener in more]
        properties = {
            **self._settings,
            PROTOCOLS: ",".join([self._settings[PROTOCOLS], *protocols]),
            "listeners": ",".join([own, f"CONTROLLER://{HOST}:{controller_port}", *addresses]),
            "advertised.listeners": ",".join([own, *advertised]),
            "controller.quorum.voters": f"{self._settings['node.id']}@{HOST}:{controller_port}",
            "log.dirs": str(self._folder / "data"),
        }
        path = self._folder / "kafka.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in properties.items()), "utf-8")
        return path

    def _format(self, java: list[str], properties: Path) -> None:
        """Give an empty data folder its identity, which KRaft asks for; a folder used before keeps the one it has."""
        assert self._folder is not None
        if (self._folder / "data" / "meta.properties").exists():
            return
        tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={secrets.token_urlsafe(16)}"]
        try:
            done = subprocess.run(
                [*java, "-XX:TieredStopAtLevel=1", *tool, "--config", str(properties)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=READY_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise BrokerError(
                f"making {self._folder} a data folder of Kafka took over {error.timeout:.0f} s"
            ) from error
        if done.returncode != 0:
            raise BrokerError(f"{self._folder} cannot be made a data folder of Kafka:\n{_end_of(done.stderr)}")

    def _launch(self, java: list[str], properties: Path) -> None:
        scratch = "" if self._data else str(self._folder)
        command = [*java, "kafka.Kafka", str(properties)]
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                # -I -S: a fast start, and nothing of the parent's environment can change what runs.
                [sys.executable, "-I", "-S", broker_child.__file__, str(os.getpid()), scratch, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the parent, which stops what it started in its own order
            )

    def _wait_until_ready(self) -> None:
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while not self._answers():
            self.check()
            if time.monotonic() > deadline_s:
                raise BrokerError(f"Kafka has not answered for {READY_TIMEOUT_S:.0f} s; its log:\n{self._log_end()}")
            time.sleep(PROBE_INTERVAL_S)
        self.check()  # whoever answered was ours

    def _answers(self) -> bool:
        """Whether the node serves requests and counts itself as a member of its cluster."""
        try:
            socket.create_connection(
                (HOST, self._port), PROBE_TIMEOUT_S
            ).close()  # cheaper than a client, while it boots
            timeout_ms = int(PROBE_TIMEOUT_S * 1000)
            with self._admin_client(timeout_ms) as admin:
                return bool(admin.describe_cluster()["brokers"])
        except OSError:
            return False
        except kafka.errors.KafkaError as error:
            if error.retriable:
                return False
            raise BrokerError(f"{self.bootstrap_servers}: {error}") from error

    def _log_end(self) -> str:
        return _end_of(self.log_path.read_text("utf-8", "replace"))


def _choose_ports(asked_port: int) -> tuple[int, int]:
    """The broker's port and the controller's, free a moment ago. Raises BrokerError where `asked_port` is not."""
    with socket.socket() as client_side, socket.socket() as controller_side:
        client_side.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of a former run may linger
        try:
            client_side.bind((HOST, asked_port))
        except OSError as error:
            raise BrokerError(f"{HOST}:{asked_port} cannot be listened on: {error.strerror}") from error
        controller_side.bind((HOST, 0))
        return client_side.getsockname()[1], controller_side.getsockname()[1]


def _end_of(log: str) -> str:
    return "\n".join(log.splitlines()[-LOG_LINES_SHOWN:]) or "(empty)"
