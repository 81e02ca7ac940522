"""GELU, ReLU and softmax, and the `exp` and `erf` under them, from +, -, * and / alone.

The C library's exp and erf differ between systems in the last bit, so minivan has its own: the same operations in the
same order give the same bits wherever float64 is IEEE 754.
"""

from __future__ import annotations

import math

import numpy as np

from .. import checks, floating
from ..checks import Float32, Floating
from ..jit import inline, launch, njit, prange
from ..registers import restore, standard

CHUNK = 4096  # elements a thread takes at once

LOG2_E = 1.4426950408889634
LN2_HIGH, LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10  # ln 2 in two pieces; k * LN2_HIGH is exact
ROUND = 6755399441055744.0  # 1.5 * 2^52: adding it to |v| < 2^31 and taking it away rounds v to a whole number
ROUND_BITS = np.int64(np.float64(ROUND).view(np.int64))
EXP_SERIES = tuple(1.0 / math.factorial(k) for k in range(13, -1, -1))

# (1 + 2t) exp(t^2) erfc(t) as a polynomial in u = (t - 4) / (t + 4), which maps t = 0..infinity to -1..1, and
# erf(x) / x as one in x^2 on 0..1: both interpolated at Chebyshev nodes with mpmath at 60 digits, listed lowest power first.
# The scaled form is that of Shepherd and Laframboise, Mathematics of Computation 36 (1981); a test makes the numbers again.
ERFC_SCALED = (
    1.2329951186255526,
    -0.139621116840557,
    0.015379652102618402,
    0.06809705425420673,
    -0.10103906603618064,
    0.0937328350110569,
    -0.06633036581541651,
    0.03716751538360477,
    -0.016197734020451597,
    0.005031971017234254,
    -0.0007577735257382458,
    -0.0001992610018544279,
    0.00015062257137043143,
    -2.4387691264306046e-05,
    -1.1224122281497544e-05,
    5.6894090899650724e-06,
    2.968409172531307e-07,
    -8.019174684327191e-07,
    7.202517584836005e-08,
    9.290772873032215e-08,
    -1.673812797437216e-08,
    -6.984021100158542e-09,
    1.6403183696752708e-09,
)[::-1]
ERF_OVER_X = (
    1.1283791670955126, -0.37612638903183754, 0.1128379167095512, -0.02686617064512984, 0.0052239776254232985,
    -0.000854832702193483, 0.00012055332902888736, -1.4925647567519332e-05, 1.6462045441468418e-06,
    -1.6364642158167616e-07, 1.4792401209404813e-08, -1.216456005728345e-09, 8.709045129053106e-11, -4.230945824295338e-12,
)[::-1]  # fmt: skip


@inline
def _polynomial(x: float, coefficients: tuple[float, ...]) -> float:
    """Horner's rule, highest power first in `coefficients`."""
    y = 0.0
    for c in coefficients:
        y = y * x + c
    return y


@inline
def _power_of_two(k: float) -> float:
    """2^k for a whole number k in -1022..1023, by writing the exponent's bits. k + ROUND holds k in its lowest bits."""
    whole = np.float64(k + ROUND).view(np.int64) - ROUND_BITS
    return np.int64((whole + 1023) << 52).view(np.float64)


@njit()
def exp(x: float) -> float:
    """e^x in float64, within 1.2 ULP. With x = k ln 2 + r and |r| <= ln 2 / 2: 2^k times the series of e^r to r^13.

    The bounds here and below are the worst of a sweep: every 1,001st float32, and a million random float64.
    """
    x = -746.0 if x < -746.0 else x  # from here on 0 in float64; NaN passes through both lines
    x = 710.0 if x > 710.0 else x  # from here on infinity
    k = (x * LOG2_E + ROUND) - ROUND
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    half = ((k * 0.5) + ROUND) - ROUND  # 2^k in two factors: k itself may lie outside the exponent's range
    return _polynomial(r, EXP_SERIES) * _power_of_two(half) * _power_of_two(k - half)


