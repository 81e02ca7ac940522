"""The operators in plain NumPy and float64: what each one means. This is the engine called 'numpy'.

Tensors are (N, C, H, W), as in torch.nn.functional. Every function takes any floating dtype and returns float64.
ValueError for shapes that do not match comes from minivan.checks, as in every engine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .. import checks
from ..checks import Float64, Floating, float64
from ..forks import unforked
from ..operators import Pair
from ..resampling import between, nearest_of


def conv2d(
    x: Floating,
    weight: Floating,
    bias: Floating | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Float64:
    """Cross-correlation with zero padding; groups == C_in is depthwise, K == 1 pointwise.

    y[n, o, i, j] = bias[o] + sum over c, a, b of weight[o, c, a, b] * x[n, g + c, i * s - p + a * d, j * s - p + b * d]
    where s, p, d are stride, padding and dilation, g is the first channel of o's group, and x is 0 outside its map.
    """
    (s_h, s_w), (p_h, p_w), (d_h, d_w), (h, w) = checks.check_conv2d(x, weight, bias, stride, padding, dilation, groups)
    n = x.shape[0]
    c_out, c_group, k_h, k_w = weight.shape
    height, width = x.shape[2:]
    padded = np.zeros((n, groups, c_group, height + 2 * p_h, width + 2 * p_w))  # (N, G, C / G, H + 2P, W + 2P)
    padded[..., p_h : p_h + height, p_w : p_w + width] = float64(x).reshape(n, groups, c_group, height, width)
    kernel = float64(weight).reshape(groups, c_out // groups, c_group, k_h, k_w)
    y: Float64 = np.zeros((n, groups, c_out // groups, h, w))
    for a in range(k_h):
        for b in range(k_w):
            rows, columns = a * d_h, b * d_w
            tap = padded[..., rows : rows + (h - 1) * s_h + 1 : s_h, columns : columns + (w - 1) * s_w + 1 : s_w]
            y += _mixed(kernel[..., a, b], tap)
    flat = y.reshape(n, c_out, h, w)
    return flat if bias is None else flat + _per_channel(bias)[0]


def _mixed(weight: Float64, x: Float64) -> Float64:
    """(G, O, C) and (N, G, C, H, W) -> (N, G, O, H, W): at each place, a matrix product over the channels of each group."""
    n, groups, channels, h, w = x.shape
    if channels == 1:  # depthwise: nothing is summed, and each channel would be a matrix product of its own
        return weight[..., None] * x
    with unforked.lock():
        product = weight @ x.reshape(n, groups, channels, h * w)
    return float64(product).reshape(n, groups, weight.shape[1], h, w)


def _per_channel(*vectors: Floating) -> list[Float64]:
    """(C,) -> (C, 1, 1) each, so that they meet the channels of (N, C, H, W)."""
    return [float64(v)[:, None, None] for v in vectors]


def batch_norm(
    x: Floating, running_mean: Floating, running_var: Floating, weight: Floating, bias: Floating, eps: float = 1e-5
) -> Float64:
    """Inference form: y = (x - running_mean) / sqrt(running_var + eps) * weight + bias, per channel."""
    checks.check_floating(x=x, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    channels = checks.check_feature_map(x)[1]
    checks.check_channels(channels, x, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    mean, var, weight, bias = _per_channel(running_mean, running_var, weight, bias)
    return (float64(x) - mean) / np.sqrt(var + eps) * weight + bias


def batch_norm_training(x: Floating, weight: Floating, bias: Floating, eps: float = 1e-5) -> tuple[Float64, Float64, Float64]:
    """Training form: (y, mean, var) of each channel's values in this batch, var without Bessel's correction."""
    checks.check_floating(x=x, weight=weight, bias=bias)
    checks.check_channels(checks.check_feature_map(x)[1], x, weight=weight, bias=bias)
    checks.check_batch_statistics(x)
    x = float64(x)
    mean, var = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
    return batch_norm(x, mean, var, weight, bias, eps), mean, var


def batch_norm_update(
    running_mean: Floating, running_var: Floating, batch_mean: Floating, batch_var: Floating, count: int, momentum: float = 0.1
) -> tuple[Float64, Float64]:
    """(mean, var) as inference will have them: some of the batch's, the rest of the old; var with Bessel's correction."""
    checks.check_batch_norm_update(running_mean, running_var, batch_mean, batch_var, count)
    unbiased = float64(batch_var) * (count / (count - 1))
    mean = (1 - momentum) * float64(running_mean) + momentum * float64(batch_mean)
    return mean, (1 - momentum) * float64(running_var) + momentum * unbiased


def layer_norm(x: Floating, weight: Floating, bias: Floating, eps: float = 1e-6) -> Float64:
    """Over the channels of each position: y = (x - mean) / sqrt(var + eps) * weight + bias, var without Bessel's correction."""
    checks.check_floating(x=x, weight=weight, bias=bias)
    checks.check_channels(checks.check_feature_map(x)[1], x, weight=weight, bias=bias)
    x = float64(x)
    centred = x - x.mean(axis=1, keepdims=True)
    var = (centred * centred).mean(axis=1, keepdims=True)
    weight, bias = _per_channel(weight, bias)
    return float64(centred / np.sqrt(var + eps) * weight + bias)


