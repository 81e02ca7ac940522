"""The derivatives of the 1x1 convolution and of the linear layer: sums over channels, and over positions."""

from __future__ import annotations

import numpy as np

from .. import checks
from ..checks import Float32, Floating
from ..jit import launch, njit, prange
from ..ops import pointwise_conv2d
from ..registers import restore, standard


def pointwise_input(dy: Floating, weight: Floating) -> Float32:
    """dx[c, p] = sum over o of weight[o, c] * dy[o, p]: the 1x1 convolution whose weight is transposed."""
    return pointwise_conv2d(dy, weight.transpose(1, 0, 2, 3))


def pointwise_weight(dy: Floating, x: Floating, dweight: Floating) -> None:
    """Fill dweight (C_out, C_in, 1, 1) from dy (N, C_out, H, W) and x (N, C_in, H, W), all float32 and contiguous."""
    n, c_out, h, w = dy.shape
    c_in = x.shape[1]
    with launch.lock, launch:
        _pointwise_weight(dy.reshape(n, c_out, h * w), x.reshape(n, c_in, h * w), dweight.reshape(c_out, c_in))


def linear_input(dy: Floating, weight: Floating) -> Float32:
    """The derivative by x of linear(x, weight): (N, classes) with (classes, C) -> (N, C), float32."""
    checks.check_linear(dy, weight.T, None)
    return pointwise_input(checks.float32(dy)[:, :, None, None], weight[:, :, None, None])[:, :, 0, 0]


def linear_weight(dy: Floating, x: Floating) -> Float32:
    """The derivative by the weight: dy (N, classes) and x (N, C) -> (classes, C), float32."""
    checks.check_linear(dy.T, x.T, None)
    dweight = np.empty((dy.shape[1], x.shape[1], 1, 1), np.float32)
    pointwise_weight(checks.float32(dy)[:, :, None, None], checks.float32(x)[:, :, None, None], dweight)
    return dweight[:, :, 0, 0]


def linear_bias(dy: Floating) -> Float32:
    """The derivative by the bias: (N, classes) -> (classes,), float32."""
    return linear_weight(dy, np.ones((dy.shape[0], 1), np.float32))[:, 0]


@njit(parallel=True)
def _pointwise_weight(dy: Float32, x: Float32, dweight: Float32) -> None:
    """For each output and input channel: the sum over n, p of dy[n, o, p] * x[n, c, p]."""
    n, c_out, positions = dy.shape
    _, c_in, _ = x.shape
    for o in prange(c_out):
        was = standard()
        for c in range(c_in):
            total = 0.0
            for image in range(n):
                for p in range(positions):
                    total += np.float64(dy[image, o, p]) * np.float64(x[image, c, p])
            dweight[o, c] = total
        restore(was)
