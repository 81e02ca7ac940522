"""Why a port that trains goes wrong: each known fault is committed wherever its operators are, and the whole pass run with it.

What the port shows takes the place of what is computed, as everywhere: so a fault is told by the first gradients that come of
it, also where it lies in arrays that the port does not show.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import numpy as np

from ..checks import Floating
from ..engines import EXACT, Engine
from ..operators import Array, Derivatives, Operators
from ..paths import INPUT
from .compare import Report
from .fitted import fitted_to
from .gradients import PREFIX, Loss, is_gradient
from .measure import Row, apart
from .replay import Run
from .training_faults import Committed, TrainingFault, training_faults

NEARER = 0.1  # a fault explains a gradient when the error that is left is this share of the error there was
CLEARLY = 0.4  # or this share, if the rest is no more than rounding may add
SOUND = 0.5  # of the line of a layer's own error: what rounding may add
FITTED = 0.02  # the share for a factor that is fitted to the numbers
AS_NEAR = 10  # times what a fitted factor leaves, or this share of the error: a fault that leaves no more is named instead
EXPLAINED = 1e-3
SEARCHED = 3  # gradients, the first that no fault everywhere explains, for which faults in one place are tried
MOST_NUMBERS = 1 << 26  # that a pass holds: of a larger one, no fault is tried
TOO_LARGE = (
    "no fault was tried: the gradients of so large a network take too long; record a smaller image, or a smaller network"
)
RIGHT = (
    "as far as the port shows what this gradient was fed, rounding errors before it may have added up to this: "
    "show the arrays around it to be sure"
)


class Remembered:
    """The operators of `exact`, each call computed once and remembered by its place, but for those that a fault is in."""

    def __init__(self) -> None:
        self.results: list[Any] = []
        self.running: dict[int, tuple[Floating, Floating]] = {}  # a BatchNorm call's place -> its running statistics
        self.numbers = 0
        self.start(None)

    def start(self, fault: TrainingFault | None) -> None:
        """Begin another pass, with a fault or none."""
        self.fault, self.place = fault, 0

    def __getattr__(self, operator: str) -> Callable[..., Any]:
        right = getattr(EXACT.ops, operator)
        committed = None if self.fault is None else self.fault.operators.get(operator)

        def call(*args: Any, **kwargs: Any) -> Any:
            place, self.place = self.place, self.place + 1
            if place == len(self.results):
                self.results.append(right(*args, **kwargs))
                self._take_notes(place, operator, args)
            if committed is None:
                return self.results[place]
            given = _by_name(right, args, kwargs)
            if operator == "batch_norm_training":
                given["running"] = self.running[place]
            return committed(right, **given)

        return call

    def _take_notes(self, place: int, operator: str, args: tuple[Any, ...]) -> None:
        """Count the numbers that are kept; the update of running statistics tells whose they are, by the batch's mean."""
        result = self.results[place]
        self.numbers += sum(part.size for part in result) if isinstance(result, tuple) else result.size
        if operator == "batch_norm_update":
            for other, made in enumerate(self.results[:place]):
                if isinstance(made, tuple) and made[1] is args[2]:
                    self.running[other] = args[0], args[1]


class Faulty:
    """The derivatives of `exact`, with a fault in some: in all calls, or in those of a window alone."""

    def __init__(self, operators: Mapping[str, Committed], window: range | None) -> None:
        self.operators, self.window = operators, window
        self.called: list[str] = []
        self.calls = self.shown = 0  # in all, and until the last gradient that the port shows

    def __getattr__(self, operator: str) -> Callable[..., Any]:
        right, committed = getattr(EXACT.grad, operator), self.operators.get(operator)

        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            self.called.append(operator)
            if committed is None or not (self.window is None or self.calls in self.window):
                return right(*args, **kwargs)
            return committed(right, **_by_name(right, args, kwargs))

        return call


