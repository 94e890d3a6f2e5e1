"""What the loop's process shares with the one that serves: the board, the tape and the wish."""

from typing import NamedTuple, Self

from tickcast.board import Board
from tickcast.clock import Clock
from tickcast.tape import Tape
from tickcast.wish import Wish


class SharedMemory(NamedTuple):
    """Each behind a descriptor that the child inherits."""

    board: Board
    tape: Tape
    wish: Wish

    @classmethod
    def create(cls, clock: Clock) -> Self:
        """All of it new, and empty."""
        return cls(Board.create(clock), Tape.create(), Wish.create())

    @property
    def fds(self) -> dict[str, int]:
        """What it is called on the child's command line -> descriptor."""
        return {"board-fd": self.board.fd, "tape-fd": self.tape.fd, "wish-fd": self.wish.fd}

    def close(self) -> None:
        """Let go of the descriptors."""
        self.board.close()
        self.tape.close()
        self.wish.close()
