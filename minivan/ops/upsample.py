"""Bringing a map to another size: each place takes the value that it lies in, or a mean of the four around it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import checks
from ..checks import Float32, Float64, Floating
from ..jit import inline, launch, njit, prange
from ..registers import restore, standard
from ..resampling import Indices, between, nearest_of


def upsample_nearest(x: Floating, size: Sequence[int]) -> Float32:
    """(N, C, H, W) -> (N, C, *size), float32: at each place the value of the one that it lies in.

    torch.nn.functional.interpolate's mode 'nearest', to any size, larger or smaller. ValueError for a size, or an x, of no
    places. Its derivative is minivan.grad.upsample_nearest_input.
    """
    h, w = checks.check_upsample(x, size)
    y = np.empty((*x.shape[:2], h, w), np.float32)
    with launch.lock, launch:
        _nearest(planes(checks.float32(x)), nearest_of(h, x.shape[2]), nearest_of(w, x.shape[3]), planes(y))
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
        _bilinear(planes(checks.float32(x)), *between(h, x.shape[2]), *between(w, x.shape[3]), planes(y))
    return y


def planes(x: Float32) -> Float32:
    """(N, C, H, W) -> (N * C, H, W), without a copy of what is contiguous."""
    n, c, h, w = x.shape
    return x.reshape(n * c, h, w)


@inline
def mean_of(a: float, b: float, near: float) -> float:
    """Return a value between two, of which the second counts by its share."""
    return a if near == 0.0 else (1.0 - near) * a + near * b


@njit(parallel=True)
def _nearest(x: Float32, rows: Indices, columns: Indices, y: Float32) -> None:
    """For each plane and place: y[i, j] = x[rows[i], columns[j]]."""
    for plane in prange(len(y)):
        was = standard()
        for i in range(len(rows)):
            for j in range(len(columns)):
                y[plane, i, j] = x[plane, rows[i], columns[j]]
        restore(was)


@njit(parallel=True)
def _bilinear(
    x: Float32, above: Indices, below: Indices, down: Float64, left: Indices, right: Indices, across: Float64, y: Float32
) -> None:
    """For each plane and row of places: two rows of x, each brought to the new width, and their mean, in float64."""
    for plane in prange(len(y)):
        was = standard()
        rows = np.empty((2, len(across)), np.float64)
        for i in range(len(down)):
            _widen(x[plane, above[i]], left, right, across, rows[0])
            _widen(x[plane, below[i]], left, right, across, rows[1])
            for j in range(len(across)):
                y[plane, i, j] = mean_of(rows[0, j], rows[1, j], down[i])
        restore(was)


@inline
def _widen(row: Float32, left: Indices, right: Indices, across: Float64, wide: Float64) -> None:
    for j in range(wide.size):
        wide[j] = mean_of(np.float64(row[left[j]]), np.float64(row[right[j]]), across[j])
