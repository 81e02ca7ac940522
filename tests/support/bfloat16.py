"""bfloat16 as the tests know it: numbers of all kinds, what fused multiply-adds make of them, and a reference for networks."""

from types import SimpleNamespace

import numpy as np

from minivan import ops
from minivan.engines import Engine
from minivan.oracle.ulp import round_to


def numbers(rng, size):
    """Return float32 of all kinds: any bits; near 1, whose sums cancel; near 2^-64, whose products are near 2^-126; special."""
    bits, kind = rng.integers(0, 2**32, size).astype(np.uint32), rng.integers(0, 5, size)
    for each, least, most in ((0, 0, 3), (1, 120, 134), (2, 60, 68)):  # exponents
        bits = np.where(kind == each, bits & 0x807FFFFF | rng.integers(least, most, size).astype(np.uint32) << 23, bits)
    rare = np.float32([0, np.inf, np.nan, 1, 2.0**-126, 2.0**-127, 2.0**-63, np.finfo(np.float32).max]).view(np.uint32)
    return np.where(kind == 3, bits & 0x80000000 | rng.choice(rare, size), bits).view(np.float32)


def cut(values):
    """Return the upper halves of float32 numbers alone, as float32: any of them a bfloat16."""
    return (values.view(np.uint32) & 0xFFFF0000).view(np.float32)


def fused(a, b, c):
    """a * b + c of bfloat16 a and b, rounded to float32 once; numbers below 2^-126 are zero, of what goes in and comes out.

    In float64 the product is exact; the sum is, too, or one of the two is far below the other's last bit. What is below 2^-126
    is seen after rounding to 24 bits: of the sum times 2^100.
    """
    with np.errstate(all="ignore"):
        a, b, c = (np.where(np.abs(v) < 2.0**-126, np.copysign(0.0, v), v).astype(np.float64) for v in (a, b, c))
        total = a * b + c
        near = total.astype(np.float32)
        tiny = np.abs((total * 2.0**100).astype(np.float32)) < 2.0**-26
    return np.where(tiny, np.copysign(np.float32(0), near), near)


def same_bits(got, expected):
    """Tell whether two arrays have the same bits, all NaN being one."""
    nothing = np.float32(np.nan)
    one, two = (np.where(np.isnan(values), nothing, values).view(np.uint32) for values in (got, expected))
    return np.array_equal(one, two)


def rounded_bits(halves):
    """The upper halves of numbers that are bfloat16 already."""
    return (halves.view(np.uint32) >> 16).astype(np.uint16)


def rounding_operands(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """exact's convolution, input and weight rounded to bfloat16 where it is a matrix product."""
    if groups == 1:
        x, weight = (np.asarray(round_to(values, "bfloat16"), np.float32) for values in (x, weight))
    return ops.conv2d(x, weight, bias, stride, padding, dilation, groups)


REFERENCE = Engine("exact, operands in bfloat16", ops=SimpleNamespace(**{**vars(ops), "conv2d": rounding_operands}))
