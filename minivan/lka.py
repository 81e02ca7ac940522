"""Large kernel attention as arithmetic: what a K x K kernel costs in three forms, what it reads, what it equals.

A large kernel of side K is split by a dilation d into three cheap steps (Guo et al. 2022, section 3.1, figure 2):
a depthwise kernel of side 2d - 1, a depthwise kernel of side ceil(K/d) whose taps lie d pixels apart, and a 1x1.
The 21 x 21 of the paper, with d = 3, is a 5 x 5, a 7 x 7 with dilation 3, and a 1x1. Biases are counted only where a
function says so: the paper's formulas leave them out.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from .checks import Integers, Numeric

Mask: TypeAlias = npt.NDArray[np.bool_]
Step: TypeAlias = Mapping[str, Numeric]  # a convolution of the network: its 'weight' and its 'bias'


def local_side(d: int) -> int:
    """Return the side of the first, undilated kernel: 2d - 1, the paper's choice, with which neighbouring squares overlap.

    Squares d wide would already leave no gap between the dilated taps: `tiling_weights` counts them.
    """
    return 2 * d - 1


def dilated_side(K: int, d: int) -> int:
    """Return the side of the second kernel, in taps: ceil(K/d). Raises ValueError unless 1 <= d <= K."""
    check(K, d)
    return -(-K // d)


def support(K: int, d: int) -> int:
    """Return the side of the square that an output really reads: (2d - 1) + d (ceil(K/d) - 1).

    It is never K itself unless d = 1: where d divides K it is K + d - 1, so 23 for the paper's K = 21, d = 3.
    """
    return local_side(d) + d * (dilated_side(K, d) - 1)


def dense_parameters(C: int, K: int) -> int:
    """Return the weights of an ordinary K x K convolution from C channels to C: every output reads every channel."""
    check(K)
    return _positive("C", C) ** 2 * K * K


def mobilenet_parameters(C: int, K: int) -> int:
    """Return the weights of MobileNet's form (Howard et al. 2017): one K x K kernel per channel, then a 1x1."""
    check(K)
    return _positive("C", C) * K * K + C * C


def lka_parameters(C: int, K: int, d: int) -> int:
    """Return the weights of large kernel attention: P(K, d) = C (ceil(K/d)^2 + (2d - 1)^2 + C), paper, section 3.1."""
    return _positive("C", C) * (spatial_weights(K, d) + C)


def spatial_weights(K: int, d: int) -> int:
    """Return the part of LKA's weights that depends on d, per channel: ceil(K/d)^2 + (2d - 1)^2."""
    return dilated_side(K, d) ** 2 + local_side(d) ** 2


def chain_weights(*kernels: tuple[int, int]) -> int:
    """Return the weights per channel of depthwise kernels after one another, each (side, dilation): 74 for (5, 1), (7, 3)."""
    return sum(_positive("side", side) ** 2 for side, _ in kernels)


def chain_support(*kernels: tuple[int, int]) -> int:
    """Return the side of the square that depthwise kernels after one another read, each (side, dilation).

    Each adds its span less one: 1 + sum of dilation (side - 1), so 23 for (5, 1), (7, 3). Whether every place in it is read
    is another question: a kernel's dilation must not exceed what those before it read.
    """
    return 1 + sum(_positive("dilation", dilation) * (side - 1) for side, dilation in kernels)


def lska_parameters(C: int, K: int, d: int) -> int:
    """Return the weights of large separable kernel attention: C (2 ceil(K/d) + 2 (2d - 1) + C), Lau et al. 2023.

    Each of the two depthwise kernels is split into a row and a column; what an output reads is that of LKA, `support`.
    """
    return _positive("C", C) * (2 * dilated_side(K, d) + 2 * local_side(d) + C)


