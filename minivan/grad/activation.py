"""The derivatives of GELU, of ReLU, of softmax, and of the cross-entropy of its logarithm."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .. import checks, floating
from ..checks import Float32, Floating, Integers
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


def relu_input(dy: Floating, x: Floating) -> Float32:
    """The derivative of relu: 0 where x is 0 or less, dy for the rest, NaN among it, as in PyTorch; float32, any shape."""
    checks.check_floating(dy=dy, x=x)
    checks.check_same_shape(dy, x.shape, "x")
    dy, x = checks.float32(dy), checks.float32(x)
    dx = np.empty_like(x)
    with launch.lock, launch:
        _relu_input(dy.reshape(-1), x.reshape(-1), dx.reshape(-1))
    return dx


@njit(parallel=True)
def _relu_input(dy: Float32, x: Float32, dx: Float32) -> None:
    """For each element: nothing is rounded."""
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        was = standard()
        for p in range(chunk * CHUNK, min((chunk + 1) * CHUNK, x.size)):
            dx[p] = np.float32(0) if x[p] <= 0 else dy[p]
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


def cross_entropy_input(logits: Floating, target: npt.ArrayLike, reduction: str = "sum") -> Float32:
    """The derivative by the logits (N, classes) of the cross-entropy, the loss that classifiers learn by; float32.

    The loss is -log softmax(logits)[target], a class for each image in `target` (N,), with `reduction` 'sum' over the images
    or their 'mean'. So its derivative is softmax(logits), less 1 at the target. ValueError for a class that is none.
    """
    classes = checks.check_cross_entropy(logits, target, reduction)
    logits = checks.float32(logits)
    dlogits = np.empty_like(logits)
    with floating.standard():
        _cross_entropy_input(logits, classes.astype(np.int64), len(logits) if reduction == "mean" else 1, dlogits)
    return dlogits


@njit()
def _cross_entropy_input(logits: Float32, target: Integers, divisor: int, dlogits: Float32) -> None:
    """For each row: exp(logit - largest) and its sum; at the target, minus the sum of all others, for p - 1 would cancel."""
    rows, classes = logits.shape
    e = np.empty(classes, np.float64)
    for i in range(rows):
        largest = np.float64(logits[i, 0])
        for c in range(1, classes):
            value = np.float64(logits[i, c])
            largest = value if value > largest or value != value else largest  # a NaN stays
        total = others = 0.0
        for c in range(classes):
            e[c] = exp(np.float64(logits[i, c]) - largest)
            total += e[c]
            others += e[c] if c != target[i] else 0.0
        for c in range(classes):
            dlogits[i, c] = (e[c] if c != target[i] else -others) / total / divisor