@njit()
def erfc(x: float) -> float:
    """1 - erf(x) in float64, with its digits kept where it is tiny: for t = |x|, exp(-t^2) P(u) / (1 + 2t).

    Within 8 ULP for x <= 1; beyond, rounding t^2 costs 8 x^2 ULP at most (512 at x = 23, where erfc is 1e-233).
    """
    t = abs(x)
    t = 28.0 if t > 28.0 else t  # erfc(28) is 0 in float64
    tail = exp(-t * t) * _polynomial((t - 4.0) / (t + 4.0), ERFC_SCALED) / (1.0 + 2.0 * t)
    return 2.0 - tail if x < 0.0 else tail


@njit()
def erf(x: float) -> float:
    """The error function in float64, within 1.8 ULP: x P(x^2) on -1..1, and 1 - erfc(x) outside."""
    if abs(x) <= 1.0:
        return x * _polynomial(x * x, ERF_OVER_X)
    return 1.0 - erfc(x)


def gelu(x: Floating) -> Float32:
    """x/2 * (1 + erf(x / sqrt 2)), float32, any shape; the exact form, not the tanh approximation.

    Computed as x/2 * erfc(-x / sqrt 2), which is the same and keeps its digits for x < -5. The result is the float32 nearest
    to the true value, at most 0.5 ULP off: measured for all 2^32 inputs, denormals included (the tests repeat every 1,001st,
    with -m long all). gelu(-0) is -0; gelu(-infinity) is NaN, as in PyTorch; gelu(infinity) is infinity, as in PyTorch's
    float64 (its vectorised float32 code gives NaN there).
    """
    checks.check_floating(x=x)
    x = checks.float32(x)
    y = np.empty_like(x)
    with launch.lock, launch:
        _gelu(x.reshape(-1), y.reshape(-1))
    return y


@njit(parallel=True)
def _gelu(x: Float32, y: Float32) -> None:
    """For each element: y = x/2 * erfc(-x / sqrt 2)."""
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        was = standard()
        for p in range(chunk * CHUNK, min((chunk + 1) * CHUNK, x.size)):
            v = np.float64(x[p])
            y[p] = v * 0.5 * erfc(v * -0.7071067811865476)
        restore(was)


def relu(x: Floating) -> Float32:
    """0 where x is below 0, and x for the rest, float32, any shape. relu(-0) is -0 and relu(NaN) NaN, as in PyTorch.

    Its derivative is minivan.grad.relu_input.
    """
    checks.check_floating(x=x)
    x = checks.float32(x)
    y = np.empty_like(x)
    with launch.lock, launch:
        _relu(x.reshape(-1), y.reshape(-1))
    return y


@njit(parallel=True)
def _relu(x: Float32, y: Float32) -> None:
    """For each element: nothing is rounded."""
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        was = standard()
        for p in range(chunk * CHUNK, min((chunk + 1) * CHUNK, x.size)):
            y[p] = np.float32(0) if x[p] < 0 else x[p]
        restore(was)


def softmax(x: Floating) -> Float32:
    """Over the last axis, float32: exp(x - max) / sum exp(x - max)."""
    checks.check_softmax(x)
    x = checks.float32(x)
    y = np.empty_like(x)
    with floating.standard():
        _softmax(x.reshape(-1, x.shape[-1]), y.reshape(-1, x.shape[-1]))
    return y


@njit()
def _softmax(x: Float32, y: Float32) -> None:
    """For each row: the largest value is taken away first, so that exp cannot overflow."""
    rows, classes = x.shape
    e = np.empty(classes, np.float64)
    for i in range(rows):
        largest = np.float64(x[i, 0])
        for c in range(1, classes):
            value = np.float64(x[i, c])
            largest = value if value > largest or value != value else largest  # a NaN stays
        total = 0.0
        for c in range(classes):
            e[c] = exp(np.float64(x[i, c]) - largest)
            total += e[c]
        for c in range(classes):
            y[i, c] = e[c] / total
