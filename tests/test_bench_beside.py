"""What a shadow, attention in the forecasts, or bands cost the loop: ratios of rounds that take turns."""

import json
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
from tickcast import bench_beside, bench_line, bench_subject, bundle, cli, errors, log
from tickcast.bench_beside import Compared, summary
from tickcast.bench_line import Extras, Run
from tickcast.bench_rounds import Settings
from tickcast.clock import SystemClock
from tickcast.config import InferenceConfig
from tickcast.errors import UsageError
from tickcast.manifest import Bands

QUICK = ["--provider", "cpu", "--duration-s", "0.4", "--rounds", "2", "--symbols", "3", "--saturated-ticks", "300"]


def _run(latencies_us: list[float], wall_s: float = 1.0) -> Run:
    count = len(latencies_us)
    times = np.array(latencies_us) / 1e6
    return Run(count, times, np.zeros(count), np.array(["finish"] * count), [], wall_s, 1.0, 0.0, 0)


def test_ratios_are_of_rounds_that_followed_each_other_and_the_median_counts():
    alone = [_run([100.0] * 10), _run([200.0] * 10), _run([100.0] * 10)]
    beside = [_run([110.0] * 10), _run([240.0] * 10), _run([150.0] * 10)]
    fast, slow = [_run([1.0] * 10, wall_s=1.0)] * 3, [_run([1.0] * 10, wall_s=2.0)] * 3
    found = summary(Compared(alone, beside, fast, slow, [10, 10, 4], [3, 3, 3]))
    assert found["paced"]["p50_ratio"]["median"] == pytest.approx(1.2)
    assert found["paced"]["p99_ratio_alone"]["median"] == pytest.approx(1.25)
    assert found["paced"]["shadow_answered"] == 0.8
    assert found["saturated"]["ratio"]["median"] == pytest.approx(0.5)
    assert found["saturated"]["shadow_answered"] == 0.3


def test_saturated_rounds_that_have_no_partner_do_not_count():
    rounds = [_run([1.0] * 10)] * 2
    found = summary(Compared(saturated_alone=rounds, saturated_beside=rounds[:1], saturated_answered=[10]))
    assert found["saturated"]["ratio"]["median"] == 1.0
    assert "paced" not in found
    assert summary(Compared())["saturated"] == {}


@pytest.mark.parametrize("beside", [["--watched"], ["--plain", __file__], ["--model", __file__]])
def test_what_two_lines_do_not_measure_is_refused(beside, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["bench", "engine", "--bundle", ".", "--shadow", ".", *beside])
    assert ended.value.code == errors.UsageError.exit_status
    assert "--shadow, --attention and --bands compare two lines alone" in capsys.readouterr().err


def test_extras_are_named():
    assert Extras(attention=("A*", "B"), bands=True).text() == "attention of A*, B and bands"


@pytest.mark.parametrize("has_bands", [True, False])
def test_only_one_of_two_lines_has_bands(exported, has_bands):
    made = bundle.load(exported("additive").bundle)
    bands = Bands(level=0.9, levels=(0.5, 0.9), half_widths=((1.0,) * len(made.manifest.horizons),) * 2, cases=100)
    manifest = made.manifest.model_copy(update={"bands": bands if has_bands else None})
    subject = bench_subject.simulated(replace(made, manifest=manifest), None, 3, 1)
    settings = Settings(
        "poisson", 1_000.0, 0.2, 2, 200, False, 1, InferenceConfig(provider="cpu"), None, extras=Extras(bands=True)
    )
    if not has_bands:
        with pytest.raises(UsageError, match="has none"):
            bench_beside.compare([subject], settings, SystemClock(), lambda text: None)
        return
    (report,) = bench_beside.compare([subject], settings, SystemClock(), lambda text: None)
    assert report["beside"]["what"] == "bands"
    assert report["beside"]["paced"]["p50_ratio"]["median"] > 0
    with ExitStack() as opened:
        stand = bench_beside._Stand(subject, settings, SystemClock(), opened)
        assert (stand.alone.bundle.manifest.bands, stand.beside.bundle.manifest.bands) == (None, bands)


@pytest.mark.slow
def test_a_shadow_and_attention_beside_the_loop_are_compared_with_it_alone(exported, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(log, "configure", lambda config, clock: None)
    monkeypatch.setattr(bench_line, "DRAINED_NS", 100_000_000)
    out = tmp_path / "report.json"
    additive, seq2seq = (str(exported(family).bundle) for family in ("additive", "seq2seq"))
    asked = ["bench", "engine", "--bundle", additive, "--shadow", seq2seq, "--attention", "*", "--json", str(out)]
    with pytest.raises(SystemExit) as ended:
        cli.main([*asked, *QUICK])
    assert ended.value.code == 0
    (subject,) = json.loads(out.read_text())["subjects"]
    beside = subject["beside"]
    assert beside["paced"]["alone"]["count"] == beside["paced"]["beside"]["count"] == 400
    assert beside["paced"]["shadow_answered"] > 0.5
    assert beside["paced"]["p99_ratio"]["least"] > 0
    assert beside["saturated"]["ratio"]["median"] > 0
    shown = capsys.readouterr().out
    for text in ("with a shadow (seq2seq) and attention of *", "the shadow answered", "Saturated"):
        assert text in shown
