"""`tickcast bench engine --watched`: who watches, what the rounds come to, and all of it on the real process."""

import json
import threading
import time

import numpy as np
import pytest
from instances import serving
from tickcast import bench_watched, cli, errors, log
from tickcast.bench_line import Run
from tickcast.bench_watched import Compared, median_interval, summary
from tickcast.bench_watcher import DOCUMENTS_FIRST, Watcher
from tickcast.errors import TickcastError
from tickcast.top_stream import Address

QUICK = ["--provider", "cpu", "--duration-s", "0.6", "--rounds", "2", "--symbols", "3"]
SCRAPES_PER_S = 10.0


def _run(latencies_us: list[float]) -> Run:
    count = len(latencies_us)
    times = np.array(latencies_us) / 1e6
    return Run(count, times, np.zeros(count), np.array(["finish"] * count), [], 1.0, 1.0, 0.0, 0)


def test_ratios_are_of_rounds_that_followed_each_other_and_the_median_counts():
    alone = [_run([100.0] * 99 + [p99] * 2) for p99 in (200.0, 400.0, 300.0)]
    watched = [_run([110.0] * 99 + [p99] * 2) for p99 in (220.0, 400.0, 450.0)]
    found = summary(Compared(alone, watched, [10.0, 10.0, 9.0], [2.0, 2.0, 2.0]))
    assert found["p50_ratio"]["median"] == pytest.approx(1.1)
    too_few = {"low": None, "high": None}
    assert found["p99_ratio"] == pytest.approx({"median": 1.1, "least": 1.0, "most": 1.5, **too_few})
    assert found["p99_ratio_alone"] == pytest.approx({"median": 1.375, "least": 0.75, "most": 2.0, **too_few})
    assert found["alone"]["p99_us_of_rounds"] == pytest.approx({"median": 300.0, "least": 200.0, "most": 400.0})
    assert found["watched"]["count"] == 303
    assert found["watched"]["share_finish"] == 1.0
    assert found["scrapes_per_s"]["median"] == 10.0


@pytest.mark.parametrize(("count", "rank"), [(6, 1), (8, 1), (9, 2), (12, 3), (24, 7), (40, 14)])
def test_a_median_lies_between_the_ranks_that_tables_of_the_sign_test_name(count, rank):
    values = [float(value) for value in range(count, 0, -1)]
    assert median_interval(values) == (rank, count + 1 - rank)


def test_of_five_values_none_bounds_the_median_with_such_confidence():
    assert median_interval([1.0, 2.0, 3.0, 4.0, 5.0]) == (None, None)


def test_a_watcher_scrapes_and_is_told_until_it_stops():
    with serving() as instance:
        watcher = Watcher(Address.of(instance.url), "BUSY", SCRAPES_PER_S)
        watcher.start()
        deadline_s = time.monotonic() + 20
        while instance.shared.wish.asked(0) != "BUSY":  # it looks at the symbol: the loop is asked for it
            assert time.monotonic() < deadline_s
            threading.Event().wait(0.01)
        seconds, scrapes, documents = watcher.stop()
    assert documents >= DOCUMENTS_FIRST
    assert scrapes == pytest.approx(seconds * SCRAPES_PER_S, rel=0.7)


def test_a_watcher_that_sees_nothing_any_more_says_so():
    with serving() as instance:
        watcher = Watcher(Address.of(instance.url), "BUSY", SCRAPES_PER_S)
        watcher.start()
    for thread in watcher._threads:
        thread.join()
    with pytest.raises((OSError, TickcastError)):
        watcher.stop()


def test_a_watcher_of_nobody_does_not_start():
    with pytest.raises(TickcastError, match="does not answer"):
        Watcher(Address.of("127.0.0.1:9"), "BUSY", SCRAPES_PER_S).start()


@pytest.mark.parametrize("beside", [["--saturated-only"], ["--plain", __file__], ["--model", __file__]])
def test_what_watched_rounds_do_not_measure_is_refused(beside, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["bench", "engine", "--bundle", ".", "--watched", *beside])
    assert ended.value.code == errors.UsageError.exit_status
    assert "--watched compares paced rounds alone" in capsys.readouterr().err


@pytest.mark.slow
def test_rounds_alone_and_watched_take_turns_on_the_real_process(exported, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(log, "configure", lambda config, clock: None)
    monkeypatch.setattr(bench_watched, "LEAVE_S", 0.1)
    out = tmp_path / "report.json"
    asked = ["bench", "engine", "--bundle", str(exported("additive").bundle), "--watched", "--json", str(out)]
    _ends_well([*asked, *QUICK])
    (subject,) = json.loads(out.read_text())["subjects"]
    watched = subject["watched"]
    assert watched["alone"]["count"] == watched["watched"]["count"] == 600
    assert watched["p99_ratio"]["least"] > 0
    assert watched["scrapes_per_s"]["median"] > 1
    shown = capsys.readouterr().out
    for text in ("nobody watching", "scrapes and an open page", "watched to alone", "Poisson arrivals"):
        assert text in shown


def _ends_well(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 0
