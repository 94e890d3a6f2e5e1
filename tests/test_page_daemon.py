"""The page's document of a real daemon on the real broker: what it shows is what was published."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import feeds
import pytest
from daemons import DaemonProcess, Job, wait_until
from feeds import Feed
from tickcast.records import Forecast

TICKS = 1_200
SYMBOL = "SIM-2"


def snapshot(daemon: DaemonProcess, symbol: str = SYMBOL) -> dict[str, Any]:
    status, body = daemon.get(f"/snapshot?symbol={quote(symbol)}")
    assert status == 200
    document: dict[str, Any] = json.loads(body)
    return document


def published(job: Job) -> list[Forecast]:
    """The forecasts of `SYMBOL`, in order."""
    forecasts = [copy for copies in job.forecasts().values() for copy in copies if copy.symbol == SYMBOL]
    return sorted(forecasts, key=lambda forecast: forecast.offset)


def test_the_page_shows_what_was_published_and_what_it_leans_on(
    exported, job: Callable[..., Job], start_daemon: Callable[..., DaemonProcess]
) -> None:
    work = job(exported("additive").bundle)
    daemon = start_daemon(work.config("desk"))
    daemon.wait_ready()
    before = snapshot(daemon)
    assert before["instance"]["name"] == "desk"
    assert before["model"]["name"] == "additive"
    assert before["symbol"]["path"] == []
    with Feed(work.bootstrap_servers, work.input_topic, 1) as feed:
        feed.send(feeds.ticks(TICKS, seed=4))
    work.wait_done()
    wanted = published(work)
    wait_until(
        lambda: (snapshot(daemon)["symbol"]["last"] or {}).get("mid") == wanted[-1].reference_mid, "all is shown"
    )
    wait_until(lambda: snapshot(daemon)["symbol"]["attention"], "attention is told")
    document = snapshot(daemon)
    symbol = document["symbol"]
    assert symbol["last"]["forecast"] == pytest.approx(wanted[-1].forecast, rel=1e-5)
    path = symbol["path"]
    assert [mid for _, _, mid in path] == [forecast.reference_mid for forecast in wanted[-len(path) :]]
    assert [time_ms for time_ms, _, _ in path] == [each.event_time_ns // 1_000_000 for each in wanted[-len(path) :]]
    weights = symbol["attention"]["weights"]
    assert len(weights) == document["model"]["window"]
    assert sum(weights) == pytest.approx(1.0, abs=1e-4)
    assert symbol["attention"]["position"] == symbol["last"]["position"]
    totals = document["totals"]
    assert totals["ticks"] == TICKS == totals["forecasts"] + totals["warming"]
    assert [each["horizon"] for each in document["errors"]] == document["model"]["horizons"]
    assert all(each["scored"] > 0 for each in document["errors"])
    assert daemon.stop() == 0
