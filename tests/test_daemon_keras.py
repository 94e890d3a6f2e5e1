"""Every forecast that a running daemon publishes is what Keras itself says of the same raw ticks, and leans on."""

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
from tickcast.clients import Partition, Record
from tickcast.records import Forecast
from tickcast.tick_columns import BOOK_COLUMNS
from tickcast_export import families, model_card

Windows = dict[Source, list[list[float]]]  # source -> raw ticks [window + 1, columns]

PARTITIONS = 2
SYMBOLS = 4
BURST = 600
SINGLES = 25
TOLERANCE = 1e-5
WEIGHTS_TOLERANCE = 1e-6
# Of all symbols but one, where the family has attention.
ASKED = {"additive": ["SIM-[012]"], "seq2seq": ["SIM-[012]"]}


@pytest.mark.parametrize("family", ["stacked", "additive", "seq2seq"])
def test_every_forecast_is_keras_own(
    family: str, exported, job: Callable[..., Job], start_daemon: Callable[..., DaemonProcess]
) -> None:
    made = exported(family)
    work = job(made.bundle, PARTITIONS)
    output = {"attention": ASKED.get(family, [])}
    daemon = start_daemon(work.config(kafka={"commit_interval_ms": 20}, output=output))
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
    model = model_card.load(made.trained)[0]
    windows = windows_of(work.records(work.input_topic))
    wanted = keras_answers(model, windows)
    found = work.forecasts()
    assert found.keys() == wanted.keys()
    scale = work.target_scale
    for source, copies in found.items():
        (forecast,) = copies
        unit = np.maximum(scale, np.abs(wanted[source]))
        assert (np.abs(np.array(forecast.forecast) - wanted[source]) <= TOLERANCE * unit).all(), (source, forecast)
    check_attention(model, windows, [copies[0] for copies in found.values()], asks=family in ASKED)
    paths = [copies[0].path for copies in found.values()]
    assert min(paths.count("finish"), paths.count("window")) > 10
    assert np.std([copies[0].forecast for copies in found.values()], axis=0).min() > 0.01 * scale  # they say something


def one_by_one(work: Job, feed: Feed, messages: Iterator[Message]) -> None:
    """Each tick when the one before it is done with: so the daemon has time to prepare carries."""
    for message in messages:
        feed.send([message])
        feed.flush()
        work.wait_done()


def check_attention(model: tf.keras.Model, windows: Windows, forecasts: list[Forecast], asks: bool) -> None:
    """The weights are those of Keras's own attention layer, and only there where somebody asked."""
    told = [each for each in forecasts if each.attention is not None]
    assert {each.symbol for each in told} == ({"SIM-0", "SIM-1", "SIM-2"} if asks else set())
    assert all(each.attention is not None or not asks for each in forecasts if each.symbol != "SIM-3")
    if asks:
        assert {each.path for each in told} == {"finish", "window"}
        raw = [windows[Partition(each.topic, each.partition), each.offset] for each in told]
        rows = families.features_of(model)(tf.constant(raw, tf.float64))
        keras_weights = np.asarray(families.attention_of(model)(rows))  # [n, window]
        weights = np.array([each.attention for each in told])
        np.testing.assert_allclose(weights, keras_weights, rtol=0, atol=WEIGHTS_TOLERANCE)
        np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=0, atol=WEIGHTS_TOLERANCE)
        assert np.ptp(weights, axis=1).min() > 1e-4, "weights all alike"


def keras_answers(model: tf.keras.Model, windows: Windows) -> dict[Source, NDArray[np.float32]]:
    """Source -> forecast [horizons], by nothing but the raw ticks and the model as it was trained."""
    answers = np.asarray(model(tf.constant(list(windows.values()), tf.float64), training=False))
    return dict(zip(windows, answers, strict=True))


def windows_of(input_records: list[Record]) -> Windows:
    """Of each tick that fills its window the raw ticks in it, and the one before."""
    runs: dict[str, list[tuple[int, list[float]]]] = defaultdict(list)  # symbol -> (event time, columns) of its run
    windows: Windows = {}
    for record in sorted(input_records, key=lambda record: (record.partition, record.offset)):
        book = json.loads(record.value or b"")
        run, time_ns = runs[book["symbol"]], book["event_time_ns"]
        if run and time_ns - run[-1][0] > (RULES.max_gap_s or 0) * 1e9:
            run.clear()
        seconds = (time_ns - run[-1][0]) / 1e9 if run else 0.0
        run.append((time_ns, [*(float(book[column]) for column in BOOK_COLUMNS), seconds]))
        # The first tick after a cut only primes: it is no row, and is not the one before a row either.
        if len(run) > RULES.window + 1:
            windows[record.partition, record.offset] = [columns for _, columns in run[-RULES.window - 1 :]]
    return windows
