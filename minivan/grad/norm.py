"""The derivatives of BatchNorm, with stored statistics and with the batch's own, of layer scales, and of LayerNorm."""

from __future__ import annotations

import math

import numpy as np

from .. import checks, ops
from ..checks import Float32, Floating
from ..jit import inline, launch, njit, prange
from ..ops.norm import moments
from ..registers import restore, standard
from .conv import conv2d_bias

TILE = 64  # positions whose means are summed together


def batch_norm_input(dy: Floating, running_var: Floating, weight: Floating, eps: float = 1e-5) -> Float32:
    """The derivative by x of batch_norm: dy * weight / sqrt(running_var + eps), per channel; (N, C, H, W), float32.

    In inference form the statistics are constants, so neither x nor the mean matters.
    """
    checks.check_floating(dy=dy, running_var=running_var, weight=weight)
    n, c, h, w = checks.check_feature_map(dy)
    checks.check_channels(c, dy, running_var=running_var, weight=weight)
    dx = np.empty((n, c, h, w), np.float32)
    dy = checks.float32(dy).reshape(n, c, h * w)
    with launch.lock, launch:
        _batch_norm_input(dy, checks.float32(running_var), checks.float32(weight), eps, dx.reshape(n, c, h * w))
    return dx


@njit(parallel=True)
def _batch_norm_input(dy: Float32, running_var: Float32, weight: Float32, eps: float, dx: Float32) -> None:
    """For each image and channel: dx[p] = dy[p] * weight / deviation, in float64."""
    n, channels, positions = dy.shape
    for item in prange(n * channels):
        was = standard()
        image, c = item // channels, item % channels
        scale = np.float64(weight[c]) / math.sqrt(np.float64(running_var[c]) + eps)
        for p in range(positions):
            dx[image, c, p] = np.float64(dy[image, c, p]) * scale
        restore(was)


def batch_norm_parameters(
    dy: Floating, x: Floating, running_mean: Floating, running_var: Floating, eps: float = 1e-5
) -> tuple[Float32, Float32]:
    """The derivatives by weight and by bias of batch_norm: the sums of dy * (x - mean) / deviation and of dy; (C,) each."""
    checks.check_floating(dy=dy, x=x, running_mean=running_mean, running_var=running_var)
    checks.check_same_shape(dy, x.shape, "x")
    n, c, h, w = checks.check_feature_map(x)
    checks.check_channels(c, x, running_mean=running_mean, running_var=running_var)
    dweight = np.empty(c, np.float32)
    dy_flat, x_flat = (checks.float32(v).reshape(n, c, h * w) for v in (dy, x))
    with launch.lock, launch:
        _scaled_sums(dy_flat, x_flat, checks.float32(running_mean), checks.float32(running_var), eps, dweight)
    return dweight, conv2d_bias(dy)


@njit(parallel=True)
def _scaled_sums(dy: Float32, x: Float32, mean: Float32, var: Float32, eps: float, dweight: Float32) -> None:
    """For each channel: the sum over images and positions of dy * (x - mean) / sqrt(var + eps)."""
    n, channels, positions = dy.shape
    for c in prange(channels):
        was = standard()
        centre, deviation = np.float64(mean[c]), math.sqrt(np.float64(var[c]) + eps)
        total = 0.0
        for image in range(n):
            for p in range(positions):
                total += np.float64(dy[image, c, p]) * ((np.float64(x[image, c, p]) - centre) / deviation)
        dweight[c] = total
        restore(was)


def batch_norm_training_input(dy: Floating, x: Floating, weight: Floating, eps: float = 1e-5) -> Float32:
    """The derivative by x of batch_norm_training's y, (N, C, H, W), float32.

    With z = (x - mean) / deviation, mean() over all values of a channel and the biased variance in the deviation:

        dx = weight / deviation * (dy - mean(dy) - z * mean(dy * z))
    """
    checks.check_floating(dy=dy, x=x, weight=weight)
    checks.check_same_shape(dy, x.shape, "x")
    n, c, h, w = checks.check_feature_map(x)
    checks.check_channels(c, x, weight=weight)
    checks.check_batch_statistics(x)
    dx = np.empty((n, c, h, w), np.float32)
    dy_flat, x_flat = (checks.float32(v).reshape(n, c, h * w) for v in (dy, x))
    with launch.lock, launch:
        _batch_norm_training_input(dy_flat, x_flat, checks.float32(weight), eps, dx.reshape(n, c, h * w))
    return dx


def batch_norm_training_parameters(dy: Floating, x: Floating, eps: float = 1e-5) -> tuple[Float32, Float32]:
    """The derivatives by weight and by bias of batch_norm_training's y: the sums of dy * z and of dy; (C,) each."""
    checks.check_floating(dy=dy, x=x)
    checks.check_same_shape(dy, x.shape, "x")
    n, c, h, w = checks.check_feature_map(x)
    checks.check_batch_statistics(x)
    dweight, dbias = np.empty(c, np.float32), np.empty(c, np.float32)
    dy_flat, x_flat = (checks.float32(v).reshape(n, c, h * w) for v in (dy, x))
    with launch.lock, launch:
        _batch_norm_training_parameters(dy_flat, x_flat, eps, dweight, dbias)
    return dweight, dbias


