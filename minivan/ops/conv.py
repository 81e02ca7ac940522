"""Dense and grouped convolution, and the choice between the four kernels."""

from __future__ import annotations

import numpy as np

from .. import checks
from ..checks import Float32, Floating, Whole
from ..jit import launch, njit, prange
from ..operators import Pair
from ..registers import restore, standard
from .depthwise import depthwise_conv2d, dilated_depthwise_conv2d
from .pointwise import pointwise_conv2d
from .reach import reach


def conv2d(
    x: Floating,
    weight: Floating,
    bias: Floating | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Float32:
    """Convolve (N, C_in, H, W) with (C_out, C_in / groups, K, K), as torch.nn.functional.conv2d does; float32 in and out.

    `groups == C_in` runs the depthwise kernel (dilated or not), a 1x1 kernel the pointwise one, anything else the dense
    one. Raises ValueError, with both shapes, for ranks, channels or dtypes that do not fit and for a kernel larger than
    the padded input.
    """
    stride, padding, dilation, _ = checks.check_conv2d(x, weight, bias, stride, padding, dilation, groups)
    if groups == x.shape[1]:
        if dilation == (1, 1):
            return depthwise_conv2d(x, weight, bias, stride, padding)
        return dilated_depthwise_conv2d(x, weight, bias, stride, padding, dilation)
    if weight.shape[2:] == (1, 1) and groups == 1 and stride == (1, 1) and padding == (0, 0):
        return pointwise_conv2d(x, weight, bias)
    return dense_conv2d(x, weight, bias, stride, padding, dilation, groups)


def dense_conv2d(
    x: Floating,
    weight: Floating,
    bias: Floating | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Float32:
    """The general convolution: every output channel reads every input channel of its group."""
    stride, padding, dilation, (h, w) = checks.check_conv2d(x, weight, bias, stride, padding, dilation, groups)
    y = np.empty((x.shape[0], weight.shape[0], h, w), np.float32)
    bias = np.zeros(weight.shape[0], np.float32) if bias is None else checks.float32(bias)
    with launch.lock, launch:
        _dense(checks.float32(x), checks.float32(weight), bias, stride, padding, dilation, groups, y)
    return y


@njit(parallel=True)
def _dense(
    x: Float32, weight: Float32, bias: Float32, stride: Whole, padding: Whole, dilation: Whole, groups: int, y: Float32
) -> None:
    """For each image and output channel, for each row:

        acc[j] = bias;  for c, a, b:  acc[j] += weight[o, c, a, b] * x[c, i * stride - padding + a * dilation, ...]

    One row of sums is kept in float64; the innermost loop runs along the row, never along a sum.
    """
    (s_h, s_w), (p_h, p_w), (d_h, d_w) = stride, padding, dilation
    _, _, h_in, w_in = x.shape
    n, c_out, h, w = y.shape
    _, c_group, k_h, k_w = weight.shape
    for item in prange(n * c_out):
        was = standard()
        image, o = item // c_out, item % c_out
        first = o // (c_out // groups) * c_group  # the first input channel of this output's group
        acc = np.empty(w, np.float64)
        for i in range(h):
            acc[:] = bias[o]
            for c in range(c_group):
                for a in range(k_h):
                    row = i * s_h - p_h + a * d_h
                    if row < 0 or row >= h_in:
                        continue
                    for b in range(k_w):
                        offset = b * d_w - p_w
                        low, high = reach(offset, s_w, w_in, w)
                        tap = np.float64(weight[o, c, a, b])
                        for j in range(low, high):
                            acc[j] += tap * np.float64(x[image, first + c, row, j * s_w + offset])
            for j in range(w):
                y[image, o, i, j] = acc[j]
        restore(was)
