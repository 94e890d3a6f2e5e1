"""Reading tick files: every format gives the same ticks, and what is wrong is named by file, line and column."""

import gzip
import sys
from pathlib import Path

import numpy as np
import pytest
from tickcast import tick_files
from tickcast.errors import MissingExtraError, TickFileError
from tickcast.tick_columns import TickColumns, choose, direct, suggest
from tickcast.windows import Tick

SHARED = Path(__file__).parents[2] / "shared" / "data"
HEADER = "event_time_ns,symbol,bid,ask,bid_size,ask_size"
LINES = (
    "1700000000000000001,A,10,11,5,6",
    "1700000000000000002,B,20.5,21.5,1,2",
    "1700000000000000003,A,10,12,7,8",
)


def written(path: Path, lines: tuple[str, ...] = LINES, header: str = HEADER) -> Path:
    path.write_text("\n".join((header, *lines)) + "\n")
    return path


def refusal(path: Path, mapping: TickColumns | None = None) -> str:
    with pytest.raises(TickFileError) as caught:
        tick_files.read_all([path], mapping or direct())
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_csv_reads_as_columns_of_ticks_with_exact_nanoseconds(tmp_path: Path) -> None:
    ticks = tick_files.read_all([written(tmp_path / "t.csv")], direct())
    assert ticks.symbols == ("A", "B")
    assert ticks.symbol_ids.tolist() == [0, 1, 0]
    assert ticks.event_time_ns.tolist() == [1700000000000000001, 1700000000000000002, 1700000000000000003]
    assert ticks.values.tolist() == [[10, 11, 5, 6], [20.5, 21.5, 1, 2], [10, 12, 7, 8]]
    assert list(ticks)[1] == Tick(1, "B", 1700000000000000002, (20.5, 21.5, 1.0, 2.0), 0)


def test_gzip_and_parquet_give_the_same_ticks_as_csv(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    ticks = tick_files.read_all([written(tmp_path / "t.csv")], direct())
    tick_files.write_csv(tmp_path / "t.csv.gz", ticks)
    columns = {"event_time_ns": ticks.event_time_ns, "symbol": ["A", "B", "A"]}
    columns |= {name: ticks.values[:, i] for i, name in enumerate(ticks.columns)}
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    for name in ("t.csv.gz", "t.parquet"):
        assert list(tick_files.read_all([tmp_path / name], direct())) == list(ticks), name


def test_parquet_timestamps_know_their_own_unit_and_nulls_are_named(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    times = pyarrow.array([1_700_000_000_123, 1_700_000_000_124], pyarrow.timestamp("ms"))
    mapping = TickColumns({"last": "price"}, event_time="at", symbol="", symbol_name="X")
    parquet.write_table(pyarrow.table({"at": times, "price": [1.0, 2.0]}), tmp_path / "good.parquet")
    ticks = tick_files.read_all([tmp_path / "good.parquet"], mapping)
    assert ticks.event_time_ns.tolist() == [1_700_000_000_123_000_000, 1_700_000_000_124_000_000]
    parquet.write_table(pyarrow.table({"at": times, "price": [1.0, None]}), tmp_path / "bad.parquet")
    assert "row 2: column price: empty" in refusal(tmp_path / "bad.parquet", mapping)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r"tickcast\[export\]"):
        tick_files.header(tmp_path / "t.parquet")


def test_several_files_follow_one_another_and_chunks_join_to_the_same(tmp_path: Path) -> None:
    paths = [written(tmp_path / "1.csv"), written(tmp_path / "2.csv", ("1700000000000000004,C,1,2,3,4",))]
    whole = tick_files.read_all(paths, direct())
    pieces = list(tick_files.chunks(paths, direct(), rows=2))
    assert [len(piece) for piece in pieces] == [2, 1, 1]
    assert [tick for piece in pieces for tick in piece] == list(whole)
    assert [tick.offset for tick in whole] == [0, 1, 2, 3]
    assert whole.symbols == ("A", "B", "C")


def test_a_slice_keeps_the_places_of_its_ticks(tmp_path: Path) -> None:
    ticks = tick_files.read_all([written(tmp_path / "t.csv")], direct())
    assert list(ticks.slice(1, 3)) == list(ticks)[1:3]


@pytest.mark.parametrize(
    ("unit", "text", "expected"),
    [
        ("ns", "1700000000123456789", 1700000000123456789),
        ("us", "1700000000123456", 1700000000123456000),
        ("ms", "1700000000123.5", 1700000000123500000),
        ("s", "1700000000.123456789", 1700000000123456789),
    ],
)
def test_event_times_of_every_unit_become_exact_nanoseconds(
    tmp_path: Path, unit: str, text: str, expected: int
) -> None:
    path = written(tmp_path / "t.csv", (f"{text},A,1",), f"time_{unit},symbol,bid")
    mapping = suggest(tick_files.header(path), ["bid"])
    assert tick_files.read_all([path], mapping).event_time_ns.tolist() == [expected]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("1,A,ten,11,5,6", "line 4: column bid: 'ten'"),
        ("1,A,10,11,,6", "line 4: column bid_size: ''"),
        ("1,A,nan,11,5,6", "line 4: column bid: 'nan'"),
        ("1,A,10,inf,5,6", "line 4: column ask: 'inf'"),
        ("soon,A,10,11,5,6", "line 4: column event_time_ns: 'soon'"),
        ("99999999999999999999,A,10,11,5,6", "line 4: column event_time_ns: '99999999999999999999'"),
        ("1,A,10,11", "line 4: 4 fields where the header has 6"),
    ],
)
def test_a_bad_line_is_named_by_number_and_column_past_empty_lines(tmp_path: Path, line: str, expected: str) -> None:
    assert expected in refusal(written(tmp_path / "t.csv", (LINES[0], "", line)))


