"""`tickcast bench engine` as a user runs it: what it prints, what it writes, what it refuses."""

import json

import pytest
from tickcast import cli, errors, log

QUICK = ["--provider", "cpu", "--duration-s", "0.2", "--rounds", "2", "--saturated-ticks", "200", "--symbols", "3"]
TIMES = {"count", "p50_us", "p90_us", "p99_us", "p999_us", "max_us"}


@pytest.fixture(autouse=True)
def other_tests_keep_their_logging(monkeypatch):
    monkeypatch.setattr(log, "configure", lambda config, clock: None)


def _bench(*arguments: str) -> int | str | None:
    try:
        cli.main(["bench", "engine", *arguments])
    except SystemExit as ended:
        return ended.code
    return 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --bundle or --family"),
        (["--family", "additive", "--bundle", "."], "give --bundle or --family"),
        (["--family", "additive", "--pace", "recorded"], "--pace recorded needs --ticks"),
        (["--family", "additive", "--model", __file__], "--model goes with --bundle"),
        (["--family", "additive", "--window", "64,x"], "--window 64,x: whole numbers from 2 on"),
        (["--family", "additive", "--symbols", "0"], "--symbols 0: whole numbers from 1 on"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_made(arguments, message, capsys):
    assert _bench(*arguments) == errors.UsageError.exit_status
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_bundle_is_measured_on_every_path_against_plain_runs_and_keras(exported, tmp_path, capsys):
    made, out = exported("additive"), tmp_path / "report.json"
    assert _bench("--bundle", str(made.bundle), "--model", str(made.trained), "--json", str(out), *QUICK) == 0
    report = json.loads(out.read_text())
    assert set(report) == {"bench", "machine", "warning", "load", "subjects"}
    assert {"cores", "cpu", "load_1m", "onnxruntime", "python"} <= set(report["machine"])
    assert report["load"]["ticks"] == "simulated, seed 1"
    assert report["load"]["threads"] == 1
    (subject,) = report["subjects"]
    assert subject["simulated"] is True
    for part in ("paced", "window_only", "one_by_one"):
        paced = subject[part]
        assert set(paced["critical"]) == {"all", "finish", "window"}
        assert all(set(times) == TIMES for times in paced["critical"].values())
        assert sum(paced["share"].values()) == pytest.approx(1, abs=1e-4)
        assert paced["ticks"] == paced["forecasts"] == paced["critical"]["all"]["count"] > 0
        assert {"wait", "decode", "run", "encode", "produce", "other"} <= set(paced["stages"]["window"])
    assert subject["window_only"]["share"] == {"finish": 0.0, "window": 1.0}
    assert all(set(times) == TIMES for times in subject["plain"].values())
    assert subject["plain"]["paced"]["count"] == 200
    assert set(subject["keras_predict"]) == TIMES
    assert subject["one_by_one"]["share"]["finish"] > 0.9
    assert subject["paced"]["ticks"] == subject["window_only"]["ticks"] == 200
    assert subject["finish_to_plain"]["same_arrivals"]["median"] > 0
    assert subject["finish_to_plain"]["back_to_back"]["median"] > 0
    assert subject["saturated"]["ticks"] == subject["saturated"]["forecasts"] == 400
    assert subject["saturated"]["cpu_us_per_tick"]["outside_onnxruntime"]["median"] > 0
    assert 0 < subject["saturated"]["share_of_peak"] < 1
    assert subject["flops"]["window"] > subject["flops"]["prefix"] > subject["flops"]["finish"] > 0
    shown = capsys.readouterr().out
    for text in (
        "finish path",
        "window path",
        "plain run",
        "Keras predict",
        "Saturated",
        "float32 product",
        "simulated",
    ):
        assert text in shown
    assert "…" not in shown


@pytest.mark.slow
def test_a_family_is_made_for_the_bench_and_its_numbers_of_symbols_set_side_by_side(tmp_path, capsys):
    out = tmp_path / "report.json"
    asked = ["--family", "stacked", "--window", "4", *QUICK, "--symbols", "2,1000", "--saturated-only"]
    assert _bench(*asked, "--json", str(out)) == 0
    subjects = json.loads(out.read_text())["subjects"]
    assert [(each["window"], each["symbols"]) for each in subjects] == [(4, 2), (4, 1000)]
    assert [bool(each["memory"]) for each in subjects] == [False, True]
    assert all("paced" not in each for each in subjects)
    shown = capsys.readouterr().out
    assert "Side by side" in shown
    assert "Memory a symbol" in shown


@pytest.mark.slow
def test_a_tick_file_arrives_at_its_recorded_pace(exported, tmp_path, capsys):
    ticks, out = tmp_path / "ticks.csv", tmp_path / "report.json"
    rows = (f"{at * 5_000_000},A,{100 + at % 3},{101 + at % 3},{1 + at % 7},{1 + at % 5}" for at in range(1_000))
    ticks.write_text("\n".join(["event_time_ns,symbol,bid,ask,bid_size,ask_size", *rows]))
    asked = ["--bundle", str(exported("stacked").bundle), "--ticks", str(ticks), "--pace", "recorded", *QUICK]
    assert _bench(*asked, "--json", str(out)) == 0
    report = json.loads(out.read_text())
    assert report["load"]["pace"] == "recorded"
    assert report["load"]["ticks"] == "ticks.csv"
    (subject,) = report["subjects"]
    assert subject["simulated"] is False
    assert subject["paced"]["ticks"] == 40  # 0.2 s of a tick every 5 ms
    assert "as recorded" in capsys.readouterr().out


@pytest.mark.slow
def test_a_tick_file_that_hardly_fills_the_windows_is_refused(exported, tmp_path, capsys):
    ticks = tmp_path / "ticks.csv"
    rows = (f"{at},A,100,101,1,1" for at in range(40))
    ticks.write_text("\n".join(["event_time_ns,symbol,bid,ask,bid_size,ask_size", *rows]))
    assert (
        _bench("--bundle", str(exported("stacked").bundle), "--ticks", str(ticks), *QUICK)
        == errors.UsageError.exit_status
    )
    assert "the tick file is too short" in capsys.readouterr().err
