"""What the daemon keeps for one partition it owns, and how it comes back after a restart.

Kafka is the only store: the committed offset says what is answered, its metadata where a rebuild may start.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from tickcast import commit_note
from tickcast.anchored_windows import AnchoredWindows
from tickcast.clients import Committed, OffsetRange, Partition
from tickcast.config import Config, RecoveryConfig
from tickcast.manifest import Manifest
from tickcast.partition_windows import PartitionWindows
from tickcast.windows import Windows

# How a partition was taken up; the label of `tickcast_recoveries_total`.
RecoveryKind = Literal["fresh", "metadata", "missing", "unreadable", "other_rules", "truncated"]


class Recovery(NamedTuple):
    """Where to start reading, where to start publishing, and why there."""

    replay_from: int
    publish_from: int
    kind: RecoveryKind


def recover(
    committed: Committed | None, fresh_start: int, held: OffsetRange, rules_hash: str, replay_records_max: int
) -> Recovery:
    """Where a partition is taken up again.

    `fresh_start` is where a group without a committed offset publishes from. Without a note that holds for these rules,
    windows are rebuilt from position - R, which gives the same ones.
    """
    publish_from = fresh_start if committed is None else committed.offset
    if publish_from > held.end:  # the topic was cut short or made anew: what the note says is of another log
        return Recovery(max(held.end - replay_records_max, held.first), held.end, "truncated")
    farthest = max(publish_from - replay_records_max, 0)
    if committed is None:
        kind: RecoveryKind = "fresh"
        replay_from = farthest
    else:
        kind, replay_from = _from_note(committed, rules_hash, farthest)
    if publish_from < held.first:  # ticks that were never answered are gone: said, and the rest goes on
        return Recovery(held.first, held.first, "truncated")
    if replay_from < held.first:
        kind = "fresh" if committed is None else "truncated"
    return Recovery(max(replay_from, held.first), publish_from, kind)


def _from_note(committed: Committed, rules_hash: str, farthest: int) -> tuple[RecoveryKind, int]:
    if not committed.metadata:
        return "missing", farthest
    note = commit_note.parse(committed.metadata)
    if note is None:
        return "unreadable", farthest
    if note.rules_hash != rules_hash:
        return "other_rules", farthest
    return "metadata", min(max(note.replay_from, farthest), committed.offset)


def reach_of(config: Config, manifests: Sequence[Manifest]) -> int:
    """How many offsets before a position a rebuild may have to start; nothing rests on older ones."""
    return config.recovery.replay_records_max + max(_interval(config, manifest) for manifest in manifests)


def owned_windows_of(config: Config, manifests: Sequence[Manifest], publish_from: int) -> PartitionWindows:
    """As `partition_windows_of`; in the mode `carried` they know where states start anew."""
    return PartitionWindows([_owned(config, manifest, publish_from) for manifest in manifests])


def partition_windows_of(manifests: Sequence[Manifest], limits: RecoveryConfig) -> PartitionWindows:
    """Empty windows of one partition for the configured bundles, in the configuration's order."""
    return PartitionWindows([windows_of(manifest, limits) for manifest in manifests])


def windows_of(manifest: Manifest, limits: RecoveryConfig) -> Windows:
    """Those for one bundle, as the daemon and the audit both begin with them."""
    return Windows(manifest.rules, manifest.columns, limits.replay_records_max, limits.max_symbols)


def _owned(config: Config, manifest: Manifest, publish_from: int) -> Windows:
    interval, limits = _interval(config, manifest), config.recovery
    if not interval:
        return windows_of(manifest, limits)
    rules, columns = manifest.rules, manifest.columns
    return AnchoredWindows(rules, columns, limits.replay_records_max, limits.max_symbols, interval, publish_from)


def _interval(config: Config, manifest: Manifest) -> int:
    """Offsets in which a carried state starts anew once; 0: nothing is carried."""
    return manifest.carried.interval_offsets if config.inference.mode == "carried" and manifest.carried else 0


class PartitionState:
    """One owned partition: its windows, the next offset to process, and from which offset on to publish."""

    __slots__ = ("end", "has_state", "partition", "position", "publish_from", "replay_from", "windows")

    def __init__(self, partition: Partition, recovery: Recovery, windows: PartitionWindows) -> None:
        self.partition = partition
        self.windows = windows
        self.publish_from = recovery.publish_from
        self.replay_from = recovery.replay_from
        self.position = recovery.replay_from
        # Whether what lives beside windows may be kept as of `publish_from`.
        self.has_state = recovery.kind not in ("fresh", "other_rules", "truncated")
        self.end = recovery.publish_from  # newest known end of the partition, for the lag

    @property
    def rebuilding(self) -> bool:
        """Whether ticks before `publish_from` are still being read back."""
        return self.position < self.publish_from

    def committed(self, window: int, rules_hash: str, owner: str) -> Committed:
        """What to commit for all that is processed; while rebuilding, what the rebuild itself started from."""
        if self.rebuilding:
            offset, replay_from = self.publish_from, self.replay_from
        else:
            offset, replay_from = self.position, self.windows.replay_from(self.position)
        return Committed(offset, commit_note.CommitNote(replay_from, window, rules_hash, owner).text())
