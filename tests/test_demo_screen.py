"""What the demo shows while ticks are played."""

import io

from rich.console import Console
from tickcast.records import BundleName, Forecast
from tickcast_export import demo_screen
from tickcast_export.demo_watch import View

HORIZONS = (1, 2, 3)


def _forecast(symbol: str, changes: list[float]) -> Forecast:
    bundle = BundleName("test", "1", "0")
    return Forecast(1, symbol, "ticks", 0, 7, 1, 1, 1, 1, HORIZONS, changes, "price", 101.5, 0, bundle, "finish", ())


def _view() -> View:
    view = View(to_play=1_000, played=400, forecasts=368, status="4 partitions, lag 2")
    view.newest = {"UP": _forecast("UP", [0.1, 0.2, 0.4]), "DOWN": _forecast("DOWN", [-0.1, 0.0, -0.2])}
    view.counts = {"UP": 184, "DOWN": 184}
    view.latencies_us.extend([1_000.0, 2_000.0, 9_000.0])
    return view


def _console(is_terminal: bool = False) -> tuple[Console, io.StringIO]:
    written = io.StringIO()
    return Console(file=written, force_terminal=is_terminal, width=100, color_system=None), written


def test_table_shows_each_symbols_mid_path_and_count() -> None:
    console, written = _console()
    console.print(demo_screen.drawn(_view()))
    lines = written.getvalue().splitlines()
    up = next(line for line in lines if "UP" in line)
    assert all(part in up for part in ("101.5", "+0.100", "+0.400", "184", "▅▆█"))
    assert any("400 / 1,000 ticks" in line and "p50 2 ms, p99 9 ms" in line for line in lines)
    assert "daemon: 4 partitions, lag 2" in lines[-1]


def test_nothing_yet_is_shown_without_symbols() -> None:
    console, written = _console()
    console.print(demo_screen.drawn(View(to_play=10)))
    assert "0 / 10 ticks" in written.getvalue()
    assert "symbol" not in written.getvalue()


def test_without_a_terminal_lines_come_now_and_then_and_one_at_the_end() -> None:
    console, written = _console()
    screen = demo_screen.on(console)
    view = _view()
    for _ in range(20):
        screen.show(view)
    view.played = 1_000
    screen.close()
    lines = written.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("    played 400 of 1,000, forecasts 368, p50 2 ms, p99 9 ms, DOWN 101.5")
    assert lines[1].startswith("    played 1,000 of 1,000")
    assert "\x1b" not in written.getvalue()


def test_on_a_terminal_the_table_is_drawn_again_in_place() -> None:
    console, written = _console(is_terminal=True)
    screen = demo_screen.on(console)
    screen.show(_view())
    screen.show(_view())
    screen.close()
    assert written.getvalue().count("symbol") >= 2
    assert "\x1b[1A" in written.getvalue()  # the cursor goes up to draw over what was there


def test_sparkline_is_level_for_no_change_and_full_at_the_largest() -> None:
    assert demo_screen.sparkline([0.0, 0.0]) in ("▄▄", "▅▅")
    assert demo_screen.sparkline([-2.0, 2.0]) == "▁█"
