"""What may be committed for the partitions owned: the offset processed, and the note where a rebuild for it may start.

Stage `commit` of the way of a tick.
"""

from collections.abc import Collection, Mapping, Sequence

from tickcast import commit_note
from tickcast.clients import Committed, Partition
from tickcast.config import Config
from tickcast.manifest import Manifest
from tickcast.partition_state import PartitionState

# The owner that a note names when its partition was given back in order: nothing of its last owner is under way.
NOBODY = ""


class Offers:
    """The states of the partitions owned, as offsets with notes; remembers what of it is committed."""

    def __init__(self, config: Config, manifests: Sequence[Manifest]) -> None:
        self.states: dict[Partition, PartitionState] = {}
        self._config = config
        self._owner = config.instance_id
        self.adopt(manifests)

    def adopt(self, manifests: Sequence[Manifest]) -> None:
        """Notes are for the bundles of `manifests` from now on; each partition is due for one."""
        self.rules_hash = commit_note.rules_hash(self._config, manifests)
        self._window = max(manifest.rules.window for manifest in manifests)
        self._committed: dict[Partition, int] = {}

    def offer(self, partition: Partition, owner: str | None = None) -> Committed:
        """Everything processed of `partition`, in our name or in `owner`'s."""
        return self.states[partition].committed(self._window, self.rules_hash, self._owner if owner is None else owner)

    def moved(self) -> dict[Partition, Committed]:
        """An offer for each partition that got on since its last commit."""
        return {p: self.offer(p) for p in self.states if self._moved(p)}

    def released(self, partitions: Collection[Partition]) -> dict[Partition, Committed]:
        """Offers for partitions about to be given back: in nobody's name, so that nobody fences us for them."""
        return {p: self.offer(p, NOBODY) for p in partitions if p in self.states}

    def only_owned(self, offsets: Mapping[Partition, Committed]) -> dict[Partition, Committed]:
        """Those of `offsets` that are still ours to commit."""
        return {p: committed for p, committed in offsets.items() if p in self.states}

    def note(self, offsets: Mapping[Partition, Committed]) -> None:
        """`offsets` are committed."""
        self._committed.update({p: committed.offset for p, committed in offsets.items()})

    def drop(self, partitions: Collection[Partition]) -> None:
        """`partitions` are not ours any more."""
        for partition in partitions:
            self.states.pop(partition, None)
            self._committed.pop(partition, None)

    def _moved(self, partition: Partition) -> bool:
        state = self.states[partition]
        return not state.rebuilding and state.position != self._committed.get(partition)
