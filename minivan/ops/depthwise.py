"""Depthwise convolution: each channel has a kernel of its own and looks at nothing but itself."""

from __future__ import annotations

import numpy as np

from .. import checks
from ..checks import Float32, Floating, Whole
from ..geometry import CONV_SPATIAL
from ..jit import launch, njit, prange
from ..operators import Pair
from ..registers import restore, standard
from .reach import reach


def depthwise_conv2d(
    x: Floating, weight: Floating, bias: Floating | None = None, stride: Pair = 1, padding: Pair = 0
) -> Float32:
    """Convolve (N, C, H, W) with (M * C, 1, K, K), channel by channel, M outputs each (M = 1 in VAN); float32."""
    stride, padding, _, (h, w) = checks.check_conv2d(x, weight, bias, stride, padding, 1, x.shape[1])
    y = np.empty((x.shape[0], weight.shape[0], h, w), np.float32)
    bias = np.zeros(weight.shape[0], np.float32) if bias is None else checks.float32(bias)
    with launch.lock, launch:
        _depthwise(checks.float32(x), checks.float32(weight), bias, stride, padding, y)
    return y


@njit(parallel=True)
def _depthwise(x: Float32, weight: Float32, bias: Float32, stride: Whole, padding: Whole, y: Float32) -> None:
    """For each image and channel, for each row:

    acc[j] = bias;  for a, b:  acc[j] += weight[o, a, b] * x[c, i * stride - padding + a, j * stride - padding + b]
    """
    (s_h, s_w), (p_h, p_w) = stride, padding
    _, c_in, h_in, w_in = x.shape
    n, c_out, h, w = y.shape
    _, _, k_h, k_w = weight.shape
    for item in prange(n * c_out):
        was = standard()
        image, o = item // c_out, item % c_out
        c = o // (c_out // c_in)
        acc = np.empty(w, np.float64)
        for i in range(h):
            acc[:] = bias[o]
            for a in range(k_h):
                row = i * s_h - p_h + a
                if row < 0 or row >= h_in:
                    continue
                for b in range(k_w):
                    low, high = reach(b - p_w, s_w, w_in, w)
                    tap = np.float64(weight[o, 0, a, b])
                    for j in range(low, high):
                        acc[j] += tap * np.float64(x[image, c, row, j * s_w - p_w + b])
            for j in range(w):
                y[image, o, i, j] = acc[j]
        restore(was)


def dilated_depthwise_conv2d(
    x: Floating,
    weight: Floating,
    bias: Floating | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = CONV_SPATIAL.dilation,
) -> Float32:
    """The same with holes: neighbouring taps of the kernel read inputs `dilation` pixels apart; float32."""
    stride, padding, dilation, (h, w) = checks.check_conv2d(x, weight, bias, stride, padding, dilation, x.shape[1])
    y = np.empty((x.shape[0], weight.shape[0], h, w), np.float32)
    bias = np.zeros(weight.shape[0], np.float32) if bias is None else checks.float32(bias)
    with launch.lock, launch:
        _dilated_depthwise(checks.float32(x), checks.float32(weight), bias, stride, padding, dilation, y)
    return y


@njit(parallel=True)
def _dilated_depthwise(
    x: Float32, weight: Float32, bias: Float32, stride: Whole, padding: Whole, dilation: Whole, y: Float32
) -> None:
    """As `_depthwise`, where tap (a, b) reads row i * stride - padding + a * dilation, and the column likewise.

    One factor more, and no slower: the two stand apart so that the plain one can be read first. On a small map most taps
    of a 7x7 kernel with dilation 3 fall outside; `row` and `reach` leave them out.
    """
    (s_h, s_w), (p_h, p_w), (d_h, d_w) = stride, padding, dilation
    _, c_in, h_in, w_in = x.shape
    n, c_out, h, w = y.shape
    _, _, k_h, k_w = weight.shape
    for item in prange(n * c_out):
        was = standard()
        image, o = item // c_out, item % c_out
        c = o // (c_out // c_in)
        acc = np.empty(w, np.float64)
        for i in range(h):
            acc[:] = bias[o]
            for a in range(k_h):
                row = i * s_h - p_h + a * d_h
                if row < 0 or row >= h_in:
                    continue
                for b in range(k_w):
                    offset = b * d_w - p_w
                    low, high = reach(offset, s_w, w_in, w)
                    tap = np.float64(weight[o, 0, a, b])
                    for j in range(low, high):
                        acc[j] += tap * np.float64(x[image, c, row, j * s_w + offset])
            for j in range(w):
                y[image, o, i, j] = acc[j]
        restore(was)
