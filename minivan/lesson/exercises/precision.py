"""Exercises of lesson 10: what fewer bits lose."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from .exercise import THREE_DIGITS, Exercise, Mistake

Floats: TypeAlias = npt.NDArray[np.float64]
ARRAYS = (np.array([0.3, -2.54, 1.0, 0.017]), np.linspace(-1, 0.7, 12).reshape(3, 4))


def quantise(x: Floats, bits: int) -> Floats:
    return rounded(x, np.abs(x).max() / (2 ** (bits - 1) - 1))


def rounded(x: Floats, step: float) -> Floats:
    multiples: Floats = np.round(x / step) * step
    return multiples


def quantise_mistakes() -> list[Mistake]:
    return [
        Mistake(lambda x, bits: np.round(x / np.abs(x).max() * (2 ** (bits - 1) - 1)), "multiply by the step again."),
        Mistake(lambda x, bits: rounded(x, np.abs(x).max() / 2 ** (bits - 1)), "one whole number too many: 127 for 8 bits."),
        Mistake(lambda x, bits: rounded(x, np.abs(x).max() / (2**bits - 1)), "signed: one of the bits is the sign."),
        Mistake(lambda x, bits: rounded(x, x.max() / (2 ** (bits - 1) - 1)), "the largest absolute value: it may be negative."),
        Mistake(lambda x, bits: rounded(x, np.abs(x).max() / 127), "127 is for 8 bits: use `bits`."),
        Mistake(
            lambda x, bits: np.trunc(x / np.abs(x).max() * (2 ** (bits - 1) - 1)) * np.abs(x).max() / (2 ** (bits - 1) - 1),
            "round to the nearest, do not cut off.",
        ),
    ]


def decibels(largest: float = 20, levels: float = 127, error: float = math.sqrt(12), per_ten: float = 20) -> float:
    return per_ten * math.log10(levels * error / largest)


EXERCISES = {
    (10, 1): Exercise(
        "a function of (x, bits) that returns an array of x's shape",
        lambda: quantise,
        quantise_mistakes,
        "how many steps has the largest absolute value? Divide by the step, round, multiply again.",
        1e-5,
        cases=tuple((x, bits) for x in ARRAYS for bits in (8, 4)),
    ),
    (10, 2): Exercise(
        "two whole numbers: (float16, bfloat16)",
        lambda: (2**11, 2**8),
        lambda: [
            Mistake((2**8, 2**11), "the two are in the other order."),
            Mistake((2**10, 2**7), "you forgot the first digit, which is not stored."),
            Mistake((2**11 - 1, 2**8 - 1), "that is the largest with so many digits: look at the next one, too."),
            Mistake(65504, "that is the largest number: not every whole number below it is there.", part=0),
        ],
        "count binary digits: which is the first whole number that needs more of them than there are?",
    ),
    (10, 3): Exercise(
        "a number of decibels",
        decibels,
        lambda: [
            Mistake(decibels(error=1), "you forgot that the error is less than a whole step: the root of 12."),
            Mistake(decibels(error=12), "the square root of 12."),
            Mistake(decibels(largest=1), "the largest number sets the step; the signal is its root mean square."),
            Mistake(decibels(per_ten=10), "20 dB, not 10, are a factor of ten in size: 10 dB are one in power."),
            Mistake(decibels(levels=255), "the largest is 127 steps from zero; 255 is from end to end."),
            Mistake(-decibels(), "upside down: signal over error."),
        ],
        "let the root mean square be 1: how large is the step, and the error?",
        THREE_DIGITS,
    ),
}
