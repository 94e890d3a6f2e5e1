"""Half-widths by validation errors, and how they travel."""

import numpy as np
import pytest
from models import HORIZONS, WINDOW, draft, ticks
from tickcast import bundle
from tickcast.config import InferenceConfig
from tickcast.engine import Engine
from tickcast.errors import UsageError
from tickcast_export import bundle_writer, conformal

WINDOWS = 400
RUNS = list(ticks(3, WINDOW + WINDOWS - 1, seed=5))


@pytest.fixture(scope="module")
def unwritten():
    return draft("stacked")


def _answers(unwritten, run):
    """To each full window of `run` by itself."""
    engine = Engine(unwritten, InferenceConfig(provider="cpu"))
    windows = [run[begin : begin + WINDOW + 1] for begin in range(WINDOWS)]
    rows = [engine.features(np.stack([window[:-1], window[1:]], axis=1)) for window in windows]
    return engine.window(np.stack(rows))


def test_half_widths_are_quantiles_of_the_errors_within_each_run(unwritten):
    made = conformal.with_bands(unwritten, RUNS).manifest.bands
    assert made is not None
    assert (made.level, made.cases) == (0.9, len(RUNS) * (WINDOWS - max(HORIZONS)))
    assert made.levels[-1] == 0.98  # of those beyond there are fewer than 20
    answers = [_answers(unwritten, run) for run in RUNS]
    for column, ahead in enumerate(HORIZONS):
        errors = []
        for run, forecasts in zip(RUNS, answers, strict=True):
            mids = run[WINDOW:, :2].mean(axis=1)
            errors += np.abs(mids[ahead:] - mids[:-ahead] - forecasts[:-ahead, column]).tolist()
        held = [np.mean(np.array(errors) <= widths[column] + 1e-6) for widths in made.half_widths]
        assert held == pytest.approx(made.levels, abs=0.01)
        assert (np.array(held) >= made.levels).all()


def test_another_level_is_among_those_that_are_known(unwritten):
    made = conformal.with_bands(unwritten, RUNS, level=0.77).manifest.bands
    assert made is not None
    assert made.level == 0.77
    assert 0.77 in made.levels


@pytest.mark.parametrize("level", [0.0, 0.4, 0.995, 90])
def test_a_level_that_no_validation_ticks_could_tell_of_is_refused(unwritten, level):
    with pytest.raises(UsageError, match="a level of"):
        conformal.with_bands(unwritten, RUNS, level)


def test_too_few_errors_make_no_bands(unwritten):
    assert conformal.with_bands(unwritten, []) == unwritten
    assert conformal.with_bands(unwritten, [RUNS[0][: WINDOW + 100]]).manifest.bands is None


def test_bands_travel_with_the_bundle_and_one_without_keeps_its_digest(unwritten, tmp_path):
    banded = conformal.with_bands(unwritten, RUNS)
    assert bundle_writer.write(banded, tmp_path / "banded").manifest.bands == banded.manifest.bands
    assert bundle.load(tmp_path / "banded").manifest.bands is not None
    plain = bundle_writer.write(unwritten, tmp_path / "plain")
    text = (tmp_path / "plain" / "manifest.json").read_text()
    assert plain.manifest.bands is None
    (tmp_path / "plain" / "manifest.json").write_text(
        text.replace('  "bands": null,\n', "")
    )  # as before there were any
    assert bundle.load(tmp_path / "plain").manifest == plain.manifest
