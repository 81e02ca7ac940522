"""Each layer's own error, apart from what it inherited: every layer is computed once more from what the port itself fed it.

With r what `exact` makes of the numbers that the port shows before a layer, a the trace's numbers and b the port's:

    own       = root mean square of b - r      what this layer adds: rounding, or its fault
    inherited = root mean square of r - a      what the layers before it passed on

both in units of one rounding of r to the port's format. A sound layer adds about one rounding, whatever the layers before it
did; a fault adds many.

Between two layers that a port shows there may lie some that it does not. What their rounding adds is estimated: they are
computed once more with every number rounded to eleven binary digits, and the error that this makes, brought to the port's
format, goes into the unit.

The line that a sound layer stays below is one for all layers of a format, and higher for a layer beyond it whose sums are long
or cancel: see `cancellation`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import numpy.typing as npt

from ..checks import Floating
from ..paths import INPUT
from .cancellation import allowed
from .compare import Report
from .faults import scale_at
from .gradients import is_gradient
from .measure import COMPILED, GROUP, PIECE, Row, compiled, decibels
from .precision import coarser, step
from .replay import Call, GradientCall, Replay, Run, watch
from .sketch import Sketch, sketch
from .stored import Layers, Spool, cut
from .trace import Trace
from .ulp import spacing

TRIED = "tf32"  # what layers that a port does not show are rounded to: eleven digits, and float32's exponents
QUANTISED = 6.0  # dB of signal over its own noise, below which a layer of eight bits is wrong: eight bits give some forty
LINES = {"float32": 50.0, "tf32": 4.0, "float16": 4.0, "bfloat16": 4.0}  # roundings that a sound layer may add; measured


def weighed(
    report: Report, trace: Trace, run: Run, errors: Spool | None = None, sketches: dict[str, Sketch] | None = None
) -> tuple[Report, Replay]:
    """Return a report with the own and the inherited error of every row, and what the run showed, but for its arrays.

    `run` runs the trace's network on its input. Where `errors` is given, each layer's own errors are put aside there, and in
    `sketches` where they lie.
    """
    hidden = bool(report.missing) or any(path not in report.arrays for path in trace.layers)
    with Spool() as tried:
        if hidden:
            watch(run, report.arrays, lambda path, value, call, given: _put(tried, report, path, value), rounded=TRIED)
        scale = _Scale(trace.arrays, report, tried.layers, errors, sketches)
        watch(run, report.arrays, scale, giver=scale.give)
    return replace(report, rows=[scale.rows.get(row.path, row) for row in report.rows]), scale.seen


def _put(spool: Spool, report: Report, path: str, value: Floating) -> None:
    if path in report.arrays:
        spool.put(path, np.asarray(value, np.float32))


class _Scale:
    """Weighs each layer as it is made, and takes notes of the calls and the layer scales."""

    def __init__(
        self, trace: Layers, report: Report, tried: Layers, errors: Spool | None, sketches: dict[str, Sketch] | None
    ) -> None:
        self.trace, self.report, self.tried, self.errors, self.sketches = trace, report, tried, errors, sketches
        self.given = {row.path: row for row in report.rows}
        self.rows: dict[str, Row] = {}
        self.seen = Replay()
        self.narrow: dict[str, Floating] = {}  # of the block that is running, what its layer scales show in

    def give(self, path: str, value: Floating, call: Call | None) -> Floating | None:
        """Weigh a layer, and put the port's numbers in the place of its own: the largest layers would be in memory twice.

        None where its own are still needed, or are not its alone.
        """
        row = self.given.get(path)
        if row is None or row.fault or row.shape != value.shape or call is None:  # without a call it may be the trace's input
            return None
        if self.errors is not None or self.sketches is not None or not (value.flags.c_contiguous and value.flags.writeable):
            return None
        self._weigh(row, self.report.arrays.pieces(path, GROUP), value, call, replaced=True)
        return value

    def __call__(self, path: str, value: Floating, call: Call | None, given: Floating) -> None:
        if not is_gradient(path):
            self._scales(path, value, call, given)
        if call is not None and not isinstance(call, GradientCall):
            self.seen.calls[path] = call.without_x()
        row = self.given.get(path)
        if row is None or path in self.rows:
            return
        if row.fault or row.shape != value.shape:  # which a damaged trace's may not be
            self.rows[path] = replace(row, own=math.inf, line=LINES[unit_of(row)])
            return
        shown = given is not value and row.form != "float64"  # then the port's numbers are what the next layers are given
        theirs = given if shown else self.report.arrays[path]
        self._weigh(row, cut(theirs, GROUP), value, call)
        if self.errors is not None:
            self.errors.put(path, np.asarray(theirs, np.float32) - value)
        if self.sketches is not None:
            self.sketches[path] = sketch(value, theirs, "own")

    def _weigh(
        self, row: Row, theirs: Iterator[Floating], value: Floating, call: Call | None, *, replaced: bool = False
    ) -> None:
        """Weigh a layer; with `replaced`, the port's numbers are in the place of its own then."""
        found = _row(row, self.trace, theirs, value, self.tried, replaced)
        if found.line < found.own < math.inf and call is not None and row.precision != "int8":
            right = np.asarray(call.again()) if replaced else value
            found = replace(found, line=max(found.line, allowed(call, right, unit_of(row))))
        self.rows[row.path] = found

    def _scales(self, path: str, value: Floating, call: Call | None, given: Floating) -> None:
        scale = scale_at(path, value, self.narrow)
        if scale is not None:
            self.seen.scales[path] = scale
        if path.endswith(".norm1"):
            self.narrow = {} if call is None else {f"{path.removesuffix('.norm1')}.begin": call.x}
        elif path.endswith(".layer_scale_1"):  # what came before it is needed no more
            self.narrow = {path: given}
        elif path.endswith((".attn", ".mlp.fc2")):
            self.narrow[path] = given


