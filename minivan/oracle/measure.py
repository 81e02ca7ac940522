"""The measures of one layer: how far a port's numbers lie from the trace's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ..checks import Float64, Floating
from ..errors import CannotCompute, NoCompiler
from .tolerance import Tolerance
from .ulp import distance, same_bits

PERCENTILE = 0.999
COMPILED = 1 << 16  # numbers from which on compiled code measures: for fewer, it is not worth being loaded
INFINITE = (1 << 32) - 1  # what stands for a distance that is infinite: more than the numbers of any format
SAMPLED = 64  # one number of so many tells roughly how large the largest are
# Numbers that are measured together: what is made of them stays in a processor's cache, and BLAS starts no threads for their
# sums of products, as OpenBLAS does from 10,000 on: on a busy machine waiting for those takes a hundred times as long.
PIECE = 1 << 13
GROUP = 1 << 18  # numbers that are read together: a multiple of PIECE, and of the blocks of minivan.differences
COUNTED = ("float16", "bfloat16")  # where a port computes in these, its numbers are counted in them, however they are stored

Pairs: TypeAlias = Iterator[tuple[Floating, Floating]]  # of a layer's numbers, in the trace and in the port, the next ones
Steps: TypeAlias = npt.NDArray[np.uint32]  # how many numbers of a format lie from one number to another


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
    both = partial(_cut, *(np.ascontiguousarray(array).reshape(-1) for array in (ours, theirs)))
    return measured(number, path, ours.shape, both, form, tolerance, precision)


def _cut(ours: Floating, theirs: Floating) -> Pairs:
    for begin in range(0, ours.size, GROUP):
        yield ours[begin : begin + GROUP], theirs[begin : begin + GROUP]


def measured(
    number: int,
    path: str,
    shape: tuple[int, ...],
    both: Callable[[], Pairs],
    form: str,
    tolerance: Tolerance,
    precision: str = "",
) -> Row:
    """Return the row of `measure` for arrays that are in memory piece by piece alone.

    `both` yields their numbers in C order, GROUP at once; it is asked a second time where the tolerance may not hold.
    """
    precision = precision or form
    unit = precision if precision in COUNTED else "float32" if form == "int8" else form
    size = math.prod(shape)
    found = _Measures(size, unit)
    for ours, theirs in both():
        found.add(ours, theirs)
    first = found.beyond(both, tolerance)
    signal, noise, other = found.signal, found.noise, found.other
    snr = decibels(signal, noise)
    if first is None and tolerance.least_db is not None and snr <= tolerance.least_db:
        first = found.worst
    return Row(
        number, path, shape, form, first is None,
        bit_equal=found.equal / size if size else 1.0,
        max_abs=found.max_abs,
        max_rel=found.max_rel,
        max_ulp=_ulp(found.most_steps),
        ulp_999=_ulp(found.far.least),
        snr_db=snr,
        cosine=found.inner / math.sqrt(signal * other) if signal and other else float(signal == other),
        first=None if first is None else first.at(shape),
        worst=None if first is None or found.worst is None else found.worst.at(shape),
        precision=precision,
        not_finite=(found.strange_ours, found.strange_theirs),
    )  # fmt: skip


def compiled(rows: Callable[[ModuleType], Float64]) -> list[list[float]] | None:
    """Return the rows that a kernel of minivan.differences makes; None where NumPy has to do without it.

    That is where Numba is not there or compiles nothing, and where this process cannot start its threads.
    """
    try:
        from .. import differences  # Numba takes its time to be imported
        from ..jit import compiles

        return rows(differences).tolist() if compiles() else None
    except (NoCompiler, CannotCompute):
        return None


class _Place(NamedTuple):
    """A number's place in C order, and both values there."""

    place: int
    ours: float
    theirs: float

    def at(self, shape: tuple[int, ...]) -> Difference:
        return Difference(tuple(int(i) for i in np.unravel_index(self.place, shape)), self.ours, self.theirs)


