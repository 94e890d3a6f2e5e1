"""Which bundle answers which offset: what a replay goes by, so that each tick meets the model it met live.

Beside the way of a tick. Two sources say it. The control record: from which offset of each partition a bundle was to
answer. And the forecasts, each of which names the bundle that made it: exact, where they are still kept.
"""

from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tickcast.clients import OffsetRange, Partition
from tickcast.promotion_record import Switch


class Stretch(NamedTuple):
    """Offsets [first, end) of a partition, and their bundle's sha256; None: not known. `end` None: up to now."""

    first: int
    end: int | None
    sha256: str | None


class Segment(NamedTuple):
    """Offsets [first, end) of a partition that the same bundles answer: one for each entry of the configuration."""

    first: int
    end: int
    bundles: tuple[str | None, ...]  # None: not known


class InForce:
    """The bundle in force at each offset of each partition."""

    def __init__(self, stretches: Mapping[Partition, Sequence[Stretch]], elsewhere: Sequence[Stretch]) -> None:
        """`stretches` of a partition cover all offsets from 0 on, in order; `elsewhere` those of any other one."""
        self._stretches = dict(stretches)
        self._elsewhere = elsewhere
        self._firsts = {partition: [each.first for each in held] for partition, held in stretches.items()}

    def at(self, partition: Partition, offset: int) -> str | None:
        """The sha256 of the bundle in force at `offset`, None where it is not known. Raises ValueError below 0."""
        if offset < 0:
            raise ValueError(f"no offset: {offset}")
        firsts = self._firsts.get(partition, [0])
        return self.stretches(partition)[bisect_right(firsts, offset) - 1].sha256

    def stretches(self, partition: Partition) -> Sequence[Stretch]:
        """The partition's offsets, from 0 on, cut where the bundle changes."""
        return self._stretches.get(partition, self._elsewhere)

    def or_else(self, other: "InForce", since: Mapping[Partition, int]) -> "InForce":
        """Of partitions that are not told of here, what `other` says; of those it names also before offset `since`."""
        told = {
            partition: _stretches(_joined(other._stretches.get(partition, ()), held, since[partition]))
            for partition, held in self._stretches.items()
        }
        return InForce({**other._stretches, **told}, other._elsewhere)


def segments(tables: Sequence[InForce], partition: Partition, held: OffsetRange) -> list[Segment]:
    """The partition's offsets in `held`, cut where the bundle of any entry changes; `tables` are of the entries."""
    borders = {held.first, held.end}
    borders |= {each.first for table in tables for each in table.stretches(partition) if held.first < each.first}
    cuts = sorted(border for border in borders if border <= held.end)
    return [Segment(first, end, tuple(table.at(partition, first) for table in tables)) for first, end in pairwise(cuts)]


def of_switches(switches: Sequence[Switch]) -> InForce:
    """By a control record's switches, oldest first, one or more: the newest that starts at or below an offset counts.

    Before the first of all switches its old bundle answered; where older ones are no longer told, nobody knows.
    """
    first = switches[0]
    before = first.old if first.sequence == 1 else None
    named = {Partition(topic, number) for each in switches for topic in each.starts for number in each.starts[topic]}
    elsewhere = [Stretch(0, None, switches[-1].new)]  # partitions that were made later
    return InForce({partition: _of_switches(switches, partition, before) for partition in named}, elsewhere)


def _of_switches(switches: Sequence[Switch], partition: Partition, before: str | None) -> list[Stretch]:
    changes: list[tuple[int, str | None]] = [(0, before)]
    for switch in switches:
        start = switch.starts.get(partition.topic, {}).get(partition.number, 0)
        while changes and changes[-1][0] >= start:  # a later decision counts from there on, whatever was said before
            changes.pop()
        changes.append((start, switch.new))
    return _stretches(changes)


class ForecastsSeen:
    """Forecasts in any order, by what their records say of them; `table` is what they come to.

    Takes 24 bytes for each.
    """

    def __init__(self) -> None:
        self._bundles: dict[str, int] = {}
        self._seen: dict[Partition, tuple[array[int], array[int], array[int]]] = defaultdict(
            lambda: (array("q"), array("q"), array("q"))
        )

    def add(self, source: Partition, offset: int, sent_time_ns: int, sha256: str) -> None:
        """One forecast, of the tick at `offset` of `source`."""
        offsets, times_ns, bundles = self._seen[source]
        offsets.append(offset)
        times_ns.append(sent_time_ns)
        bundles.append(self._bundles.setdefault(sha256, len(self._bundles)))

    def firsts(self) -> dict[Partition, int]:
        """The oldest tick of each partition that a forecast is of."""
        return {partition: min(offsets) for partition, (offsets, *_) in self._seen.items()}

    def table(self) -> InForce:
        """Of a tick that was answered twice, with a restart between, the forecast sent last counts: it was committed.

        A tick without a forecast is the bundle's that answered the one before it; before the first, the first one's.
        """
        names = list(self._bundles)
        return InForce({partition: _of_seen(*seen, names) for partition, seen in self._seen.items()}, [_UNKNOWN])


_UNKNOWN = Stretch(0, None, None)


def _of_seen(
    offsets: "array[int]", times_ns: "array[int]", bundles: "array[int]", names: Sequence[str]
) -> list[Stretch]:
    at, sent, by = (np.frombuffer(each, np.int64) for each in (offsets, times_ns, bundles))
    order = np.lexsort((sent, at))
    at, by = at[order], by[order]
    is_last = np.append(at[1:] != at[:-1], True)
    at, by = at[is_last], by[is_last]
    changed = np.flatnonzero(np.diff(by, prepend=-1))
    firsts = [0, *at[changed][1:].tolist()]
    return _stretches([(first, names[number]) for first, number in zip(firsts, by[changed].tolist(), strict=True)])


def _joined(before: Sequence[Stretch], told: Sequence[Stretch], since: int) -> list[tuple[int, str | None]]:
    """From where each bundle answers: by `before` up to `since`, and by `told` from there on; by that alone without."""
    if not before:
        return [(first, sha256) for first, _, sha256 in told]
    older = [(first, sha256) for first, _, sha256 in before if first < since]
    return older + [(max(first, since), sha256) for first, end, sha256 in told if end is None or end > since]


def _stretches(changes: Sequence[tuple[int, str | None]]) -> list[Stretch]:
    """From where each bundle answers, neighbours of one bundle made one."""
    kept = [each for i, each in enumerate(changes) if i == 0 or each[1] != changes[i - 1][1]]
    ends = [first for first, _ in kept[1:]]
    return [Stretch(first, end, sha256) for (first, sha256), end in zip(kept, [*ends, None], strict=True)]
