"""Follows the control topic for a daemon: on a thread of its own, for a cluster may be slow to say that nothing is new.

Beside the way of a tick. What it finds is applied by a reload, like another bundle in a folder.
"""

import threading
from collections.abc import Callable

from tickcast import control_topic, log
from tickcast.config import Config
from tickcast.control_topic import ControlTopic
from tickcast.errors import BrokerError
from tickcast.promotion_record import Control
from tickcast.topic_reader import TopicReader

# When stopping, for a question that is under way.
STOP_TIMEOUT_S = 2.0


class ControlFollower:
    """`read` once, then `start`; `applied` at any time."""

    def __init__(self, config: Config, changed: Callable[[], None]) -> None:
        """`changed` is called on the thread, when another bundle came into force."""
        self._settings = config.promotion
        self._kafka = config.kafka
        self._changed = changed
        self._log = log.get("control")
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._reader: TopicReader | None = None
        self._topic: ControlTopic | None = None
        self._controls = dict[str, Control]()

    def read(self) -> None:
        """What is in force now. Raises BrokerError without an answer, or where the topic does not exist."""
        self._reader = TopicReader(self._kafka)
        self._topic = ControlTopic(self._reader, self._settings.control_topic)
        self._topic.read()
        self._controls = dict(self._topic.controls)

    def applied(self, config: Config) -> Config:
        """`config` with the bundles in force, as far as is known; what keeps one from it is said in the log."""
        found = control_topic.applied(config, self._controls)
        for remark in found.remarks:
            self._log.warning("bundle in force is not configured", reason=remark)
        return found.config

    def start(self) -> None:
        """Look for what is new from now on."""
        self._thread = threading.Thread(target=self._follow, name="control", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(STOP_TIMEOUT_S)

    def _follow(self) -> None:
        assert self._topic is not None
        assert self._reader is not None
        silent = False
        with self._reader:
            while not self._stopped.wait(self._settings.follow_interval_ms / 1_000):
                try:
                    is_new = self._topic.read()
                except BrokerError as error:
                    if not silent:
                        self._log.warning("control topic not read", error=str(error))
                    silent = True
                    continue
                silent = False
                if is_new:
                    self._controls = dict(self._topic.controls)
                    self._changed()
