"""The derivatives of GELU and softmax."""

from __future__ import annotations

import numpy as np

from .. import checks
from ..checks import Float32, Floating
from ..jit import launch, njit, prange
from ..ops.activation import CHUNK, erfc, exp
from ..registers import restore, standard


def gelu_input(dy: Floating, x: Floating) -> Float32:
    """The derivative of gelu: dy * (P(Z <= x) + x * density(x)) for a standard normal Z; float32, any shape."""
    checks.check_floating(dy=dy, x=x)
    checks.check_same_shape(dy, x.shape, "x")
    dy, x = checks.float32(dy), checks.float32(x)
    dx = np.empty_like(x)
    with launch.lock, launch:
        _gelu_input(dy.reshape(-1), x.reshape(-1), dx.reshape(-1))
    return dx


@njit(parallel=True)
def _gelu_input(dy: Float32, x: Float32, dx: Float32) -> None:
    """For each element: dx = dy * (erfc(-x / sqrt 2) / 2 + x * exp(-x^2 / 2) / sqrt(2 pi))."""
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        was = standard()
        for p in range(chunk * CHUNK, min((chunk + 1) * CHUNK, x.size)):
            v = np.float64(x[p])
            slope = 0.5 * erfc(v * -0.7071067811865476) + v * exp(v * v * -0.5) * 0.3989422804014327
            dx[p] = np.float64(dy[p]) * slope
        restore(was)


def softmax_input(dy: Floating, y: Floating) -> Float32:
    """The derivative of softmax from its result y: y * (dy - sum(dy * y)) over the last axis; float32."""
    checks.check_softmax(y)
    checks.check_same_shape(dy, y.shape, "y")
    dy, y = checks.float32(dy), checks.float32(y)
    dx = np.empty_like(y)
    _softmax_input(*(v.reshape(-1, y.shape[-1]) for v in (dy, y, dx)))
    return dx


@njit()
def _softmax_input(dy: Float32, y: Float32, dx: Float32) -> None:
    """For each row: the sum of dy * y, then dx."""
    rows, classes = y.shape
    for i in range(rows):
        total = 0.0
        for c in range(classes):
            total += np.float64(dy[i, c]) * np.float64(y[i, c])
        for c in range(classes):
            dx[i, c] = np.float64(y[i, c]) * (np.float64(dy[i, c]) - total)
