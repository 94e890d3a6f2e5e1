"""Features by hand, at prices that float32 cannot tell apart, and where logarithms end."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tickcast_export.features import CLIP, COLUMNS, FEATURE_NAMES, LINEAR, TickFeatures

# bid, ask, bid_size, ask_size, seconds_since_previous
BOOK = (100.0, 101.0, 10.0, 5.0, 0.5)


def computed(previous, current, layer=None):
    row = (layer or TickFeatures()).compute(np.array([[previous, current]]))
    assert row.dtype == np.float32
    return dict(zip(FEATURE_NAMES, row[0].tolist(), strict=True))


def changed(**values):
    return tuple(values.get(column, value) for column, value in zip(COLUMNS, BOOK, strict=True))


def test_linear_features_by_hand():
    row = computed(BOOK, changed(bid=100.5, ask=101.5, bid_size=20.0, seconds_since_previous=2.0))
    assert row["mid_return"] == pytest.approx(0.5 * (np.log(100.5 / 100) + np.log(101.5 / 101)), rel=1e-6)
    assert row["relative_spread"] == pytest.approx(np.log(101.5 / 100.5), rel=1e-6)
    assert row["log_bid_size"] == pytest.approx(np.log(20), rel=1e-6)
    assert row["log_ask_size"] == pytest.approx(np.log(5), rel=1e-6)
    assert row["log_seconds_since_previous"] == pytest.approx(np.log(2), rel=1e-6)


def test_imbalance_and_standing_price_flow_are_ratios_of_sizes():
    row = computed(BOOK, changed(bid_size=30.0, ask_size=15.0))
    assert row["queue_imbalance"] == pytest.approx((30 - 15) / (30 + 15), rel=1e-6)
    assert row["bid_flow"] == pytest.approx((30 - 10) / (30 + 10), rel=1e-6)
    assert row["ask_flow"] == pytest.approx((15 - 5) / (15 + 5), rel=1e-6)


@pytest.mark.parametrize(
    ("side", "move", "flow"), [("bid", 0.01, 1.0), ("bid", -0.01, -1.0), ("ask", -0.01, 1.0), ("ask", 0.01, -1.0)]
)
def test_one_tick_at_sixty_thousand_decides_the_flow(side, move, flow):
    """A better price counts as all of the queue, a worse one as minus all of it, whatever the sizes did."""
    previous = (60_000.0, 60_000.02, 40.0, 2.0, 0.1)
    current = list(previous)
    current[COLUMNS.index(side)] += move
    current[2:4] = (1.0, 40.0) if flow > 0 else (40.0, 40.0)
    assert computed(previous, current)[f"{side}_flow"] == pytest.approx(flow, abs=0.02)


def test_one_tick_at_sixty_thousand_is_seen_whole_in_the_mid_return():
    layer = TickFeatures(mean=[0.0] * len(LINEAR), scale=[1e-7, *[1.0] * (len(LINEAR) - 1)])
    row = computed((60_000.0, 60_000.01, 1, 1, 0), (60_000.01, 60_000.02, 1, 1, 0), layer)
    wanted = 0.5 * (np.log1p(0.01 / 60_000.0) + np.log1p(0.01 / 60_000.01)) / 1e-7
    assert row["mid_return"] == pytest.approx(wanted, rel=1e-5)


def test_equal_prices_cancel():
    book = (60_000.01, 60_000.02, 10.0, 5.0, 0.5)
    row = computed(book, book)
    assert abs(row["bid_flow"]) < 1e-6
    assert abs(row["ask_flow"]) < 1e-6
    assert abs(row["mid_return"]) < 1e-12


@given(st.lists(st.floats(0, 1e18), min_size=2 * len(COLUMNS), max_size=2 * len(COLUMNS)))
def test_every_book_gives_finite_bounded_rows(values):
    row = TickFeatures().compute(np.array(values).reshape(1, 2, -1))
    assert np.isfinite(row).all()
    assert np.abs(row).max() <= CLIP


@given(st.floats(0, 1e9))
def test_seconds_before_the_previous_tick_do_not_matter(seconds):
    assert computed(changed(seconds_since_previous=seconds), BOOK) == computed(BOOK, BOOK)


def test_adapted_linear_features_have_mean_zero_and_spread_one():
    random = np.random.default_rng(0)
    pairs = np.exp(0.3 * random.normal(size=(500, 2, len(COLUMNS))))
    rows = TickFeatures().adapt(pairs).compute(pairs)[:, : len(LINEAR)]
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(rows.std(axis=0), 1, atol=1e-5)


def test_a_feature_that_never_changed_in_training_is_only_centred():
    pairs = np.tile(np.array(BOOK), (50, 2, 1))
    layer = TickFeatures().adapt(pairs)
    np.testing.assert_allclose(layer.compute(pairs)[:, : len(LINEAR)], 0, atol=1e-6)
    assert computed(BOOK, changed(bid_size=20.0), layer)["log_bid_size"] == pytest.approx(np.log(2), rel=1e-5)


def test_a_window_gives_the_same_bits_as_its_pairs():
    random = np.random.default_rng(1)
    ticks = np.exp(random.normal(size=(4, 6, len(COLUMNS))))
    layer = TickFeatures().adapt(ticks[:, :2])
    pairs = np.stack([ticks[:, :-1], ticks[:, 1:]], axis=2).reshape(-1, 2, len(COLUMNS))
    assert np.array_equal(layer.compute(pairs).reshape(4, 5, -1), layer(tf.constant(ticks)))


def test_the_layer_comes_back_from_its_file_with_its_constants(tmp_path):
    layer = TickFeatures().adapt(np.exp(np.random.default_rng(2).normal(size=(9, 2, len(COLUMNS)))))
    asked = tf.constant(np.exp(np.random.default_rng(3).normal(size=(2, 4, len(COLUMNS)))))
    ticks = keras.Input((4, len(COLUMNS)), dtype="float64")
    model = keras.Model(ticks, layer(ticks))
    model.save(tmp_path / "features.keras")
    again = keras.models.load_model(tmp_path / "features.keras")
    assert again.output_shape == (None, 3, len(FEATURE_NAMES))
    assert np.array_equal(again(asked), layer(asked))
    assert not layer.weights


def test_the_mirror_of_rows_is_the_rows_of_the_mirrored_market():
    random = np.random.default_rng(4)
    ticks = np.exp(0.2 * random.normal(size=(5, 4, len(COLUMNS))))
    ticks[..., 0:2] = 100.0 + 0.01 * random.integers(0, 3, (5, 4, 1)) + [0.0, 0.01]
    mirrored = ticks[..., [1, 0, 3, 2, 4]]  # the other side's, prices by what makes their logarithms change sign
    mirrored[..., 0:2] = 100.0**2 / mirrored[..., 0:2]
    layer = TickFeatures().adapt(ticks[:, :2])
    rows = layer(tf.constant(ticks)).numpy()
    inside = (np.abs(rows) < CLIP).all(axis=-1)
    assert inside.sum() > 10
    seen = layer.mirror().rows(rows)
    np.testing.assert_allclose(seen[inside], layer(tf.constant(mirrored)).numpy()[inside], atol=1e-4)
    np.testing.assert_allclose(layer.mirror().rows(seen), rows, atol=1e-5)
