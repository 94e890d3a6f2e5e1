"""A backtest's file against the output topic of a daemon that answered the same ticks."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import feeds
import pytest
from daemons import DaemonProcess, Job
from feeds import Feed
from tickcast import cli

TICKS = 2_500
# A row of the file is an offset of the topic.
PARTITIONS = 1


def test_a_backtest_of_a_topics_ticks_is_what_the_daemon_published(
    exported,
    job: Callable[..., Job],
    start_daemon: Callable[..., DaemonProcess],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    work = job(exported("additive").bundle, PARTITIONS)
    messages = list(feeds.ticks(TICKS, seed=3, silence_every=200))
    rules = {"crossed": "reset"}
    with Feed(work.bootstrap_servers, work.input_topic, PARTITIONS) as feed:
        feed.send(messages[:-500])
        feed.flush()
        config = work.config(input=rules, output={"attention": ["SIM-[0-2]"]})
        daemon = start_daemon(config)  # a backlog first, then ticks that come as they are answered
        daemon.wait_ready()
        feed.send(messages[-500:])
        feed.flush()
        work.wait_done()
        assert daemon.stop() == 0
    live = {source[1]: copies[0] for source, copies in work.forecasts().items()}
    ticks, out = tmp_path / "ticks.csv", tmp_path / "forecasts.csv"
    write(ticks, messages)
    with pytest.raises(SystemExit) as ended:
        cli.main(["backtest", str(ticks), "--bundle", str(work.bundle), "--config", str(config), "--out", str(out)])
    assert ended.value.code == 0
    assert f"{TICKS:,} ticks: {len(live):,} forecasts" in capsys.readouterr().out
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [int(row["offset"]) for row in rows] == sorted(live)
    for row in rows:
        forecast = live[int(row["offset"])]
        told = (row["symbol"], int(row["event_time_ns"]), float(row["reference_mid"]))
        assert told == (forecast.symbol, forecast.event_time_ns, forecast.reference_mid)
        for horizon, value in zip(forecast.horizons, forecast.forecast, strict=True):
            assert abs(float(row[f"h{horizon}"]) - value) <= 1e-6 * max(work.target_scale, abs(value)), row
        weights = json.loads(row["attention"]) if row["attention"] else None
        assert (weights is None) == (forecast.attention is None) == (row["symbol"] > "SIM-2")
        assert weights == (forecast.attention and pytest.approx(forecast.attention, abs=1e-6))


def write(path: Path, messages: list[feeds.Message]) -> None:
    """As a file with the names of the record's fields."""
    books = [json.loads(message.value or b"") for message in messages]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(books[0]))
        writer.writeheader()
        writer.writerows(books)
