"""The demo itself: the whole job in small on the real broker, and what is left of it after Ctrl-C."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tickcast import cli, tick_files
from tickcast_export.commands import demo as command
from tickcast_export.report import Summary
from tickcast_export.simulator import simulate

KEYS = {
    "ticks",
    "forecasts",
    "warming",
    "skipped",
    "dead_letters",
    "missing",
    "doubled",
    "latency_us_p50",
    "latency_us_p99",
    "error_vs_persistence",
    "family",
    "client",
    "provider",
    "report",
}
TICKS, SYMBOLS, WINDOW, PLAYED = 3_000, 2, 8, 300
SMALL = ["--window", str(WINDOW), "--units=4", "--train-s=1", "--rate=300"]
ENDING_TIMEOUT_S = 60
SUMMARY = Summary(10, 8, 2, 0, 0, 0, 0, 1.0, 2.0, 0.1, "additive", "kafka-python", "cpu", "demo-out/report.html")


@pytest.fixture
def quotes(tmp_path: Path) -> Path:
    """A small file whose time column is not called as tickcast would call it."""
    path = tmp_path / "quotes.csv.gz"
    plain = tmp_path / "plain.csv"
    tick_files.write_csv(plain, simulate(TICKS, SYMBOLS, seed=4))
    with tick_files.tick_csv.opened(path, "wt") as file:
        file.write(plain.read_text("utf-8").replace("event_time_ns", "receive_time_ns", 1))
    plain.unlink()
    return path


@pytest.fixture
def handlers() -> Iterator[None]:
    """Signal handlers as they were."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def _start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tickcast", "demo", *SMALL, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.broker
@pytest.mark.slow
def test_whole_demo_accounts_for_every_tick_and_its_last_line_says_so(quotes: Path, tmp_path: Path) -> None:
    process = _start(tmp_path, "--ticks", str(quotes), f"--duration-s={PLAYED / 300}", "--out", "made")
    written, errors = process.communicate()
    assert process.returncode == 0, errors
    assert errors == ""
    lines = written.splitlines()
    summary: dict[str, Any] = json.loads(lines[-1])
    assert set(summary) == KEYS
    warming = SYMBOLS * (WINDOW + 1)
    expected = {"ticks": PLAYED, "warming": warming, "forecasts": PLAYED - warming, "missing": 0, "doubled": 0}
    assert {key: summary[key] for key in expected} == expected
    assert 0 < summary["latency_us_p50"] <= summary["latency_us_p99"]
    assert summary["error_vs_persistence"] < 1
    assert "receive_time_ns" in written
    assert "\x1b" not in written
    page = (tmp_path / summary["report"]).read_text("utf-8")
    assert f"{PLAYED - warming:,} forecasts from {PLAYED:,} ticks" in page
    assert "quotes.csv.gz" in page


@pytest.mark.broker
@pytest.mark.slow
def test_ctrl_c_while_ticks_are_played_leaves_no_process_behind(quotes: Path, tmp_path: Path) -> None:
    process = _start(tmp_path, "--ticks", str(quotes), "--duration-s=60", "--rate=10", "--out", "made")
    assert process.stdout is not None
    started: list[psutil.Process] = []
    commands: set[str] = set()
    for line in process.stdout:
        if re.search("played [1-9]", line):
            started = psutil.Process(process.pid).children(recursive=True)
            commands = {name for child in started for name in ("java", "run", "replay") if _is(child, name)}
            process.send_signal(signal.SIGINT)
            break
    _, errors = process.communicate()
    assert commands == {"java", "run", "replay"}
    assert process.returncode == 130
    assert errors == "tickcast demo: stopped; everything that it started has ended\n"
    _, alive = psutil.wait_procs(started, ENDING_TIMEOUT_S)
    assert alive == []


@pytest.mark.slow
def test_ctrl_c_while_the_model_trains_ends_training(quotes: Path, tmp_path: Path) -> None:
    process = _start(tmp_path, "--ticks", str(quotes), "--train-s=600", "--out", "made")
    assert process.stdout is not None
    started: list[psutil.Process] = []
    for line in process.stdout:
        if "train a small" in line:
            while not started:
                started = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGINT)
            break
    process.communicate()
    assert process.returncode == 130
    _, alive = psutil.wait_procs(started, ENDING_TIMEOUT_S)
    assert alive == []


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(("missing", "doubled", "status"), [(0, 0, 0), (1, 0, 1), (0, 1, 1)])
def test_a_missing_or_doubled_forecast_is_an_exit_status(
    missing: int,
    doubled: int,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    summary = Summary(**{**vars(SUMMARY), "missing": missing, "doubled": doubled})
    monkeypatch.setattr(command.steps, "run", lambda settings, console: summary)
    with pytest.raises(SystemExit) as caught:
        cli.main(["demo"])
    assert caught.value.code == status
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == vars(summary)


@pytest.mark.usefixtures("handlers")
def test_sigterm_is_told_by_the_exit_status_and_an_impatient_second_one_does_not_cut_in(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cleaned: list[str] = []

    def run(settings: object, console: object) -> Summary:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            cleaned.append("all of it")
        return SUMMARY

    monkeypatch.setattr(command.steps, "run", run)
    with pytest.raises(SystemExit) as caught:
        cli.main(["demo"])
    assert caught.value.code == 128 + signal.SIGTERM
    assert cleaned == ["all of it"]
    assert "everything that it started has ended" in capsys.readouterr().err


def test_rate_and_speed_exclude_each_other() -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["demo", "--rate=5", "--speed=2"])
    assert caught.value.code == 2


def _is(process: psutil.Process, name: str) -> bool:
    """Whether this is the command `name`, Java or one of tickcast's."""
    try:
        line = process.cmdline()
    except psutil.NoSuchProcess:
        return False
    return bool(line) and (Path(line[0]).name == name or line[1:5] == ["-P", "-m", "tickcast", name])
