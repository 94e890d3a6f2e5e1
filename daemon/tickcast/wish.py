"""What somebody who looks wants to know more about: a symbol, in shared memory, from the serving process to the loop.

The only thing that the serving process tells the loop, and nothing depends on it but what is shown.
"""

import mmap
import os
from typing import Self

from tickcast import memfd
from tickcast.shared_blob import BlobReader, BlobWriter

HEADER_BYTES = 64
# A symbol has 250 characters at most.
WISH_BYTES = HEADER_BYTES + 1_024
WORD_SYMBOL, WORD_ASKED_NS = range(2)
# Whoever goes on looking asks again.
HOLDS_NS = 5_000_000_000


class Wish:
    """Both sides: one process asks, the other looks. Clocks are monotonic, which processes share."""

    def __init__(self, fd: int) -> None:
        """Map what `create` has made."""
        self.fd = fd
        memory = memoryview(mmap.mmap(fd, WISH_BYTES))
        self._words = memory[:HEADER_BYTES].cast("Q")
        self._writer = BlobWriter(self._words, WORD_SYMBOL, memory[HEADER_BYTES:])
        self._reader = BlobReader(self._words, WORD_SYMBOL, memory[HEADER_BYTES:])

    @classmethod
    def create(cls) -> Self:
        """Nothing asked yet."""
        return cls(memfd.create("tickcast-wish", WISH_BYTES))

    def ask(self, symbol: str, monotonic_ns: int) -> None:
        """Somebody looks at `symbol` now. Raises ValueError where no symbol can be so long."""
        self._writer.write(symbol.encode())
        self._words[WORD_ASKED_NS] = monotonic_ns

    def asked(self, monotonic_ns: int) -> str:
        """The symbol somebody looks at; empty where nobody has asked for a while."""
        asked_ns = self._words[WORD_ASKED_NS]
        if not asked_ns or monotonic_ns - asked_ns > HOLDS_NS:
            return ""
        return self._reader.read().decode()

    def close(self) -> None:
        """Let go of `fd`."""
        os.close(self.fd)