def tiling_weights(K: int, d: int) -> int:
    """Return the weights per channel were the near kernel d wide, not 2d - 1: ceil(K/d)^2 + d^2.

    Its squares then lie side by side, and each of the (d ceil(K/d))^2 places has one way to the output. No network of the
    paper is built so: it shows what the choice of 2d - 1 decides.
    """
    return dilated_side(K, d) ** 2 + d**2


def multiply_adds(parameters: int, height: int, width: int) -> int:
    """Return the multiply-adds of a convolution that keeps the map's size: each weight works once per position.

    Taps that fall on the padding are counted, as is the custom.
    """
    return parameters * _positive("height", height) * _positive("width", width)


def self_attention_multiply_adds(C: int, positions: int) -> int:
    """Return the multiply-adds of one self-attention layer over `positions` places of C channels.

    Four C x C projections (query, key, value, output) at every place, then every place scored against every place and
    every value weighted: 4 N C^2 + 2 N^2 C. Softmax is not counted.
    """
    return 4 * _positive("positions", positions) * _positive("C", C) ** 2 + 2 * positions**2 * C


def lka_attention_multiply_adds(C: int, K: int, d: int, positions: int) -> int:
    """Return the multiply-adds of VAN's whole attention, to be set beside a layer of self-attention.

    LKA and the two pointwise layers around it, `proj_1` and `proj_2`, as self-attention is charged its own projections:
    N (P(K, d) + 2 C^2).
    """
    return _positive("positions", positions) * (lka_parameters(C, K, d) + 2 * C * C)


def smooth_spatial_weights(K: float, d: float) -> float:
    """Return `spatial_weights` without the ceiling, so that d may be any positive number: (K/d)^2 + (2d - 1)^2."""
    return (K / d) ** 2 + (2 * d - 1) ** 2


def slope(K: float, d: float) -> float:
    """Return the derivative of `smooth_spatial_weights` by d: -2 K^2 / d^3 + 4 (2d - 1)."""
    return -2 * K**2 / d**3 + 4 * (2 * d - 1)


def continuous_best_dilation(K: float) -> float:
    """Return the d > 0 at which the slope is zero: the one positive root of 4 d^4 - 2 d^3 - K^2.

    Setting -2 K^2 / d^3 + 4 (2d - 1) = 0 and multiplying by d^3 / 2 gives the polynomial. It is negative at d = 1/2,
    positive at d = K + 1 and rises in between, so halving the interval finds the root; halving stops when no
    float64 lies between its ends. For K = 21 it is 3.37. Raises ValueError unless K is positive.
    """
    if not K > 0:
        raise ValueError(f"the kernel's side K is positive; got {K!r}")
    low, high = 0.5, K + 1.0
    while low < (middle := (low + high) / 2) < high:
        if 4 * middle**4 - 2 * middle**3 < K * K:
            low = middle
        else:
            high = middle
    return low


def best_dilation(K: int, weights: Callable[[int, int], int] = spatial_weights) -> int:
    """Return the whole d with the fewest weights for side K, the smallest such d where two tie.

    The ceiling makes the true cost a staircase, so every d from 1 to K is tried rather than the root rounded. `weights` is
    the rule: `spatial_weights`, the paper's, or `tiling_weights`.
    """
    check(K)
    return min(range(1, K + 1), key=lambda d: (weights(K, d), d))


def tap_offsets(side: int, dilation: int = 1) -> Integers:
    """Return the positions, relative to the output's own, that a kernel reads along one axis: int64 (side,).

    Centred where that is possible; an even span leans one pixel to the right.
    """
    reach = dilation * (side - 1)
    return dilation * np.arange(side, dtype=np.int64) - reach // 2


