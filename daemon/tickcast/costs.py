"""What runs of each graph cost here, measured once before READY: what the scheduler decides from.

Times are of the graphs alone, caches warm, nothing else going on: good for comparing one way to an answer with another.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

# Rows that are measured; what lies between is interpolated.
COUNTS = (1, 2, 4, 8, 16, 32, 64)
# Of a run's repetitions the median counts: one interruption does not.
REPEATS = 9
# For one graph. A graph that would take longer is measured less often and with fewer rows.
BUDGET_S = 0.03


class Costs:
    """Seconds that one run of a graph takes, by the number of its rows."""

    def __init__(self, measured: Mapping[str, Mapping[int, float]], rows_max: int) -> None:
        """`measured`: role -> rows -> seconds, for ascending rows; a run has at most `rows_max`."""
        self._tables = {role: _table(points, rows_max) for role, points in measured.items()}

    def seconds(self, role: str, rows: int) -> float:
        """What `rows` rows cost, in as few runs as they fit into. Raises KeyError for a graph that the bundle lacks."""
        table = self._tables[role]
        if rows < len(table):
            return table[rows]
        runs, rest = divmod(rows, len(table) - 1)
        return runs * table[-1] + table[rest]

    def window_s(self, rows: int) -> float:
        """Seconds for so many windows by the window graph."""
        return self.seconds("window", rows)

    def prefix_s(self, rows: int) -> float:
        """Seconds to prepare so many carries at once."""
        return self.seconds("prefix", rows)

    def finish_s(self, rows: int) -> float:
        """Seconds to finish so many ticks at once."""
        return self.seconds("finish", rows)


def measure(run: Callable[[int], object], counts: Sequence[int]) -> dict[int, float]:
    """Rows -> seconds that `run(rows)` takes, for the first of `counts` and as many more as the budget lets."""
    measured: dict[int, float] = {}
    begin = time.perf_counter()
    for count in counts:
        run(count)  # the first run of a shape allocates
        times = []
        for _ in range(REPEATS):
            before = time.perf_counter()
            run(count)
            times.append(time.perf_counter() - before)
            if time.perf_counter() - begin > BUDGET_S:
                break
        measured[count] = statistics.median(times)
        if time.perf_counter() - begin > BUDGET_S / 2:  # the next would take about as long as all so far
            break
    return measured


def _table(points: Mapping[int, float], rows_max: int) -> list[float]:
    """Seconds for 0..rows_max rows: linear between the points, and beyond the last in proportion to it."""
    counts, times = list(points), list(points.values())
    if counts[-1] < rows_max:
        times.append(times[-1] * rows_max / counts[-1])
        counts.append(rows_max)
    table: list[float] = np.interp(np.arange(rows_max + 1), [0, *counts], [0.0, *times]).tolist()
    return table
