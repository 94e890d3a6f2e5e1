"""The page's document: what it says of the board and the tape, and what a reader may ask for."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from manual_clock import ManualClock
from simulated_loop import HORIZONS, TARGET_SCALE, WINDOW, SimulatedLoop, model
from tickcast.board_reader import BoardReader
from tickcast.health import Health
from tickcast.page_feed import Watch
from tickcast.page_snapshot import Snapshots
from tickcast.page_table import ORDER_S, SORTS
from tickcast.page_view import LIMIT_MAX, View, parsed
from tickcast.tape import Ticks
from tickcast.tape_reader import TapeReader
from tickcast.wish import Wish

Document = dict[str, Any]
SYMBOLS = [f"SIM-{letter}" for letter in "ABCDEF"]


class StandingFeed:
    """A feed that is turned by the test."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def watch(self) -> Watch:
        return self._watch


class Desk:
    """A loop, and what the page says of it."""

    def __init__(self, loop: SimulatedLoop, clock: ManualClock) -> None:
        shared = loop.shared
        reader = BoardReader(shared.board.fd)
        self.loop = loop
        self.clock = clock
        self.watch = Watch(reader, TapeReader(shared.tape.fd), Wish(shared.wish.fd), clock)
        health = Health(reader, live_timeout_s=1e12)
        self.snapshots = Snapshots(StandingFeed(self.watch), health, "desk-1", clock)  # type: ignore[arg-type]

    def turn(self, seconds: float = 1.0) -> None:
        """Time goes on, and what has come is taken in."""
        self.clock.advance(seconds)
        self.watch.turn()

    def document(self, **view: Any) -> Document:
        """As it is sent."""
        blob, _ = self.snapshots.encoded(View(**view))
        assert b"\n" not in blob
        document: Document = json.loads(blob)
        return document


@pytest.fixture
def desk() -> Iterator[Desk]:
    clock = ManualClock()
    with SimulatedLoop(SYMBOLS, clock) as loop:
        yield Desk(loop, clock)


def test_before_a_model_answers_there_is_nothing_and_no_failure(desk: Desk) -> None:
    desk.turn()
    document = desk.document()
    assert document["model"] is None
    assert document["symbol"] is None
    assert document["symbols"] == []
    assert document["instance"]["ready"] is False
    assert document["instance"]["reason"].startswith("the loop is not ready")


def test_each_symbol_is_shown_by_the_model_that_answers_it(desk: Desk) -> None:
    other = {**model(horizons=(1, 2), window=16), "name": "other", "target_scale": 10 * TARGET_SCALE}
    desk.loop.shared.tape.begin(len(HORIZONS), model(), [other])
    desk.loop.tick(20 * len(SYMBOLS))
    positions = np.arange(20)
    now_ns = np.full(20, desk.clock.wall_ns())
    mids, forecasts = 100.0 + positions, np.full((20, 2), 0.5, np.float32)
    desk.loop.shared.tape.append(
        Ticks(["OTHER"] * 20, np.ones(20, np.uint32), positions, now_ns, now_ns, mids, forecasts), place=1
    )
    desk.turn()
    document = desk.document(symbol="OTHER", sort="name")
    assert [each["name"] for each in document["models"]] == ["simulated-additive", "other"]
    assert document["model"] == document["models"][0]
    rows = {row["symbol"]: row for row in document["symbols"]}
    assert (rows["OTHER"]["model"], rows["SIM-A"]["model"]) == (1, 0)
    assert rows["OTHER"]["forecast"] == 0.5
    assert rows["OTHER"]["error"] == pytest.approx(1.5 / (10 * TARGET_SCALE))  # two ahead it moves by 2
    shown = document["symbol"]
    assert shown["model"] == 1
    assert shown["last"]["forecast"] == [0.5, 0.5]
    assert len(shown["rms"]) == 2
    assert desk.document(symbol="SIM-A")["symbol"]["model"] == 0


