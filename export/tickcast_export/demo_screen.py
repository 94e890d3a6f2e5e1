"""What the demo says while ticks are played: a table that moves on a terminal, a plain line now and then elsewhere."""

import time
from collections.abc import Sequence
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from tickcast.records import Forecast

from tickcast_export.demo_watch import View
from tickcast_export.figures import duration, signed

LINE_INTERVAL_S = 3.0
ROWS_MAX = 16
BARS = "▁▂▃▄▅▆▇█"


class Screen(Protocol):
    """Shows views until it is closed."""

    def show(self, view: View) -> None:
        """The newest state."""

    def close(self) -> None:
        """Leave the terminal as it was, the last view on it."""


class LineScreen:
    """One line every few seconds, and one at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told_s = -LINE_INTERVAL_S
        self._view: View | None = None

    def show(self, view: View) -> None:
        """Say it, unless something was said a moment ago."""
        self._view = view
        if time.monotonic() - self._told_s >= LINE_INTERVAL_S:
            self._told_s = time.monotonic()
            self._say(view)

    def close(self) -> None:
        """The last line."""
        if self._view is not None:
            self._say(self._view)

    def _say(self, view: View) -> None:
        newest = [_words(forecast) for forecast in list(view.newest.values())[-1:]]
        parts = [
            f"played {view.played:,} of {view.to_play:,}",
            f"forecasts {view.forecasts:,}",
            _latency(view),
            *newest,
        ]
        said = ", ".join(filter(None, parts))
        self._console.print(f"    {said}", highlight=False, soft_wrap=True, markup=False)


class LiveScreen:
    """A table that is drawn again with every view. No thread of its own: whoever calls `show` draws."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False)
        self._live.start()

    def show(self, view: View) -> None:
        """Draw it."""
        self._live.update(drawn(view), refresh=True)

    def close(self) -> None:
        """Stop drawing."""
        self._live.stop()


def on(console: Console) -> Screen:
    """A moving table where there is a terminal to draw it on, lines elsewhere."""
    return LiveScreen(console) if console.is_terminal else LineScreen(console)


def sparkline(values: Sequence[float]) -> str:
    """A forecast path as small bars; one of middle height is no change."""
    reach = max(map(abs, values)) or 1.0
    middle = (len(BARS) - 1) / 2
    return "".join(BARS[round(middle + value / reach * middle)] for value in values)


def drawn(view: View) -> Group:
    """The whole screen."""
    bar = Table.grid(padding=(0, 2))
    bar.add_row(
        ProgressBar(total=max(view.to_play, 1), completed=view.played, width=20, complete_style="cyan"),
        f"{view.played:,} / {view.to_play:,} ticks",
        f"{view.forecasts:,} forecasts",
        _latency(view),
    )
    symbols = _symbols(view) if view.newest else Text("  windows are filling", style="dim")
    return Group(bar, symbols, Text(f"daemon: {view.status or 'starting'}", style="dim"))


def _symbols(view: View) -> Table:
    newest = dict(sorted(view.newest.items())[:ROWS_MAX])
    horizons = next(iter(newest.values())).horizons
    table = Table("symbol", box=None, padding=(0, 2), header_style="dim")
    for heading in ("mid", f"next {horizons[-1]} ticks", f"+{horizons[0]}", f"+{horizons[-1]}", "forecasts"):
        table.add_column(heading, justify="left" if heading.startswith("next") else "right")
    for symbol, forecast in newest.items():
        colour = "green" if forecast.forecast[-1] >= 0 else "red"
        mid = "" if forecast.reference_mid is None else f"{forecast.reference_mid:.10g}"
        path = Text(sparkline(forecast.forecast), style=colour)
        reach = max(map(abs, forecast.forecast))
        ends = (Text(signed(value, reach), style=colour) for value in (forecast.forecast[0], forecast.forecast[-1]))
        table.add_row(symbol, mid, path, *ends, f"{view.counts[symbol]:,}")
    if len(view.newest) > ROWS_MAX:
        table.add_row(f"and {len(view.newest) - ROWS_MAX} more")
    return table


def _words(forecast: Forecast) -> str:
    change = signed(forecast.forecast[-1], max(map(abs, forecast.forecast)))
    return f"{forecast.symbol} {forecast.reference_mid or 0:.10g} {sparkline(forecast.forecast)} {change}"


def _latency(view: View) -> str:
    p50, p99 = view.latency_us(0.5), view.latency_us(0.99)
    return "" if p50 is None or p99 is None else f"p50 {duration(p50)}, p99 {duration(p99)}"
