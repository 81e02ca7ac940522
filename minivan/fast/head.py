"""The mean over positions and the classifier, in float64: so light that both give what the engine `exact` gives."""

from __future__ import annotations

import numpy as np

from ..jit import carray, inline
from .addresses import Address
from .lanes import Lanes
from .maps import Map, Parameters
from .pointers import doubles_at, floats_at
from .simd import vector_width


@inline
def pool(lanes: Lanes, x: Map, channels: int, positions: int, pooled: Address) -> None:
    """Mean over one image's positions, rounded to float32 as every tensor between operators."""
    v = vector_width(lanes)
    to = carray(floats_at(pooled), (channels,))
    for c in range(channels):
        values = carray(floats_at(x.address + c // v * x.step), (positions, v))
        total = 0.0
        for p in range(positions):
            total += values[p, c % v]
        to[c] = total / positions


@inline
def head(
    pooled: Address, channels: int, parameters: Parameters, classes: int, sums: Address, logits: Address, first: int, last: int
) -> None:
    """Logits first..last of one image; weight: [channels][classes], so that lanes run over classes; sums: for float64."""
    count = last - first  # loops begin at 0: LLVM makes vectors of those alone whose indices cannot be negative
    x, y = carray(floats_at(pooled), (channels,)), carray(floats_at(logits + first), (count,))
    total, b = carray(doubles_at(sums + 2 * first), (count,)), carray(floats_at(parameters.bias + first), (count,))
    for j in range(count):
        total[j] = b[j]
    for c in range(channels):
        value, w = np.float64(x[c]), carray(floats_at(parameters.weight + c * classes + first), (count,))
        for j in range(count):
            total[j] += value * w[j]
    for j in range(count):
        y[j] = total[j]
