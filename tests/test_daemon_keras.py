"""Every forecast that a running daemon publishes is what Keras itself says about the same raw ticks."""

import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Iterator

import feeds
import numpy as np
import pytest
import tensorflow as tf
from daemons import DaemonProcess, Job, Source
from exported import RULES
from feeds import Feed, Message
from numpy.typing import NDArray
from tickcast.clients import Record
from tickcast.tick_columns import BOOK_COLUMNS
from tickcast_export import model_card

PARTITIONS = 2
SYMBOLS = 4
BURST = 600
SINGLES = 25
TOLERANCE = 1e-5


@pytest.mark.parametrize("family", ["stacked", "additive", "seq2seq"])
def test_every_forecast_is_keras_own(
    family: str, exported, job: Callable[..., Job], start_daemon: Callable[..., DaemonProcess]
) -> None:
    made = exported(family)
    work = job(made.bundle, PARTITIONS)
    daemon = start_daemon(work.config(kafka={"commit_interval_ms": 20}))
    messages = feeds.ticks(BURST + SINGLES + BURST, SYMBOLS, seed=2, silence_every=150)
    with Feed(work.bootstrap_servers, work.input_topic, PARTITIONS) as feed:
        daemon.wait_ready()
        feed.send(itertools.islice(messages, BURST))  # a backlog
        feed.flush()
        work.wait_done()
        one_by_one(work, feed, itertools.islice(messages, SINGLES))
        feed.send(messages)
        feed.flush()
        work.wait_done()
    assert daemon.stop() == 0
    wanted = keras_answers(model_card.load(made.trained)[0], work.records(work.input_topic))
    found = work.forecasts()
    assert found.keys() == wanted.keys()
    scale = work.target_scale
    for source, copies in found.items():
        (forecast,) = copies
        unit = np.maximum(scale, np.abs(wanted[source]))
        assert (np.abs(np.array(forecast.forecast) - wanted[source]) <= TOLERANCE * unit).all(), (source, forecast)
    paths = [copies[0].path for copies in found.values()]
    assert min(paths.count("finish"), paths.count("window")) > 10
    assert np.std([copies[0].forecast for copies in found.values()], axis=0).min() > 0.01 * scale  # they say something


def one_by_one(work: Job, feed: Feed, messages: Iterator[Message]) -> None:
    """Each tick when the one before it is done with: so the daemon has time to prepare carries."""
    for message in messages:
        feed.send([message])
        feed.flush()
        work.wait_done()


def keras_answers(model: tf.keras.Model, input_records: list[Record]) -> dict[Source, NDArray[np.float32]]:
    """Source -> forecast [horizons], by nothing but the raw records and the model as it was trained."""
    runs: dict[str, list[tuple[int, list[float]]]] = defaultdict(list)  # symbol -> (event time, columns) of its run
    sources: list[Source] = []
    windows = []  # each [window + 1, columns]
    for record in sorted(input_records, key=lambda record: (record.partition, record.offset)):
        book = json.loads(record.value or b"")
        run, time_ns = runs[book["symbol"]], book["event_time_ns"]
        if run and time_ns - run[-1][0] > (RULES.max_gap_s or 0) * 1e9:
            run.clear()
        seconds = (time_ns - run[-1][0]) / 1e9 if run else 0.0
        run.append((time_ns, [*(float(book[column]) for column in BOOK_COLUMNS), seconds]))
        # The first tick after a cut only primes: it is no row, and is not the one before a row either.
        if len(run) > RULES.window + 1:
            sources.append((record.partition, record.offset))
            windows.append([columns for _, columns in run[-RULES.window - 1 :]])
    answers = np.asarray(model(tf.constant(windows, tf.float64), training=False))
    return dict(zip(sources, answers, strict=True))
