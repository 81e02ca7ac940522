"""The machine's matrix-product peak: what a network made of nothing else could reach."""

from __future__ import annotations

import time

import numpy as np

from ..jit import njit
from .addresses import Address, address_of, aligned
from .lanes import PAIR, SHAPES, Lanes, host_lanes
from .maps import Map, Parameters, Part
from .matmul import STORED, matmul
from .team import Team

POSITIONS, INPUTS, OUTPUTS = 336, 256, 256  # a map, a kernel and a result that fit into a second-level cache together
SPARE = 2048  # floats: more than any matrix tile
SECONDS = 0.02  # of work between two looks at the clock


@njit(nogil=True, cache=False)
def repeat(lanes: Lanes, times: int, x: Map, parameters: Parameters, out: Map, part: Part, spare: Address) -> None:
    for _ in range(times):
        matmul(lanes, x, parameters, out, STORED, part, spare)


def ours(threads: int, tries: int = 10) -> float:
    """Return GFLOP/s of this engine's own matrix product, the most of several tries, each thread on its own matrices."""
    lanes = host_lanes()
    v = SHAPES[type(lanes)].lanes
    rooms = [aligned(INPUTS * POSITIONS + INPUTS * OUTPUTS + OUTPUTS * POSITIONS + 2 * SPARE) for _ in range(threads)]
    jobs = []
    for room in rooms:
        room[:] = np.random.default_rng(0).normal(size=room.size)
        x = address_of(room)
        weight = x + INPUTS * POSITIONS
        out = weight + INPUTS * OUTPUTS
        spare = out + OUTPUTS * POSITIONS
        bias = spare + SPARE
        jobs.append((
            Map(x, POSITIONS * v, INPUTS // v), Parameters(weight, bias), Map(out, POSITIONS * v, OUTPUTS // v),
            Part(0, POSITIONS, 0, OUTPUTS // (PAIR * v)), spare,
        ))  # fmt: skip
    team = Team()
    jobs = jobs[: team.gather(threads)]
    work = 2e-9 * INPUTS * OUTPUTS * POSITIONS
    repeat(lanes, 1, *jobs[0])
    times = max(1, int(SECONDS * 100 / work))
    best = 0.0
    for _ in range(tries):
        start = time.perf_counter()
        team.run(repeat, [(lanes, times, *job) for job in jobs], release=lambda: None)
        best = max(best, len(jobs) * times * work / (time.perf_counter() - start))
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
