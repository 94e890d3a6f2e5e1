"""The retraining example: in small on the real broker with bundles ready made, and its parts by themselves."""

import contextlib
import io
import json
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from tickcast import __version__, cli, manifest, promotion_audit, tick_columns, tick_files
from tickcast.broker import Broker
from tickcast.clients import OffsetRange, Partition
from tickcast.errors import TickcastError

pytest.importorskip("tensorflow", reason="the extra `export` is not installed")
from test_daemon_promotion import louder
from tickcast_export import retrain_demo, retrain_model, retrain_session
from tickcast_export.commands import retrain_demo as command
from tickcast_export.demo_settings import Story
from tickcast_export.retrain_commands import Commands
from tickcast_export.retrain_errors import Summary
from tickcast_export.retrain_live import Errors, Live
from tickcast_export.retrain_screen import Screen, View
from tickcast_export.retrain_session import Session
from tickcast_export.retrain_settings import Settings

# Fast enough to wait for it, slow enough for a shadow beside a daemon.
RATE = 2_000.0
OLD, NEW = "a" * 64, "b" * 64
SUMMARY = Summary(True, 0.2, -0.2, 0.2, OLD, NEW, -0.2, 0.2, 6_000, 5_000, 100, 90, 0, 0, 1.5)
PAGE = """# HELP tickcast_forecast_squared_error_total Sum of squared errors.
# TYPE tickcast_forecast_squared_error_total counter
tickcast_forecast_squared_error_total{horizon="1"} %g
tickcast_forecast_squared_error_total{horizon="2"} 1.0
tickcast_persistence_squared_error_total{horizon="1"} %g
tickcast_persistence_squared_error_total{horizon="2"} 1.0
tickcast_model_info{name="desk",sha256="%s",version="1"} 1.0
tickcast_model_info{name="desk",sha256="0000",version="0"} 0.0
"""


def settings_in(folder: Path) -> Settings:
    return Settings(
        out=folder,
        family="additive",
        seed=1,
        window=16,
        units=8,
        epochs=1,
        history_ticks=1_000,
        calm_ticks=1_000,
        changed_ticks=1_500,
        shadow_ticks=40_000,
        after_ticks=500,
        rate=RATE,
        shadow_rate=RATE,
    )


