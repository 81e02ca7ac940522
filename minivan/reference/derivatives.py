"""The operators' derivatives in plain NumPy and float64: what each one means. Signatures as in minivan.grad."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import checks
from ..checks import Float64, Floating, Whole, float64
from ..forks import unforked
from ..operators import Pair
from ..resampling import between, nearest_of
from .operators import erfc, softmax

OVER_THE_BATCH = (0, 2, 3)  # all values of a channel


def _taps(
    x: Float64, weight_shape: Sequence[int], out: Sequence[int], stride: Whole, dilation: Whole, groups: int
) -> Iterator[tuple[int, int, Float64]]:
    """Yield, for each kernel position (a, b), the inputs it meets: a view (N, G, C / G, H', W') of the padded x."""
    x = x.reshape(x.shape[0], groups, weight_shape[1], *x.shape[2:])
    (s_h, s_w), (h, w) = stride, out
    for a in range(weight_shape[2]):
        for b in range(weight_shape[3]):
            top, left = a * dilation[0], b * dilation[1]
            yield a, b, x[..., top : top + (h - 1) * s_h + 1 : s_h, left : left + (w - 1) * s_w + 1 : s_w]


def conv2d_input(
    dy: Floating,
    weight: Floating,
    size: Sequence[int],
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Float64:
    """Each output hands its dy back to every input it read, times the weight it read it with."""
    x_shape = (dy.shape[0], weight.shape[1] * groups, *size) if dy.ndim == weight.ndim == 4 else ()
    stride, (p_h, p_w), dilation = checks.check_conv2d_derivative(dy, x_shape, weight, stride, padding, dilation, groups)
    n, c_in, h, w = x_shape
    dx = np.zeros((n, c_in, h + 2 * p_h, w + 2 * p_w))
    dy = float64(dy).reshape(n, groups, dy.shape[1] // groups, *dy.shape[2:])  # (N, G, C_out / G, H', W')
    kernel = float64(weight).reshape(groups, dy.shape[2], *weight.shape[1:])  # (G, C_out / G, C / G, K, K)
    for a, b, read in _taps(dx, weight.shape, dy.shape[3:], stride, dilation, groups):
        read += np.einsum("ngohw,goc->ngchw", dy, kernel[..., a, b])
    return dx[:, :, p_h : p_h + h, p_w : p_w + w]


def conv2d_weight(
    dy: Floating, x: Floating, kernel: Sequence[int], stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1, groups: int = 1
) -> Float64:
    """Each weight collects, over all outputs, dy times the input it multiplied there."""
    checks.check_floating(x=x)
    weight_shape = (dy.shape[1], x.shape[1] // max(groups, 1), *kernel) if dy.ndim == x.ndim == 4 else ()
    stride, (p_h, p_w), dilation = checks.check_conv2d_derivative(
        dy, x.shape, checks.stand_in(weight_shape), stride, padding, dilation, groups
    )
    padded = float64(np.pad(float64(x), ((0, 0), (0, 0), (p_h, p_h), (p_w, p_w))))
    dy = float64(dy).reshape(dy.shape[0], groups, dy.shape[1] // groups, *dy.shape[2:])
    dweight = np.zeros((groups, weight_shape[0] // groups, *weight_shape[1:]))
    for a, b, read in _taps(padded, weight_shape, dy.shape[3:], stride, dilation, groups):
        dweight[..., a, b] = np.einsum("ngohw,ngchw->goc", dy, read)
    return dweight.reshape(weight_shape)


def conv2d_bias(dy: Floating) -> Float64:
    """The bias is added to every output of its channel."""
    checks.check_floating(dy=dy)
    checks.check_feature_map(dy)
    return float64(float64(dy).sum(axis=(0, 2, 3)))


def batch_norm_input(dy: Floating, running_var: Floating, weight: Floating, eps: float = 1e-5) -> Float64:
    """y is a straight line in x, with the slope weight / sqrt(running_var + eps)."""
    checks.check_floating(dy=dy, running_var=running_var, weight=weight)
    checks.check_channels(checks.check_feature_map(dy)[1], dy, running_var=running_var, weight=weight)
    slope = float64(weight) / np.sqrt(float64(running_var) + eps)
    return float64(dy) * slope[:, None, None]


def batch_norm_parameters(
    dy: Floating, x: Floating, running_mean: Floating, running_var: Floating, eps: float = 1e-5
) -> tuple[Float64, Float64]:
    """(dweight, dbias): the weight multiplies the normalised x, the bias is added."""
    checks.check_floating(dy=dy, x=x, running_mean=running_mean, running_var=running_var)
    checks.check_same_shape(dy, x.shape, "x")
    checks.check_channels(checks.check_feature_map(x)[1], x, running_mean=running_mean, running_var=running_var)
    mean, var = (float64(v)[:, None, None] for v in (running_mean, running_var))
    z = (float64(x) - mean) / np.sqrt(var + eps)
    return (float64(dy) * z).sum(axis=(0, 2, 3)), conv2d_bias(dy)


def batch_norm_training_input(dy: Floating, x: Floating, weight: Floating, eps: float = 1e-5) -> Float64:
    """dx = weight / deviation * (dy - mean(dy) - z * mean(dy * z)): every x moves its channel's mean and deviation."""
    checks.check_floating(dy=dy, x=x, weight=weight)
    checks.check_same_shape(dy, x.shape, "x")
    checks.check_channels(checks.check_feature_map(x)[1], x, weight=weight)
    checks.check_batch_statistics(x)
    z, deviation = _normalised(x, eps, OVER_THE_BATCH)
    g = float64(dy) * float64(weight)[:, None, None]
    mean_g, mean_gz = (float64(v.mean(axis=OVER_THE_BATCH, keepdims=True)) for v in (g, g * z))
    return (g - mean_g - z * mean_gz) / deviation


