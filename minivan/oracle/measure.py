"""The measures of one layer: how far a port's numbers lie from the trace's."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..checks import Floating
from .tolerance import Tolerance
from .ulp import distance, float32_steps, same_bits

PERCENTILE = 0.999
# Numbers that are measured together: what is made of them stays in a processor's cache, and BLAS starts no threads for their
# sums of products, as OpenBLAS does from 10,000 on: on a busy machine waiting for those takes a hundred times as long.
PIECE = 1 << 13
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
    flat = np.ascontiguousarray(ours).reshape(-1), np.ascontiguousarray(theirs).reshape(-1)
    found = _Measures(flat[0].size, tolerance, unit, _finite_rms(flat[0]))
    for begin in range(0, flat[0].size, PIECE):
        found.add(begin, *(array[begin : begin + PIECE] for array in flat))
    signal, noise, other = found.signal, found.noise, found.other
    snr = decibels(signal, noise)
    if found.first < 0 and tolerance.least_db is not None and snr <= tolerance.least_db:
        found.first = found.worst
    first, worst = (_difference(ours, theirs, place) if found.first >= 0 else None for place in (found.first, found.worst))
    return Row(
        number, path, ours.shape, form, found.first < 0,
        bit_equal=found.equal / ours.size if ours.size else 1.0,
        max_abs=found.max_abs,
        max_rel=found.max_rel,
        max_ulp=float(found.largest.max(initial=0.0)),
        ulp_999=float(found.largest.min(initial=math.inf)) if ours.size else 0.0,
        snr_db=snr,
        cosine=found.inner / math.sqrt(signal * other) if signal and other else float(signal == other),
        first=first,
        worst=worst,
        precision=precision,
        not_finite=(found.strange_ours, found.strange_theirs),
    )  # fmt: skip


class _Measures:
    """What a layer's measures are made of, taken piece by piece: whole layers in float64 would take gigabytes."""

    def __init__(self, size: int, tolerance: Tolerance, unit: str, scale: float) -> None:
        self.tolerance, self.unit, self.scale = tolerance, unit, scale
        self.signal = self.noise = self.other = self.inner = 0.0
        self.max_abs = self.max_rel = 0.0
        self.equal = self.strange_ours = self.strange_theirs = 0
        self.first = self.worst = -1
        self.count = size - max(math.ceil(PERCENTILE * size) - 1, 0)  # the smallest of so many largest is the percentile
        self.largest = np.empty(0)  # distances, the largest so far

    def add(self, begin: int, ours: Floating, theirs: Floating) -> None:
        a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
        if self.unit == "float32" and ours.dtype == theirs.dtype == np.float32:
            signal, other = float(a @ a), float(b @ b)
            if math.isfinite(signal + other):  # of float32 numbers these do not overflow: so they are finite
                self._add_float32(begin, ours, theirs, a, b)
                self.signal, self.other = self.signal + signal, self.other + other
                return
        finite_a, finite_b = np.isfinite(a), np.isfinite(b)
        kept = finite_a & finite_b
        whole = bool(kept.all())
        if whole:
            error = np.abs(a - b)
        else:
            error = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.inf)
            error[kept] = np.abs(a[kept] - b[kept])
            self.strange_ours += int((~finite_a).sum())
            self.strange_theirs += int((~finite_b).sum())
        ulps, equal = distance(ours, theirs, self.unit), same_bits(ours, theirs, self.unit)
        self.equal += int(np.count_nonzero(equal))
        largest = float(error.max())
        self._judge(begin, np.abs(a), error, largest, ulps, equal)
        self._keep(ulps)
        if self.worst < 0 or largest > self.max_abs:
            self.worst, self.max_abs = begin + int(np.argmax(error)), largest
        if not whole:
            a, b, error = a[kept], b[kept], error[kept]
        self.signal += float(a @ a)
        self.noise += float(error @ error)
        self.other += float(b @ b)
        self.inner += float(a @ b)
        size = np.abs(a)
        size[size == 0] = np.inf
        self.max_rel = max(self.max_rel, float((error / size).max(initial=0.0)))

    def _add_float32(
        self, begin: int, ours: Floating, theirs: Floating, a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]
    ) -> None:
        """Measure finite float32 numbers, which a and b are in float64: the usual case, in as few passes as it takes."""
        equal = ours.view(np.int32) == theirs.view(np.int32)
        self.equal += (count := int(np.count_nonzero(equal)))
        if count == equal.size:
            self.inner += float(a @ b)
            self.worst = begin if self.worst < 0 else self.worst
            if self.largest.size < self.count:
                self._keep(np.zeros(equal.size))
            return
        error, ulps, size = np.abs(a - b), float32_steps(ours, theirs), np.abs(a)
        largest = float(error.max())
        self._judge(begin, size, error, largest, ulps, equal)
        self._keep(ulps)
        if self.worst < 0 or largest > self.max_abs:
            self.worst, self.max_abs = begin + int(np.argmax(error)), largest
        self.noise += float(error @ error)
        self.inner += float(a @ b)
        size[size == 0] = np.inf
        self.max_rel = max(self.max_rel, float((error / size).max()))

    def _judge(
        self,
        begin: int,
        size: npt.NDArray[np.float64],
        error: npt.NDArray[np.float64],
        largest: float,
        ulps: npt.NDArray[np.float64] | npt.NDArray[np.int64],
        equal: npt.NDArray[np.bool_],
    ) -> None:
        """Remember the first number that lies outside the tolerance. `size` holds absolute values, `largest` is the error's."""
        allowed = self.tolerance
        if self.first >= 0 or (not allowed.equal_bits and largest <= allowed.atol + allowed.rtol * self.scale):
            return
        if allowed.equal_bits:
            within = equal
        else:
            size = np.where(np.isfinite(size), size, 0.0)
            within = error <= allowed.atol + allowed.rtol * np.maximum(size, self.scale)
            if allowed.max_ulp is not None:
                within |= ulps <= allowed.max_ulp
        if not within.all():
            self.first = begin + int(np.argmin(within))

    def _keep(self, ulps: npt.NDArray[np.float64] | npt.NDArray[np.int64]) -> None:
        """Keep the largest distances."""
        if self.largest.size == self.count:
            ulps = ulps[ulps > self.largest.min()]
            if not ulps.size:
                return
        both = np.concatenate([self.largest, ulps])
        self.largest = np.partition(both, both.size - self.count)[both.size - self.count :] if both.size > self.count else both


