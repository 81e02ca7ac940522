"""Pointwise (1x1) convolution and the linear layer: weighted sums over channels, position by position."""

from __future__ import annotations

import numpy as np

from .. import checks
from ..checks import Float32, Floating
from ..jit import launch, njit, prange
from ..registers import restore, standard

TILE = 256  # positions summed together: their float64 sums fill 2 KiB, well inside the first-level cache
GROUP = 16  # output channels that one thread computes in a row for a tile, while the tile's inputs are still in cache


def pointwise_conv2d(x: Floating, weight: Floating, bias: Floating | None = None) -> Float32:
    """Mix the channels of each position: (N, C_in, H, W) with (C_out, C_in, 1, 1) gives (N, C_out, H, W), float32."""
    checks.check_conv2d(x, weight, bias, 1, 0, 1, 1)
    if weight.shape[2:] != (1, 1):
        raise ValueError(f"a pointwise weight has the shape (C_out, C_in, 1, 1), got {weight.shape}")
    n, c_in, h, w = x.shape
    c_out = weight.shape[0]
    y = np.empty((n, c_out, h, w), np.float32)
    bias = np.zeros(c_out, np.float32) if bias is None else checks.float32(bias)
    x = checks.float32(x).reshape(n, c_in, h * w)
    with launch.lock, launch:
        _pointwise(x, checks.float32(weight).reshape(c_out, c_in), bias, y.reshape(n, c_out, h * w))
    return y


def linear(x: Floating, weight: Floating, bias: Floating | None = None) -> Float32:
    """(N, C) -> (N, classes): y = x weight^T + bias, float32; ValueError where the shapes do not match."""
    checks.check_linear(x, weight, bias)
    return pointwise_conv2d(x[:, :, None, None], weight[:, :, None, None], bias)[:, :, 0, 0]


@njit(parallel=True)
def _pointwise(x: Float32, weight: Float32, bias: Float32, y: Float32) -> None:
    """For each image and output channel, for a tile of positions p:

    acc[p] = bias;  for c:  acc[p] += weight[o, c] * x[c, p]
    """
    _, c_in, positions = x.shape
    n, c_out, _ = y.shape
    tiles, groups = (positions + TILE - 1) // TILE, (c_out + GROUP - 1) // GROUP
    for item in prange(n * tiles * groups):
        was = standard()
        image, start = item // (tiles * groups), item // groups % tiles * TILE
        size = min(TILE, positions - start)
        acc = np.empty(TILE, np.float64)
        first = item % groups * GROUP
        for o in range(first, min(first + GROUP, c_out)):
            acc[:size] = bias[o]
            for c in range(c_in):
                tap = np.float64(weight[o, c])
                row = x[image, c, start : start + size]
                for p in range(size):
                    acc[p] += tap * np.float64(row[p])
            for p in range(size):
                y[image, o, start + p] = acc[p]
        restore(was)
