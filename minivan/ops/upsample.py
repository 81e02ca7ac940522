"""Bringing a map to another size: each place takes the value that it lies in, or a mean of the four around it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import checks
from ..checks import Float32, Float64, Floating
from ..jit import inline, launch, njit, prange
from ..registers import restore, standard


def upsample_nearest(x: Floating, size: Sequence[int]) -> Float32:
    """(N, C, H, W) -> (N, C, *size), float32: at each place the value of the one that it lies in.

    torch.nn.functional.interpolate's mode 'nearest', to any size, larger or smaller. ValueError for a size, or an x, of no
    places. Its derivative is minivan.grad.upsample_nearest_input.
    """
    h, w = checks.check_upsample(x, size)
    y = np.empty((*x.shape[:2], h, w), np.float32)
    with launch.lock, launch:
        _nearest(planes(checks.float32(x)), planes(y))
    return y


def upsample_bilinear(x: Floating, size: Sequence[int]) -> Float32:
    """(N, C, H, W) -> (N, C, *size), float32: at each place a mean of the four values around it, by how near they are.

    torch.nn.functional.interpolate's mode 'bilinear' with align_corners False, to any size; torch.nn.functional has a function
    of this operator's name, which aligns corners. A value whose share is 0 is not read: infinity gives no NaN there.
    ValueError for a size, or an x, of no places. Its derivative is minivan.grad.upsample_bilinear_input.
    """
    h, w = checks.check_upsample(x, size)
    y = np.empty((*x.shape[:2], h, w), np.float32)
    with launch.lock, launch:
        _bilinear(planes(checks.float32(x)), planes(y))
    return y


def planes(x: Float32) -> Float32:
    """(N, C, H, W) -> (N * C, H, W), without a copy of what is contiguous."""
    n, c, h, w = x.shape
    return x.reshape(n * c, h, w)


@inline
def nearest_of(place: int, places: int, of: int) -> int:
    """Return which of `of` along an axis a place of so many lies in: floor(place * of / places), in float32 as PyTorch has it.

    Where the quotient is not exact, a place on a border falls where float32's rounding puts it.
    """
    scale = np.float32(of) / np.float32(places)
    return min(int(np.float32(place) * scale), of - 1)


@inline
def between(place: int, places: int, of: int) -> tuple[int, int, float]:
    """Return the neighbour before a place, the one after it, and how near the latter is, 0 to 1, along an axis of `of`.

    Places and values are squares of the same whole, compared by their middles: (place + 1/2) * of / places - 1/2.
    """
    at = max((place + 0.5) * (np.float64(of) / np.float64(places)) - 0.5, 0.0)
    before = min(int(at), of - 1)
    return before, min(before + 1, of - 1), at - before


@inline
def mean_of(a: float, b: float, near: float) -> float:
    """Return a value between two, of which the second counts by its share."""
    return a if near == 0.0 else (1.0 - near) * a + near * b


@njit(parallel=True)
def _nearest(x: Float32, y: Float32) -> None:
    """For each plane and place: y[i, j] = x[i', j'], the one that (i, j) lies in."""
    count, h_in, w_in = x.shape
    _, h, w = y.shape
    for plane in prange(count):
        was = standard()
        columns = np.empty(w, np.int64)
        for j in range(w):
            columns[j] = nearest_of(j, w, w_in)
        for i in range(h):
            row = nearest_of(i, h, h_in)
            for j in range(w):
                y[plane, i, j] = x[plane, row, columns[j]]
        restore(was)


@njit(parallel=True)
def _bilinear(x: Float32, y: Float32) -> None:
    """For each plane and row of places: two rows of x, each brought to the new width, and their mean, in float64."""
    count, h_in, _ = x.shape
    _, h, w = y.shape
    for plane in prange(count):
        was = standard()
        rows = np.empty((2, w), np.float64)
        for i in range(h):
            above, below, near = between(i, h, h_in)
            _widen(x[plane, above], rows[0])
            _widen(x[plane, below], rows[1])
            for j in range(w):
                y[plane, i, j] = mean_of(rows[0, j], rows[1, j], near)
        restore(was)


@inline
def _widen(row: Float32, wide: Float64) -> None:
    for j in range(wide.size):
        left, right, near = between(j, wide.size, row.size)
        wide[j] = mean_of(np.float64(row[left]), np.float64(row[right]), near)
