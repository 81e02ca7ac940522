"""Where in a layer the error lies: by position, by channel, by its size, and the port's numbers against the right ones.

A few hundred numbers for each layer, small enough to be printed, and to be drawn (see `page`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..checks import Floating

SIDE = 24  # places of a map of positions, at most, one way
CHANNELS = 64  # groups of channels, at most
BINS = 41  # of the histogram of errors: an odd number, so that no error has a place of its own
DENSE = 24  # places of the port's numbers against the right ones, one way
SAMPLED = 1 << 17  # numbers that the last two are made of, at most
GROUP = 1 << 16  # numbers that are looked at together

Numbers = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sketch:
    """Where the error of a layer lies; root mean squares over finite numbers.

    `error` is 'own' where the right numbers are those that the layer should give for what the port fed it, else 'whole': then
    they are the trace's. `positions` is (H', W'), at most SIDE either way, None for layers without positions; `channels` is
    (C',), at most CHANNELS. `histogram` counts errors from -`largest` to `largest`; `density[i, j]` counts numbers whose right
    value lies in place j, and whose value in the port in place i, of DENSE from `low` to `high`.
    """

    error: str
    channels: Numbers
    largest: float
    histogram: Counts
    low: float
    high: float
    density: Counts
    positions: Numbers | None = field(default=None)

    def plain(self) -> dict[str, Any]:
        """Return the sketch as lists and numbers, each with the digits that a picture can show."""
        return {
            "error": self.error, "channels": _short(self.channels),
            "positions": None if self.positions is None else _short(self.positions),
            "largest": _short(self.largest), "histogram": self.histogram.tolist(),
            "low": _short(self.low), "high": _short(self.high), "density": self.density.tolist(),
        }  # fmt: skip


def _short(values: npt.ArrayLike) -> Any:
    """Return numbers with four digits."""
    return np.vectorize(lambda value: float(f"{value:.4g}"), otypes=[np.float64])(values).tolist()


def sketch(right: Floating, theirs: Floating, error: str) -> Sketch:
    """Return where a port's numbers differ from the right ones: two arrays of one shape, (N, C, H, W) or (N, C)."""
    n, c, h, w = right.shape if right.ndim == 4 else (*right.shape, 1, 1) if right.ndim == 2 else (1, 1, 1, right.size)
    a, b = right.reshape(n, c, h, w), theirs.reshape(n, c, h, w)
    squares, counts = np.zeros((c, h, w)), np.zeros((c, 1, 1))
    several = max(1, GROUP // max(1, n * h * w))
    for begin in range(0, c, several):
        group = slice(begin, begin + several)
        off = np.asarray(b[:, group], np.float64) - a[:, group]
        known = np.isfinite(off)
        squares[group] = np.where(known, off * off, 0.0).sum(0)
        counts[group] = known.sum((0, 2, 3))[:, None, None]
    places = _blocks(_blocks(squares.mean(0) / max(n, 1), SIDE, 0), SIDE, 1)
    channels = squares.sum((1, 2)) / np.maximum(counts[:, 0, 0], 1)
    sample = slice(None, None, max(1, -(-right.size // SAMPLED)))
    largest, histogram, low, high, density = _by_value(*(np.asarray(array.reshape(-1)[sample], np.float64) for array in (a, b)))
    return Sketch(
        error, np.sqrt(_blocks(channels, CHANNELS, 0)), largest, histogram, low, high, density,
        np.sqrt(places) if right.ndim == 4 and h * w > 1 else None,
    )  # fmt: skip


def _blocks(array: Numbers, most: int, axis: int) -> Numbers:
    """Return the means of neighbours along an axis, so many together that at most `most` places are left."""
    size = array.shape[axis]
    if not size:
        return array
    begins = np.unique(np.arange(min(most, size)) * size // min(most, size))
    sums = np.add.reduceat(array, begins, axis)
    lengths = np.diff([*begins, size]).reshape([-1 if i == axis else 1 for i in range(array.ndim)])
    return np.asarray(sums / lengths)


def _by_value(right: Numbers, theirs: Numbers) -> tuple[float, Counts, float, float, Counts]:
    """Return the largest error, the histogram of errors, the bounds of the numbers, and how often which became which."""
    known = np.isfinite(right) & np.isfinite(theirs)
    a, b = right[known], theirs[known]
    off = b - a
    largest = float(np.abs(off).max(initial=0.0))
    low, high = (float(bound([bound(part, initial=0.0) for part in (a, b)])) for bound in (np.min, np.max))
    places = [_place(part, low, high, DENSE) for part in (b, a)]
    density = np.bincount(places[0] * DENSE + places[1], minlength=DENSE * DENSE).reshape(DENSE, DENSE)
    return largest, np.bincount(_place(off, -largest, largest, BINS), minlength=BINS), low, high, density


def _place(values: Numbers, low: float, high: float, count: int) -> Counts:
    """Return which of `count` places from `low` to `high` each value lies in; the middle one where there is no room."""
    if not high > low:
        return np.full(values.shape, count // 2, np.int64)
    return np.minimum((count * ((values - low) / (high - low))).astype(np.int64), count - 1)