def unit_of(row: Row) -> str:
    """Return the format whose roundings a row's errors are counted in: the coarser one of what computed and what stored it."""
    form = coarser(row.precision, row.form)
    return "float32" if form in ("float64", "int8") else form


def _row(row: Row, trace: Layers, theirs: Iterator[Floating], right: Floating, tried: Layers, replaced: bool) -> Row:
    """Return a row with its own and its inherited error; `tried` has what hidden layers' rounding would make, if any are.

    The port's numbers come GROUP at once, and trace and trial are read so: with them, the largest layer would be in memory
    six times. With `replaced`, they are put in the place of the right ones as soon as those are no longer needed.
    """
    form = unit_of(row)
    found = _Errors(form)
    r, begin = right.reshape(-1), 0
    large = row.path not in tried and r.dtype == np.float32 and r.size >= COMPILED
    for ours, b in zip(trace.pieces(row.path, GROUP), theirs, strict=True):
        piece = slice(begin, begin := begin + b.size)
        computed = ours if row.path == INPUT else r[piece]
        if large and ours.dtype == computed.dtype == b.dtype == np.float32:
            found.add_compiled(ours, b, computed)
        else:
            found.add(ours, b, computed, tried.piece(row.path, piece.start, piece.stop) if row.path in tried else None)
        if replaced:
            r[piece] = b
    if found.broken:
        return replace(row, own=math.inf, line=LINES[form])
    unit = found.root(found.spacing / 12)
    if found.tried:
        unit = math.hypot(unit, found.root(found.tried) * step(form) / step(TRIED))
    line = LINES[form]
    if row.precision == "int8":  # eight bits have no rounding to count in: the signal draws the line
        line = 10 ** (-QUANTISED / 20) * _ratio(found.root(found.right), unit)
    return replace(
        row, own=_ratio(found.root(found.own), unit), inherited=_ratio(found.root(found.inherited), unit), line=line,
        own_db=decibels(found.right, found.own), inherited_db=decibels(found.ours, found.inherited),
    )  # fmt: skip


@dataclass
class _Errors:
    """Sums of squares over the numbers that are finite in all three arrays."""

    form: str
    count: int = 0
    ours: float = 0.0
    right: float = 0.0
    own: float = 0.0
    inherited: float = 0.0
    spacing: float = 0.0
    tried: float = 0.0
    broken: bool = field(default=False)  # whether the port has NaN or infinities where a right layer has numbers

    def add_compiled(self, ours: Floating, theirs: Floating, right: Floating) -> None:
        """Add float32 numbers; pieces with NaN or infinities are left to `add`, and all where nothing is compiled."""
        rows = compiled(lambda kernels: kernels.errors(ours, theirs, right, squares(self.form)))
        if rows is None:
            self.add(ours, theirs, right)
            return
        from .. import differences as d

        for block, row in enumerate(rows):
            piece = slice(block * d.BLOCK, (block + 1) * d.BLOCK)
            if not math.isfinite(sum(row)):
                self.add(ours[piece], theirs[piece], right[piece])
                continue
            self.count += right[piece].size
            self.ours += row[d.OURS]
            self.right += row[d.RIGHT]
            self.own += row[d.OWN]
            self.inherited += row[d.INHERITED]
            self.spacing += row[d.SPACING]

    def add(self, ours: Floating, theirs: Floating, right: Floating, tried: Floating | None = None) -> None:
        """Add any numbers, with what hidden layers' rounding would make of them, if there are any."""
        for begin in range(0, right.size, PIECE):
            piece = slice(begin, begin + PIECE)
            self._piece(ours[piece], theirs[piece], right[piece], None if tried is None else tried[piece])

    def _piece(self, ours: Floating, theirs: Floating, right: Floating, tried: Floating | None) -> None:
        a, b, r = (np.asarray(array, np.float64) for array in (ours, theirs, right))
        kept: npt.NDArray[np.bool_] | slice = slice(None)
        if not math.isfinite(float(a @ a) + float(b @ b) + float(r @ r)):
            known, finite = np.isfinite(r), np.isfinite(b)
            self.broken |= bool((known & ~finite).any())
            kept = known & finite & np.isfinite(a)
            a, b, r = a[kept], b[kept], r[kept]
        own, inherited, apart = b - r, r - a, spacing(r, self.form)
        self.count += r.size
        self.ours += float(a @ a)
        self.right += float(r @ r)
        self.own += float(own @ own)
        self.inherited += float(inherited @ inherited)
        self.spacing += float(apart @ apart)
        if tried is not None:
            other = np.asarray(tried, np.float64)[kept] - r
            self.tried += float(other @ other)

    def root(self, total: float) -> float:
        """Return the root mean square of numbers whose squares sum up to `total`."""
        return math.sqrt(total / self.count) if self.count else 0.0


@cache
def squares(form: str) -> npt.NDArray[np.float64]:
    """Return the square of the spacing for each of the 256 exponents of float32; what no number has counts as 0."""
    return np.asarray(np.square(spacing((np.arange(256, dtype=np.uint32) << 23).view(np.float32), form)))


def _ratio(error: float, unit: float) -> float:
    return error / unit if error else 0.0