def erfc(x: Float64) -> Float64:
    """1 - erf(x), of each number by itself, for an array of any shape."""
    numbers = np.asarray(x, np.float64).ravel().data  # Python's own, one by one, which it makes in less time than NumPy's
    return np.fromiter(map(math.erfc, numbers), np.float64, x.size).reshape(x.shape)


def gelu(x: Floating) -> Float64:
    """x * P(Z <= x) for a standard normal Z: x/2 * (1 + erf(x / sqrt 2)), written with erfc(-z) = 1 + erf(z).

    The two are equal; erfc keeps its digits where 1 + erf(z) cancels, below x = -5. gelu(-inf) is NaN, as in PyTorch.
    """
    checks.check_floating(x=x)
    x = float64(x)
    with np.errstate(invalid="ignore"):  # -inf * 0
        return x / 2 * erfc(-x / math.sqrt(2))


def relu(x: Floating) -> Float64:
    """0 where x is below 0, and x for the rest: -0 and NaN stay what they are, as in PyTorch."""
    checks.check_floating(x=x)
    x = float64(x)
    return np.where(x < 0, 0.0, x)


def upsample_nearest(x: Floating, size: Sequence[int]) -> Float64:
    """y[n, c, i, j] = x[n, c, floor(i * H / H'), floor(j * W / W')]"""
    height, width = checks.check_upsample(x, size)
    return float64(x)[:, :, nearest_of(height, x.shape[2])[:, None], nearest_of(width, x.shape[3])]


def mean_of(a: Float64, b: Float64, near: Float64) -> Float64:
    """Return values between two, of which the second counts by its share. One whose share is 0 is not read: inf * 0 is NaN."""
    with np.errstate(invalid="ignore"):
        return np.where(near == 0, a, (1 - near) * a + near * b)


def upsample_bilinear(x: Floating, size: Sequence[int]) -> Float64:
    """A mean of the four values around each place, by how near they are, first along rows, then along columns."""
    height, width = checks.check_upsample(x, size)
    x = float64(x)
    left, right, near = between(width, x.shape[3])
    x = mean_of(x[..., left], x[..., right], near)
    above, below, near = between(height, x.shape[2])
    return mean_of(x[:, :, above], x[:, :, below], near[:, None])


def linear(x: Floating, weight: Floating, bias: Floating | None = None) -> Float64:
    """(N, C) -> (N, classes): y = x weight^T + bias."""
    checks.check_linear(x, weight, bias)
    with unforked.lock():
        y: Float64 = float64(x) @ float64(weight).T
    return y if bias is None else y + float64(bias)


def global_average_pool(x: Floating) -> Float64:
    """(N, C, H, W) -> (N, C): the mean over positions."""
    checks.check_floating(x=x)
    checks.check_feature_map(x)
    return float64(float64(x).mean(axis=(2, 3)))


def sigmoid(x: Floating) -> Float64:
    """1 / (1 + exp(-x)), of any shape, by the exponential of a number that is not positive. No engine has this operator."""
    x = float64(x)
    e = np.exp(-np.abs(x))
    return float64(np.where(x < 0, e, 1.0) / (1 + e))


def softmax(x: Floating) -> Float64:
    """Over the last axis: exp(x - max) / sum exp(x - max)."""
    checks.check_softmax(x)
    x = float64(x)
    with np.errstate(invalid="ignore"):  # inf - inf
        e = np.exp(x - x.max(axis=-1, keepdims=True))
    return float64(e / e.sum(axis=-1, keepdims=True))
