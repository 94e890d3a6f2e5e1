"""The market of the crash tests: ticks at a steady rate, whatever becomes of them. A process of its own.

Open loop: a tick's time is fixed before anything runs, and a broker that is away only puts off its delivery. Run as
`chaos.load LOAD` with a `Load` as JSON; ends at SIGTERM, when all is acknowledged, and prints `Sent`.
"""

import itertools
import os
import signal
import subprocess
import sys
import time
from types import TracebackType
from typing import Self

import feeds
import msgspec
from confluent_kafka import Producer

# A head start at full speed fills the windows; a fifth more than they hold, for some symbols come less often.
HEAD_SHARE = 1.5
STEP_S = 0.005
SILENCE_EVERY = 2_000
BAD_EVERY = 100
STOP_TIMEOUT_S = 120.0
# Longer than any broker is away here; the queue holds what comes meanwhile.
DELIVERY_TIMEOUT_MS = 600_000
QUEUE_MAX = 1_000_000
REQUEST_TIMEOUT_MS = 5_000
OPEN = b"open\n"
QUIET = 0  # that the broker is away is no news here


class Load(msgspec.Struct, frozen=True):
    """What to send, where to, and how fast."""

    bootstrap_servers: str
    topic: str
    partitions: int
    symbols: int
    rate: float  # ticks a second
    head: int  # ticks at full speed before
    seed: int


class Sent(msgspec.Struct, frozen=True):
    """What was sent after the head."""

    ticks: int
    seconds: float

    @property
    def rate(self) -> float:
        """Ticks a second."""
        return self.ticks / self.seconds


class Market:
    """A running load; a context manager. `stop` when enough has come."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "chaos.load", msgspec.json.encode(self._load).decode()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != OPEN:
            raise RuntimeError(f"the market did not open: status {self._process.wait()}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def stop(self) -> Sent:
        """No more ticks; what was sent, once all of it is in the topic."""
        assert self._process is not None
        self._process.terminate()
        printed, _ = self._process.communicate(timeout=STOP_TIMEOUT_S)
        return msgspec.json.decode(printed, type=Sent)


def main(load: Load) -> None:
    """Send until told to stop."""
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.append(number))
    producer = Producer(
        {
            "bootstrap.servers": load.bootstrap_servers,
            "enable.idempotence": True,
            "linger.ms": 1,
            "log_level": QUIET,
            "message.timeout.ms": DELIVERY_TIMEOUT_MS,
            "request.timeout.ms": REQUEST_TIMEOUT_MS,
            "socket.timeout.ms": 2 * REQUEST_TIMEOUT_MS,
            "queue.buffering.max.messages": QUEUE_MAX,
        }
    )
    endless = feeds.ticks(sys.maxsize, load.symbols, load.seed, SILENCE_EVERY)
    messages = feeds.with_bad_records(endless, BAD_EVERY)

    def send(count: int) -> None:
        for number, key, value in itertools.islice(messages, count):
            producer.produce(load.topic, key=key, value=value, partition=number % load.partitions)
        producer.poll(0)

    send(load.head)
    sys.stdout.buffer.write(OPEN)
    sys.stdout.flush()
    began_s, sent = time.monotonic(), 0
    while not stopping:
        due = int((time.monotonic() - began_s) * load.rate)
        send(due - sent)
        sent = due
        time.sleep(STEP_S)
    seconds = time.monotonic() - began_s
    producer.flush(STOP_TIMEOUT_S)
    sys.stdout.write(msgspec.json.encode(Sent(sent, seconds)).decode())


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1], type=Load))