def test_the_state_rates_and_latencies_are_those_of_the_board(desk: Desk) -> None:
    desk.loop.begin()
    for _ in range(8):
        desk.loop.tick(60)
        desk.turn()
    document = desk.document()
    assert document["instance"] | {"now_ms": 0} == {
        "name": "desk-1",
        "version": "0.1.0",
        "ready": True,
        "live": True,
        "status": "1 partitions, 6 symbols, simulated",
        "remark": "",
        "reason": "",
        "uptime_s": 8.0,
        "now_ms": 0,
    }
    totals = document["totals"]
    assert (totals["ticks_per_s"], totals["forecasts_per_s"]) == (60.0, 60.0)
    assert (totals["ticks"], totals["lag"], totals["symbols"], totals["followed"]) == (480, 0, 6, 6)
    assert document["paths"] == {"finish": 1.0, "window": 0.0, "carried": 0.0}
    assert 30e-6 < document["latency"]["p50_s"] < 100e-6 < document["latency"]["p99_s"] < 1e-3
    assert len(document["latency"]["history"]) == 3
    assert 1e-3 < document["end_to_end"]["handed_to_acknowledged"]["p50_s"] < 3e-3
    assert [each["horizon"] for each in document["errors"]] == list(HORIZONS)
    assert all(each["relative"] == pytest.approx(0.2) for each in document["errors"])
    assert all(each["bias"] == pytest.approx(0.02) for each in document["errors"])
    assert document["drift"] == [{"column": "ask_size", "psi": 0.31}, {"column": "bid_size", "psi": 0.07}]


def test_a_latency_in_the_open_bucket_is_told_as_the_bound_that_it_lies_beyond(desk: Desk) -> None:
    desk.loop.begin()
    desk.turn()
    desk.loop.shared.board.histogram("tickcast_received_to_handed_seconds").observe([99.0] * 10)
    desk.turn()
    document = desk.document()
    assert document["latency"]["p50_s"] == document["latency_over_s"] == 10.0
    assert document["latency"]["max_bucket_s"] is None


def test_while_the_cluster_does_not_answer_the_lag_is_not_known(desk: Desk) -> None:
    desk.loop.begin()
    desk.loop.turn("the cluster does not answer; 2 partitions, 6 symbols, 0 ticks/s, lag 0")
    desk.loop.shared.board.set_ready(False)
    desk.turn()
    document = desk.document()
    assert document["totals"]["lag"] is None
    assert document["totals"]["symbols"] == 6
    words = "the cluster does not answer; 2 partitions, 6 symbols"
    assert document["instance"]["status"] == words
    assert document["instance"]["reason"] == f"the loop is not ready: {words}"


def test_the_symbol_s_path_forecasts_and_their_outcome_fit_together(desk: Desk) -> None:
    desk.loop.begin()
    desk.loop.tick(600)
    desk.turn()
    desk.document(symbol="SIM-B")
    desk.turn()
    desk.loop.explain()
    desk.turn()
    symbol = desk.document(symbol="SIM-B")["symbol"]
    positions = [position for _, position, _ in symbol["path"]]
    assert positions == list(range(WINDOW, WINDOW + 100))
    mids = dict(zip(positions, (mid for _, _, mid in symbol["path"]), strict=True))
    assert [fan["position"] for fan in symbol["fans"]] == [*range(70, 164, 10), 163]
    assert all(fan["mid"] == mids[fan["position"]] and len(fan["forecast"]) == 10 for fan in symbol["fans"])
    forecasts = {fan["position"]: fan["forecast"] for fan in symbol["fans"]}
    points = symbol["scored"]["points"]
    assert symbol["scored"]["horizon"] == 10
    assert [position for position, _, _ in points] == positions[:-10]
    for position, forecast, happened in points:
        assert happened == pytest.approx(mids[position + 10] - mids[position], abs=1e-6)
        assert position not in forecasts or forecast == forecasts[position][-1]
    rms = np.sqrt(np.mean([(forecast - happened) ** 2 for _, forecast, happened in points]))
    assert symbol["rms"][-1] == pytest.approx(rms, rel=1e-4)
    assert len(symbol["attention"]["weights"]) == WINDOW
    assert symbol["last"]["position"] == 163
    assert symbol["latency_ms"] == 1.5


def test_without_a_symbol_the_busiest_is_shown(desk: Desk) -> None:
    desk.loop.begin()
    desk.loop.tick(60)
    for _ in range(20):
        desk.loop.tick_of(np.array([4]))
    desk.turn()
    assert desk.document()["symbol"]["symbol"] == "SIM-E"
    _, view = desk.snapshots.encoded(View())
    assert view.symbol == "SIM-E"


def test_a_symbol_that_has_not_ticked_is_empty_and_no_failure(desk: Desk) -> None:
    desk.loop.begin()
    desk.loop.tick(60)
    desk.turn()
    symbol = desk.document(symbol="<b>never</b>")["symbol"]
    assert symbol["symbol"] == "<b>never</b>"
    assert symbol["path"] == symbol["fans"] == []
    assert symbol["last"] is None


