"""Fault points: places on the way of a tick at which the process kills or stops itself, for the crash tests.

Armed by `TICKCAST_FAULT=STAGE:COUNT[:ACTION]` in the environment, for stages `decode`, `produce` and `commit` of the
way of a tick and for the rebuild after a restart; absent otherwise, so that nothing of this is in the loop then. Before
it strikes it writes one line to standard error: the proof that the end came from within that stage.
"""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import Any, Literal, cast, get_args

from tickcast.clients import Client, Committed, Headers, OnDelivery, Partition, Reader, Record
from tickcast.codec import Decoder
from tickcast.config import FAULT_VARIABLE
from tickcast.errors import ConfigurationError
from tickcast.windows import Tick

# decode       about to decode a tick that is to be answered
# produced     forecasts or dead letters are sent, and their commit is about to begin
# transaction  a record was just sent in an open transaction
# commit       while a commit is under way: after a share of the time that commits take here
# committed    right after a commit, before anything else
# recovery     a record of the rebuild of windows was just polled
Stage = Literal["decode", "produced", "transaction", "commit", "committed", "recovery"]
Action = Literal["kill", "stop"]
STAGES: tuple[Stage, ...] = get_args(Stage)
SIGNALS: Mapping[str, signal.Signals] = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}

EVENT = "fault point reached"
STANDARD_ERROR = 2
# Successive counts strike at well spread places of a commit: multiples of the golden ratio, their whole part left off.
SPREAD = 0.618_033_988_75
COMMIT_DURATION_S = 0.003  # what a commit takes, before any was timed


class Fault:
    """Strikes when `stage` is reached for the `count`th time; `strike` is what it does then."""

    def __init__(self, stage: Stage, count: int, strike: Callable[[], None]) -> None:
        self.stage = stage
        self.count = count
        self.publish_from: dict[Partition, int] = {}  # committed offsets: what lies before them is rebuild
        self._strike = strike
        self._left = count
        self._durations_s: list[float] = []
        self._ending = threading.Lock()

    def reached(self, stage: Stage, times: int = 1) -> None:
        """The loop is at `stage`."""
        if stage == self.stage and self._left > 0:
            self._left -= times
            if self._left <= 0:
                self._strike()

    @contextmanager
    def within(self, stage: Stage) -> Iterator[None]:
        """The loop is in a call that takes some time. One that ends too early is let go: the next is tried."""
        if stage != self.stage:
            yield
            return
        self._left -= 1
        began_s, ended = time.monotonic(), threading.Event()
        if self._left <= 0:
            share = self.count * SPREAD % 1
            delay_s = share * (median(self._durations_s) if self._durations_s else COMMIT_DURATION_S)
            threading.Thread(target=self._strike_unless, args=(ended, delay_s), daemon=True).start()
        try:
            yield
        finally:
            with self._ending:  # a strike that has begun is waited for: it lies within the call
                ended.set()
            self._durations_s.append(time.monotonic() - began_s)

    def rebuilds(self, record: Record) -> bool:
        """Whether `record` is read again, for its window's sake."""
        return record.offset < self.publish_from.get(record.partition, 0)

    def _strike_unless(self, ended: threading.Event, delay_s: float) -> None:
        if not ended.wait(delay_s):
            with self._ending:
                if not ended.is_set():
                    self._strike()


def armed(environment: Mapping[str, str]) -> Fault | None:
    """The fault that `environment` asks for. Raises ConfigurationError for what is none."""
    text = environment.get(FAULT_VARIABLE)
    if text is None:
        return None
    stage, _, rest = text.partition(":")
    count, _, action = rest.partition(":")
    if stage not in STAGES:
        raise ConfigurationError(f"{FAULT_VARIABLE}={text}: no stage {stage!r}; allowed: {', '.join(STAGES)}")
    if not count.isdecimal() or int(count) < 1:
        raise ConfigurationError(f"{FAULT_VARIABLE}={text}: the count must be a whole number from 1 on")
    if (action or "kill") not in SIGNALS:
        raise ConfigurationError(f"{FAULT_VARIABLE}={text}: no action {action!r}; allowed: {', '.join(SIGNALS)}")
    return Fault(stage, int(count), lambda: _end(stage, SIGNALS[action or "kill"]))


def decoder(decoder: Decoder, fault: Fault | None) -> Decoder:
    """`decoder`, with the fault point `decode` before each record that is to be answered."""
    return decoder if fault is None else _Decoder(decoder, fault)


def client(client: Client, fault: Fault | None) -> Client:
    """`client`, with all other fault points but one."""
    return client if fault is None else cast(Client, _Client(client, fault))


def reader(reader: Reader, fault: Fault | None) -> Reader:
    """`reader`, with the fault point `recovery`."""
    return reader if fault is None else cast(Reader, _Reader(reader, fault))


class _Decoder:
    def __init__(self, decoder: Decoder, fault: Fault) -> None:
        self._decoder = decoder
        self._fault = fault

    def decode(self, record: Record) -> Tick:
        if not self._fault.rebuilds(record):
            self._fault.reached("decode")
        return self._decoder.decode(record)


class _Reader:
    """Whatever is not defined here goes to the reader untouched."""

    def __init__(self, reader: Reader, fault: Fault) -> None:
        self._reader = reader
        self._fault = fault

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def poll(self, timeout_s: float, records_max: int) -> list[Record]:
        records = self._reader.poll(timeout_s, records_max)
        if rebuilding := sum(map(self._fault.rebuilds, records)):
            self._fault.reached("recovery", rebuilding)
        return records


class _Client:
    """Whatever is not defined here goes to the client untouched."""

    def __init__(self, client: Client, fault: Fault) -> None:
        self._client = client
        self._fault = fault
        self._sent = False  # since the last commit
        self._in_transaction = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def committed(self, partitions: Collection[Partition], timeout_s: float) -> dict[Partition, Committed | None]:
        found = self._client.committed(partitions, timeout_s)
        self._fault.publish_from |= {partition: at.offset for partition, at in found.items() if at is not None}
        return found

    def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        headers: Headers,
        on_delivery: OnDelivery,
        partition: int | None = None,
    ) -> None:
        self._client.send(topic, value, key, headers, on_delivery, partition)
        self._sent = True
        if self._in_transaction:
            self._fault.reached("transaction")

    def commit(self, offsets: Mapping[Partition, Committed], timeout_s: float) -> None:
        with self._committing():
            self._client.commit(offsets, timeout_s)

    def begin_transaction(self) -> None:
        self._client.begin_transaction()
        self._in_transaction = True

    def commit_transaction(self, offsets: Mapping[Partition, Committed], timeout_s: float) -> None:
        with self._committing():
            self._client.commit_transaction(offsets, timeout_s)
        self._in_transaction = False

    def abort_transaction(self, timeout_s: float) -> None:
        self._client.abort_transaction(timeout_s)
        self._in_transaction = False

    @contextmanager
    def _committing(self) -> Iterator[None]:
        if not self._sent:  # a group's first start
            yield
            return
        self._fault.reached("produced")
        with self._fault.within("commit"):
            yield
        self._fault.reached("committed")
        self._sent = False


def _end(stage: str, number: signal.Signals) -> None:
    """Say so, then strike. In one system call each: nothing may be lost in a buffer."""
    line = {"event": EVENT, "stage": stage, "action": number.name, "wall_ns": time.time_ns()}
    os.write(STANDARD_ERROR, f"{json.dumps(line)}\n".encode())
    os.kill(os.getpid(), number)
