"""Distances counted in representable numbers, in the formats that ports compute in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..checks import Floating

FORMATS = ("float16", "bfloat16", "float32", "float64")
DIGITS = {"float16": 10, "bfloat16": 7, "tf32": 10, "float32": 23, "float64": 52}  # binary ones after the point
SMALLEST = {
    "float16": -24,
    "bfloat16": -133,
    "tf32": -136,
    "float32": -149,
    "float64": -1074,
}  # the least number: 2 to the power
FINITE, BIAS = 0x7FF, 1023  # of float64's exponent: the field that no finite number has, and what is added to it
CUT = {"bfloat16": 16, "tf32": 13}  # formats that are a float32's first bits: how many they go without


def round_to(values: Floating, form: str) -> Floating:
    """Return values rounded to a format, nearest even, in a NumPy dtype that holds them.

    bfloat16 and tf32 (eight bits of exponent, ten after the point) come back as float32; what is wider than that is rounded to
    float32 first.
    """
    with np.errstate(over="ignore"):
        if form not in CUT:
            return np.asarray(values).astype(form, copy=False)
        bits, cut = np.asarray(values, np.float32).view(np.uint32), np.uint32(CUT[form])
        half = np.uint32((1 << (CUT[form] - 1)) - 1)
        rounded = (bits + half + ((bits >> cut) & np.uint32(1))) >> cut << cut
    return np.where(np.isnan(values), np.float32(np.nan), rounded.view(np.float32))


def spacing(values: Floating, form: str) -> npt.NDArray[np.float64]:
    """Return how far apart the numbers of a format lie around each value, float64; values that are not finite count as 0.

    >>> spacing(np.float32([1.5, 0.75, 0]), "float16").tolist() == [2**-10, 2**-11, 2**-24]
    True
    """
    fields = (np.array(values, np.float64, order="C").view(np.int64) >> 52) & FINITE  # of float64, the exponent plus 1023
    if (fields == FINITE).any():
        fields[fields == FINITE] = 0
    least = np.maximum(fields - (BIAS + DIGITS[form]), SMALLEST[form])
    return np.asarray(np.ldexp(1.0, least) if form == "float64" else ((least + BIAS) << 52).view(np.float64), np.float64)


def one_rounding(values: Floating, form: str) -> float:
    """Return the root mean square of the error that one rounding of these values to a format makes, 0 for no values.

    An error of that kind lies anywhere between minus and plus half the spacing, hence a twelfth of the spacing's square.
    """
    apart = spacing(values, form)
    return float(np.sqrt(np.mean(np.square(apart)) / 12)) if apart.size else 0.0


def ranks(values: Floating, form: str) -> npt.NDArray[np.int64]:
    """Return each number's place in the order of its format's numbers, int64; -0 and 0 share place 0."""
    rounded = np.ascontiguousarray(round_to(values, form))
    width = rounded.dtype.itemsize * 8
    bits = rounded.view(f"int{width}")
    negative = bits >> (width - 1)  # all ones, or zero
    if form == "bfloat16":
        bits, width = bits >> 16, 16
    return np.asarray((bits ^ (negative & ((1 << (width - 1)) - 1))) - negative, np.int64)


def distance(a: Floating, b: Floating, form: str = "float32") -> npt.NDArray[np.float64]:
    """Return how many numbers of the format lie from a to b, float64 elementwise.

    Both are rounded to it first. NaN against NaN is 0, NaN against a number infinite. A float64 result is counted in
    float32, the format in which every engine here hands over its tensors.

    >>> distance(np.float32([1, 0, 0]), np.float32([1 + 2**-22, -0.0, np.nan])).tolist()
    [2.0, 0.0, inf]
    """
    form = "float32" if form == "float64" else form
    steps = np.asarray(np.abs(ranks(a, form) - ranks(b, form)), np.float64)
    nan_a, nan_b = np.isnan(a), np.isnan(b)
    if not (nan_a.any() or nan_b.any()):
        return steps
    return np.where(nan_a & nan_b, 0.0, np.where(nan_a | nan_b, np.inf, steps))


def same_bits(a: Floating, b: Floating, form: str = "float32") -> npt.NDArray[np.bool_]:
    """Return where a, rounded to the format, and b are the same number with the same sign; all NaN count as the same.

    b is in the format already; a float64 one is rounded to float32, and both are compared in that.
    """
    form, b = ("float32", round_to(b, "float32")) if form == "float64" else (form, b)
    a = round_to(a, form)
    equal = (a == b) & (np.signbit(a) == np.signbit(b))
    return np.asarray(equal | (np.isnan(a) & np.isnan(b)))
