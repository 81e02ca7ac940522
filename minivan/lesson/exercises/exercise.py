"""What is known of an exercise: the form of its answer, the right one, the mistakes that people make, where to look."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Answer: TypeAlias = Any  # a number, a text, numbers in lists or arrays, or a function that returns numbers
THREE_DIGITS = 0.004  # what a person may have rounded off


@dataclass(frozen=True)
class Mistake:
    """A wrong answer, computed as somebody would come by it, and what to say to that person.

    Where `part` is given, the mistake is in that part of the answer alone (counted from 0), and `answer` is that part's.
    """

    answer: Answer
    hint: str
    part: int | None = None


@dataclass(frozen=True)
class Exercise:
    """One exercise of a notebook.

    `form` completes the sentence "This wants ...". `right` computes the answer. `mistakes` computes the wrong ones: the first
    that fits is hinted at. `look` is said to an answer that no mistake explains. Numbers are right within `tolerance` times
    the right one. A function is tried on each of `cases`, the tuples of its arguments.
    """

    form: str
    right: Callable[[], Answer]
    mistakes: Callable[[], Sequence[Mistake]]
    look: str
    tolerance: float = 0.0
    cases: tuple[tuple[Any, ...], ...] = ()
