"""The measures of one layer: how far a port's numbers lie from the trace's."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..checks import Floating
from .tolerance import Tolerance
from .ulp import distance, same_bits

PERCENTILE = 0.999
COUNTED = ("float16", "bfloat16")  # where a port computes in these, its numbers are counted in them, however they are stored


@dataclass(frozen=True)
class Difference:
    """One element of a layer that lies outside the tolerance: where, and both numbers."""

    index: tuple[int, ...]
    ours: float
    theirs: float


@dataclass(frozen=True)
class Row:
    """How one layer compares. Errors are |ours - theirs|, over finite numbers; relative ones leave out ours == 0."""

    number: int  # place in the trace, from 0
    path: str
    shape: tuple[int, ...]  # ours
    form: str  # the format that the port's numbers are stored in
    within: bool
    bit_equal: float  # share of elements, 0..1, after ours is rounded to the port's format
    max_abs: float
    max_rel: float
    max_ulp: float  # counted in the port's format (float64: in float32)
    ulp_999: float  # 99.9 per cent of the elements lie within this many
    snr_db: float  # 10 log10(sum ours^2 / sum (ours - theirs)^2); infinite where equal
    cosine: float
    first: Difference | None = None  # in index order, outside the tolerance
    worst: Difference | None = None
    fault: str = ""  # why there are no numbers: a shape that cannot be the trace's
    precision: str = ""  # what the port computed in
    layout: str = ""  # of the port's array
    not_finite: tuple[int, int] = (0, 0)  # how many numbers are NaN or infinite, in the trace and in the port
    own: float = math.nan  # the error that the layer adds to what it was fed, in roundings: see `own`. NaN: not known
    inherited: float = math.nan  # the error that what it was fed makes, in the same unit
    own_db: float = math.nan  # the same two as ratios of signal to noise, in dB
    inherited_db: float = math.nan
    line: float = math.nan  # the largest own error of a sound layer


def measure(
    number: int, path: str, ours: Floating, theirs: Floating, form: str, tolerance: Tolerance, precision: str = ""
) -> Row:
    """Return the row for two arrays of one shape, stored in `form` and computed in `precision`, where that is another one."""
    precision = precision or form
    unit = precision if precision in COUNTED else "float32" if form == "int8" else form
    a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    finite = np.isfinite(a) & np.isfinite(b)
    error = np.where(same, 0.0, np.inf)
    np.subtract(a, b, out=error, where=finite)
    error = np.abs(error)
    ulps, equal = distance(ours, theirs, unit), same_bits(ours, theirs, unit)
    scale = rms(a[np.isfinite(a)])
    magnitude = np.maximum(np.abs(np.where(np.isfinite(a), a, 0.0)), scale)
    if tolerance.equal_bits:
        within = equal
    else:
        within = same | (error <= tolerance.atol + tolerance.rtol * magnitude)
        if tolerance.max_ulp is not None:
            within |= ulps <= tolerance.max_ulp
    first = worst = None
    if not within.all():
        first, worst = (_difference(ours, theirs, int(flat)) for flat in (np.argmin(within), np.argmax(error)))
    not_finite = (int((~np.isfinite(a)).sum()), int((~np.isfinite(b)).sum()))
    a, b, e = a[finite], b[finite], error[finite]
    signal, noise, other = float(a @ a), float(e @ e), float(b @ b)
    return Row(
        number, path, ours.shape, form, bool(within.all()),
        bit_equal=float(equal.mean()) if ours.size else 1.0,
        max_abs=float(error.max(initial=0.0)),
        max_rel=float((e[a != 0] / np.abs(a[a != 0])).max(initial=0.0)),
        max_ulp=float(ulps.max(initial=0.0)),
        ulp_999=_percentile(ulps.ravel()),
        snr_db=math.inf if noise == 0 else -math.inf if signal == 0 else 10 * math.log10(signal / noise),
        cosine=float(a @ b) / math.sqrt(signal * other) if signal and other else float(signal == other),
        first=first,
        worst=worst,
        precision=precision,
        not_finite=not_finite,
    )  # fmt: skip


def rms(values: Floating) -> float:
    """Return the root mean square, 0 for nothing."""
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64)))) if values.size else 0.0


def _percentile(values: Floating) -> float:
    """The smallest distance within which at least 99.9 per cent of the elements lie."""
    if not values.size:
        return 0.0
    place = math.ceil(PERCENTILE * values.size) - 1
    return float(np.partition(values, place)[place])


def _difference(ours: Floating, theirs: Floating, flat: int) -> Difference:
    index = tuple(int(i) for i in np.unravel_index(flat, ours.shape))
    return Difference(index, float(ours[index]), float(theirs[index]))


def misshapen(number: int, path: str, ours: Floating, theirs: Floating, form: str, precision: str) -> Row:
    """Return the row for an array of the port whose shape cannot be the trace's."""
    unknown = (math.nan,) * 7
    fault = f"shape {theirs.shape}, the trace has {ours.shape}"
    return Row(number, path, ours.shape, form, False, *unknown, fault=fault, precision=precision)
