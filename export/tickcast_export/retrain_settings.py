"""What a run of the retraining example was asked to do, where its files lie, and what its topics are called."""

from dataclasses import dataclass
from pathlib import Path

from tickcast_export.demo_settings import FamilyName

NAME = "desk"  # of the models, of the consumer group
INPUT, OUTPUT, DEAD_LETTERS, CONTROL = "ticks", "forecasts", "dead-letters", "tickcast-control"
INPUT_PARTITIONS = 4
SYMBOLS = 4
FOLLOW_INTERVAL_MS = 200  # nobody waits for a switch longer than that


@dataclass(frozen=True)
class Settings:
    """What the user asked for; numbers of ticks are of all symbols together."""

    out: Path
    family: FamilyName
    seed: int
    window: int
    units: int
    epochs: int
    history_ticks: int  # the first model learns from
    calm_ticks: int  # played as that market was
    changed_ticks: int  # played after the market has changed, and learned from
    shadow_ticks: int  # most that are played while the shadow is judged, and after it was promoted
    after_ticks: int  # answered after the promotion
    rate: float  # ticks a second, while nobody is judged; a fast forward
    shadow_rate: float

    def file(self, name: str) -> Path:
        """A file or folder of this run."""
        return self.out / name
