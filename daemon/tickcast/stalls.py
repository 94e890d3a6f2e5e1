"""Whether every partition gets on: one that has more to read and is not read is noticed, counted, and ends the process.

Stage `poll` of the way of a tick, watched from outside: Kafka clients have stalled in ways that raise nothing. A
partition that we paused, one without anything new, one behind an open transaction of its writer and one whose cluster
does not answer are not stalled.
"""

from collections.abc import Mapping
from typing import NamedTuple

from tickcast.clients import Partition
from tickcast.errors import StalledError
from tickcast.partition_state import PartitionState


class _Seen(NamedTuple):
    """Where a partition stood, and since when."""

    position: int
    since_ns: int


class Stalls:
    """The partitions' last moves. `look` is called about once a second."""

    def __init__(self, timeout_s: int) -> None:
        self._timeout_ns = timeout_s * 1_000_000_000
        self._seen: dict[Partition, _Seen] = {}

    def look(self, states: Mapping[Partition, PartitionState], exempt: bool, now_ns: int) -> None:
        """Note who has moved; `exempt`: nobody could, for reasons of ours or the cluster's.

        `PartitionState.end` is the last stable offset. Raises StalledError for those that have not moved for too long.
        """
        seen, self._seen = self._seen, {}
        if exempt:
            return
        for partition, state in states.items():
            if state.position >= state.end:
                continue
            before = seen.get(partition)
            stands = before is not None and before.position == state.position
            self._seen[partition] = before if stands and before else _Seen(state.position, now_ns)
        stalled = sorted(p for p, one in self._seen.items() if now_ns - one.since_ns >= self._timeout_ns)
        if stalled:
            raise StalledError(
                f"not read for {self._timeout_ns / 1e9:g} s though there is more: "
                + ", ".join(f"{p.topic}/{p.number} at {states[p].position} of {states[p].end}" for p in stalled)
            )
