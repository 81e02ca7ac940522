"""Each layer's own error, apart from what it inherited: every layer is computed once more from what the port itself fed it.

With r what `exact` makes of the numbers that the port shows before a layer, a the trace's numbers and b the port's:

    own       = root mean square of b - r      what this layer adds: rounding, or its fault
    inherited = root mean square of r - a      what the layers before it passed on

both in units of one rounding of r to the port's format. A sound layer adds about one rounding, whatever the layers before it
did; a fault adds many.

Between two layers that a port shows there may lie some that it does not. What their rounding adds is estimated: they are
computed once more with every number rounded to eleven binary digits, and the error that this makes, brought to the port's
format, goes into the unit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..checks import Floating
from ..paths import INPUT
from .compare import Report
from .measure import Row, rms
from .precision import coarser, step
from .quantised import ratio
from .replay import Replay, Run, replay
from .trace import Trace
from .ulp import one_rounding

TRIED = "tf32"  # what layers that a port does not show are rounded to: eleven digits, and float32's exponents
LINES = {"float32": 50.0, "tf32": 4.0, "float16": 4.0, "bfloat16": 4.0}  # roundings that a sound layer may add; measured


@dataclass(frozen=True)
class Weighed:
    """A report whose rows say what each layer adds itself, and the replay that said so."""

    report: Report
    seen: Replay


def weighed(report: Report, trace: Trace, run: Run) -> Weighed:
    """Return a report with the own and the inherited error of every row; `run` runs the trace's network on its input."""
    seen = replay(run, report.arrays)
    hidden = bool(report.missing) or any(path not in report.arrays for path in trace.layers)
    tried = replay(run, report.arrays, rounded=TRIED).values if hidden else {}
    rows = [_row(row, trace.arrays[row.path], report.arrays[row.path], seen.values, tried.get(row.path)) for row in report.rows]
    return Weighed(replace(report, rows=rows), seen)


def unit_of(row: Row) -> str:
    """Return the format whose roundings a row's errors are counted in: the coarser one of what computed and what stored it."""
    form = coarser(row.precision, row.form)
    return "float32" if form in ("float64", "int8") else form


def _row(row: Row, ours: Floating, theirs: Floating, right: Mapping[str, Floating], tried: Floating | None) -> Row:
    expected, form = right.get(row.path), unit_of(row)
    if expected is None:
        return row
    line = LINES[form] if row.precision != "int8" else math.inf  # quantisation has no line: it is measured, not judged
    if row.fault or expected.shape != theirs.shape:
        return replace(row, own=math.inf, line=LINES[form])
    if row.path == INPUT:
        expected = ours
    if bool((np.isfinite(expected) & ~np.isfinite(theirs)).any()):
        return replace(row, own=math.inf, line=LINES[form])
    finite = np.isfinite(expected) & np.isfinite(theirs) & np.isfinite(ours)
    a, b, r = (np.asarray(array, np.float64)[finite] for array in (ours, theirs, expected))
    unit = one_rounding(r, form)
    if tried is not None:
        unit = math.hypot(unit, rms(np.asarray(tried, np.float64)[finite] - r) * step(form) / step(TRIED))
    own, inherited = b - r, r - a
    return replace(
        row, own=_ratio(rms(own), unit), inherited=_ratio(rms(inherited), unit), line=line,
        own_db=ratio(r, own), inherited_db=ratio(a, inherited),
    )  # fmt: skip


def _ratio(error: float, unit: float) -> float:
    return error / unit if error else 0.0
