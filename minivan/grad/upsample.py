"""The derivatives of upsampling: each value of the map collects dy from the places that it has a share in, times the share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import checks
from ..checks import Float32, Floating
from ..jit import launch, njit, prange
from ..ops.upsample import between, nearest_of, planes
from ..registers import restore, standard


def upsample_nearest_input(dy: Floating, size: Sequence[int]) -> Float32:
    """The derivative of upsample_nearest by its x (N, C, *size), float32; dy has the shape of its result."""
    checks.check_upsample_derivative(dy, size)
    dx = np.empty((*dy.shape[:2], *size), np.float32)
    with launch.lock, launch:
        _nearest_input(planes(checks.float32(dy)), planes(dx))
    return dx


def upsample_bilinear_input(dy: Floating, size: Sequence[int]) -> Float32:
    """The derivative of upsample_bilinear by its x (N, C, *size), float32; dy has the shape of its result."""
    checks.check_upsample_derivative(dy, size)
    dx = np.empty((*dy.shape[:2], *size), np.float32)
    with launch.lock, launch:
        _bilinear_input(planes(checks.float32(dy)), planes(dx))
    return dx


@njit(parallel=True)
def _nearest_input(dy: Float32, dx: Float32) -> None:
    """For each plane: acc[i', j'] += dy[i, j] where (i, j) lies in (i', j'), row by row; each sum is rounded once."""
    count, h, w = dy.shape
    _, h_in, w_in = dx.shape
    for plane in prange(count):
        was = standard()
        acc = np.zeros((h_in, w_in), np.float64)
        for i in range(h):
            row = nearest_of(i, h, h_in)
            for j in range(w):
                acc[row, nearest_of(j, w, w_in)] += np.float64(dy[plane, i, j])
        for i in range(h_in):
            for j in range(w_in):
                dx[plane, i, j] = acc[i, j]
        restore(was)


@njit(parallel=True)
def _bilinear_input(dy: Float32, dx: Float32) -> None:
    """For each plane and row of dy: its values to their two columns, then the row of sums to its two rows, in float64."""
    count, h, w = dy.shape
    _, h_in, w_in = dx.shape
    for plane in prange(count):
        was = standard()
        acc, narrow = np.zeros((h_in, w_in), np.float64), np.empty(w_in, np.float64)
        for i in range(h):
            narrow[:] = 0.0
            for j in range(w):
                left, right, near = between(j, w, w_in)
                value = np.float64(dy[plane, i, j])
                narrow[left] += (1.0 - near) * value
                if near != 0.0:
                    narrow[right] += near * value
            above, below, near = between(i, h, h_in)
            for j in range(w_in):
                acc[above, j] += (1.0 - near) * narrow[j]
                if near != 0.0:
                    acc[below, j] += near * narrow[j]
        for i in range(h_in):
            for j in range(w_in):
                dx[plane, i, j] = acc[i, j]
        restore(was)