def _by_name(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    bound = _signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    return dict(bound.arguments)


@cache
def _signature(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(function)


@dataclass
class _Found:
    """The nearest fault to a row's numbers so far, and how far from them it leaves its own."""

    bound: float
    text: str = ""


class _Done(Exception):
    """The pass has come by all that is looked for."""


def reasons(rows: list[Row], report: Report, loss: Loss, run: Run) -> dict[str, str]:
    """Return why rows of a report, gradients and what belongs to training, differ, by path; '' where no known fault fits."""
    found = {row.path: "" if row.own > row.line else RIGHT for row in rows}
    wrong = [row for row in rows if not found[row.path]]
    if not wrong:
        return found
    search = _Search(wrong, report)
    search.run(run, None)
    if search.ops.numbers > MOST_NUMBERS:
        return found | {row.path: TOO_LARGE for row in wrong}
    faults = list(training_faults(loss, search.images))
    for fault in faults:
        if search.may_be(fault):
            search.run(run, fault)
    for path in [path for path, each in search.found.items() if not each.text and is_gradient(path)][:SEARCHED]:
        for fault in faults:
            if search.may_be(fault, path):
                search.run(run, fault, path)
    return found | {path: each.text for path, each in search.found.items()}


class _Search:
    """Runs the network with one fault after the other, and keeps for each row the one that comes nearest."""

    def __init__(self, rows: list[Row], report: Report) -> None:
        self.rows, self.arrays = {row.path: row for row in rows}, report.arrays
        self.theirs = {row.path: report.arrays[row.path] for row in rows}
        self.found: dict[str, _Found] = {}
        self.ops = Remembered()
        self.images = 0
        self.called: list[str] = []  # the derivatives, in the order in which they are computed
        self.windows: dict[str, range] = {}  # the derivatives that are computed between what is shown before a row, and it

    def may_be(self, fault: TrainingFault, only: str = "") -> bool:
        """Whether a fault can show in any row, or in one: where one of its operators is computed for it."""
        if fault.between is not None:
            return True
        forward = any(not is_gradient(path) for path in self.rows)
        windows = [self.windows[only]] if only else list(self.windows.values())
        called = {self.called[place - 1] for window in windows for place in window}
        return not called.isdisjoint(fault.operators) or (forward and not only)

    def run(self, run: Run, fault: TrainingFault | None, only: str = "") -> None:
        """Run the network with a fault; with none, see how far the rows are from what is right, and what is fitted to them.

        With `only` one of the rows, the fault is where nothing is shown between it and the row.
        """
        self.ops.start(fault)
        self.left = {only} if only else set(self.rows)
        layers: dict[str, Floating] = {}
        gradients: dict[str, Floating] = {}
        grad = Faulty({} if fault is None else fault.operators, self.windows[only] if only else None)

        def hook(path: str, array: Array) -> Array:
            name = path.removeprefix(PREFIX)
            values = np.asarray(array)
            if path == INPUT:
                self.images = len(values)
            if is_gradient(path) and fault is not None and fault.between is not None:
                changed = fault.between(name, values, layers, gradients)
                values = values if changed is None else np.asarray(changed, np.float32)
            if path in self.left:
                self._look(path, values, fault)
                first = max(1, min(grad.shown + 1, grad.calls))  # a norm's weight and bias come of one call
                self.windows.setdefault(path, range(first, grad.calls + 1))
            shown = path in self.arrays and self.arrays.shape(path) == values.shape
            grad.shown = grad.calls if shown else grad.shown
            given = np.asarray(self.arrays[path], np.float32, order="C") if shown else np.asarray(values, np.float32)
            (gradients if is_gradient(path) else layers)[name] = given
            if not self.left:
                raise _Done
            return given

        self.called = grad.called if fault is None else self.called
        engine = Engine("exact, faulty", ops=cast(Operators, self.ops), grad=cast(Derivatives, grad))
        try:
            run(engine, hook)
        except _Done:
            pass
        except ValueError:  # numbers whose shapes do not go together: a fault that cannot be here
            if fault is None:
                raise

    def _look(self, path: str, values: Floating, fault: TrainingFault | None) -> None:
        self.left.discard(path)
        theirs, row = self.theirs[path], self.rows[path]
        error = apart(theirs, values)
        if fault is None:
            sound = SOUND * row.line * error / row.own if 0 < row.own < math.inf else 0.0
            self.found[path] = _Found(max(NEARER * error, min(sound, CLEARLY * error)))
            for text, make in fitted_to(path, theirs, values):
                left = apart(theirs, make())
                if left < FITTED * error:  # a fault is named instead only where it comes as near
                    self.found[path] = _Found(min(self.found[path].bound, max(AS_NEAR * left, EXPLAINED * error, sound)), text)
        elif error < self.found[path].bound and error <= CLEARLY * apart(theirs, np.zeros_like(theirs)):
            self.found[path].bound, self.found[path].text = error, fault.text  # but small numbers are near to all that is small
