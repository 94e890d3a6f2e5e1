"""A text in shared memory that one process writes and others read, whole or not at all, without a lock.

A word of eight bytes, which is written whole, holds the text's length and its crc32: who reads while it is written
finds that the two do not agree, and tries again.
"""

import zlib

# A text is a memcpy of some KiB: a reader that meets one half-written finds it whole on the next try or the one after.
TRIES = 5


class BlobWriter:
    """The writer's side: `words[word]` and `region` are its own."""

    def __init__(self, words: "memoryview[int]", word: int, region: memoryview) -> None:
        self._words = words
        self._word = word
        self._region = region

    @property
    def bytes_max(self) -> int:
        """How long a text may be."""
        return len(self._region)

    def write(self, blob: bytes) -> None:
        """`blob` is the text from now on. Raises ValueError where it is longer than `bytes_max`."""
        if len(blob) > len(self._region):
            raise ValueError(f"{len(blob)} bytes; there is room for {len(self._region)}")
        self._region[: len(blob)] = blob
        self._words[self._word] = len(blob) << 32 | zlib.crc32(blob)


class BlobReader:
    """A reader's side."""

    def __init__(self, words: "memoryview[int]", word: int, region: memoryview) -> None:
        self._words = words
        self._word = word
        self._region = region
        self._blob = b""

    def read(self) -> bytes:
        """The text; the one before it where it is just being written; empty where there was none yet."""
        for _ in range(TRIES):
            word = self._words[self._word]
            blob = bytes(self._region[: word >> 32])
            if zlib.crc32(blob) == word & 0xFFFFFFFF:
                self._blob = blob
                break
        return self._blob
