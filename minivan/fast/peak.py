"""The machine's matrix-product peak: what a network made of nothing else could reach."""

from __future__ import annotations

import time

import numpy as np

from ..jit import njit
from .matmul import STORE, matmul
from .pack import PAIR, aligned
from .simd import SHAPES, host_lanes
from .team import Team

POSITIONS, INPUTS, OUTPUTS = 336, 256, 256  # a map, a kernel and a result that fit into a second-level cache together
SECONDS = 0.02  # of work between two looks at the clock


@njit(nogil=True, cache=False)
def repeat(lanes, times, a, w, zeros, out, spare):
    v = SHAPE.lanes
    for _ in range(times):
        matmul(
            lanes, STORE, a, POSITIONS * v, INPUTS // v, w, zeros, out, POSITIONS * v, out, POSITIONS * v, zeros,
            0, POSITIONS, 0, OUTPUTS // (PAIR * v), spare,
        )  # fmt: skip


SHAPE = SHAPES[type(host_lanes())]


def ours(threads: int, tries: int = 10) -> float:
    """Return GFLOP/s of this engine's own matrix product, the most of several tries, each thread on its own matrices."""
    rooms = [aligned(INPUTS * POSITIONS + INPUTS * OUTPUTS + OUTPUTS * POSITIONS + 4096) for _ in range(threads)]
    jobs = []
    for room in rooms:
        room[:] = np.random.default_rng(0).normal(size=room.size)
        a = room.ctypes.data // 4
        w = a + INPUTS * POSITIONS
        out = w + INPUTS * OUTPUTS
        spare = out + OUTPUTS * POSITIONS
        jobs.append((a, w, spare, out, spare + 2048))
    team, lanes = Team(), host_lanes()
    work = 2e-9 * INPUTS * OUTPUTS * POSITIONS
    repeat(lanes, 1, *jobs[0])
    times = max(1, int(SECONDS * 100 / work))
    best = 0.0
    for _ in range(tries):
        start = time.perf_counter()
        team.run(repeat, [(lanes, times, *job) for job in jobs])
        best = max(best, threads * times * work / (time.perf_counter() - start))
    return best


def numpys(size: int = 1024, tries: int = 10) -> float:
    """Return GFLOP/s of NumPy's matrix product (its BLAS, on as many threads as it was started with)."""
    a = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
    out, best = a @ a, 0.0
    for _ in range(tries):
        start = time.perf_counter()
        np.matmul(a, a, out=out)
        best = max(best, 2e-9 * size**3 / (time.perf_counter() - start))
    return best
