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


def budget(report: Report, trace: Trace, right: Mapping[str, Floating], run: Run, most: int = MOST) -> Budget:
    """Return the budget of a port whose rows have their own errors; `right` is what each layer gives for what it was fed."""
    errors = {
        row.path: np.asarray(report.arrays[row.path], np.float32) - right[row.path]
        for row in report.rows
        if row.path in right and report.arrays[row.path].shape == right[row.path].shape
    }
    own = {path: ratio(right[path], error) for path, error in errors.items()}
    last = report.rows[-1].path
    dearest = sorted((path for path in errors if own[path] < math.inf), key=lambda path: own[path])[:most]
    final = _last(trace, run, errors, last, "")
    costs = [Cost(path, own[path], _last(trace, run, errors, last, path)) for path in dearest]
    return Budget(last, final, sorted(costs, key=lambda cost: -cost.spared_db))


def ratio(signal: Floating, noise: Floating) -> float:
    """Return 10 log10(sum signal^2 / sum noise^2), infinite without noise."""
    power, lost = (float(np.square(array, dtype=np.float64).sum()) for array in (signal, noise))
    return math.inf if lost == 0 else -math.inf if power == 0 else 10 * math.log10(power / lost)


def _last(trace: Trace, run: Run, errors: Mapping[str, Floating], last: str, spared: str) -> float:
    """Return the last layer's ratio where every layer but one errs as the port's did."""
    found: dict[str, Floating] = {}

    def hook(path: str, array: Array) -> Array:
        if path != spared and path in errors:
            array = (array + errors[path]).astype(np.float32)
        if path == last:
            found[path] = array
        return array

    run(EXACT, hook)
    return ratio(trace.arrays[last], found[last] - trace.arrays[last]) if last in found else math.nan
