"""From levels to half-widths."""

import numpy as np
import pytest
from band_feeds import bands_of
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tickcast.bands_table import MARGIN, STRAIN_LIMITS, BandTable
from tickcast.manifest import Bands

ERRORS = np.abs(np.random.default_rng(1).standard_t(3, (20_000, 2))) * [0.5, 2.0]
BANDS = bands_of(ERRORS)
TABLE = BandTable(BANDS, target_scale=1.0)


def _strain(level: float) -> float:
    return float(-np.log1p(-level))


def test_at_a_level_of_the_export_stands_its_half_width_and_a_margin():
    strains = np.array([[_strain(level)] * 2 for level in BANDS.levels])
    assert TABLE.half_widths(strains) == pytest.approx(np.array(BANDS.half_widths) * np.exp(MARGIN))
    start = TABLE.half_widths(np.full((1, 2), TABLE.start))[0]
    assert start == pytest.approx(np.quantile(ERRORS, 0.9, axis=0), rel=2 * MARGIN)


@given(st.lists(st.floats(*STRAIN_LIMITS), min_size=2, max_size=20).map(sorted))
def test_more_strain_is_never_a_narrower_band(strains):
    made = TABLE.half_widths(np.repeat(np.array(strains)[:, None], 2, axis=1))
    assert (made > 0).all()
    assert np.isfinite(made).all()
    assert (np.diff(made, axis=0) >= 0).all()


def test_beyond_what_the_export_has_seen_half_widths_go_on_a_thousandfold():
    low, high = (TABLE.half_widths(np.full((1, 2), limit))[0] for limit in STRAIN_LIMITS)
    assert (low < 1e-2 * np.array(BANDS.half_widths[0])).all()
    assert (high > 1e3 * np.array(BANDS.half_widths[-1])).all()


def test_errors_of_nothing_make_bands_of_next_to_nothing():
    nothing = Bands(level=0.9, levels=(0.5, 0.9, 0.99), half_widths=((0.0,), (0.0,), (1.0,)), cases=10)
    made = BandTable(nothing, target_scale=0.5).half_widths(np.array([[_strain(0.7)]]))
    assert 0 < made < 1e-8


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"levels": (0.9, 0.5)}, "levels ascend"),
        ({"half_widths": ((1.0,),)}, "one line for each"),
        ({"half_widths": ((1.0,), (0.5,))}, "none smaller"),
        ({"half_widths": ((1.0,), (2.0, 3.0))}, "as many"),
        ({"half_widths": ((1.0,), (float("inf"),))}, "finite"),
        ({"level": 1.0}, "less than 1"),
    ],
)
def test_bands_that_are_no_curve_are_refused(changes, problem):
    fields = {"level": 0.5, "levels": (0.5, 0.9), "half_widths": ((1.0,), (2.0,)), "cases": 10}
    with pytest.raises(ValidationError, match=problem):
        Bands.model_validate({**fields, **changes})
