"""The tape as its writer leaves it and as a reader finds it, in the same process over the same memory."""

import os
from collections.abc import Iterator

import numpy as np
import pytest
from tickcast import tape_reader as layout
from tickcast.tape import Tape, Ticks
from tickcast.tape_reader import NAMES_BYTES_MAX, RING_BYTES, Place, TapeReader, entry_bytes

HORIZONS = 3


@pytest.fixture
def tape() -> Iterator[Tape]:
    tape = Tape.create()
    tape.begin(HORIZONS, {"name": "toy"})
    yield tape
    tape.close()


def _ticks(symbols: list[str], first: int = 0, horizons: int = HORIZONS) -> Ticks:
    numbers = np.arange(first, first + len(symbols))
    return Ticks(
        symbols,
        (numbers % 2).astype(np.uint32),
        numbers,
        numbers * 1_000,
        numbers * 1_000 + 7,
        numbers + 0.25,
        np.repeat(numbers[:, None] + 0.5, horizons, axis=1).astype(np.float32),
    )


def test_entries_come_back_as_they_were_written(tape: Tape) -> None:
    tape.append(_ticks(["BTC", "ETH", "BTC"]))
    reading = TapeReader(tape.fd).read(Place())
    assert [entry.symbol for entry in reading.entries] == ["BTC", "ETH", "BTC"]
    assert reading.lost == 0
    first, second, _ = reading.entries
    assert first.path == "none"
    assert first.forecast == ()
    assert second == ("ETH", "finish", 1, 1_000, 1_007, 1.25, (1.5, 1.5, 1.5), 0)


def test_entries_of_models_that_answer_beside_the_first_say_whose_they_are(tape: Tape) -> None:
    tape.begin(HORIZONS, {"name": "wide"}, [{"name": "narrow"}])
    tape.append(_ticks(["BTC", "ETH"]))
    tape.append(_ticks(["SOL", "XRP"], horizons=1), 1)
    reader = TapeReader(tape.fd)
    assert reader.model() == {"name": "wide", "others": [{"name": "narrow"}]}
    _, second, third, fourth = reader.read(Place()).entries
    assert (second.place, third.place, third.path, third.forecast) == (0, 1, "none", ())
    assert (fourth.place, fourth.path, fourth.forecast[0]) == (1, "finish", 1.5)
    assert np.isnan(fourth.forecast[1:]).all()


def test_a_reader_reads_on_from_where_it_was(tape: Tape) -> None:
    reader = TapeReader(tape.fd)
    tape.append(_ticks(["A", "B"]))
    place = reader.read(Place()).place
    assert reader.read(place) == ([], 0, place)
    tape.append(_ticks(["B", "C"], first=2))
    assert [(entry.symbol, entry.position) for entry in reader.read(place).entries] == [("B", 2), ("C", 3)]


def test_a_tick_without_a_mid_has_none(tape: Tape) -> None:
    tape.append(_ticks(["A"])._replace(mids=np.array([np.nan])))
    assert TapeReader(tape.fd).read(Place()).entries[0].mid is None


def test_what_was_written_over_is_counted_and_the_rest_is_whole(tape: Tape) -> None:
    reader, capacity = TapeReader(tape.fd), RING_BYTES // entry_bytes(HORIZONS)
    place = reader.read(Place()).place
    wrote = 0
    while wrote < capacity + 1_000:
        tape.append(_ticks(["A"] * 20_000, first=wrote))
        wrote += 20_000
    reading = reader.read(place)
    assert reading.lost == wrote - capacity
    assert [entry.position for entry in reading.entries] == list(range(wrote - capacity, wrote))


def test_entries_that_are_being_written_over_are_not_believed(tape: Tape) -> None:
    """A writer that was interrupted after it counted what it is about to write."""
    capacity = RING_BYTES // entry_bytes(HORIZONS)
    tape.append(_ticks(["A"] * capacity))
    tape._words[layout.WORD_BEGUN] += 64
    reading = TapeReader(tape.fd).read(Place())
    assert reading.lost == 64
    assert reading.entries[0].position == 64


def test_another_model_begins_the_tape_anew(tape: Tape) -> None:
    reader = TapeReader(tape.fd)
    tape.append(_ticks(["A", "B"]))
    place = reader.read(Place()).place
    tape.begin(1, {"name": "other"})
    assert reader.model() == {"name": "other"}
    assert reader.read(place).entries == []
    tape.append(_ticks(["B"], first=9, horizons=1))
    [entry] = reader.read(place).entries
    assert (entry.symbol, entry.position, entry.forecast) == ("B", 9, (9.5,))


def test_symbols_beyond_the_room_for_names_are_left_out(tape: Tape) -> None:
    long = ["x" * 200 + str(number) for number in range(NAMES_BYTES_MAX // 200)]
    tape.append(_ticks(long))
    late = "y" * 240
    tape.append(_ticks([late, long[0]], first=len(long)))
    entries = TapeReader(tape.fd).read(Place()).entries
    assert entries[-1].symbol == long[0]
    assert late not in {entry.symbol for entry in entries}
    assert len(long) - len({entry.symbol for entry in entries}) > 0


def test_before_the_first_model_there_is_nothing() -> None:
    tape = Tape.create()
    reader = TapeReader(tape.fd)
    assert reader.model() == {}
    assert reader.attention() == {}
    assert reader.read(Place()) == ([], 0, Place())
    tape.close()


def test_what_is_no_tape_is_refused() -> None:
    fd = os.memfd_create("other")
    os.ftruncate(fd, layout.TAPE_BYTES)
    with pytest.raises(ValueError, match="not a tape"):
        TapeReader(fd)
    os.close(fd)