def decibels(signal: float, noise: float) -> float:
    """Return 10 log10 of the ratio of two sums of squares, infinite without noise."""
    return math.inf if noise == 0 else -math.inf if signal == 0 else 10 * math.log10(signal / noise)


def _finite_rms(values: Floating) -> float:
    """Return the root mean square of the finite numbers."""
    total, count = 0.0, 0
    for begin in range(0, values.size, PIECE):
        wide = np.asarray(values[begin : begin + PIECE], np.float64)
        kept = wide[np.isfinite(wide)]
        total, count = total + float(kept @ kept), count + kept.size
    return math.sqrt(total / count) if count else 0.0


def rms(values: Floating) -> float:
    """Return the root mean square, 0 for nothing."""
    flat, total = np.ascontiguousarray(values).reshape(-1), 0.0
    for begin in range(0, flat.size, PIECE):
        piece = np.asarray(flat[begin : begin + PIECE], np.float64)
        total += float(piece @ piece)
    return math.sqrt(total / flat.size) if flat.size else 0.0


def apart(theirs: Floating, other: Floating) -> float:
    """Return the root mean square of the difference; infinite for other shapes, and where other numbers are NaN or infinite."""
    if theirs.shape != other.shape:
        return math.inf
    a, b = (np.ascontiguousarray(array).reshape(-1) for array in (theirs, other))
    total, count = 0.0, 0
    for begin in range(0, a.size, PIECE):
        piece = slice(begin, begin + PIECE)
        left, right = np.asarray(a[piece], np.float64), np.asarray(b[piece], np.float64)
        finite = np.isfinite(left)
        if not np.array_equal(finite, np.isfinite(right)):
            return math.inf
        error = (left - right)[finite]
        total, count = total + float(error @ error), count + error.size
    return math.sqrt(total / count) if count else math.inf


def _difference(ours: Floating, theirs: Floating, flat: int) -> Difference:
    index = tuple(int(i) for i in np.unravel_index(flat, ours.shape))
    return Difference(index, float(ours[index]), float(theirs[index]))


def misshapen(number: int, path: str, ours: tuple[int, ...], theirs: tuple[int, ...], form: str, precision: str) -> Row:
    """Return the row for an array of the port whose shape cannot be the trace's."""
    unknown = (math.nan,) * 7
    fault = f"shape {theirs}, the trace has {ours}"
    return Row(number, path, ours, form, False, *unknown, fault=fault, precision=precision)
