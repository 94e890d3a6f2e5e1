"""Certificates over real and extreme windows: what is in them, and that they are not given for nothing."""

import dataclasses

import models
import numpy as np
import pytest
import tensorflow as tf
from tickcast.bundle import Golden
from tickcast.errors import BundleError
from tickcast_export import certificate, extremes
from tickcast_export.features import COLUMNS

pytestmark = pytest.mark.slow  # TensorFlow trains or exports


@pytest.fixture(scope="module")
def draft():
    return models.draft("additive")


def test_every_path_is_certified_over_every_kind(draft):
    given = certificate.certify(draft)
    assert [graph.path for graph in given.graphs] == ["window", "finish"]
    assert all(0 < graph.error_max <= 1e-5 for graph in given.graphs)
    assert given.case_kinds == {"real": 20, **dict.fromkeys(extremes.BOOKS, extremes.WINDOWS_OF_A_KIND)}
    assert given.cases == sum(given.case_kinds.values())


@pytest.mark.parametrize("value", [1.0, float("nan")])
def test_a_reference_that_the_graphs_do_not_meet_is_refused(draft, value):
    forecast = draft.golden.forecast.copy()
    forecast[-1, 0] += np.float32(value)
    wrong = dataclasses.replace(draft, golden=Golden(draft.golden.ticks, forecast, draft.golden.kind))
    with pytest.raises(BundleError, match=r"window path, 1 at once: .* FAILS"):
        certificate.certify(wrong)


def test_a_finish_graph_that_differs_is_refused_by_name(draft):
    """The prefix of another model: the window path still holds."""
    other = models.draft("additive")
    shifted = other.graphs["prefix"]
    weights = np.frombuffer(shifted, np.uint8).copy()
    at = shifted.rfind(np.float32(_a_weight(shifted)).tobytes())
    weights[at : at + 4] = np.frombuffer(np.float32(3.0).tobytes(), np.uint8)
    wrong = dataclasses.replace(draft, graphs={**draft.graphs, "prefix": weights.tobytes()})
    with pytest.raises(BundleError) as raised:
        certificate.certify(wrong)
    assert "finish path" in str(raised.value)
    assert "window path" not in str(raised.value)


def test_the_reference_is_fed_float64():
    """Cast to float32 first, prices of 60,000 that move by 0.01 would all look alike."""
    model = models.trained("additive")
    asked = models.ticks(40)
    answer = certificate.keras_reference(model)(asked)
    np.testing.assert_array_equal(answer[:32], model(tf.constant(asked[:32])))
    assert np.abs(answer - certificate.keras_reference(model)(asked.astype(np.float32).astype(np.float64))).max() > 1e-4


def test_an_own_answer_that_is_not_finite_is_refused_by_kind():
    def reference(ticks):
        return np.where(ticks[:, 0, :1] > 1e9, np.float32("nan"), np.float32(1))

    with pytest.raises(BundleError, match=r"not finite for golden windows of kind huge$"):
        certificate.golden(extremes.book_windows(5), reference)


def test_real_windows_are_thinned_evenly():
    windows = np.arange(1000.0).reshape(1000, 1, 1)
    kept = certificate.golden({"real": windows}, lambda ticks: ticks[:, 0].astype(np.float32)).ticks[:, 0, 0]
    assert len(kept) == certificate.REAL_WINDOWS_MAX
    assert (kept[0], kept[-1]) == (0, 999)
    assert set(np.diff(kept)) <= {3, 4, 5}


def test_long_windows_make_fewer_cases():
    windows = np.zeros((100, 20_000, 1))
    assert len(certificate.golden({"real": windows}, lambda ticks: ticks[:, 0].astype(np.float32)).ticks) == 5


@pytest.mark.parametrize("kind", extremes.BOOKS)
def test_extreme_books_are_finite_and_the_same_every_time(kind):
    once, again = (extremes.book_windows(9)[kind] for _ in range(2))
    assert once.shape == (extremes.WINDOWS_OF_A_KIND, 9, len(COLUMNS))
    assert np.isfinite(once).all()
    assert np.array_equal(once, again)


def test_extreme_books_are_what_they_are_called():
    books = extremes.book_windows(50)
    bid, ask, bid_size, ask_size, seconds = (np.s_[..., column] for column in range(5))
    assert np.ptp(books["constant"], axis=1).max() == 0
    assert books["huge"][bid].min() > 1e11
    assert books["tiny"][ask].max() < 1e-7
    spread = books["one_tick_spread"]
    np.testing.assert_allclose(spread[ask] - spread[bid], 0.01, atol=1e-9)
    assert set(np.abs(np.diff(spread[bid])).round(2).flat) == {0.0, 0.01}
    gap = books["one_tick_gap"]
    assert set((gap[ask] - gap[bid]).round(2).flat) == {0.01, 0.02}
    assert books["zero_size"][ask_size].max() == 0
    assert set(books["zero_size"][bid_size].flat) == {0.0, 1.0}
    assert books["zero_seconds"][seconds].max() == 0
    assert books["long_gap"][seconds].max() > 1e5
    assert books["empty_side"][bid].max() == 0


def _a_weight(graph: bytes) -> float:
    """A recurrent weight of the LSTM in `graph`."""
    import onnx  # only this test looks inside

    model = onnx.load_from_string(graph)
    lstm = next(node for node in model.graph.node if node.op_type == "LSTM")
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == lstm.input[2])
    return float(onnx.numpy_helper.to_array(tensor).flat[-1])
