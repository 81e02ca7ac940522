"""What quantisation costs: each layer's own ratio of signal to noise, and that of the last layer if one stayed in float.

A port's own errors (see `own`) are put back into the network: `exact` computes it once more, and to every layer is added what
the port's added there. Without that of one layer, the last layer shows what that one costs. It is an estimate: the errors are
those that the port made on its own numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..checks import Floating
from ..engines import EXACT
from ..operators import Array
from .compare import Report
from .measure import decibels
from .replay import Run
from .trace import Trace

MOST = 5  # layers that are tried in float


@dataclass(frozen=True)
class Cost:
    """A layer, the ratio of its numbers to the noise that it adds itself, and the last layer's if it added none; in dB."""

    path: str
    own_db: float
    spared_db: float


@dataclass(frozen=True)
class Budget:
    """The last layer's ratio of signal to noise, in dB, and the layers that cost most of it, the dearest first."""

    path: str
    final_db: float
    costs: list[Cost]


def budget(report: Report, trace: Trace, errors: Mapping[str, Floating], run: Run, most: int = MOST) -> Budget:
    """Return the budget of a port whose rows have their own errors, which `errors` has by path."""
    own = {row.path: row.own_db for row in report.rows if row.path in errors}
    last = report.rows[-1].path
    dearest = sorted((path for path in errors if own[path] < math.inf), key=lambda path: own[path])[:most]
    final = _last(trace, run, errors, last, "")
    costs = [Cost(path, own[path], _last(trace, run, errors, last, path)) for path in dearest]
    return Budget(last, final, sorted(costs, key=lambda cost: -cost.spared_db))


def _last(trace: Trace, run: Run, errors: Mapping[str, Floating], last: str, spared: str) -> float:
    """Return the last layer's ratio where every layer but one errs as the port's did."""
    found: dict[str, float] = {}

    def hook(path: str, array: Array) -> Array:
        if path != spared and path in errors:
            array = (array + errors[path]).astype(np.float32)
        if path == last:
            ours = trace.arrays[last]
            found[path] = decibels(*(float(np.square(part, dtype=np.float64).sum()) for part in (ours, array - ours)))
        return array

    run(EXACT, hook)
    return found.get(last, math.nan)