@pytest.mark.slow
def test_the_market_changes_and_the_better_bundle_comes_to_answer(
    broker: Broker, exported: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quiet = exported("additive").bundle
    shown: list[str] = []

    def train(settings: Settings, commands: Commands, ticks: str, version: str, bundle: str) -> None:
        """Nothing is learned here: the first bundle is far off, the second one less so."""
        shown.append(ticks)
        shutil.copytree(quiet, settings.file(bundle)) if version == "2" else louder(quiet, settings.file(bundle))

    monkeypatch.setattr(retrain_demo, "Broker", lambda: contextlib.nullcontext(broker))
    monkeypatch.setattr(retrain_model, "train", train)
    monkeypatch.setattr(retrain_model, "evaluate", lambda *asked: (-0.5, -0.1))
    settings = settings_in(tmp_path / "made")
    found = retrain_demo.run(settings, Console())
    assert shown == [retrain_demo.HISTORY, retrain_demo.RECORDED]
    day, recorded = (_ticks(settings.file(name)) for name in (retrain_demo.CHANGED, retrain_demo.RECORDED))
    assert recorded == day
    (first, second) = (manifest.read(settings.file(name))[1] for name in (retrain_demo.LIVE, retrain_demo.SECOND))
    assert (found.sha256_old, found.sha256_new) == (first, second)
    assert found.error_before_change is not None
    assert found.error_after_change is not None
    assert found.error_after_promotion is not None
    assert found.error_after_promotion > max(found.error_before_change, found.error_after_change)
    assert (found.missing, found.doubled, found.look_ticks) == (0, 0, 5_000)
    assert found.ticks - found.forecasts == 4 * 17, "each symbol's window fills once, whatever was restarted or swapped"
    (decision,) = promotion_audit.read(settings.file(retrain_demo.DECISIONS))
    assert (decision.decided, decision.new, decision.who) == ("promoted", second, "retrain-demo")
    written = capsys.readouterr().out
    steps = ("run", "replay", "record", "shadow", "promote", "audit")
    assert [step for step in steps if f"$ tickcast {step} " not in written] == []
    assert "\x1b" not in written


def _ticks(path: Path) -> dict[str, list[Any]]:
    """By symbol, in order."""
    found: dict[str, list[Any]] = {}
    for tick in tick_files.read_all([path], tick_columns.direct()):
        found.setdefault(tick.symbol, []).append((tick.event_time_ns, tick.values))
    return found


@pytest.fixture
def handlers() -> Iterator[None]:
    """Signal handlers as they were."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(("missing", "doubled", "status"), [(0, 0, 0), (1, 0, 1), (0, 1, 1)])
def test_the_last_line_is_the_summary_and_a_hole_in_it_an_exit_status(
    missing: int, doubled: int, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = replace(SUMMARY, missing=missing, doubled=doubled)
    asked: list[Settings] = []

    def run(settings: Settings, console: Console) -> Summary:
        asked.append(settings)
        return summary

    monkeypatch.setattr(command.steps, "run", run)
    with pytest.raises(SystemExit) as ended:
        cli.main(["retrain-demo", "--out", "elsewhere", "--epochs", "3"])
    assert ended.value.code == status
    assert (asked[0].out, asked[0].epochs) == (Path("elsewhere"), 3)
    *lines, last = capsys.readouterr().out.splitlines()
    assert json.loads(last) == vars(summary)
    assert json.loads(last)["simulated"] is True
    assert any("simulated" in line for line in lines)


def test_a_command_is_shown_as_it_is_typed_and_its_failure_ends_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = Commands(settings_in(tmp_path), Story(Console(), 1))
    assert commands.run("version") == f"{__version__}\n"
    with pytest.raises(TickcastError, match=r"tickcast audit ended with status 78; the end of .*02-audit\.log"):
        commands.run("audit", "--config", tmp_path / "not there.toml")
    shown = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in shown] == [
        "$ tickcast version",
        f"$ tickcast audit --config '{tmp_path / 'not there.toml'}'",
    ]


def test_a_player_that_has_ended_is_asked_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its number may be another process's by then: enough may be answered while the last ticks are."""
    asked: list[int] = []
    enough = iter([False, True, True])
    ended = iter([False, True, True])
    committed = iter([90, 100])
    part = {Partition("ticks", 0): OffsetRange(0, 100)}
    session: Any = SimpleNamespace(
        _broker=SimpleNamespace(check=lambda: None),
        _daemon=SimpleNamespace(ended=lambda: False),
        _held=lambda topic: part,
        _committed=lambda partitions: next(committed),
        live=SimpleNamespace(look=lambda: Errors(None, None), history=()),
    )
    monkeypatch.setattr(retrain_session, "LOOK_INTERVAL_S", 0)
    monkeypatch.setattr(retrain_session.os, "kill", lambda pid, number: asked.append(pid))
    player: Any = SimpleNamespace(ended=lambda: next(ended), pid=1)
    Session._follow(session, player, 100, 0, Screen(Console(file=io.StringIO())), lambda: next(enough))
    assert (asked, list(enough), list(committed)) == ([], [True], [])


def test_the_live_error_is_of_the_newest_looks_and_says_who_answers() -> None:
    live = Live("http://127.0.0.1:1")
    for squared, persistence in ((1.0, 1.0), (9.0, 11.0), (24.0, 21.0)):
        live.take(PAGE % (squared, persistence, OLD))
        found = live.errors()
    assert found == Errors(1 - 23 / 20, None)
    assert live.in_force == {OLD}
    for _ in range(10):
        live.take(PAGE % (24.0, 21.0, NEW))
    assert live.errors() == Errors(None, None), "nothing was scored any more"
    assert live.in_force == {NEW}
    with pytest.raises(TickcastError, match="1/metrics: "):
        live.look()


def test_without_a_terminal_there_are_plain_lines_and_not_one_for_each_look(
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen = Screen(Console())
    for played in (0, 10, 20):
        screen.show(View(100, played, played, Errors(0.1234, -0.05), (0.1,)))
    screen.close()
    (line,) = capsys.readouterr().out.splitlines()
    assert line.strip() == ("played 0 of 100, forecasts 0, error saved just now: +12.3 %, by the shadow -5.0 %")


def test_on_a_terminal_the_newest_view_is_drawn() -> None:
    console = Console(force_terminal=True, width=160, record=True, file=io.StringIO())
    screen = Screen(console)
    screen.show(View(100, 50, 40, Errors(0.1234, None), (-0.2, 0.1)))
    screen.close()
    assert "played 50 of 100, forecasts 40, error saved just now: +12.3 %" in console.export_text()