def batch_norm_training_parameters(dy: Floating, x: Floating, eps: float = 1e-5) -> tuple[Float64, Float64]:
    """(dweight, dbias), as in inference form, with z normalised by the batch's own statistics."""
    checks.check_floating(dy=dy, x=x)
    checks.check_same_shape(dy, x.shape, "x")
    checks.check_feature_map(x)
    checks.check_batch_statistics(x)
    return (float64(dy) * _normalised(x, eps, OVER_THE_BATCH)[0]).sum(axis=OVER_THE_BATCH), conv2d_bias(dy)


def layer_scale_weight(dy: Floating, x: Floating) -> Float64:
    """(N, C, H, W) -> (C,): scale multiplies every x of its channel, and collects dy times that."""
    checks.check_floating(dy=dy, x=x)
    checks.check_same_shape(dy, x.shape, "x")
    checks.check_feature_map(x)
    return float64((float64(dy) * float64(x)).sum(axis=OVER_THE_BATCH))


def _normalised(x: Floating, eps: float, axis: int | tuple[int, ...]) -> tuple[Float64, Float64]:
    """Return z = (x - mean) / deviation over an axis or several, and the deviation."""
    x = float64(x)
    centred = x - x.mean(axis=axis, keepdims=True)
    deviation = np.sqrt((centred * centred).mean(axis=axis, keepdims=True) + eps)
    return centred / deviation, deviation


def layer_norm_input(dy: Floating, x: Floating, weight: Floating, eps: float = 1e-6) -> Float64:
    """dx = (g - mean(g) - z * mean(g * z)) / deviation with g = weight * dy: x also moves its own mean and deviation."""
    checks.check_floating(dy=dy, x=x, weight=weight)
    checks.check_same_shape(dy, x.shape, "x")
    checks.check_channels(checks.check_feature_map(x)[1], x, weight=weight)
    z, deviation = _normalised(x, eps, 1)
    g = float64(dy) * float64(weight)[:, None, None]
    mean_g, mean_gz = (float64(v.mean(axis=1, keepdims=True)) for v in (g, g * z))
    return (g - mean_g - z * mean_gz) / deviation


def layer_norm_parameters(dy: Floating, x: Floating, eps: float = 1e-6) -> tuple[Float64, Float64]:
    """(dweight, dbias), as for BatchNorm, with z normalised over the channels."""
    checks.check_floating(dy=dy, x=x)
    checks.check_same_shape(dy, x.shape, "x")
    checks.check_feature_map(x)
    return (float64(dy) * _normalised(x, eps, 1)[0]).sum(axis=(0, 2, 3)), conv2d_bias(dy)


