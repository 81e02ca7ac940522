"""Convolution's derivatives: the dense kernels, and the choice between dense, depthwise and pointwise."""

from __future__ import annotations

import numpy as np

from .. import shapes
from ..jit import launch, njit, prange
from .checks import check_conv2d, stand_in
from .depthwise import depthwise_input, depthwise_weight
from .pointwise import pointwise_input, pointwise_weight
from .taps import collect, hand_back


def conv2d_input(dy, weight, size, stride=1, padding=0, dilation=1, groups=1):
    """The derivative by x of conv2d(x, weight, ...): (N, C_out, H', W') -> (N, C_in, *size), float32.

    `size` is x's (H, W): a stride leaves more than one size possible. Raises ValueError where dy is not the shape of the
    convolution's output.
    """
    x_shape = (dy.shape[0], weight.shape[1] * groups, *size) if dy.ndim == weight.ndim == 4 else ()
    geometry = check_conv2d(dy, x_shape, weight, stride, padding, dilation, groups)
    dy, weight = shapes.float32(dy), shapes.float32(weight)
    if _is_pointwise(weight.shape, *geometry, groups):
        return pointwise_input(dy, weight)
    dx = np.empty(x_shape, np.float32)
    if groups == x_shape[1]:
        depthwise_input(dy, weight, *geometry, dx)
    else:
        with launch:
            _dense_input(dy, weight, *geometry, groups, dx)
    return dx


def conv2d_weight(dy, x, kernel, stride=1, padding=0, dilation=1, groups=1):
    """The derivative by the weight: dy (N, C_out, H', W') and x (N, C_in, H, W) -> (C_out, C_in / groups, *kernel), float32.

    `kernel` is the weight's (K, K). Raises ValueError where dy is not the shape of the convolution's output.
    """
    shapes.check_floating(x=x)
    weight_shape = (dy.shape[1], x.shape[1] // max(groups, 1), *kernel) if dy.ndim == x.ndim == 4 else ()
    geometry = check_conv2d(dy, x.shape, stand_in(weight_shape), stride, padding, dilation, groups)
    dy, x = shapes.float32(dy), shapes.float32(x)
    dweight = np.empty(weight_shape, np.float32)
    if _is_pointwise(weight_shape, *geometry, groups):
        pointwise_weight(dy, x, dweight)
    elif groups == x.shape[1]:
        depthwise_weight(dy, x, *geometry, dweight)
    else:
        with launch:
            _dense_weight(dy, x, *geometry, groups, dweight)
    return dweight


def conv2d_bias(dy):
    """The derivative by the bias: each channel's dy summed over images and positions, (N, C, H, W) -> (C,), float32."""
    shapes.check_floating(dy=dy)
    n, c, h, w = shapes.check_feature_map(dy)
    dbias = np.empty(c, np.float32)
    with launch:
        _channel_sums(shapes.float32(dy).reshape(n, c, h * w), dbias)
    return dbias


def _is_pointwise(weight_shape, stride, padding, dilation, groups):
    return weight_shape[2:] == (1, 1) and groups == 1 and stride == (1, 1) and padding == (0, 0)


@njit(parallel=True)
def _dense_input(dy, weight, stride, padding, dilation, groups, dx):
    """For each image and input channel, for each row: every output channel of the group hands back its part."""
    n, c_in, h_in, w_in = dx.shape
    c_out, c_group, _, _ = weight.shape
    o_group = c_out // groups
    for item in prange(n * c_in):
        image, channel = item // c_in, item % c_in
        c, first = channel % c_group, channel // c_group * o_group  # its place in its group, and the group's first output
        acc = np.empty(w_in, np.float64)
        for row in range(h_in):
            acc[:] = 0
            for o in range(first, first + o_group):
                hand_back(dy[image, o], weight[o, c], row, stride, padding, dilation, acc)
            for column in range(w_in):
                dx[image, channel, row, column] = acc[column]


@njit(parallel=True)
def _dense_weight(dy, x, stride, padding, dilation, groups, dweight):
    """For each output channel and each input channel of its group: a kernel's derivative."""
    c_out, c_group, _, _ = dweight.shape
    for item in prange(c_out * c_group):
        o, c = item // c_group, item % c_group
        channel = o // (c_out // groups) * c_group + c
        collect(dy[:, o], x[:, channel], stride, padding, dilation, dweight[o, c])


@njit(parallel=True)
def _channel_sums(dy, dbias):
    """For each channel: images in order, positions in order."""
    n, channels, positions = dy.shape
    for c in prange(channels):
        total = 0.0
        for image in range(n):
            for p in range(positions):
                total += np.float64(dy[image, c, p])
        dbias[c] = total
