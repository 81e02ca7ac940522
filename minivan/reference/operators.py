"""The operators in plain NumPy and float64: what each one means. This is the engine called 'numpy'.

Tensors are (N, C, H, W), as in torch.nn.functional. Every function takes any floating dtype and returns float64.
ValueError for shapes that do not match comes from minivan.checks, as in every engine.
"""

from __future__ import annotations

import math

import numpy as np

from .. import checks


def conv2d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Cross-correlation with zero padding; groups == C_in is depthwise, K == 1 pointwise.

    y[n, o, i, j] = bias[o] + sum over c, a, b of weight[o, c, a, b] * x[n, g + c, i * s - p + a * d, j * s - p + b * d]
    where s, p, d are stride, padding and dilation, g is the first channel of o's group, and x is 0 outside its map.
    """
    (s_h, s_w), (p_h, p_w), (d_h, d_w), (h, w) = checks.check_conv2d(x, weight, bias, stride, padding, dilation, groups)
    n = x.shape[0]
    c_out, c_group, k_h, k_w = weight.shape
    x = np.pad(np.asarray(x, np.float64), ((0, 0), (0, 0), (p_h, p_h), (p_w, p_w)))
    x = x.reshape(n, groups, c_group, *x.shape[2:])  # (N, G, C / G, H + 2P, W + 2P)
    weight = np.asarray(weight, np.float64).reshape(groups, c_out // groups, c_group, k_h, k_w)
    y = np.zeros((n, groups, c_out // groups, h, w))
    for a in range(k_h):
        for b in range(k_w):
            rows, columns = a * d_h, b * d_w
            tap = x[..., rows : rows + (h - 1) * s_h + 1 : s_h, columns : columns + (w - 1) * s_w + 1 : s_w]
            y += np.einsum("ngchw,goc->ngohw", tap, weight[..., a, b])
    y = y.reshape(n, c_out, h, w)
    return y if bias is None else y + _per_channel(bias)[0]


def _per_channel(*vectors):
    """(C,) -> (C, 1, 1) each, so that they meet the channels of (N, C, H, W)."""
    return [np.asarray(v, np.float64)[:, None, None] for v in vectors]


def batch_norm(x, running_mean, running_var, weight, bias, eps=1e-5):
    """Inference form: y = (x - running_mean) / sqrt(running_var + eps) * weight + bias, per channel."""
    checks.check_floating(x=x, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    channels = checks.check_feature_map(x)[1]
    checks.check_channels(channels, x, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    mean, var, weight, bias = _per_channel(running_mean, running_var, weight, bias)
    return (np.asarray(x, np.float64) - mean) / np.sqrt(var + eps) * weight + bias


def layer_norm(x, weight, bias, eps=1e-6):
    """Over the channels of each position: y = (x - mean) / sqrt(var + eps) * weight + bias, var without Bessel's correction."""
    checks.check_floating(x=x, weight=weight, bias=bias)
    checks.check_channels(checks.check_feature_map(x)[1], x, weight=weight, bias=bias)
    x = np.asarray(x, np.float64)
    centred = x - x.mean(axis=1, keepdims=True)
    var = (centred * centred).mean(axis=1, keepdims=True)
    weight, bias = _per_channel(weight, bias)
    return centred / np.sqrt(var + eps) * weight + bias


erfc = np.frompyfunc(math.erfc, 1, 1)


def gelu(x):
    """x * P(Z <= x) for a standard normal Z: x/2 * (1 + erf(x / sqrt 2)), written with erfc(-z) = 1 + erf(z).

    The two are equal; erfc keeps its digits where 1 + erf(z) cancels, below x = -5. gelu(-inf) is NaN, as in PyTorch.
    """
    checks.check_floating(x=x)
    x = np.asarray(x, np.float64)
    with np.errstate(invalid="ignore"):  # -inf * 0
        return x / 2 * np.asarray(erfc(-x / math.sqrt(2)), np.float64)


def linear(x, weight, bias=None):
    """(N, C) -> (N, classes): y = x weight^T + bias."""
    checks.check_linear(x, weight, bias)
    y = np.asarray(x, np.float64) @ np.asarray(weight, np.float64).T
    return y if bias is None else y + np.asarray(bias, np.float64)


def global_average_pool(x):
    """(N, C, H, W) -> (N, C): the mean over positions."""
    checks.check_floating(x=x)
    checks.check_feature_map(x)
    return np.asarray(x, np.float64).mean(axis=(2, 3))


def softmax(x):
    """Over the last axis: exp(x - max) / sum exp(x - max)."""
    checks.check_softmax(x)
    x = np.asarray(x, np.float64)
    with np.errstate(invalid="ignore"):  # inf - inf
        e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)
