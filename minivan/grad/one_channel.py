"""What a convolution's two derivatives have in common, dense or depthwise: one channel of dy against one of x."""

from __future__ import annotations

import numpy as np

from ..checks import Float32, Float64, Whole
from ..jit import inline
from ..ops.reach import reach


@inline
def hand_back(dy: Float32, weight: Float32, row: int, stride: Whole, padding: Whole, dilation: Whole, acc: Float64) -> None:
    """Add to one row of sums, float64 (W,), what one output channel's dy (H', W') owes it through its kernel (K, K).

    Output row i read this row through kernel row a where i * stride - padding + a * dilation = row; then

        for b, j:  acc[j * stride - padding + b * dilation] += weight[a, b] * dy[i, j]
    """
    h, w = dy.shape
    k_h, k_w = weight.shape
    for a in range(k_h):
        i, between = divmod(row + padding[0] - a * dilation[0], stride[0])
        if between or i < 0 or i >= h:
            continue
        for b in range(k_w):
            offset = b * dilation[1] - padding[1]
            low, high = reach(offset, stride[1], acc.size, w)
            tap = np.float64(weight[a, b])
            source = dy[i, low:high]
            target = acc[low * stride[1] + offset :: stride[1]]
            for j in range(high - low):
                target[j] += tap * np.float64(source[j])


@inline
def collect(dy: Float32, x: Float32, stride: Whole, padding: Whole, dilation: Whole, dweight: Float32) -> None:
    """Fill a kernel's derivative (K, K) from dy (N, H', W') and x (N, H, W). For each tap (a, b):

    the sum over n, i, j of dy[n, i, j] * x[n, i * stride - padding + a * dilation, j * stride - padding + b * dilation]
    """
    n, h, w = dy.shape
    _, h_in, w_in = x.shape
    k_h, k_w = dweight.shape
    for a in range(k_h):
        down = a * dilation[0] - padding[0]
        top, bottom = reach(down, stride[0], h_in, h)
        for b in range(k_w):
            right = b * dilation[1] - padding[1]
            low, high = reach(right, stride[1], w_in, w)
            total = 0.0
            for image in range(n):
                for i in range(top, bottom):
                    for j in range(low, high):
                        read = x[image, i * stride[0] + down, j * stride[1] + right]
                        total += np.float64(dy[image, i, j]) * np.float64(read)
            dweight[a, b] = total