def footprint(K: int, d: int) -> Integers:
    """Return how many of the second kernel's taps see each input pixel: int64 (S, S) with S = support(K, d).

    The output pixel sits at index (S - 1) // 2 on both axes. Every count is at least 1: the two steps leave no hole.
    """
    first, second = tap_offsets(local_side(d)), tap_offsets(dilated_side(K, d), d)
    reached = np.add.outer(second, first)  # (dilated taps, local taps) -> offset of the input pixel
    paths = np.bincount((reached - reached.min()).ravel())  # along one axis
    both: Integers = np.multiply.outer(paths, paths)  # the axes are independent
    return both


def read_by(K: int, d: int) -> dict[str, Mask]:
    """Return, for each step, which pixels of the support it reads for the output at the centre: bool (S, S) each.

    'local' is the first depthwise kernel, 'dilated' the second, 'both' the two after one another, 'pointwise' the 1x1.
    """
    S = support(K, d)
    local, dilated = tap_offsets(local_side(d)), tap_offsets(dilated_side(K, d), d)
    centre = -int(local[0] + dilated[0])
    masks: dict[str, Mask] = {"both": np.ones((S, S), bool)}
    for step, offsets in {"local": local, "dilated": dilated, "pointwise": np.zeros(1, np.int64)}.items():
        masks[step] = np.zeros((S, S), bool)
        masks[step][np.ix_(centre + offsets, centre + offsets)] = True
    return masks


def equivalent_kernel(conv0: Numeric, conv_spatial: Numeric, dilation: int) -> Numeric:
    """Compose two depthwise kernels into the one depthwise kernel that does the work of both.

    conv0 (C, 1, k, k) runs first; conv_spatial (C, 1, s, s) runs on its result with `dilation`. Returns
    (C, 1, S, S), S = k + dilation (s - 1), in the kernels' common dtype: each dilated tap stamps a copy of conv0,
    scaled by its own weight, and copies that overlap add up. Raises ValueError for kernels that are not square and
    depthwise.
    """
    C, k = _depthwise(conv0, "conv0")
    channels, s = _depthwise(conv_spatial, "conv_spatial")
    if channels != C:
        raise ValueError(f"both kernels have the same channels; got {conv0.shape} and {conv_spatial.shape}")
    reach = _positive("dilation", dilation) * (s - 1)
    composed = np.zeros((C, 1, k + reach, k + reach), np.result_type(conv0, conv_spatial))
    if k <= s:  # the same sums in the same order, with fewer turns: each weight of conv0 is laid under every dilated tap
        for row in reversed(range(k)):
            for column in reversed(range(k)):
                under = composed[:, :, row : row + reach + 1 : dilation, column : column + reach + 1 : dilation]
                under += conv_spatial * conv0[:, :, row, column, None, None]
        return composed
    for row in range(s):
        for column in range(s):
            top, left = row * dilation, column * dilation
            composed[:, :, top : top + k, left : left + k] += conv_spatial[:, :, row, column, None, None] * conv0
    return composed


def depthwise(x: Numeric, kernel: Numeric, dilation: int = 1) -> Numeric:
    """Slide one kernel per channel over a map with zeros around it; the size stays.

    x (C, H, W), kernel (C, 1, k, k) -> (C, H, W) in their common dtype, so integers stay exact. An output at (r, c)
    reads (r + tap_offsets, c + tap_offsets). Raises ValueError where the channels differ.
    """
    C, k = _depthwise(kernel, "kernel")
    if x.ndim != 3 or x.shape[0] != C:
        raise ValueError(f"x is (C, H, W) with the kernel's C; got x {x.shape} and kernel {kernel.shape}")
    before = -int(tap_offsets(k, dilation)[0])
    after = dilation * (k - 1) - before
    return _slide(np.pad(x, ((0, 0), (before, after), (before, after))), kernel, dilation)


def two_steps(u: Numeric, conv0: Numeric, conv_spatial: Numeric, dilation: int) -> Numeric:
    """Apply the two depthwise kernels after one another, as the network does, each with zeros around its own input."""
    return depthwise(depthwise(u, conv0), conv_spatial, dilation)


