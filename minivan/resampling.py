"""Where the places of a map of another size lie among the values of the one that it is made of, along one axis.

Tables, made beforehand: what a kernel computes of sizes alone, a compiler may compute where another rounding is still set
(minivan.registers); what it reads from memory it cannot.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .checks import Float64
from .floating import standard

Indices = npt.NDArray[np.int64]


def nearest_of(places: int, of: int) -> Indices:
    """Return, for each of some places along an axis, which of `of` it lies in: floor(place * of / places).

    In float32, as PyTorch has it: where the quotient is not exact, a place on a border falls where its rounding puts it.
    """
    with standard():
        scale = np.float32(of) / np.float32(places)
        index = np.floor(np.arange(places, dtype=np.float32) * scale).astype(np.int64)
    nearest: Indices = np.minimum(index, of - 1)
    return nearest


def between(places: int, of: int) -> tuple[Indices, Indices, Float64]:
    """Return, for each of some places along an axis of `of`, its neighbour before, the one after, and how near that is, 0..1.

    Places and values are squares of the same whole, compared by their middles: (place + 1/2) * of / places - 1/2.
    """
    with standard():
        at = np.maximum((np.arange(places) + 0.5) * (of / places) - 0.5, 0.0)
        before = np.minimum(at.astype(np.int64), of - 1)
        return before, np.minimum(before + 1, of - 1), at - before
