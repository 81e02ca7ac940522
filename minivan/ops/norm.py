"""BatchNorm, with its stored statistics and with the batch's own, and LayerNorm over the channels of each position."""

from __future__ import annotations

import math

import numpy as np

from .. import checks
from ..checks import Float32, Floating
from ..floating import standard as standard_floating
from ..jit import inline, launch, njit, prange
from ..registers import restore, standard

TILE = 64  # positions whose means and variances are summed together


def batch_norm(
    x: Floating, running_mean: Floating, running_var: Floating, weight: Floating, bias: Floating, eps: float = 1e-5
) -> Float32:
    """Inference form on (N, C, H, W), float32: (x - running_mean) / sqrt(running_var + eps) * weight + bias.

    The statistics and parameters are (C,); ValueError otherwise.
    """
    checks.check_floating(x=x, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    n, c, h, w = checks.check_feature_map(x)
    checks.check_channels(c, x, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    y = np.empty((n, c, h, w), np.float32)
    mean, var, scale, shift = (checks.float32(v) for v in (running_mean, running_var, weight, bias))
    with launch.lock, launch:
        _batch_norm(checks.float32(x).reshape(n, c, h * w), mean, var, scale, shift, eps, y.reshape(n, c, h * w))
    return y


@njit(parallel=True)
def _batch_norm(
    x: Float32, running_mean: Float32, running_var: Float32, weight: Float32, bias: Float32, eps: float, y: Float32
) -> None:
    """For each image and channel: y[p] = (x[p] - mean) / deviation * weight + bias, in float64."""
    n, channels, positions = x.shape
    for item in prange(n * channels):
        was = standard()
        image, c = item // channels, item % channels
        mean, scale, shift = np.float64(running_mean[c]), np.float64(weight[c]), np.float64(bias[c])
        deviation = math.sqrt(np.float64(running_var[c]) + eps)
        for p in range(positions):
            y[image, c, p] = (np.float64(x[image, c, p]) - mean) / deviation * scale + shift
        restore(was)


def batch_norm_training(x: Floating, weight: Floating, bias: Floating, eps: float = 1e-5) -> tuple[Float32, Float32, Float32]:
    """Training form on (N, C, H, W): (y, batch_mean, batch_var), each channel by its own mean and variance; float32.

    The variance is the biased one, over all N * H * W values of a channel: ValueError where that is fewer than two.
    y = (x - batch_mean) / sqrt(batch_var + eps) * weight + bias is computed of both before they are rounded.
    """
    checks.check_floating(x=x, weight=weight, bias=bias)
    n, c, h, w = checks.check_feature_map(x)
    checks.check_channels(c, x, weight=weight, bias=bias)
    checks.check_batch_statistics(x)
    y, mean, var = (np.empty(shape, np.float32) for shape in ((n, c, h, w), c, c))
    x = checks.float32(x).reshape(n, c, h * w)
    with launch.lock, launch:
        _batch_norm_training(x, checks.float32(weight), checks.float32(bias), eps, y.reshape(n, c, h * w), mean, var)
    return y, mean, var


@inline
def moments(x: Float32, c: int) -> tuple[float, float]:
    """Return the mean and the biased variance of channel c of x (N, C, P): images in order, positions in order, twice."""
    n, _, positions = x.shape
    total = 0.0
    for image in range(n):
        for p in range(positions):
            total += np.float64(x[image, c, p])
    mean = total / (n * positions)
    total = 0.0
    for image in range(n):
        for p in range(positions):
            centred = np.float64(x[image, c, p]) - mean
            total += centred * centred
    return mean, total / (n * positions)


@njit(parallel=True)
def _batch_norm_training(
    x: Float32, weight: Float32, bias: Float32, eps: float, y: Float32, batch_mean: Float32, batch_var: Float32
) -> None:
    """For each channel: its moments, then y = (x - mean) / deviation * weight + bias, in float64."""
    n, channels, positions = x.shape
    for c in prange(channels):
        was = standard()
        mean, var = moments(x, c)
        batch_mean[c], batch_var[c] = mean, var
        deviation, scale, shift = math.sqrt(var + eps), np.float64(weight[c]), np.float64(bias[c])
        for image in range(n):
            for p in range(positions):
                y[image, c, p] = (np.float64(x[image, c, p]) - mean) / deviation * scale + shift
        restore(was)


def batch_norm_update(
    running_mean: Floating, running_var: Floating, batch_mean: Floating, batch_var: Floating, count: int, momentum: float = 0.1
) -> tuple[Float32, Float32]:
    """The running statistics after a batch, (C,) each, float32: (1 - momentum) * running + momentum * batch.

    `count` is how many values of each channel the batch had, N * H * W: the running variance takes the unbiased one,
    batch_var * count / (count - 1). ValueError for fewer than two. torch.nn.BatchNorm2d's update, and its momentum.
    """
    checks.check_batch_norm_update(running_mean, running_var, batch_mean, batch_var, count)
    old_mean, old_var, mean, var = (np.asarray(v, np.float64) for v in (running_mean, running_var, batch_mean, batch_var))
    with standard_floating():
        unbiased = var * (count / (count - 1))
        return (
            checks.float32((1 - momentum) * old_mean + momentum * mean),
            checks.float32((1 - momentum) * old_var + momentum * unbiased),
        )


def layer_norm(x: Floating, weight: Floating, bias: Floating, eps: float = 1e-6) -> Float32:
    """Over the channels of each position of (N, C, H, W), float32: (x - mean) / sqrt(var + eps) * weight + bias.

    `weight` and `bias` are (C,), ValueError otherwise. The variance divides by C, not C - 1.
    """
    checks.check_floating(x=x, weight=weight, bias=bias)
    n, c, h, w = checks.check_feature_map(x)
    checks.check_channels(c, x, weight=weight, bias=bias)
    y = np.empty((n, c, h, w), np.float32)
    x = checks.float32(x).reshape(n, c, h * w)
    with launch.lock, launch:
        _layer_norm(x, checks.float32(weight), checks.float32(bias), eps, y.reshape(n, c, h * w))
    return y


@njit(parallel=True)
def _layer_norm(x: Float32, weight: Float32, bias: Float32, eps: float, y: Float32) -> None:
    """For a tile of positions p, three passes over the channels:

    mean[p] = sum x[c, p] / C;   variance[p] = sum (x[c, p] - mean[p])^2 / C;   y = (x - mean) / sqrt(variance + eps) ...
    """
    n, channels, positions = x.shape
    tiles = (positions + TILE - 1) // TILE
    for item in prange(n * tiles):
        was = standard()
        image, start = item // tiles, item % tiles * TILE
        size = min(TILE, positions - start)
        mean, variance, deviation = np.zeros(TILE, np.float64), np.zeros(TILE, np.float64), np.empty(TILE, np.float64)
        for c in range(channels):
            for p in range(size):
                mean[p] += np.float64(x[image, c, start + p])
        for p in range(size):
            mean[p] /= channels
        for c in range(channels):
            for p in range(size):
                centred = np.float64(x[image, c, start + p]) - mean[p]
                variance[p] += centred * centred
        for p in range(size):
            deviation[p] = math.sqrt(variance[p] / channels + eps)
        for c in range(channels):
            scale, shift = np.float64(weight[c]), np.float64(bias[c])
            for p in range(size):
                y[image, c, start + p] = (np.float64(x[image, c, start + p]) - mean[p]) / deviation[p] * scale + shift
        restore(was)
