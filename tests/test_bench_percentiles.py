"""Percentiles of known times, and how they read."""

import numpy as np
import pytest
from tickcast.bench_percentiles import HEADER, duration, percentiles


def test_percentiles_of_a_thousand_known_times_are_those_of_nearest_rank():
    times = np.random.default_rng(1).permutation(np.arange(1, 1_001) / 1_000)
    found = percentiles(times)
    assert found.count == 1_000
    assert (found.p50, found.p90, found.p99, found.p999, found.max) == (0.5, 0.9, 0.99, 0.999, 1.0)


def test_every_percentile_is_a_time_that_was_measured():
    times = np.array([1.0, 10.0, 100.0])
    found = percentiles(times)
    assert {found.p50, found.p90, found.p99, found.p999, found.max} <= set(times.tolist())


def test_of_no_times_there_are_no_percentiles_to_show():
    found = percentiles(np.empty(0))
    assert found.count == 0
    assert found.texts() == ["-"] * len(HEADER)


def test_a_report_has_microseconds_under_names_that_say_so():
    assert percentiles(np.array([0.000_25])).microseconds() == {
        "count": 1,
        "p50_us": 250.0,
        "p90_us": 250.0,
        "p99_us": 250.0,
        "p999_us": 250.0,
        "max_us": 250.0,
    }


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0"),
        (4.2e-9, "4.20 ns"),
        (31.44e-6, "31.4 us"),
        (999.4e-6, "999 us"),
        (999.7e-6, "1.00 ms"),
        (0.012, "12.0 ms"),
        (1.5, "1.50 s"),
        (120.0, "120 s"),
        (-3.1e-6, "-3.10 us"),
    ],
)
def test_a_duration_has_three_digits_and_the_unit_that_suits_it(seconds, text):
    assert duration(seconds) == text
