"""Processes that time something when asked."""

import pytest
from tickcast import bench_peak
from tickcast.bench_child import Asked
from tickcast.errors import TickcastError


def test_the_peak_is_measured_each_time_it_is_asked_for():
    with bench_peak.child(threads=1) as child:
        first, second = bench_peak.flops(child), bench_peak.flops(child)
    assert min(*first, *second) > 1e8
    assert first != second


def test_a_process_that_cannot_start_says_why():
    with (
        pytest.raises(TickcastError, match=r"tickcast\.nothing: ended with status 1\n.*No module named"),
        Asked(["tickcast.nothing"], {}),
    ):
        pass
