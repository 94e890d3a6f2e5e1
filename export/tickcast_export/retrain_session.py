"""A daemon that runs, and ticks that are played to it: the live part of the retraining example.

Around the whole way of a tick. Daemon and player are `tickcast` commands in processes of their own.
"""

import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from tickcast import config as configuration
from tickcast import manifest
from tickcast.broker import Broker
from tickcast.child_processes import Child, DaemonChild
from tickcast.clients import OffsetRange, Partition
from tickcast.errors import BrokerError
from tickcast.topic_reader import TopicReader

from tickcast_export import retrain_errors
from tickcast_export.retrain_commands import Commands
from tickcast_export.retrain_errors import Part
from tickcast_export.retrain_live import Live
from tickcast_export.retrain_screen import Screen, View
from tickcast_export.retrain_settings import INPUT, OUTPUT

LOOK_INTERVAL_S = 0.4  # a number can be read at that pace, and whoever looks takes little of the daemon's cores
STALL_MAX_S = 60.0  # no progress for so long after the last tick was played: something is wrong

Held = Mapping[Partition, OffsetRange]


class Session:
    """From a daemon's start to its stop. A context manager; `forecasts` there are so far, `live` is what it says."""

    def __init__(self, path: Path, broker: Broker, commands: Commands, console: Console) -> None:
        """Raises TickcastError where the daemon does not come up."""
        self.forecasts = 0
        self._path = path
        self._config = configuration.load(path, {})
        self._broker = broker
        self._commands = commands
        self._console = console
        with ExitStack() as opened:
            log = commands.log_for("run", "--config", path)
            self._daemon = opened.enter_context(DaemonChild(path, log))
            self._reader = opened.enter_context(TopicReader(self._config.kafka))
            self._daemon.wait_until_ready()
            self.live = Live(str(self._daemon.said("metrics and health")["url"]))
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def play(self, file: Path, ticks: int, rate: float, is_enough: Callable[[], bool] = lambda: False) -> Part:
        """Play the file's `ticks`, or until `is_enough`, and wait until all that was played is answered.

        Raises TickcastError where a process ends before its time or nothing moves any more.
        """
        inputs, outputs = self._held(INPUT), self._held(OUTPUT)
        options = ["--topic", INPUT, "--config", str(self._path), "--rate", f"{rate:g}"]
        screen = Screen(self._console)
        try:
            with self._commands.start("replay", file, *options) as player:
                self._follow(player, ticks, _count(inputs), screen, is_enough)
        finally:
            screen.close()
        return Part(_since(inputs, self._held(INPUT)), _since(outputs, self._held(OUTPUT)))

    def error_vs_persistence(self, part: Part, bundle: Path) -> float | None:
        """Of the bundle's forecasts in this part: 1 - squared error / that of no change. Raises BrokerError."""
        return retrain_errors.error_vs_persistence(self._reader, self._config, *manifest.read(bundle), part)

    def stop(self) -> None:
        """The daemon drains and commits. Raises TickcastError for a status that is not 0."""
        status = self._daemon.stop()
        if status:
            raise self._daemon.failure(f"ended with status {status} when asked to stop")

    def _follow(self, player: Child, ticks: int, before: int, screen: Screen, is_enough: Callable[[], bool]) -> None:
        moved_s, committed, is_asked = time.monotonic(), -1, False
        while True:
            self._broker.check()
            if self._daemon.ended():
                raise self._daemon.failure("ended while ticks were played")
            is_played = player.ended()  # asked before looking, so that the last look sees all that was played
            inputs = self._held(INPUT)
            self.forecasts = _count(self._held(OUTPUT))
            errors = self.live.look()
            screen.show(View(ticks, _count(inputs) - before, self.forecasts, errors, tuple(self.live.history)))
            found = self._committed(inputs) if is_played else -1
            if is_played and found >= _count(inputs):
                return
            if not is_played or found != committed:
                moved_s, committed = time.monotonic(), found
            if time.monotonic() - moved_s > STALL_MAX_S:
                raise BrokerError(f"the daemon has stood at {found:,} ticks for {STALL_MAX_S:g} s")
            if not is_asked and is_enough() and not is_played:  # one that has ended has given its number back
                is_asked = True
                os.kill(player.pid, signal.SIGINT)  # it waits until what it has sent is acknowledged
            time.sleep(LOOK_INTERVAL_S)

    def _held(self, topic: str) -> dict[Partition, OffsetRange]:
        return self._reader.held(self._reader.partitions(topic))

    def _committed(self, partitions: Held) -> int:
        found = self._reader.committed(list(partitions))
        return sum(at.offset for at in found.values() if at is not None)


def _count(held: Held) -> int:
    return sum(part.end for part in held.values())


def _since(before: Held, now: Held) -> dict[Partition, OffsetRange]:
    return {partition: OffsetRange(before[partition].end, held.end) for partition, held in now.items()}