class _Measures:
    """What a layer's measures are made of, taken piece by piece: whole layers would take gigabytes, in float64 more."""

    def __init__(self, size: int, unit: str) -> None:
        self.size, self.unit = size, unit
        self.signal = self.noise = self.other = self.inner = 0.0
        self.max_abs = self.max_rel = 0.0
        self.equal = self.strange_ours = self.strange_theirs = 0
        self.seen = 0  # numbers, so far
        self.worst: _Place | None = None
        self.most_steps = 0  # as many numbers of the format lie from ours to theirs, at most
        self.far = Largest(size - max(math.ceil(PERCENTILE * size) - 1, 0))  # the largest of them

    def add(self, ours: Floating, theirs: Floating) -> None:
        """Measure the next numbers."""
        steps = np.empty(ours.size, np.uint32)
        if self.size < COMPILED or not self._add_compiled(ours, theirs, steps):
            self._add(0, ours, theirs, steps)
        self.most_steps = max(self.most_steps, int(steps.max(initial=0)))
        self.far.add(steps)
        self.seen += ours.size

    def _add_compiled(self, ours: Floating, theirs: Floating, steps: Steps) -> bool:
        """Measure float32 numbers, pieces with NaN or infinities as all others; return False where nothing is compiled."""
        if not self.unit == "float32" == ours.dtype == theirs.dtype:
            return False
        rows = compiled(lambda kernels: kernels.distances(ours, theirs, steps))
        if rows is None:
            return False
        from .. import differences as d

        for block, row in enumerate(rows):
            begin = block * d.BLOCK
            if not math.isfinite(row[d.SIGNAL] + row[d.OTHER]):
                piece = slice(begin, begin + d.BLOCK)
                self._add(begin, ours[piece], theirs[piece], steps)
                continue
            self._take(ours, theirs, int(row[d.PLACE]), row[d.LARGEST])
            self.signal += row[d.SIGNAL]
            self.noise += row[d.NOISE]
            self.other += row[d.OTHER]
            self.inner += row[d.INNER]
            self.max_rel = max(self.max_rel, row[d.RELATIVE])
            self.equal += int(row[d.EQUAL])
        return True

    def _add(self, begin: int, ours: Floating, theirs: Floating, steps: Steps) -> None:
        """Measure any numbers, those from `begin` on of the ones whose `steps` are asked for."""
        for at in range(0, ours.size, PIECE):
            a, b = ours[at : at + PIECE], theirs[at : at + PIECE]
            steps[begin + at : begin + at + a.size] = np.minimum(distance(a, b, self.unit), INFINITE)
            self._piece(begin + at, a, b)

    def _piece(self, begin: int, ours: Floating, theirs: Floating) -> None:
        a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
        finite_a, finite_b = np.isfinite(a), np.isfinite(b)
        error = apart_each(a, b)
        self.equal += int(np.count_nonzero(same_bits(ours, theirs, self.unit)))
        place = int(np.argmax(error))
        self._take(ours, theirs, place, float(error[place]), begin)
        kept = finite_a & finite_b
        if not kept.all():
            self.strange_ours += int((~finite_a).sum())
            self.strange_theirs += int((~finite_b).sum())
            a, b, error = a[kept], b[kept], error[kept]
        self.signal += float(a @ a)
        self.noise += float(error @ error)
        self.other += float(b @ b)
        self.inner += float(a @ b)
        size = np.abs(a)
        size[size == 0] = np.inf
        self.max_rel = max(self.max_rel, float((error / size).max(initial=0.0)))

    def _take(self, ours: Floating, theirs: Floating, place: int, largest: float, begin: int = 0) -> None:
        """Remember the largest error: where in these arrays it stands, which begin so far after what was seen before."""
        if self.worst is None or largest > self.max_abs:
            self.max_abs = largest
            self.worst = _Place(self.seen + begin + place, float(ours[place]), float(theirs[place]))

    def beyond(self, both: Callable[[], Pairs], allowed: Tolerance) -> _Place | None:
        """Return the first number that lies outside the tolerance, None where none does.

        Where the largest error says that all are within, none is looked at once more.
        """
        scale = 0.0
        if allowed.equal_bits:
            if self.equal == self.size:
                return None
        else:
            known = not (self.strange_ours or self.strange_theirs)
            scale = math.sqrt(self.signal / max(self.size, 1)) if known else _finite_rms(ours for ours, _ in both())
            if self.max_abs <= allowed.atol + allowed.rtol * scale:
                return None
            if allowed.max_ulp is not None and _ulp(self.most_steps) <= allowed.max_ulp:
                return None
        seen = 0
        for ours, theirs in both():
            for begin in range(0, ours.size, PIECE):
                a, b = ours[begin : begin + PIECE], theirs[begin : begin + PIECE]
                within = self._within(a, b, allowed, scale)
                if not within.all():
                    place = int(np.argmin(within))
                    return _Place(seen + begin + place, float(a[place]), float(b[place]))
            seen += ours.size
        return None

    def _within(self, ours: Floating, theirs: Floating, allowed: Tolerance, scale: float) -> npt.NDArray[np.bool_]:
        """Return which numbers lie within the tolerance, in a layer whose own have the root mean square `scale`."""
        if allowed.equal_bits:
            return same_bits(ours, theirs, self.unit)
        a = np.asarray(ours, np.float64)
        size = np.abs(a)
        size = np.where(np.isfinite(size), size, 0.0)
        within = apart_each(a, np.asarray(theirs, np.float64)) <= allowed.atol + allowed.rtol * np.maximum(size, scale)
        if allowed.max_ulp is not None and not within.all():
            within |= distance(ours, theirs, self.unit) <= allowed.max_ulp
        return np.asarray(within)


