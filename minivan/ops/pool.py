"""Global average pooling: a feature map becomes one number a channel."""

from __future__ import annotations

import numpy as np

from .. import checks
from ..checks import Float32, Floating
from ..jit import launch, njit, prange
from ..registers import restore, standard


def global_average_pool(x: Floating) -> Float32:
    """(N, C, H, W) -> (N, C): the mean over positions, float32."""
    checks.check_floating(x=x)
    n, c, h, w = checks.check_feature_map(x)
    y = np.empty((n, c), np.float32)
    with launch.lock, launch:
        _pool(checks.float32(x).reshape(n, c, h * w), y)
    return y


@njit(parallel=True)
def _pool(x: Float32, y: Float32) -> None:
    """For each image and channel: the positions summed in order, divided by their number."""
    n, channels, positions = x.shape
    for item in prange(n * channels):
        was = standard()
        image, c = item // channels, item % channels
        total = 0.0
        for p in range(positions):
            total += np.float64(x[image, c, p])
        y[image, c] = total / positions
        restore(was)