def test_what_is_not_a_number_is_null(desk: Desk) -> None:
    desk.loop.begin({**model(), "target_scale": 0.0})
    desk.loop._mids[:] = np.nan
    desk.loop.tick(60)
    desk.turn()
    document = desk.document(symbol="SIM-A")
    assert {row["mid"] for row in document["symbols"]} == {None}
    assert document["symbol"]["path"][0][2] is None
    assert document["symbol"]["fans"] == []


@pytest.mark.parametrize("mid", [np.inf, 1e300, -1e200])
def test_a_broken_price_leaves_a_document_that_can_be_sent(desk: Desk, mid: float) -> None:
    desk.loop.begin()
    desk.loop.tick(60)
    desk.loop._mids[:] = mid
    desk.loop.tick(60)
    desk.loop._mids[:] = 100.0
    desk.loop.tick(120)
    desk.turn()
    assert desk.document(symbol="SIM-A")["symbol"]["last"]["mid"] is not None


def test_another_model_between_two_looks_at_a_symbol_breaks_nothing(desk: Desk) -> None:
    desk.loop.begin()
    desk.loop.tick(300)
    desk.turn()
    # As the feed's thread does first; what is remembered is still of the one before.
    desk.watch.model = model(horizons=range(1, 12))
    symbol = desk.document(symbol="SIM-A")["symbol"]
    assert {len(fan["forecast"]) for fan in symbol["fans"]} == {len(HORIZONS)}
    assert len(symbol["rms"]) == len(HORIZONS)


KEYS: dict[str, Callable[[Document], Any]] = {
    "name": lambda row: row["symbol"],
    "errors": lambda row: -row["error"],
    "movers": lambda row: -abs(row["change_share"]),
    "rate": lambda row: -row["rate"],
}


@pytest.mark.parametrize("sort", SORTS)
def test_the_table_is_in_the_order_asked_for(desk: Desk, sort: str) -> None:
    desk.loop.begin()
    desk.loop.tick(600)
    for number in range(6):
        desk.loop.tick_of(np.arange(number))
    desk.turn()
    rows = desk.document(sort=sort)["symbols"]
    assert len(rows) == 6
    assert rows == sorted(rows, key=KEYS[sort])
    assert all(0 < row["error"] * TARGET_SCALE < 1 for row in rows)


def test_rows_stay_where_they_are_for_some_seconds(desk: Desk) -> None:
    desk.loop.begin()
    desk.loop.tick(60)
    desk.turn()
    before = [row["symbol"] for row in desk.document(sort="rate")["symbols"]]
    for _ in range(50):
        desk.loop.tick_of(np.array([SYMBOLS.index(before[-1])]))
    desk.turn(ORDER_S / 2)
    assert [row["symbol"] for row in desk.document(sort="rate")["symbols"]] == before
    desk.turn(ORDER_S / 2)
    assert desk.document(sort="rate")["symbols"][0]["symbol"] == before[-1]


def test_a_search_finds_whatever_case_and_says_how_many(desk: Desk) -> None:
    desk.loop.begin()
    desk.loop.tick(60)
    desk.turn()
    assert [row["symbol"] for row in desk.document(search="im-c")["symbols"]] == ["SIM-C"]
    limited = desk.document(search="sim", limit=2)
    assert (len(limited["symbols"]), limited["symbols_matching"]) == (2, 6)
    assert desk.document(search="nothing")["symbols_matching"] == 0


def test_a_query_is_taken_apart() -> None:
    assert parsed("") == View("", "movers", "", 50)
    assert parsed("symbol=a%2Fb&sort=name&search=x+y&limit=7") == View("a/b", "name", "x y", 7)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("sort=worst", "sort is one of movers, errors, rate, name"),
        ("limit=-1", "limit is a number from 0 to 500"),
        ("limit=9999999999999999", "limit is a number"),
        ("limit=1e3", "limit is a number"),
        ("limit=", "limit is a number"),
        (f"limit={LIMIT_MAX + 1}", "limit is a number"),
        ("limit=%D9%A3", "limit is a number"),
        ("symbol=" + "x" * 251, "symbol has 251 characters; at most 250"),
        ("search=" + "x" * 101, "search has 101 characters; at most 100"),
        ("symbol=a&symbol=b", "symbol is given twice"),
        ("colour=red", "there is no parameter 'colour'"),
        ("symbol=%ff", "can't decode"),
        ("&".join(f"a{number}=1" for number in range(99)), "Max number of fields"),
    ],
)
def test_a_query_that_cannot_be_is_refused_with_the_reason(query: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parsed(query)
