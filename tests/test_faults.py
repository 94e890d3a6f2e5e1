"""Fault points: where they strike, what they count, and that nothing is there when none is armed."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping

import pytest
from memory_client import MemoryClient, MemoryCluster, MemoryReader
from tickcast import config as configuration
from tickcast import faults
from tickcast.clients import Committed, Partition, Reader, Record
from tickcast.config import FAULT_VARIABLE
from tickcast.errors import BrokerError, ConfigurationError
from tickcast.faults import Fault, Stage
from tickcast.windows import Tick

PARTITION = Partition("ticks", 0)
PATIENCE_S = 30.0

STRUCK = """
import sys
from tickcast import faults
fault = faults.armed({"TICKCAST_FAULT": sys.argv[1]})
for _ in range(5):
    sys.stdout.write("."), sys.stdout.flush()
    fault.reached("decode")
"""


class Strikes:
    """Counts instead of ending the process."""

    def __init__(self) -> None:
        self.count = 0
        self.struck = threading.Event()

    def __call__(self) -> None:
        self.count += 1
        self.struck.set()


class SlowClient(MemoryClient):
    """Whose commit does not end before `meanwhile` has come back."""

    meanwhile: Callable[[], object] = staticmethod(lambda: None)

    def commit(self, offsets: Mapping[Partition, Committed], timeout_s: float) -> None:
        self.meanwhile()
        super().commit(offsets, timeout_s)


class AnyDecoder:
    def decode(self, record: Record) -> Tick:
        return Tick(record.offset, "SIM", 0, (), 0)


@pytest.fixture
def strikes() -> Strikes:
    return Strikes()


@pytest.fixture
def cluster() -> MemoryCluster:
    """Ten ticks, of which four are committed."""
    cluster = MemoryCluster()
    for _ in range(10):
        cluster.append(PARTITION, b"tick")
    cluster.committed[PARTITION] = Committed(4, "")
    return cluster


def armed(stage: Stage, count: int, strikes: Strikes) -> Fault:
    return Fault(stage, count, strikes)


class Listener:
    """Asks for the committed offset, as whoever takes a partition up does, and starts at the oldest tick."""

    def __init__(self) -> None:
        self.client: MemoryClient | None = None

    def assigned(self, partitions) -> None:
        assert self.client is not None
        self.client.committed(partitions, 1.0)
        for partition in partitions:
            self.client.seek(partition, 0)
        self.client.resume(partitions)

    def revoked(self, partitions) -> None:
        pass

    def lost(self, partitions) -> None:
        pass


def subscribed(client: MemoryClient, fault: Fault):
    """`client` with `fault`, at the beginning of the ticks."""
    listener = Listener()
    wrapped = listener.client = faults.client(client, fault)
    wrapped.subscribe(["ticks"], listener)
    assert wrapped.poll(0.0, 0) == []
    return wrapped


def read_back(cluster: MemoryCluster, fault: Fault) -> Reader:
    """A reader with `fault`, at the beginning of the ticks."""
    reader = faults.reader(MemoryReader(cluster), fault)
    reader.assign(PARTITION, 0)
    return reader


def send(client) -> None:
    client.send("forecasts", b"", None, [], lambda error: None)


def commit(client) -> None:
    client.commit({PARTITION: Committed(5, "")}, 1.0)


# -- arming


def test_without_the_variable_there_is_nothing_around_the_client_and_the_decoder(cluster):
    client, decoder = MemoryClient(cluster, [PARTITION]), AnyDecoder()
    assert faults.armed({"PATH": "x"}) is None
    assert faults.client(client, None) is client
    assert faults.decoder(decoder, None) is decoder
    reader = MemoryReader(cluster)
    assert faults.reader(reader, None) is reader


def test_the_variable_names_stage_count_and_action():
    fault = faults.armed({FAULT_VARIABLE: "produced:12"})
    assert fault is not None
    assert (fault.stage, fault.count) == ("produced", 12)
    assert faults.armed({FAULT_VARIABLE: "recovery:1:stop"}) is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("encode:3", "no stage 'encode'; allowed: decode, produced, transaction, commit, committed, recovery"),
        ("", "no stage ''"),
        ("decode", "the count must be a whole number"),
        ("decode:0", "the count must be a whole number"),
        ("decode:-1", "the count must be a whole number"),
        ("decode:1:explode", "no action 'explode'; allowed: kill, stop"),
    ],
)
def test_what_cannot_be_armed_is_said(text, said):
    with pytest.raises(ConfigurationError, match=said):
        faults.armed({FAULT_VARIABLE: text})


def test_the_variable_is_no_setting(tmp_path):
    file = tmp_path / "desk.toml"
    file.write_text(
        '[kafka]\nbootstrap_servers = "127.0.0.1:1"\ngroup_id = "g"\ninput_topics = ["i"]\noutput_topic = "o"\n'
        'dead_letter_topic = "d"\n[[models]]\nbundle = "b"\n'
    )
    assert configuration.load(file, {FAULT_VARIABLE: "decode:1"}) == configuration.load(file, {})


# -- stages


def test_decode_counts_ticks_to_be_answered_and_no_rebuilt_ones(cluster, strikes):
    fault = armed("decode", 3, strikes)
    client = subscribed(MemoryClient(cluster, [PARTITION]), fault)
    decoder = faults.decoder(AnyDecoder(), fault)
    decoded = []
    for record in client.poll(0.0, 10):
        if strikes.count:
            break
        decoded.append(decoder.decode(record).offset)
    assert decoded == [0, 1, 2, 3, 4, 5, 6]  # four of the rebuild, and three
    assert strikes.count == 1


def test_recovery_strikes_in_a_poll_below_the_committed_offset(cluster, strikes):
    fault = armed("recovery", 4, strikes)
    subscribed(MemoryClient(cluster, [PARTITION]), fault)
    reader = read_back(cluster, fault)
    reader.poll(0.0, 3)
    assert strikes.count == 0
    reader.poll(0.0, 3)
    assert strikes.count == 1


def test_recovery_is_not_reached_by_ticks_that_are_new(cluster, strikes):
    fault = armed("recovery", 5, strikes)
    subscribed(MemoryClient(cluster, [PARTITION]), fault)
    assert len(read_back(cluster, fault).poll(0.0, 10)) == 10  # four of them below the committed offset
    assert strikes.count == 0


def test_produced_strikes_before_the_commit_of_something_sent(cluster, strikes):
    client = subscribed(MemoryClient(cluster, [PARTITION]), armed("produced", 2, strikes))
    commit(client)  # a group's first start: nothing is sent
    for struck in (0, 1):
        send(client)
        commit(client)
        assert strikes.count == struck


def test_committed_strikes_after_the_commit(cluster, strikes):
    at_commit = []
    inner = SlowClient(cluster, [PARTITION])
    inner.meanwhile = lambda: at_commit.append(strikes.count)
    client = subscribed(inner, armed("committed", 1, strikes))
    send(client)
    commit(client)
    assert at_commit == [0]
    assert strikes.count == 1
    assert cluster.committed[PARTITION].offset == 5


def test_commit_strikes_while_the_call_is_under_way(cluster, strikes):
    inner = SlowClient(cluster, [PARTITION])
    client = subscribed(inner, armed("commit", 2, strikes))
    send(client)
    commit(client)
    assert strikes.count == 0
    inner.meanwhile = lambda: strikes.struck.wait(PATIENCE_S)
    send(client)
    commit(client)
    assert strikes.count == 1


def test_a_commit_that_fails_is_struck_no_more_afterwards(cluster, strikes):
    def fail() -> None:
        raise BrokerError("the test says so")

    inner = SlowClient(cluster, [PARTITION])
    client = subscribed(inner, armed("commit", 1_000, strikes))
    inner.meanwhile = fail
    send(client)
    with pytest.raises(BrokerError):
        commit(client)
    inner.meanwhile = lambda: None
    commit(client)
    assert strikes.count == 0


def test_transaction_counts_records_sent_within_transactions(cluster, strikes):
    client = subscribed(MemoryClient(cluster, [PARTITION]), armed("transaction", 3, strikes))
    send(client)
    for struck in (0, 1):
        client.begin_transaction()
        send(client)
        send(client)
        assert strikes.count == struck
        client.commit_transaction({PARTITION: Committed(6, "")}, 1.0)
    assert cluster.committed[PARTITION].offset == 6


def test_an_aborted_transaction_is_none_any_more(cluster, strikes):
    client = subscribed(MemoryClient(cluster, [PARTITION]), armed("transaction", 1, strikes))
    client.begin_transaction()
    client.abort_transaction(1.0)
    send(client)
    assert strikes.count == 0


def test_everything_else_reaches_the_client(cluster, strikes):
    inner = MemoryClient(cluster, [PARTITION])
    client = subscribed(inner, armed("decode", 1, strikes))
    client.pause([PARTITION])
    assert inner.paused == {PARTITION}
    assert client.assignment() == {PARTITION}
    assert client.end_offsets([PARTITION], 1.0) == {PARTITION: 10}


# -- actions


def test_it_says_where_it_ends_and_ends_there():
    done = subprocess.run(
        [sys.executable, "-c", STRUCK, "decode:3"], capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    assert done.returncode == -signal.SIGKILL
    assert done.stdout == "..."
    line = json.loads(done.stderr)
    assert (line["event"], line["stage"], line["action"]) == (faults.EVENT, "decode", "SIGKILL")


def test_a_stopped_process_goes_on_when_it_is_told_to():
    child = subprocess.Popen([sys.executable, "-c", STRUCK, "decode:3:stop"], stdout=subprocess.PIPE, text=True)
    try:
        _, status = os.waitpid(child.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        os.kill(child.pid, signal.SIGCONT)
        assert child.communicate(timeout=PATIENCE_S)[0] == "....."
        assert child.returncode == 0
    finally:
        child.kill()
        child.wait()
