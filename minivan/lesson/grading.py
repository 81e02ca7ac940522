"""Grade a student's answer to a notebook's exercise, and set a prediction beside what was measured.

`check` never prints the right answer: an answer is right, or is met with a hint at the kind of its mistake, or not there yet.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .exercises.exercise import Answer, Exercise, Mistake

Values = list[npt.NDArray[np.float64]]  # an answer's numbers: one array, or one for each case that a function was tried on

RIGHT, WRONG, OPEN = "right", "wrong", "open"


@dataclass(frozen=True)
class Verdict:
    """What is thought of an answer: `state` is RIGHT, WRONG or OPEN (not answered yet), `text` one line that says so."""

    state: str
    text: str


class Unfit(ValueError):
    """An answer that is not of the form that its exercise wants; the message says how."""


class Unanswered(Exception):
    """A function that returns None, or numbers of which one is None: the answer is not there yet."""


def check(lesson: int, exercise: int, answer: Answer) -> None:
    """Print one line: whether the answer to an exercise is right, or else a hint; for None or `...` that it is not there yet.

    Nothing is raised: a notebook with wrong answers, or none, runs to its end. See `grade`.
    """
    try:
        print(grade(lesson, exercise, answer).text)
    except ValueError as error:
        print(error)


def grade(lesson: int, exercise: int, answer: Answer) -> Verdict:
    """Return the verdict on an answer: a number, a text, numbers in lists or arrays, or a function, as the exercise wants.

    ValueError, in one line, where there is no such exercise.
    """
    asked = _find(lesson, exercise)
    name = f"Exercise {lesson}.{exercise}"
    if answer is None or answer is ...:
        return Verdict(OPEN, f"{name} is not answered yet.")
    try:
        hint = _hint(asked, answer)
    except Unfit as error:
        return Verdict(WRONG, f"{name}, not yet: {error}")
    except Unanswered:
        return Verdict(OPEN, f"{name} is not answered yet.")
    return Verdict(RIGHT, f"{name} is right.") if hint is None else Verdict(WRONG, f"{name}, not yet: {hint}")


def compare(prediction: float | str | None, measured: float | str, unit: str = "") -> None:
    """Print what was predicted beside what was measured, and how far apart they lie; a prediction of None is asked for."""
    found = _shown(measured, unit)
    if prediction is None:
        print(f"Measured: {found}. You predicted nothing: write a prediction at the top and run again.")
    elif isinstance(measured, str) or isinstance(prediction, str):
        agree = str(prediction).strip().casefold() == str(measured).strip().casefold()
        print(f"You predicted: {prediction}. Measured: {found}. {'The same.' if agree else 'Why the difference?'}")
    else:
        print(f"You predicted: {_shown(prediction, unit)}. Measured: {found}. {_apart(float(prediction), float(measured))}")


def _shown(value: float | str, unit: str) -> str:
    number = value if isinstance(value, str) else f"{value:,d}" if isinstance(value, int) else f"{value:.3g}"
    return f"{number} {unit}".strip()


def _apart(prediction: float, measured: float) -> str:
    if math.isclose(prediction, measured, rel_tol=0.05):
        return "That is within a twentieth."
    if prediction > 0 and measured > 0 and not 0.5 < prediction / measured < 2:
        times = max(prediction / measured, measured / prediction)
        return f"That is {times:.3g} times as {'much' if prediction > measured else 'little'}: why?"
    return f"Too {'high' if prediction > measured else 'low'} by {abs(prediction - measured):.3g}: why?"


def _find(lesson: int, exercise: int) -> Exercise:
    from .exercises import EXERCISES

    known = isinstance(lesson, int) and isinstance(exercise, int) and not isinstance(lesson, bool)
    if known and (lesson, exercise) in EXERCISES:
        return EXERCISES[lesson, exercise]
    lessons = sorted({number for number, _ in EXERCISES})
    raise ValueError(
        f"there is no such exercise; check(lesson, exercise, answer) knows the exercises 1 to 3 of the lessons "
        f"{', '.join(map(str, lessons))}"
    )


def _hint(asked: Exercise, answer: Answer) -> str | None:
    """Return what to say to an answer, None where it is right. Raises Unfit for one of another form."""
    right = asked.right()
    if isinstance(right, str):
        return _hint_at_text(asked, answer, right)
    theirs, ours = _values(asked, answer), _values(asked, right)
    if not all(np.isfinite(part).all() for part in theirs):
        raise Unfit("infinity or NaN is among your numbers.")
    if _same(theirs, ours, asked.tolerance):
        return None
    for mistake in asked.mistakes():
        if _made(asked, mistake, theirs, ours):
            return mistake.hint
    if [part.shape for part in theirs] != [part.shape for part in ours]:
        raise Unfit(f"this wants {asked.form}; yours has another length or shape.")
    return _kind(theirs, ours, whole=not asked.tolerance) or asked.look


def _made(asked: Exercise, mistake: Mistake, theirs: Values, ours: Values) -> bool:
    if mistake.part is None:
        return _same(theirs, _values(asked, mistake.answer), asked.tolerance)
    if theirs[0].shape != ours[0].shape:
        return False
    part, wrong = theirs[0][mistake.part], np.asarray(mistake.answer, np.float64)
    return _same([np.asarray(part)], [wrong], asked.tolerance)


def _hint_at_text(asked: Exercise, answer: Answer, right: str) -> str | None:
    if not isinstance(answer, str):
        raise Unfit(f"this wants {asked.form}, a text between quotation marks.")
    given = answer.strip().casefold()
    if given == right.casefold():
        return None
    return next((mistake.hint for mistake in asked.mistakes() if given == mistake.answer.casefold()), asked.look)


def _values(asked: Exercise, answer: Answer) -> Values:
    """Return an answer's numbers as arrays; those that a function returns, case by case. Raises Unfit where it cannot."""
    if not asked.cases:
        if callable(answer):
            raise Unfit(f"this wants {asked.form}; yours is a function.")
        return [_array(asked, answer)]
    if not callable(answer):
        raise Unfit(f"this wants {asked.form}; yours is not a function.")
    return [_array(asked, _called(answer, case)) for case in asked.cases]


