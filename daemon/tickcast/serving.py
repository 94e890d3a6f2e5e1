"""The parts of the serving process put together, in the one way there is: for the process and for what tests it."""

from typing import NamedTuple

from tickcast.board_reader import BoardReader
from tickcast.clock import SystemClock
from tickcast.exposition import Server
from tickcast.health import Health
from tickcast.page_feed import Feed, Watch
from tickcast.page_server import Page
from tickcast.page_snapshot import Snapshots
from tickcast.tape_reader import TapeReader
from tickcast.wish import Wish


class Descriptors(NamedTuple):
    """Of what the loop's process shares: see `shared_memory.py`."""

    board: int
    tape: int
    wish: int


def serving(host: str, port: int, fds: Descriptors, live_timeout_s: float, name: str) -> Server:
    """The server of one instance called `name`, listening. Raises OSError where it cannot."""
    reader, clock = BoardReader(fds.board), SystemClock()
    health = Health(reader, live_timeout_s)
    feed = Feed(lambda: Watch(reader, TapeReader(fds.tape), Wish(fds.wish), clock), clock)
    return Server(host, port, reader, health, Page(Snapshots(feed, health, name, clock)))
