"""Answers to lesson 2, depthwise, dilated, pointwise."""

from fractions import Fraction

from minivan import lka


def exercise_1():
    """C * C * 49 against C * 49 + C * C, about 28 times."""
    return lka.dense_parameters(64, 7) / lka.mobilenet_parameters(64, 7)


def exercise_2():
    """Span is d * (k - 1) + 1; for k = 3 and a span of 9, d = (9 - 1) / 2."""
    return next(d for d in range(1, 10) if d * (3 - 1) + 1 == 9)


def exercise_3():
    """One pixel in 2 x 2 is read; the other three may be anything."""
    return 1 - Fraction(1, 2 * 2)