def _called(function: Callable[..., object], case: tuple[object, ...]) -> object:
    given = [argument.copy() if isinstance(argument, np.ndarray) else argument for argument in case]
    try:
        result = function(*given)
    except Exception as error:  # the student's own code may raise whatever it likes
        said = " ".join(str(error).split())
        raise Unfit(f"your function stopped: {type(error).__name__}{': ' * bool(said)}{said[:100]}") from error
    if result is None or result is ...:
        raise Unanswered
    return result


def _array(asked: Exercise, answer: object) -> npt.NDArray[np.float64]:
    """Return plain numbers as float64; bool, text, complex numbers and lists of unequal length are none."""
    try:
        array = np.asarray(answer)
    except ValueError as error:
        raise Unfit(f"this wants {asked.form}; the lists in yours have unequal lengths.") from error
    if array.dtype == object:
        if any(value is None or value is ... for value in array.ravel()):
            raise Unanswered
        if all(isinstance(value, numbers.Real) for value in array.ravel()):  # fractions, whole numbers beyond 64 bits
            try:
                array = array.astype(np.float64)
            except OverflowError:
                array = np.full(array.shape, np.inf)
    if array.dtype.kind in "US":
        raise Unfit(f"this wants {asked.form}; yours is a text: leave out the quotation marks.")
    if array.dtype.kind not in "iuf" or not array.size:
        raise Unfit(f"this wants {asked.form}; yours is something else.")
    return array.astype(np.float64)


def _same(a: Values, b: Values, tolerance: float) -> bool:
    """Whether all numbers agree, each within `tolerance` times the second, or a rounding of float64."""
    shapes = [part.shape for part in a] == [part.shape for part in b]
    return shapes and all(np.allclose(x, y, rtol=max(tolerance, 1e-12), atol=0) for x, y in zip(a, b, strict=True))


def _kind(theirs: Values, ours: Values, whole: bool) -> str | None:
    """Return the kind of a mistake that no exercise has to foresee: off by one, the sign, the unit."""
    a, b = (np.concatenate([part.ravel() for part in values]) for values in (theirs, ours))
    if whole and np.abs(a - b).max() == 1:
        return "off by one. Write a small case down and count it."
    if np.allclose(a, -b, rtol=1e-9, atol=0):
        return "the sign is wrong."
    for factor, said in ((100, "per cent and shares are mixed up."), (1e3, "a wrong unit."), (1e6, "a wrong unit.")):
        if np.allclose(a, b * factor, rtol=0.01, atol=0) or np.allclose(a * factor, b, rtol=0.01, atol=0):
            return said
    return None
