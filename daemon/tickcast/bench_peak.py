"""What this machine reaches in a plain float32 product of two matrices: the ceiling of any graph.

Beside the way of a tick. A process of its own (`python -m tickcast.bench_peak`): numpy's library takes its number of
threads from the environment, once.
"""

import time
from typing import NamedTuple

import numpy as np

from tickcast.bench_child import Asked, answer

SIDE = 1_024
OPERATIONS = 2 * SIDE**3
PRODUCTS = 3
THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def child(threads: int) -> Asked:
    """A process that measures it on so many threads, each time it is asked."""
    return Asked(["tickcast.bench_peak"], dict.fromkeys(THREAD_SETTINGS, str(threads)))


class Flops(NamedTuple):
    """Floating-point operations a second of the best of a few products, since the others were disturbed."""

    wall: float  # right now, whoever else uses the machine
    cpu: float  # for each second of processor time


def flops(asked: Asked) -> Flops:
    """What it is now."""
    wall_s, cpu_s = np.reshape(asked.ask(), (PRODUCTS, 2)).min(axis=0)
    return Flops(OPERATIONS / wall_s, OPERATIONS / cpu_s)


def main() -> None:
    """The process."""
    random = np.random.default_rng(0)
    left, right = random.random((2, SIDE, SIDE), np.float32)
    out = left @ right

    def times() -> list[float]:
        spent = []
        for _ in range(PRODUCTS):
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            np.matmul(left, right, out=out)
            spent += [time.perf_counter() - wall_s, time.process_time() - cpu_s]
        return spent

    answer(times)


if __name__ == "__main__":
    main()
