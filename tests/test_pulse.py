"""When the daemon calls itself ready, and what it says when it is not."""

from collections.abc import Iterator
from types import SimpleNamespace

import msgspec
import pytest
from manual_clock import ManualClock
from memory_client import MemoryClient, MemoryCluster
from pipelines import Line, config_with
from tickcast.board_reader import BoardReader
from tickcast.clients import Partition
from tickcast.errors import BrokerError, StalledError
from tickcast.manifest import WindowRules
from tickcast.notify import Notifier
from tickcast.pulse import Pulse
from toy_engine import ToyEngine

INPUT = Partition("ticks", 0)
STALL_TIMEOUT_S = 30


class Desk:
    """A line that is looked at, on the test's clock."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster()
        for tick in range(10):
            self.append(tick)
        self.client = MemoryClient(self.cluster, [INPUT], acknowledges=False)
        config = config_with(kafka={"outstanding_max": 5}, health={"stall_timeout_s": STALL_TIMEOUT_S})
        self.line = Line(config, self.client, ToyEngine(WindowRules(window=2), ("value",)))
        self.clock: ManualClock = self.line.clock
        self.pulse = Pulse(
            config,
            self.line.board,
            Notifier({}, self.clock),
            SimpleNamespace(check=lambda: None),  # type: ignore[arg-type]
            self.line.pipeline,
            self.line.ownership,
            self.clock,
            self.clock.monotonic_ns(),
        )
        self._reader = BoardReader(self.line.board.fd)

    def append(self, tick: int) -> None:
        self.cluster.append(INPUT, msgspec.json.encode({"symbol": "A", "event_time_ns": tick, "value": tick}))

    def turn(self, turns: int = 1) -> None:
        """So many turns of the loop with a look after each, a second apart."""
        for _ in range(turns):
            self.line.turn()
            self.pulse.turn("")

    @property
    def ready(self) -> bool:
        return self._reader.ready()

    @property
    def status(self) -> str:
        return str(self._reader.detail()["status"])


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.line.close()


def test_ready_is_said_once_partitions_are_taken_up(desk: Desk) -> None:
    desk.pulse.turn("")
    assert not desk.ready
    desk.client.acknowledge_on_flush()
    desk.turn()
    assert desk.ready


def test_back_pressure_that_lasts_is_said_and_passes_by_itself(desk: Desk) -> None:
    desk.turn(4)
    assert not desk.ready
    assert "consuming is paused: 7 records are not acknowledged" in desk.status
    desk.client.acknowledge()
    desk.turn(2)
    assert desk.ready


def test_a_cluster_that_does_not_answer_is_said_and_is_no_stall(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.turn()

    def silent(*_: object) -> None:
        raise BrokerError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(desk.client, "end_offsets", silent)
        desk.turn(2 * STALL_TIMEOUT_S)
        assert not desk.ready
        assert desk.status.startswith("the cluster does not answer")
    desk.client.acknowledge()
    desk.turn(3)
    assert desk.ready


def test_a_client_that_reads_nothing_though_there_is_more_ends_the_process_and_is_counted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.client.acknowledge_on_flush()
    desk.turn(3)
    desk.append(10)
    monkeypatch.setattr(desk.client, "poll", lambda timeout_s, records_max: [])
    with pytest.raises(StalledError, match="ticks/0 at 10 of 11"):
        desk.turn(STALL_TIMEOUT_S + 2)
    assert desk.line.value("tickcast_stalls_total") == 1


def test_a_partition_that_cannot_be_taken_up_is_said(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.client.acknowledge_on_flush()
    desk.turn()
    desk.line.ownership.assigned([Partition("ticks", 1)])
    monkeypatch.setattr(desk.client, "committed", lambda *_: (_ for _ in ()).throw(BrokerError("an open transaction")))
    desk.turn(20)
    assert not desk.ready
    assert "1 partitions cannot be taken up" in desk.status


def test_what_a_writer_s_open_transaction_holds_back_is_a_metric_and_no_stall(desk: Desk) -> None:
    desk.client.acknowledge_on_flush()
    desk.turn(3)
    desk.cluster.unstable[INPUT] = 7
    desk.turn(2 * STALL_TIMEOUT_S)
    assert desk.line.value("tickcast_unstable_records", "ticks", "0") == 7
    assert desk.ready


def test_a_cluster_that_does_not_answer_has_no_transaction_open(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came since the last answer was written by nobody in a transaction."""
    desk.client.acknowledge_on_flush()
    desk.turn(3)
    monkeypatch.setattr(desk.client, "high_watermarks", lambda partitions: dict.fromkeys(partitions, 10_000))
    desk.turn(2)
    assert desk.line.value("tickcast_unstable_records", "ticks", "0") > 0
    monkeypatch.setattr(desk.client, "end_offsets", lambda *_: (_ for _ in ()).throw(BrokerError("no answer")))
    desk.turn(2)
    assert desk.line.value("tickcast_unstable_records", "ticks", "0") == 0


def test_the_status_says_how_it_gets_on(desk: Desk) -> None:
    desk.client.acknowledge_on_flush()
    desk.turn()
    desk.line.board.histogram("tickcast_received_to_handed_seconds").observe([0.0004] * 20)
    for tick in range(10, 1_510):
        desk.append(tick)
    desk.line.turn()
    desk.pulse.turn("reload: x 2 answers")
    assert desk.status == ("1 partition, 1 symbol, 512 ticks/s, lag 988, p99 under 500 us; reload: x 2 answers")


def test_a_status_without_forecasts_has_no_latency(desk: Desk) -> None:
    desk.client.acknowledge_on_flush()
    desk.turn(3)
    assert desk.status == "1 partition, 1 symbol, 0 ticks/s, lag 0"
