"""Where and when the daemon is killed: drawn from a seed, each stage at least its share."""

import random
from collections.abc import Mapping
from typing import NamedTuple

from tickcast import faults
from tickcast.config import FAULT_VARIABLE
from tickcast.faults import Stage

OUTSIDE = "outside"
# How often a stage is reached before the kill, at most: some seconds' worth at 1,000 ticks/s.
COUNTS_MAX: Mapping[str, int] = {
    "decode": 3_000,
    "produced": 20,
    "transaction": 2_500,
    "commit": 20,
    "committed": 20,
    "recovery": 3_000,
}
AFTER_MAX_S = 5.0
# Stages that only one delivery has.
ONLY = {"transaction": "exactly_once"}
SHARE_EACH = 0.12  # of all kills, for each stage; the rest come from outside


class Strike(NamedTuple):
    """One kill -9: inside `stage` when it is reached for the `count`th time, or from outside after `after_s`."""

    stage: str
    count: int
    after_s: float

    @property
    def environment(self) -> dict[str, str]:
        """What arms it."""
        return {} if self.stage == OUTSIDE else {FAULT_VARIABLE: f"{self.stage}:{self.count}"}


def stages(delivery: str) -> list[Stage]:
    """Those that `delivery` has."""
    return [stage for stage in faults.STAGES if ONLY.get(stage, delivery) == delivery]


def strikes(kills: int, deliveries: int, delivery: str, client: str, seed: int) -> list[Strike]:
    """`kills` strikes, in random order: one variant's part of a matrix over so many deliveries."""
    chance = random.Random(f"{seed}-{delivery}-{client}")
    drawn = []
    for stage in stages(delivery):
        share = SHARE_EACH * (deliveries if stage in ONLY else 1)
        drawn += [_inside(stage, chance) for _ in range(max(1, round(kills * share)))]
    drawn = drawn[:kills]
    drawn += [Strike(OUTSIDE, 0, chance.uniform(0.0, AFTER_MAX_S)) for _ in range(kills - len(drawn))]
    chance.shuffle(drawn)
    return drawn


def _inside(stage: Stage, chance: random.Random) -> Strike:
    return Strike(stage, chance.randint(1, COUNTS_MAX[stage]), 0.0)
