"""The derivative of global average pooling: every position gets an equal share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import checks
from ..checks import Float32, Floating
from ..jit import njit


def global_average_pool_input(dy: Floating, size: Sequence[int]) -> Float32:
    """(N, C) -> (N, C, *size): dy / (H * W) at each position, float32; `size` is the map's (H, W)."""
    checks.check_pool_derivative(dy, size)
    dx = np.empty((*dy.shape, *size), np.float32)
    _pool_input(checks.float32(dy), dx)
    return dx


@njit()
def _pool_input(dy: Float32, dx: Float32) -> None:
    """For each image and channel: one share, written to every position."""
    n, channels, h, w = dx.shape
    for image in range(n):
        for c in range(channels):
            dx[image, c, :, :] = np.float32(np.float64(dy[image, c]) / (h * w))
