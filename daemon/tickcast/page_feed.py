"""What the page is fed from: the tape and the board, read from time to time while somebody looks, and else not at all.

Beside the way of a tick, in the process that serves. `Watch` is what is remembered, `Feed` the thread that keeps it up
to date: started by the first who looks, ended and its memory freed a while after the last.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from tickcast.attention_rota import AttentionRota
from tickcast.board_looks import BoardLooks
from tickcast.board_reader import BoardReader
from tickcast.clock import Clock
from tickcast.page_table import Table
from tickcast.symbol_history import Histories, Path, Shape, SymbolHistory
from tickcast.tape_reader import Place, TapeReader
from tickcast.wish import Wish

READ_INTERVAL_S = 0.25
# Taken in at once: some 5 ms, for which who wants a symbol's path waits.
SLICE_ENTRIES = 1_000
# In one turn, which is more than a whole tape: where entries come faster than they are read, all else is done, too.
SLICES_MAX = 256
# A page that is loaded anew, or a terminal that asks every few seconds, finds what was remembered.
LINGER_S = 15.0
# The whole tape is read in about a second; who looks first waits so long at most, and is then shown what there is.
FILL_S_MAX = 1.0


class Watch:
    """All that is remembered. `turn` is called by one thread; the rest may be asked for by any."""

    def __init__(self, board: BoardReader, tape: TapeReader, wish: Wish, clock: Clock) -> None:
        self._tape = tape
        self._clock = clock
        self._lock = threading.Lock()  # on the histories
        self._histories = Histories()
        self._watched: set[str] = set()
        self._place = Place()
        self.looks = BoardLooks(board)
        self.attention = AttentionRota(wish, tape.attention)
        self.table = Table()
        self.models: list[dict[str, Any]] = []  # that answer, in the configuration's order
        self.lost = 0  # entries written over before they were read
        self.filled = threading.Event()  # what was there at first is taken in

    def turn(self) -> None:
        """Take in what is new."""
        now_s = self._clock.monotonic_ns() / 1e9
        self.looks.turn(now_s, self._clock.wall_ns() // 1_000_000)
        self._read()
        self.filled.set()
        self.attention.turn(now_s)
        self._look_away()

    def histories(self) -> Sequence[SymbolHistory]:
        """Every symbol's; they go on changing."""
        with self._lock:
            return self._histories.all()

    def model_of(self, history: SymbolHistory) -> dict[str, Any]:
        """What answers the symbol."""
        return self.models[history.place] if history.place < len(self.models) else {}

    def history(self, symbol: str) -> SymbolHistory | None:
        """One symbol's; it goes on changing."""
        with self._lock:
            return self._histories.get(symbol)

    def path(self, symbol: str, points: int) -> Path | None:
        """The newest points of a symbol that somebody looks at, from now on more of them; None where it is unknown."""
        with self._lock:
            history = self._histories.get(symbol)
            if history is None:
                return None
            self.attention.want(symbol, self._clock.monotonic_ns() / 1e9)
            history.is_watched = True
            self._watched.add(symbol)
            return history.path(points)

    def _read(self) -> None:
        for _ in range(SLICES_MAX):
            reading = self._tape.read(self._place, SLICE_ENTRIES)
            if reading.place.tape != self._place.tape:
                self._begin(self._tape.model())
            else:
                self.lost += reading.lost
            self._place = reading.place
            if not reading.entries:
                return
            with self._lock:
                self._histories.take(reading.entries)

    def _look_away(self) -> None:
        """Of symbols that nobody looks at any more as little is remembered as of the others."""
        wanted = self.attention.wanted()
        with self._lock:
            for symbol in self._watched - wanted:
                if history := self._histories.get(symbol):
                    history.is_watched = False
            self._watched &= wanted

    def _begin(self, model: dict[str, Any]) -> None:
        """Another model answers: nothing of the one before can be compared with it."""
        first, others = model, model.pop("others", [])
        self.models = [first, *others] if first else []
        self.attention.forget()
        with self._lock:
            self._histories = Histories(*map(_shape, self.models))


def _shape(model: dict[str, Any]) -> Shape:
    return Shape(tuple(model.get("horizons", ())), model.get("window", 0))


class Feed:
    """Keeps a `Watch` up to date while it is asked for."""

    def __init__(self, open_watch: Callable[[], Watch], clock: Clock) -> None:
        """`open_watch` makes an empty one."""
        self._open_watch = open_watch
        self._clock = clock
        self._lock = threading.Lock()
        self._watch: Watch | None = None
        self._asked_ns = 0

    @property
    def is_running(self) -> bool:
        """Whether anything is remembered and read."""
        return self._watch is not None

    def watch(self) -> Watch:
        """What is remembered, for somebody who looks now. The first one waits until the tape is read."""
        with self._lock:
            self._asked_ns = self._clock.monotonic_ns()
            watch = self._watch
            if watch is None:
                watch = self._watch = self._open_watch()
                threading.Thread(target=self._run, args=(watch,), name="page-feed", daemon=True).start()
        watch.filled.wait(FILL_S_MAX)
        return watch

    def _run(self, watch: Watch) -> None:
        try:
            while self._is_wanted():
                watch.turn()
                self._clock.sleep(READ_INTERVAL_S)
        finally:
            with self._lock:  # on an error, too: who looks next starts anew
                if self._watch is watch:
                    self._watch = None

    def _is_wanted(self) -> bool:
        with self._lock:
            if self._clock.monotonic_ns() - self._asked_ns <= LINGER_S * 1e9:
                return True
            self._watch = None
            return False