def gelu_input(dy: Floating, x: Floating) -> Float64:
    """(x P(x))' = P(x) + x p(x), with the standard normal's distribution P and density p."""
    checks.check_floating(dy=dy, x=x)
    checks.check_same_shape(dy, x.shape, "x")
    x = float64(x)
    below = erfc(-x / math.sqrt(2)) / 2
    return float64(dy) * (below + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi))


def linear_input(dy: Floating, weight: Floating) -> Float64:
    """dx = dy weight."""
    checks.check_linear(dy, weight.T, None)
    with unforked.lock():
        return float64(dy) @ float64(weight)


def linear_weight(dy: Floating, x: Floating) -> Float64:
    """dweight = dy^T x."""
    checks.check_linear(dy.T, x.T, None)
    with unforked.lock():
        return float64(dy).T @ float64(x)


def linear_bias(dy: Floating) -> Float64:
    """(N, classes) -> (classes,): the sum over images."""
    checks.check_floating(dy=dy)
    return float64(float64(dy).sum(axis=0))


def relu_input(dy: Floating, x: Floating) -> Float64:
    """0 where x was 0 or below it, and dy for the rest, NaN among it, as in PyTorch."""
    checks.check_floating(dy=dy, x=x)
    checks.check_same_shape(dy, x.shape, "x")
    return np.where(float64(x) <= 0, 0.0, float64(dy))


def upsample_nearest_input(dy: Floating, size: Sequence[int]) -> Float64:
    """Each value collects dy from the places that took it."""
    checks.check_upsample_derivative(dy, size)
    rows, columns = (nearest_of(places, of) for places, of in zip(dy.shape[2:], size, strict=True))
    dx: Float64 = np.zeros((*dy.shape[:2], *size))
    taken: Any = (slice(None), slice(None), rows[:, None], columns)
    np.add.at(dx, taken, float64(dy))
    return dx


def upsample_bilinear_input(dy: Floating, size: Sequence[int]) -> Float64:
    """Each value collects dy from the places that it had a share in, times the share."""
    checks.check_upsample_derivative(dy, size)
    rows = _narrowed(float64(dy).swapaxes(2, 3), size[0]).swapaxes(2, 3)
    return _narrowed(rows, size[1])


def _narrowed(dy: Float64, of: int) -> Float64:
    """Hand back along the last axis. A share of 0 is nothing, of infinity too."""
    before, after, near = between(dy.shape[-1], of)
    dx: Float64 = np.zeros((*dy.shape[:-1], of))
    for neighbour, share in ((before, 1 - near), (after, near)):
        counts = share != 0
        taken: Any = (..., neighbour[counts])
        np.add.at(dx, taken, share[counts] * dy[..., counts])
    return dx


def global_average_pool_input(dy: Floating, size: Sequence[int]) -> Float64:
    """Each position has a share of 1 / (H * W) in the mean."""
    checks.check_pool_derivative(dy, size)
    share = float64(dy) / (size[0] * size[1])
    return np.broadcast_to(share[:, :, None, None], (*dy.shape, *size)).copy()


def softmax_input(dy: Floating, y: Floating) -> Float64:
    """From softmax's result y: y * (dy - sum(dy * y)), over the last axis."""
    checks.check_softmax(y)
    checks.check_same_shape(dy, y.shape, "y")
    dy, y = float64(dy), float64(y)
    return y * (dy - float64((dy * y).sum(axis=-1, keepdims=True)))


def cross_entropy_input(logits: Floating, target: npt.ArrayLike, reduction: str = "sum") -> Float64:
    """The loss is -log softmax(logits)[target], summed over the images or their mean: softmax(logits), less 1 at the target."""
    classes = checks.check_cross_entropy(logits, target, reduction)
    dlogits = softmax(logits)
    rows = np.arange(len(dlogits))
    dlogits[rows, classes] = 0
    dlogits[rows, classes] = -dlogits.sum(axis=1)  # p - 1, whose digits would cancel where p is near 1
    return dlogits if reduction == "sum" else dlogits / max(len(dlogits), 1)
