"""The derivatives of upsampling: each value of the map collects dy from the places that it has a share in, times the share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import checks
from ..checks import Float32, Float64, Floating
from ..jit import launch, njit, prange
from ..ops.upsample import planes
from ..registers import restore, standard
from ..resampling import Indices, between, nearest_of


def upsample_nearest_input(dy: Floating, size: Sequence[int]) -> Float32:
    """The derivative of upsample_nearest by its x (N, C, *size), float32; dy has the shape of its result."""
    checks.check_upsample_derivative(dy, size)
    dx = np.empty((*dy.shape[:2], *size), np.float32)
    with launch.lock, launch:
        _nearest_input(
            planes(checks.float32(dy)), nearest_of(dy.shape[2], size[0]), nearest_of(dy.shape[3], size[1]), planes(dx)
        )
    return dx


def upsample_bilinear_input(dy: Floating, size: Sequence[int]) -> Float32:
    """The derivative of upsample_bilinear by its x (N, C, *size), float32; dy has the shape of its result."""
    checks.check_upsample_derivative(dy, size)
    dx = np.empty((*dy.shape[:2], *size), np.float32)
    with launch.lock, launch:
        _bilinear_input(planes(checks.float32(dy)), *between(dy.shape[2], size[0]), *between(dy.shape[3], size[1]), planes(dx))
    return dx


@njit(parallel=True)
def _nearest_input(dy: Float32, rows: Indices, columns: Indices, dx: Float32) -> None:
    """For each plane: acc[rows[i], columns[j]] += dy[i, j], row by row; each sum is rounded once."""
    _, h_in, w_in = dx.shape
    for plane in prange(len(dx)):
        was = standard()
        acc = np.zeros((h_in, w_in), np.float64)
        for i in range(len(rows)):
            for j in range(len(columns)):
                acc[rows[i], columns[j]] += np.float64(dy[plane, i, j])
        for i in range(h_in):
            for j in range(w_in):
                dx[plane, i, j] = acc[i, j]
        restore(was)


@njit(parallel=True)
def _bilinear_input(
    dy: Float32, above: Indices, below: Indices, down: Float64, left: Indices, right: Indices, across: Float64, dx: Float32
) -> None:
    """For each plane and row of dy: its values to their two columns, then the row of sums to its two rows, in float64."""
    _, h_in, w_in = dx.shape
    for plane in prange(len(dx)):
        was = standard()
        acc, narrow = np.zeros((h_in, w_in), np.float64), np.empty(w_in, np.float64)
        for i in range(len(down)):
            narrow[:] = 0.0
            for j in range(len(across)):
                value = np.float64(dy[plane, i, j])
                narrow[left[j]] += (1.0 - across[j]) * value
                if across[j] != 0.0:
                    narrow[right[j]] += across[j] * value
            for j in range(w_in):
                acc[above[i], j] += (1.0 - down[i]) * narrow[j]
                if down[i] != 0.0:
                    acc[below[i], j] += down[i] * narrow[j]
        for i in range(h_in):
            for j in range(w_in):
                dx[plane, i, j] = acc[i, j]
        restore(was)
