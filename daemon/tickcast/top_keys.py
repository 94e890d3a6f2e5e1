"""A terminal's keys, one at a time as they are pressed, and the terminal as it was afterwards.

Beside the way of a tick: on the side of whoever looks.
"""

import codecs
import os
import select
import termios
import tty
from types import TracebackType
from typing import Self

from tickcast.top_choice import DOWN, ENTER, ERASE, ESCAPE, LEFT, QUIT, RIGHT, UP

READ_BYTES = 1_024
# The rest of a key that sends several bytes comes at once, or a network's moment later.
REST_S = 0.05
_NAMES = {"\r": ENTER, "\n": ENTER, "\x7f": ERASE, "\x08": ERASE, "\x03": QUIT, "\x04": QUIT}
_ARROWS = {"A": UP, "B": DOWN, "C": RIGHT, "D": LEFT}
_SEQUENCE_STARTS = ("\x1b[", "\x1bO")


class KeyParser:
    """Bytes in, keys out; what is not whole yet waits."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""

    @property
    def waits(self) -> bool:
        """Whether the beginning of a key is there."""
        return bool(self._text)

    def feed(self, data: bytes) -> list[str]:
        """The keys that are whole now."""
        self._text += self._decoder.decode(data)
        keys = []
        while self._text and (taken := _taken(self._text)):
            keys.append(_key(self._text[:taken]))
            self._text = self._text[taken:]
        return [key for key in keys if key]

    def flush(self) -> list[str]:
        """Nothing more comes: what waits is the escape key itself, or no key at all."""
        text, self._text = self._text, ""
        return [ESCAPE] if text == "\x1b" else []


class Keys:
    """A context manager around the terminal `fd`: keys come unechoed, Ctrl-C and Ctrl-D mean to leave.

    Suspending (Ctrl-Z) and quitting with a core (Ctrl-\\) are off: nothing would put the screen back.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._parser = KeyParser()

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(self._fd)
        tty.setcbreak(self._fd, termios.TCSADRAIN)
        now = termios.tcgetattr(self._fd)
        now[3] &= ~termios.ISIG  # a letter like any other, which `pressed` hears of
        termios.tcsetattr(self._fd, termios.TCSADRAIN, now)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)

    def wait(self, bell: int, timeout_s: float) -> list[str]:
        """The keys pressed until there is one, until `bell` is readable, or for so long."""
        ready = self._readable([self._fd, bell], timeout_s)
        if self._fd not in ready:
            return []
        keys = self._read()
        while self._parser.waits:
            more = self._readable([self._fd], REST_S)
            keys += self._read() if more else self._parser.flush()
        return keys

    def _read(self) -> list[str]:
        data = os.read(self._fd, READ_BYTES)
        return self._parser.feed(data) if data else [QUIT]  # the terminal is gone

    def _readable(self, fds: list[int], timeout_s: float) -> list[int]:
        return select.select(fds, [], [], timeout_s)[0]


class NoKeys:
    """Where there is no terminal to type at: only the bell and the time."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def wait(self, bell: int, timeout_s: float) -> list[str]:
        """Nothing, once `bell` is readable or after so long."""
        select.select([bell], [], [], timeout_s)
        return []


def _taken(text: str) -> int:
    """How many characters the first key takes; 0 where it is not whole."""
    if text[0] != "\x1b":
        return 1
    if len(text) == 1:
        return 0
    if text[:2] not in _SEQUENCE_STARTS:
        return 1  # the escape key, and then another
    for at, character in enumerate(text[2:], 2):
        if "@" <= character <= "~":
            return at + 1
    return 0


def _key(text: str) -> str:
    """The key's name, the character it is, or nothing for one that means nothing here."""
    if text == "\x1b":
        return ESCAPE
    if text[:2] in _SEQUENCE_STARTS:
        return _ARROWS.get(text[-1], "")
    return _NAMES.get(text, text if text.isprintable() else "")
