"""Depthwise convolution's derivatives: each channel's gradient stays in its channel.

The loops take any stride and dilation; VAN needs 5x5, 7x7 with dilation 3, and 3x3.
"""

from __future__ import annotations

import numpy as np

from ..checks import Float32, Floating, Whole
from ..jit import launch, njit, prange
from ..registers import restore, standard
from .one_channel import collect, hand_back


def depthwise_input(dy: Floating, weight: Floating, stride: Whole, padding: Whole, dilation: Whole, dx: Floating) -> None:
    """Fill dx (N, C, H, W) from dy (N, M * C, H', W') and weight (M * C, 1, K, K), all float32 and contiguous."""
    with launch.lock, launch:
        _depthwise_input(dy, weight, stride, padding, dilation, dx)


def depthwise_weight(dy: Floating, x: Floating, stride: Whole, padding: Whole, dilation: Whole, dweight: Floating) -> None:
    """Fill dweight (M * C, 1, K, K) from dy (N, M * C, H', W') and x (N, C, H, W), all float32 and contiguous."""
    with launch.lock, launch:
        _depthwise_weight(dy, x, stride, padding, dilation, dweight)


@njit(parallel=True)
def _depthwise_input(dy: Float32, weight: Float32, stride: Whole, padding: Whole, dilation: Whole, dx: Float32) -> None:
    """For each image and channel, for each row: the channel's own outputs hand back their parts.

    At stride 1 this is the forward pass with the kernel turned by half a turn.
    """
    n, c_in, h_in, w_in = dx.shape
    outputs = weight.shape[0] // c_in
    for item in prange(n * c_in):
        was = standard()
        image, c = item // c_in, item % c_in
        acc = np.empty(w_in, np.float64)
        for row in range(h_in):
            acc[:] = 0
            for o in range(c * outputs, (c + 1) * outputs):
                hand_back(dy[image, o], weight[o, 0], row, stride, padding, dilation, acc)
            for column in range(w_in):
                dx[image, c, row, column] = acc[column]
        restore(was)


@njit(parallel=True)
def _depthwise_weight(dy: Float32, x: Float32, stride: Whole, padding: Whole, dilation: Whole, dweight: Float32) -> None:
    """For each output channel: its kernel's derivative, from the one channel that it reads."""
    c_out, c_in = dweight.shape[0], x.shape[1]
    for o in prange(c_out):
        was = standard()
        collect(dy[:, o], x[:, o // (c_out // c_in)], stride, padding, dilation, dweight[o, 0])
        restore(was)
