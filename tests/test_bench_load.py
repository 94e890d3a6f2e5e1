"""What benches feed the pipeline: the same bytes and times for the same seed, and nothing that depends on answers."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tickcast.bench_load import GAP_MAX_S, FileFeed, SimulatedFeed, poisson, recorded
from tickcast.clients import Partition, Record
from tickcast.codec import decoder
from tickcast.config import InputConfig
from tickcast.tick_columns import BOOK_COLUMNS
from tickcast.tick_files import Ticks

SECOND_NS = 1_000_000_000


def _ticks(times_ns: list[int]) -> Ticks:
    count = len(times_ns)
    return Ticks(
        columns=("last",),
        symbols=("A",),
        symbol_ids=np.zeros(count, np.int32),
        event_time_ns=np.array(times_ns, np.int64),
        values=np.arange(count, dtype=np.float64)[:, None],
        sequence=np.arange(count, dtype=np.int64),
    )


def test_poisson_arrivals_are_those_of_their_seed_and_no_other():
    assert (poisson(1_000.0, 500, seed=3) == poisson(1_000.0, 500, seed=3)).all()
    assert (poisson(1_000.0, 500, seed=3) != poisson(1_000.0, 500, seed=4)).any()


def test_poisson_arrivals_come_at_the_rate_with_gaps_as_scattered_as_they_are_long():
    gaps_s = np.diff(poisson(1_000.0, 100_000, seed=1)) / SECOND_NS
    assert (gaps_s >= 0).all()
    assert gaps_s.mean() == pytest.approx(1e-3, rel=0.02)
    assert gaps_s.std() == pytest.approx(gaps_s.mean(), rel=0.02)


def test_simulated_ticks_are_those_of_their_seed_and_no_other():
    def first(seed: int) -> list[bytes]:
        feed = SimulatedFeed(BOOK_COLUMNS, 3, seed)
        return [message.value for message in (*feed.fill(4).messages, *feed.take(20))]

    assert first(1) == first(1)
    assert first(1) != first(2)


def test_a_simulated_fill_gives_each_symbol_a_priming_tick_and_its_rows():
    fill = SimulatedFeed(BOOK_COLUMNS, 3, 1).fill(4)
    messages = list(fill.messages)
    assert len(messages) == fill.ticks
    assert set(Counter(message.key for message in messages).values()) == {5}


def test_simulated_quotes_walk_by_small_steps_each_from_where_its_symbol_stood():
    feed = SimulatedFeed(BOOK_COLUMNS, 5, 1)
    messages = [*feed.fill(10).messages, *feed.take(500), *feed.take(500)]
    quotes = decoder(InputConfig(), BOOK_COLUMNS)
    partition = Partition("ticks", 0)
    ticks = [quotes.decode(Record(partition, at, 0, m.key, m.value, ())) for at, m in enumerate(messages)]
    for symbol in {tick.symbol for tick in ticks}:
        bids = np.array([tick.values[0] for tick in ticks if tick.symbol == symbol])
        assert np.abs(np.diff(bids)).max() < 0.025
        assert np.ptp(bids) > 0.025
    assert all(tick.values[0] < tick.values[1] for tick in ticks)
    assert [tick.event_time_ns for tick in ticks] == sorted({tick.event_time_ns for tick in ticks})


def test_a_file_s_ticks_come_once_and_in_order_after_its_fill():
    feed = FileFeed(_ticks(list(range(100))), sequence=True)
    fill = feed.fill(8)
    messages = [*fill.messages, *feed.take(50), *feed.take(1_000)]
    assert fill.ticks == 18
    assert [json.loads(message.value)["sequence"] for message in messages] == list(range(100))
    assert feed.take(1) == []


def test_a_short_file_keeps_half_of_its_ticks_to_be_measured():
    assert FileFeed(_ticks(list(range(100))), sequence=False).fill(1_000).ticks == 50


def test_recorded_arrivals_are_the_file_s_own_with_long_silences_cut():
    times = [0, SECOND_NS // 4, SECOND_NS // 4, 900 * SECOND_NS]
    messages = FileFeed(_ticks(times), sequence=False).take(4)
    assert recorded(messages).tolist() == [0, SECOND_NS // 4, SECOND_NS // 4, SECOND_NS // 4 + GAP_MAX_S * SECOND_NS]


def test_the_ticks_of_a_duration_are_those_that_recorded_arrivals_bring_in_it():
    feed = FileFeed(_ticks([0, 1, 2, 3, 400_000_000, 900 * SECOND_NS, 901 * SECOND_NS]), sequence=False)
    assert len(feed.take_for(0.3)) == 4
    assert len(feed.take_for(1.5)) == 2
    assert len(feed.take_for(1.5)) == 1
    assert feed.take_for(1.5) == []


def test_ticks_of_the_real_file_arrive_as_they_were_recorded():
    from tickcast import tick_columns, tick_files

    path = Path(__file__).parents[1] / ".." / "shared" / "data" / "quotes_btcusdt.csv.gz"
    if not path.is_file():
        pytest.skip(f"{path.name}: not beside the project")
    ticks = tick_files.read_all([path], tick_columns.choose(tick_files.header(path), BOOK_COLUMNS)).slice(0, 2_000)
    arrivals_ns = recorded(FileFeed(ticks, sequence=False).take(2_000))
    gaps_ns = np.clip(np.diff(ticks.event_time_ns), 0, int(GAP_MAX_S * SECOND_NS))
    assert np.abs(np.diff(arrivals_ns) - gaps_ns).max() <= 1