@inline
def _sums(dy: Float32, x: Float32, c: int, mean: float, deviation: float) -> tuple[float, float]:
    """Return the sums over channel c of dy and of dy * (x - mean) / deviation: images in order, positions in order."""
    n, _, positions = x.shape
    total = total_z = 0.0
    for image in range(n):
        for p in range(positions):
            slope = np.float64(dy[image, c, p])
            total += slope
            total_z += slope * ((np.float64(x[image, c, p]) - mean) / deviation)
    return total, total_z


@njit(parallel=True)
def _batch_norm_training_input(dy: Float32, x: Float32, weight: Float32, eps: float, dx: Float32) -> None:
    """For each channel: its moments, the two sums, then dx."""
    n, channels, positions = x.shape
    for c in prange(channels):
        was = standard()
        mean, var = moments(x, c)
        deviation = math.sqrt(var + eps)
        total, total_z = _sums(dy, x, c, mean, deviation)
        mean_dy, mean_dyz = total / (n * positions), total_z / (n * positions)
        scale = np.float64(weight[c]) / deviation
        for image in range(n):
            for p in range(positions):
                z = (np.float64(x[image, c, p]) - mean) / deviation
                dx[image, c, p] = scale * (np.float64(dy[image, c, p]) - mean_dy - z * mean_dyz)
        restore(was)


@njit(parallel=True)
def _batch_norm_training_parameters(dy: Float32, x: Float32, eps: float, dweight: Float32, dbias: Float32) -> None:
    """For each channel: its moments, then the two sums."""
    for c in prange(x.shape[1]):
        was = standard()
        mean, var = moments(x, c)
        total, total_z = _sums(dy, x, c, mean, math.sqrt(var + eps))
        dweight[c], dbias[c] = total_z, total
        restore(was)


def layer_scale_weight(dy: Floating, x: Floating) -> Float32:
    """The derivative by a layer scale of scale * x: each channel's dy * x summed over images and positions; (C,), float32."""
    checks.check_floating(dy=dy, x=x)
    checks.check_same_shape(dy, x.shape, "x")
    c = checks.check_feature_map(x)[1]
    return batch_norm_parameters(dy, x, np.zeros(c, np.float32), np.ones(c, np.float32), eps=0.0)[0]


def layer_norm_input(dy: Floating, x: Floating, weight: Floating, eps: float = 1e-6) -> Float32:
    """The derivative by x of layer_norm over the channels of each position, (N, C, H, W), float32.

    With z = (x - mean) / deviation and g = weight * dy:  dx = (g - mean(g) - z * mean(g * z)) / deviation.
    """
    checks.check_floating(dy=dy, x=x, weight=weight)
    checks.check_same_shape(dy, x.shape, "x")
    n, c, h, w = checks.check_feature_map(x)
    checks.check_channels(c, x, weight=weight)
    dx = np.empty((n, c, h, w), np.float32)
    dy_flat, x_flat = (checks.float32(v).reshape(n, c, h * w) for v in (dy, x))
    with launch.lock, launch:
        _layer_norm_input(dy_flat, x_flat, checks.float32(weight), eps, dx.reshape(n, c, h * w))
    return dx


@njit(parallel=True)
def _layer_norm_input(dy: Float32, x: Float32, weight: Float32, eps: float, dx: Float32) -> None:
    """For a tile of positions p, four passes over the channels: the mean, the deviation, the two means of g, dx."""
    n, channels, positions = x.shape
    tiles = (positions + TILE - 1) // TILE
    for item in prange(n * tiles):
        was = standard()
        image, start = item // tiles, item % tiles * TILE
        size = min(TILE, positions - start)
        mean, deviation = np.zeros(TILE, np.float64), np.zeros(TILE, np.float64)
        mean_g, mean_gz = np.zeros(TILE, np.float64), np.zeros(TILE, np.float64)
        for c in range(channels):
            for p in range(size):
                mean[p] += np.float64(x[image, c, start + p])
        for p in range(size):
            mean[p] /= channels
        for c in range(channels):
            for p in range(size):
                centred = np.float64(x[image, c, start + p]) - mean[p]
                deviation[p] += centred * centred
        for p in range(size):
            deviation[p] = math.sqrt(deviation[p] / channels + eps)
        for c in range(channels):
            scale = np.float64(weight[c])
            for p in range(size):
                g = scale * np.float64(dy[image, c, start + p])
                mean_g[p] += g / channels
                mean_gz[p] += g * ((np.float64(x[image, c, start + p]) - mean[p]) / deviation[p]) / channels
        for c in range(channels):
            scale = np.float64(weight[c])
            for p in range(size):
                g = scale * np.float64(dy[image, c, start + p])
                z = (np.float64(x[image, c, start + p]) - mean[p]) / deviation[p]
                dx[image, c, start + p] = (g - mean_g[p] - z * mean_gz[p]) / deviation[p]
        restore(was)


def layer_norm_parameters(dy: Floating, x: Floating, eps: float = 1e-6) -> tuple[Float32, Float32]:
    """The derivatives by weight and by bias of layer_norm: the sums of dy * z and of dy, with z normalised x; (C,) each."""
    checks.check_same_shape(dy, x.shape, "x")
    c = checks.check_feature_map(x)[1]
    zeros, ones = np.zeros(c, np.float32), np.ones(c, np.float32)
    z = ops.layer_norm(x, ones, zeros, eps)
    return batch_norm_parameters(dy, z, zeros, ones, eps=0.0)
