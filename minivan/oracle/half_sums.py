"""Sums that are kept in float16, every product and every sum rounded: how large the errors of a port are that computes so.

Only their size is compared with a port's, so a sample will do: one image, some channels, a window of positions.
"""

from __future__ import annotations

import numpy as np

from ..checks import Floating
from ..geometry import Kernel
from .replay import Call

CHANNELS, SIDE = 16, 16  # of a sample: so many channels, and a window so many positions wide and high


def float16_sample(call: Call, right: Floating) -> tuple[Floating, Floating] | None:
    """Return a sample of a convolution, linear layer or mean in such sums, and of its right numbers; None for other layers."""
    chosen = slice(None, None, max(1, -(-right.shape[1] // CHANNELS)))
    with np.errstate(over="ignore", invalid="ignore"):
        if call.operator == "global_average_pool":
            return _mean(call.x[:1, chosen].astype(np.float16)), right[:1, chosen]
        if call.operator == "linear":
            weight, bias = call.parameters["weight"][chosen], call.parameters["bias"]
            return _linear(call.x[:1], weight, None if bias is None else bias[chosen]), right[:1, chosen]
        if call.operator == "conv2d":
            rows, columns = (slice((side - min(side, SIDE)) // 2, (side + min(side, SIDE)) // 2) for side in right.shape[2:])
            made = _convolution(call.x[:1], (chosen, rows, columns), **call.parameters)
            return made, right[:1, chosen, rows, columns]
    return None


def _mean(x: Floating) -> Floating:
    total = np.zeros(x.shape[:2], np.float16)
    for i, j in np.ndindex(*x.shape[2:]):
        total += x[:, :, i, j]
    return total / np.float16(x.shape[2] * x.shape[3])


def _linear(x: Floating, weight: Floating, bias: Floating | None) -> Floating:
    total = np.zeros((len(x), len(weight)), np.float16) if bias is None else np.tile(bias.astype(np.float16), (len(x), 1))
    for c in range(x.shape[1]):
        total += x[:, c, None].astype(np.float16) * weight[:, c].astype(np.float16)
    return total


def _convolution(
    x: Floating, sample: tuple[slice, slice, slice],
    weight: Floating, bias: Floating | None, stride: int, padding: int, dilation: int, groups: int,
) -> Floating:  # fmt: skip
    """Return some channels, rows and columns of a convolution's output; only what they read is taken."""
    chosen, rows, columns = sample
    c_out, c_group, k_h, k_w = weight.shape
    kernel = Kernel(k_h, stride, padding, dilation)  # VAN's are square
    first = (np.arange(c_out) // (c_out // groups) * c_group)[chosen]  # each output's first input channel
    for axis, window in ((2, rows), (3, columns)):
        x = _read(x, axis, window, kernel)
    x, weight = x.astype(np.float16), weight[chosen].astype(np.float16)
    h, w = rows.stop - rows.start, columns.stop - columns.start
    total = np.zeros((len(x), len(weight), h, w), np.float16)
    if bias is not None:
        total += bias[chosen].astype(np.float16)[:, None, None]
    for c, a, b in np.ndindex(c_group, k_h, k_w):
        across = slice(a * dilation, a * dilation + (h - 1) * stride + 1, stride)
        along = slice(b * dilation, b * dilation + (w - 1) * stride + 1, stride)
        total += weight[:, c, a, b, None, None] * x[:, first + c, across, along]
    return total


def _read(x: Floating, axis: int, window: slice, kernel: Kernel) -> Floating:
    """Return what a window of the output reads along an axis, zeros where it reaches beyond the map."""
    begin = window.start * kernel.stride - kernel.padding
    end = (window.stop - 1) * kernel.stride + kernel.dilation * (kernel.side - 1) + 1 - kernel.padding
    inside: list[slice] = [slice(None)] * x.ndim
    inside[axis] = slice(max(begin, 0), max(min(end, x.shape[axis]), 0))
    around = [(0, 0)] * x.ndim
    around[axis] = max(-begin, 0), max(end - x.shape[axis], 0)
    return np.pad(x[tuple(inside)], around)
