"""Distances counted in representable numbers, in the formats that ports compute in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..checks import Floating

FORMATS = ("float16", "bfloat16", "float32", "float64")


def round_to(values: Floating, form: str) -> Floating:
    """Return values rounded to a format, nearest even, in a NumPy dtype that holds them: bfloat16 comes back as float32."""
    with np.errstate(over="ignore"):
        if form != "bfloat16":
            return np.asarray(values).astype(form)
        bits = np.asarray(values, np.float32).view(np.uint32)
        rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(values), np.float32(np.nan), rounded.view(np.float32))


def ranks(values: Floating, form: str) -> npt.NDArray[np.int64]:
    """Return each number's place in the order of its format's numbers, int64; -0 and 0 share place 0."""
    rounded = np.ascontiguousarray(round_to(values, form))
    width = rounded.dtype.itemsize * 8
    bits = rounded.view(f"int{width}").astype(np.int64)
    if form == "bfloat16":
        bits, width = bits >> 16, 16
    return np.where(bits < 0, -(bits & ((1 << (width - 1)) - 1)), bits)


def distance(a: Floating, b: Floating, form: str = "float32") -> npt.NDArray[np.float64]:
    """Return how many numbers of the format lie from a to b, float64 elementwise.

    Both are rounded to it first. NaN against NaN is 0, NaN against a number infinite. A float64 result is counted in
    float32, the format in which every engine here hands over its tensors.

    >>> distance(np.float32([1, 0, 0]), np.float32([1 + 2**-22, -0.0, np.nan])).tolist()
    [2.0, 0.0, inf]
    """
    form = "float32" if form == "float64" else form
    steps = np.abs(ranks(a, form) - ranks(b, form)).astype(np.float64)
    nan_a, nan_b = np.isnan(a), np.isnan(b)
    return np.where(nan_a & nan_b, 0.0, np.where(nan_a | nan_b, np.inf, steps))


def same_bits(a: Floating, b: Floating, form: str = "float32") -> npt.NDArray[np.bool_]:
    """Return where a, rounded to the format, and b are the same number with the same sign; all NaN count as the same."""
    form = "float32" if form == "float64" else form
    a, b = round_to(a, form), round_to(b, form)
    equal = (a == b) & (np.signbit(a) == np.signbit(b))
    return np.asarray(equal | (np.isnan(a) & np.isnan(b)))
