"""The table holds to Prometheus' naming rules and accepts only its own labels."""

import itertools
import re

import pytest
from tickcast.metrics import BOUNDS_S, METRICS, PREFIX, Metric

METRIC_PARAMETERS = pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)


@METRIC_PARAMETERS
def test_names_follow_prometheus(metric: Metric) -> None:
    assert re.fullmatch(PREFIX + r"[a-z][a-z0-9_]*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.kind != "histogram" or metric.name.endswith("_seconds")
    assert not metric.name.endswith(("_count", "_sum", "_bucket", "_created"))
    assert metric.help.endswith(".")


@METRIC_PARAMETERS
def test_label_names_are_no_reserved_ones(metric: Metric) -> None:
    for label in metric.labels:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", label)
        assert label not in ("le", "quantile", "job", "instance")


def test_bounds_reach_from_5_us_to_10_s_without_a_gap() -> None:
    assert BOUNDS_S[0] == 5e-6
    assert BOUNDS_S[-1] == 10.0
    assert all(1.0 < above / below <= 5 / 3 for below, above in itertools.pairwise(BOUNDS_S))


def test_label_values_come_in_the_order_of_the_table() -> None:
    metric = METRICS["tickcast_lag_records"]
    assert metric.label_values({"partition": "3", "topic": "ticks"}) == ("ticks", "3")


@pytest.mark.parametrize("labels", [{}, {"topic": "ticks"}, {"topic": "ticks", "partition": "3", "symbol": "A"}])
def test_missing_and_unknown_labels_are_refused(labels: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="has the labels"):
        METRICS["tickcast_lag_records"].label_values(labels)


def test_an_unlisted_value_is_refused_where_values_are_listed() -> None:
    with pytest.raises(ValueError, match="reason is one of unsampled"):
        METRICS["tickcast_skipped_ticks_total"].label_values({"reason": "bored"})


def test_only_series_with_listed_labels_are_known_beforehand() -> None:
    assert list(METRICS["tickcast_forecasts_total"].known_series()) == [("finish",), ("window",), ("carried",)]
    assert list(METRICS["tickcast_commits_total"].known_series()) == [()]
    assert list(METRICS["tickcast_ticks_processed_total"].known_series()) == []
    assert list(METRICS["tickcast_outstanding_records"].known_series()) == []
