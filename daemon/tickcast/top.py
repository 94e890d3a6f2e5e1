"""`tickcast top` from an address to a view: one that moves on a terminal, or one snapshot.

Beside the way of a tick: on the side of whoever looks, at an instance here or elsewhere.
"""

import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from types import FrameType

from rich.console import Console, Group
from rich.live import Live

from tickcast import top_screen
from tickcast.top_choice import Choice, pressed
from tickcast.top_document import Document
from tickcast.top_feed import Feed, Look
from tickcast.top_keys import Keys, NoKeys
from tickcast.top_stream import Address, Stream

# Drawn again after so long, news or not: how old they are shows, and the terminal may have another size.
DRAW_S = 0.5
# An instance reads for who looks from the first look on: rates and attention come a moment later.
SETTLE_S = 3.0
# Keys that change the question are followed by others: it is asked when they have rested for so long.
REST_S = 0.3


def once(console: Console, address: Address, choice: Choice) -> bool:
    """Print how things are; whether the instance is ready. Raises TickcastError where it tells nothing."""
    deadline_s = time.monotonic() + SETTLE_S
    with Stream(address, choice.query) as stream:
        document = stream.read()
        while not _is_settled(document) and time.monotonic() < deadline_s:
            document = stream.read()
    for line in top_screen.drawn(Look(document, 0.0, ""), _shown(choice, document), console.width):
        console.print(line, no_wrap=True, overflow="crop")
    return document.instance.ready and document.instance.live


def watch(console: Console, address: Address, choice: Choice) -> None:
    """Show how things are until somebody wants to leave. Raises TickcastError where the instance tells nothing."""
    query = choice.query
    feed = Feed(Stream(address, query), query, lambda asked: Stream(address, asked))
    keys = Keys(sys.stdin.fileno()) if sys.stdin.isatty() else NoKeys()
    with feed, _ended_in_order(), keys, Live(console=console, screen=True, auto_refresh=False) as live:
        rests_at_s = 0.0
        while True:
            look = feed.look()
            shown = _shown(choice, look.document)
            if time.monotonic() >= rests_at_s:
                feed.ask(choice.query)
            lines = top_screen.drawn(look, shown, console.width, console.height)
            live.update(Group(*lines), refresh=True)
            for key in keys.wait(feed.fd, DRAW_S):
                after = pressed(shown, key, [row.symbol for row in look.document.symbols])
                if after is None:
                    return
                if after.query != shown.query:
                    rests_at_s = time.monotonic() + REST_S
                if after != shown:
                    choice = shown = after


def _shown(choice: Choice, document: Document) -> Choice:
    """Where no symbol is chosen, the one that the instance tells of."""
    if choice.symbol or document.symbol is None:
        return choice
    return replace(choice, symbol=document.symbol.symbol)


def _is_settled(document: Document) -> bool:
    """Whether everything is there that takes a moment to be known."""
    waits_for_attention = document.symbol is not None and document.symbol.attention is None
    return None not in (document.totals.ticks_per_s, document.latency.p50_s) and not waits_for_attention


@contextlib.contextmanager
def _ended_in_order() -> Iterator[None]:
    """Signals that end a process end it by way of everything that puts the terminal back."""

    def end(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
