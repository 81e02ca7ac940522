"""Convolution's derivatives: the dense kernels, and the choice between dense, depthwise and pointwise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import checks
from ..checks import Float32, Floating, Whole
from ..jit import launch, njit, prange
from ..operators import Pair
from ..registers import restore, standard
from .depthwise import depthwise_input, depthwise_weight
from .one_channel import collect, hand_back
from .pointwise import pointwise_input, pointwise_weight


def conv2d_input(
    dy: Floating,
    weight: Floating,
    size: Sequence[int],
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Float32:
    """The derivative by x of conv2d(x, weight, ...): (N, C_out, H', W') -> (N, C_in, *size), float32.

    `size` is x's (H, W): a stride leaves more than one size possible. Raises ValueError where dy is not the shape of the
    convolution's output.
    """
    x_shape = (dy.shape[0], weight.shape[1] * groups, *size) if dy.ndim == weight.ndim == 4 else ()
    geometry = checks.check_conv2d_derivative(dy, x_shape, weight, stride, padding, dilation, groups)
    dy, weight = checks.float32(dy), checks.float32(weight)
    if _is_pointwise(weight.shape, *geometry, groups):
        return pointwise_input(dy, weight)
    dx = np.empty(x_shape, np.float32)
    if groups == x_shape[1]:
        depthwise_input(dy, weight, *geometry, dx)
    else:
        with launch.lock, launch:
            _dense_input(dy, weight, *geometry, groups, dx)
    return dx


def conv2d_weight(
    dy: Floating, x: Floating, kernel: Sequence[int], stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1, groups: int = 1
) -> Float32:
    """The derivative by the weight: dy (N, C_out, H', W') and x (N, C_in, H, W) -> (C_out, C_in / groups, *kernel), float32.

    `kernel` is the weight's (K, K). Raises ValueError where dy is not the shape of the convolution's output.
    """
    checks.check_floating(x=x)
    weight_shape = (dy.shape[1], x.shape[1] // max(groups, 1), *kernel) if dy.ndim == x.ndim == 4 else ()
    geometry = checks.check_conv2d_derivative(dy, x.shape, checks.stand_in(weight_shape), stride, padding, dilation, groups)
    dy, x = checks.float32(dy), checks.float32(x)
    dweight = np.empty(weight_shape, np.float32)
    if _is_pointwise(weight_shape, *geometry, groups):
        pointwise_weight(dy, x, dweight)
    elif groups == x.shape[1]:
        depthwise_weight(dy, x, *geometry, dweight)
    else:
        with launch.lock, launch:
            _dense_weight(dy, x, *geometry, groups, dweight)
    return dweight


def conv2d_bias(dy: Floating) -> Float32:
    """The derivative by the bias: each channel's dy summed over images and positions, (N, C, H, W) -> (C,), float32."""
    checks.check_floating(dy=dy)
    n, c, h, w = checks.check_feature_map(dy)
    dbias = np.empty(c, np.float32)
    with launch.lock, launch:
        _channel_sums(checks.float32(dy).reshape(n, c, h * w), dbias)
    return dbias


def _is_pointwise(weight_shape: Sequence[int], stride: Whole, padding: Whole, dilation: Whole, groups: int) -> bool:
    return weight_shape[2:] == (1, 1) and groups == 1 and stride == (1, 1) and padding == (0, 0)


@njit(parallel=True)
def _dense_input(
    dy: Float32, weight: Float32, stride: Whole, padding: Whole, dilation: Whole, groups: int, dx: Float32
) -> None:
    """For each image and input channel, for each row: every output channel of the group hands back its part."""
    n, c_in, h_in, w_in = dx.shape
    c_out, c_group, _, _ = weight.shape
    o_group = c_out // groups
    for item in prange(n * c_in):
        was = standard()
        image, channel = item // c_in, item % c_in
        c, first = channel % c_group, channel // c_group * o_group  # its place in its group, and the group's first output
        acc = np.empty(w_in, np.float64)
        for row in range(h_in):
            acc[:] = 0
            for o in range(first, first + o_group):
                hand_back(dy[image, o], weight[o, c], row, stride, padding, dilation, acc)
            for column in range(w_in):
                dx[image, channel, row, column] = acc[column]
        restore(was)


@njit(parallel=True)
def _dense_weight(
    dy: Float32, x: Float32, stride: Whole, padding: Whole, dilation: Whole, groups: int, dweight: Float32
) -> None:
    """For each output channel and each input channel of its group: a kernel's derivative."""
    c_out, c_group, _, _ = dweight.shape
    for item in prange(c_out * c_group):
        was = standard()
        o, c = item // c_group, item % c_group
        channel = o // (c_out // groups) * c_group + c
        collect(dy[:, o], x[:, channel], stride, padding, dilation, dweight[o, c])
        restore(was)


@njit(parallel=True)
def _channel_sums(dy: Float32, dbias: Float32) -> None:
    """For each channel: images in order, positions in order."""
    n, channels, positions = dy.shape
    for c in prange(channels):
        was = standard()
        total = 0.0
        for image in range(n):
            for p in range(positions):
                total += np.float64(dy[image, c, p])
        dbias[c] = total
        restore(was)