def one_step(u: Numeric, conv0: Numeric, conv_spatial: Numeric, dilation: int) -> Numeric:
    """Apply the composed kernel once. It equals `two_steps` except where `border_affected` says so.

    Both are the same sum of products regrouped: equal to the last bit on integers, up to rounding otherwise.
    """
    before, after = _margins(conv0, conv_spatial, dilation)
    padded = np.pad(u, ((0, 0), (before, after), (before, after)))
    return _slide(padded, equivalent_kernel(conv0, conv_spatial, dilation), 1)


def attention_sources(
    u: Numeric, conv0: Step, conv_spatial: Step, conv1: Step, dilation: int, channel: int, place: tuple[int, int]
) -> tuple[float, Numeric]:
    """Split one attention value into its bias and what each place of u adds to it.

    The three steps only add and weigh, so the split is exact, but for rounding: the bias and all places together are the value
    that they give for `channel` at `place` (row, column). u is (C, H, W); each step has the weight and the bias that it has in
    the network. Returns the bias, which is the value for a u of zeros there, and float (H, W), summed over channels.
    """
    far_weight, mix = conv_spatial["weight"], conv1["weight"][channel, :, 0, 0]
    to_near = np.zeros_like(u, dtype=np.float64)  # how much of step 1's map the value takes, place by place
    offsets = tap_offsets(far_weight.shape[-1], dilation)
    for (i, row), (j, column) in itertools.product(enumerate(place[0] + offsets), enumerate(place[1] + offsets)):
        if 0 <= row < u.shape[1] and 0 <= column < u.shape[2]:
            to_near[:, row, column] = mix * far_weight[:, 0, i, j]
    bias = conv1["bias"][channel] + mix @ conv_spatial["bias"] + (to_near * conv0["bias"][:, None, None]).sum()
    to_u = depthwise(to_near, conv0["weight"][:, :, ::-1, ::-1])
    return float(bias), (to_u * u).sum(axis=0)


def attention_by_distance(u: Numeric, conv0: Step, conv_spatial: Step, conv1: Step, dilation: int) -> tuple[Numeric, Numeric]:
    """Split every attention value into its bias and what the places at each distance add to it.

    As `attention_sources`, for all values at once. Distance 0 is the value's own place, 1 the eight around it, and so on: the
    larger of the two offsets. Returns the bias, float64 (C, H, W), and the parts, float64 (distances, C, H, W).
    """
    C, H, W = u.shape
    near, far = tap_offsets(conv0["weight"].shape[-1]), tap_offsets(conv_spatial["weight"].shape[-1], dilation)
    a, b = abs(near).max(), abs(far).max()
    padded, mix = np.pad(u, ((0, 0), (a, a), (a, a))), conv1["weight"][:, :, 0, 0].astype(np.float64)
    unmixed = np.zeros((a + b + 1, C, H, W))
    for (i, r), (j, c) in itertools.product(enumerate(near), repeat=2):
        tap = conv0["weight"][:, 0, i, j, None, None] * padded[:, a + r : a + r + H, a + c : a + c + W]
        tap = np.pad(tap, ((0, 0), (b, b), (b, b)))  # step 1's map has nothing outside
        for (k, row), (m, column) in itertools.product(enumerate(far), repeat=2):
            read = tap[:, b + row : b + row + H, b + column : b + column + W]
            unmixed[max(abs(r + row), abs(c + column))] += conv_spatial["weight"][:, 0, k, m, None, None] * read
    nothing = np.broadcast_to(conv0["bias"][:, None, None], u.shape)
    bias = depthwise(nothing, conv_spatial["weight"], dilation) + conv_spatial["bias"][:, None, None]
    parts = np.tensordot(unmixed, mix, (1, 1)).transpose(0, 3, 1, 2)
    return np.tensordot(mix, bias, 1) + conv1["bias"][:, None, None], parts