def test_files_that_are_no_tick_files_are_refused_with_the_reason(tmp_path: Path) -> None:
    assert "no column event_time_ns, ask_size (columns: bid" in refusal(
        written(tmp_path / "h.csv", ("1,2,3,4",), "bid,ask,bid_size,symbol")
    )
    assert "cannot be opened: No such file" in refusal(tmp_path / "absent.csv")
    assert "not a tick file by its name" in refusal(written(tmp_path / "t.txt"))
    assert "no ticks" in refusal(written(tmp_path / "none.csv", ()))
    (tmp_path / "empty.csv").write_text("")
    assert "line 1: empty" in refusal(tmp_path / "empty.csv")
    (tmp_path / "torn.csv.gz").write_bytes(gzip.compress("\n".join((HEADER, *LINES)).encode())[:-9])
    assert "cannot be read" in refusal(tmp_path / "torn.csv.gz")


def test_the_mapping_takes_known_names_and_says_what_it_took() -> None:
    header = ("receive_time_us", "s", "b", "B", "a", "A", "update_id")
    mapping = suggest(header)
    assert (mapping.event_time, mapping.event_time_unit, mapping.symbol) == ("receive_time_us", "us", "s")
    assert mapping.columns == {"bid": "b", "ask": "a", "bid_size": "B", "ask_size": "A"}
    assert mapping.text() == "event_time=receive_time_us (us), symbol=s, bid=b, ask=a, bid_size=B, ask_size=A"


def test_the_mapping_is_never_a_guess_between_several_columns() -> None:
    with pytest.raises(TickFileError, match="several could be it: send_time_ns, receive_time_ns"):
        suggest(("send_time_ns", "receive_time_ns", "symbol"), [])
    with pytest.raises(TickFileError, match="column bid: absent, and several could be it: bid_price, best_bid"):
        suggest(("event_time_ns", "symbol", "bid_price", "best_bid"), ["bid"])
    with pytest.raises(TickFileError, match="none looks like it"):
        suggest(("symbol", "bid"), ["bid"])


def test_what_the_caller_names_goes_before_what_the_header_suggests() -> None:
    header = ("send_time_ns", "receive_time_ns", "event_time_ns", "symbol", "bid", "px", "id")
    mapping = choose(header, ["bid"], event_time="send_time_ns", columns_map={"bid": "px"}, sequence="id")
    assert mapping == TickColumns({"bid": "px"}, "send_time_ns", "ns", "symbol", "", "id")
    assert choose(header, ["bid"], symbol_name="X").symbol_name == "X"
    with pytest.raises(TickFileError, match="no such tick column: last"):
        choose(header, ["bid"], columns_map={"last": "px"})


def test_sequence_numbers_are_read_where_the_mapping_names_them(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", ("1,A,1,50093239212",), "event_time_ns,symbol,bid,update_id")
    mapping = choose(tick_files.header(path), ["bid"], sequence="update_id")
    assert tick_files.read_all([path], mapping).sequence.tolist() == [50093239212]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rows", "first"),
    [
        ("quotes_a.csv.gz", 362_082, Tick(0, "A", 946760340091000000, (3698.0, 3699.0, 72.0, 51.0))),
        (
            "quotes_btcusdt.csv.gz",
            73_174,
            Tick(0, "BTCUSDT", 1723161254087891268, (61837.63, 61837.64, 3.78826, 1.54698)),
        ),
    ],
)
def test_real_files_read_whole_through_the_suggested_mapping(name: str, rows: int, first: Tick) -> None:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{name} is not there")
    ticks = tick_files.read_all([path], suggest(tick_files.header(path)))
    assert len(ticks) == rows
    assert next(iter(ticks)) == first
    assert np.isfinite(ticks.values).all()
