"""A consumer group on paper, for `tickcast bench fleet`: who owns which partitions, and what that weighs.

Beside the way of a tick. Symbols fall onto partitions by chance, as a hash has it; partitions are dealt out by number
alone, as Kafka's assignors do, which know nothing of their load.
"""

import heapq
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tickcast.errors import UsageError

FLOAT32_BYTES = 4
# Resident, from the README's figures: of the process beside its symbols, and of each symbol beside its window.
PROCESS_BYTES = 112_000_000
SYMBOL_BYTES = 1_563
# A tick that primes and one to spare, beyond a window's rows.
TICKS_MORE = 2

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Plan:
    """What is to be sized."""

    hosts: int = 4
    cores: int = 16  # of a host
    daemon_cores: int = 2  # of each daemon: the costs were measured with so many
    partitions: int = 256
    symbols: int = 20_000
    ticks_per_s: float = 100_000.0
    skew: float = 0.0  # the n-th busiest symbol has a share in proportion to 1 / n^skew
    lost_hosts: int = 1
    window: int = 64
    features: int = 8
    carry_bytes: int = 776
    carries_bytes_max: int = 67_108_864
    poll_records_max: int = 512
    replay_records_max: int = 500_000
    commit_interval_s: float = 1.0
    takeover_s: float = 7.0
    tick_bytes: int = 125
    forecast_bytes: int = 770
    replication: int = 3
    readers: int = 1  # of the forecasts
    retention_h: float = 24.0
    seed: int = 1

    @property
    def daemons(self) -> int:
        """Members of the group."""
        return self.hosts * (self.cores // self.daemon_cores)

    def check(self) -> None:
        """Raises UsageError for what cannot be."""
        if self.daemons < 1:
            raise UsageError(f"hosts of {self.cores} cores have no room for daemons of {self.daemon_cores}")
        if not 0 <= self.lost_hosts < self.hosts and self.lost_hosts:
            raise UsageError(f"{self.lost_hosts} of {self.hosts} hosts are lost: one has to be left")


class Group:
    """The partitions of a plan and their owners."""

    def __init__(self, plan: Plan) -> None:
        plan.check()
        self.plan = plan
        random = np.random.default_rng([plan.seed, 3])
        weights = np.arange(1, plan.symbols + 1, dtype=np.float64) ** -plan.skew
        weights *= plan.ticks_per_s / weights.sum()
        homes = random.integers(plan.partitions, size=plan.symbols)
        self.symbol_rates: Floats = weights  # [symbols], busiest first
        self.rates = summed(homes, weights, plan.partitions)  # [partitions] ticks/s
        self.symbols: Ints = np.bincount(homes, minlength=plan.partitions)  # [partitions]
        self.owners: Ints = np.arange(plan.partitions) % plan.daemons  # [partitions]
        self.replay: Ints = self._replay(homes)  # [partitions] records
        self.never_full = self._never_full(homes)

    @property
    def daemon_rates(self) -> Floats:
        """[daemons] ticks/s."""
        return summed(self.owners, self.rates, self.plan.daemons)

    @property
    def daemon_symbols(self) -> Ints:
        """[daemons]"""
        return np.bincount(self.owners, self.symbols, self.plan.daemons).astype(np.int64)

    @property
    def lost(self) -> Ints:
        """Partitions of the hosts that are lost, the first ones."""
        lost_daemons = self.plan.lost_hosts * (self.plan.cores // self.plan.daemon_cores)
        found: Ints = np.flatnonzero(self.owners < lost_daemons)
        return found

    def heirs(self) -> Ints:
        """[lost partitions]: the daemon that each goes to, always one with the fewest partitions."""
        lost_daemons = self.plan.lost_hosts * (self.plan.cores // self.plan.daemon_cores)
        counts = np.bincount(self.owners, minlength=self.plan.daemons)
        heap = [(int(counts[daemon]), daemon) for daemon in range(lost_daemons, self.plan.daemons)]
        heapq.heapify(heap)
        heirs = []
        for _ in self.lost:
            count, daemon = heap[0]
            heapq.heapreplace(heap, (count + 1, daemon))
            heirs.append(daemon)
        return np.array(heirs, np.int64)

    def memory_bytes(self, symbols: int) -> int:
        """Resident, of a daemon with so many symbols."""
        plan = self.plan
        carries = min(plan.carries_bytes_max, symbols * plan.carry_bytes)
        return PROCESS_BYTES + carries + symbols * (plan.window * plan.features * FLOAT32_BYTES + SYMBOL_BYTES)

    def traffic(self) -> dict[str, float]:
        """Bytes a second over all brokers, uncompressed, and what lies on their disks."""
        plan = self.plan
        ticks, forecasts = plan.ticks_per_s * plan.tick_bytes, plan.ticks_per_s * plan.forecast_bytes
        written, copies = ticks + forecasts, plan.replication
        return {
            "from_producers": written,
            "to_consumers": ticks + plan.readers * forecasts,
            "between_brokers": written * (copies - 1),
            "to_disk": written * copies,
            "kept": written * copies * plan.retention_h * 3_600,
        }

    def _replay(self, homes: Ints) -> Ints:
        """What a new owner reads back of each partition: until its slowest symbol's window is full again, at most R."""
        plan = self.plan
        slowest = np.full(plan.partitions, np.inf)
        np.minimum.at(slowest, homes, self.symbol_rates)
        wanted = plan.window + TICKS_MORE
        # Arrivals by chance: of n windows the longest takes about this much more than the mean.
        by_chance = np.sqrt(2 * wanted * np.log(np.maximum(self.symbols, 1)))
        records = (wanted + by_chance) * self.rates / slowest
        found: Ints = np.minimum(np.ceil(records), plan.replay_records_max).astype(np.int64)
        return found

    def _never_full(self, homes: Ints) -> float:
        """Share of the symbols that come too rarely to have a full window within R records of their partition."""
        plan = self.plan
        reach = self.symbol_rates * plan.replay_records_max / self.rates[homes]
        return float((reach < plan.window + TICKS_MORE).mean())


def summed(places: Ints, amounts: Floats | Ints, count: int) -> Floats:
    """[count]: the sum of the amounts at each place."""
    return np.bincount(places, amounts, count).astype(np.float64)


def hosts_for(ticks_per_s: float, capacity: float, daemons_per_host: int, load_max: float) -> int:
    """Hosts with which daemons stand at `load_max` of their capacity on average."""
    return math.ceil(ticks_per_s / (capacity * load_max * daemons_per_host))