def border_affected(height: int, width: int, K: int, d: int) -> Mask:
    """Return where `one_step` and `two_steps` may differ on a map, bool (height, width); elsewhere they never do.

    A position is affected when one of its dilated taps lands outside the map but within reach of the first kernel. With
    d = 3 that is a frame two pixels wide, which taps three apart can step over: rows 1, 2, 4, 5, 7, 8 from the top
    are affected, rows 0, 3, 6 and all from 9 on are not.
    """
    first, second = tap_offsets(local_side(d)), tap_offsets(dilated_side(K, d), d)
    inside, near = [], []  # per axis: some tap on the map; some tap off the map whose window still overlaps it
    for length in (_positive("height", height), _positive("width", width)):
        taps = np.add.outer(np.arange(length), second)
        on_map = (taps >= 0) & (taps < length)
        overlaps = (taps + first[-1] >= 0) & (taps + first[0] < length)
        inside.append(np.flatnonzero(on_map.any(1)))
        near.append(np.flatnonzero((overlaps & ~on_map).any(1)))
    affected: Mask = np.zeros((height, width), bool)
    for rows, columns in ((near[0], near[1]), (near[0], inside[1]), (inside[0], near[1])):
        affected[np.ix_(rows, columns)] = True  # off the map on one axis at least, in reach on both
    return affected


def taps_on_map(side: int, dilation: int, length: int) -> Integers:
    """Return how many of a kernel's taps, along one axis, fall on the map from each position: int64 (length,)."""
    taps = np.add.outer(np.arange(_positive("length", length)), tap_offsets(side, dilation))
    counts: Integers = ((taps >= 0) & (taps < length)).sum(axis=1, dtype=np.int64)
    return counts


def _slide(padded: Numeric, kernel: Numeric, dilation: int) -> Numeric:
    """Sum shifted, scaled copies of a padded map: the taps in row-major order, the output only where all taps fit."""
    k = kernel.shape[-1]
    reach = dilation * (k - 1)
    C, H, W = padded.shape[0], padded.shape[1] - reach, padded.shape[2] - reach
    out = np.zeros((C, H, W), np.result_type(padded, kernel))
    steps = range(0, reach + 1, dilation)
    rows = [row for row, top in enumerate(steps) if padded[:, top : top + H].any()]  # a tap that meets only zeros adds
    columns = [column for column, left in enumerate(steps) if padded[:, :, left : left + W].any()]  # nothing
    for row in rows:
        for column in columns:
            top, left = row * dilation, column * dilation
            out += kernel[:, :, row, column, None] * padded[:, top : top + H, left : left + W]
    return out


def _margins(conv0: Numeric, conv_spatial: Numeric, dilation: int) -> tuple[int, int]:
    """Return how far the two steps together reach to the left and to the right of an output."""
    first, second = tap_offsets(conv0.shape[-1]), tap_offsets(conv_spatial.shape[-1], dilation)
    return -int(first[0] + second[0]), int(first[-1] + second[-1])


def _depthwise(kernel: Numeric, name: str) -> tuple[int, int]:
    """Return the channels and the side of a depthwise kernel; ValueError for anything else."""
    if kernel.ndim != 4 or kernel.shape[1] != 1 or kernel.shape[2] != kernel.shape[3] or not kernel.size:
        raise ValueError(f"{name} is a square depthwise kernel (C, 1, k, k); got {kernel.shape}")
    return kernel.shape[0], kernel.shape[-1]


def _positive(name: str, value: float) -> int:
    if value < 1 or value != int(value):
        raise ValueError(f"{name} is a whole number of at least 1; got {value!r}")
    return int(value)


def check(K: int, d: int = 1) -> None:
    """Raise ValueError unless K is a whole positive number and d a whole number from 1 to K."""
    _positive("K", K)
    if not (1 <= d <= K and d == int(d)):
        raise ValueError(f"the dilation d is a whole number from 1 to K = {K}; got {d!r}")