def apart_each(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return |a - b|: 0 for equal infinities and for NaN against NaN, infinite for these against anything else."""
    known = np.isfinite(a) & np.isfinite(b)
    if known.all():
        return np.asarray(np.abs(a - b))
    error = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.inf)
    error[known] = np.abs(a[known] - b[known])
    return error


def _ulp(steps: int) -> float:
    return math.inf if steps == INFINITE else float(steps)


class Largest:
    """Of numbers that come many at once, the k-th largest, k from 1 on: `least`, 0 for fewer than k."""

    def __init__(self, k: int) -> None:
        self.k, self.least = k, 0
        self.above = np.empty(0, np.uint32)  # all that are larger than `least`: fewer than k

    def add(self, values: Steps) -> None:
        """Take notice of more numbers."""
        if self.least == 0 and values.size >= self.k:  # it cannot be less than that of these alone
            self.least = kth_largest(values, self.k)
        self.above = np.concatenate([self.above[self.above > self.least], values[values > self.least]])
        if self.above.size >= self.k:
            self.least = kth_largest(self.above, self.k)
            self.above = self.above[self.above > self.least]


def kth_largest(values: Steps, k: int) -> int:
    """Return the k-th largest number, k from 1 on.

    A few of them tell roughly which it is, so that only those about as large have to be sorted.
    """
    if not values.any():
        return 0
    sample = np.sort(values[::SAMPLED])
    least = sample[-min(sample.size, 2 * k // SAMPLED + 8)]
    large = values[values >= least]
    if large.size < k:
        large = values
    return int(np.partition(large, large.size - k)[large.size - k])


def decibels(signal: float, noise: float) -> float:
    """Return 10 log10 of the ratio of two sums of squares, infinite without noise."""
    return math.inf if noise == 0 else -math.inf if signal == 0 else 10 * math.log10(signal / noise)


def _finite_rms(groups: Iterable[Floating]) -> float:
    """Return the root mean square of the finite numbers."""
    total, count = 0.0, 0
    for values in groups:
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


def misshapen(number: int, path: str, ours: tuple[int, ...], theirs: tuple[int, ...], form: str, precision: str) -> Row:
    """Return the row for an array of the port whose shape cannot be the trace's."""
    unknown = (math.nan,) * 7
    fault = f"shape {theirs}, the trace has {ours}"
    return Row(number, path, ours, form, False, *unknown, fault=fault, precision=precision)
