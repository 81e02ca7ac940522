"""Answers to lesson 8, check your own port."""

import math


def exercise_1():
    """dB = 20 log10(signal / error), so the error is 10^(-60/20) of the signal."""
    return 10 ** (-60 / 20)


def exercise_2():
    """Between 1 and 2 neighbouring float32 numbers are 2^-23 apart."""
    return round((1.0001 - 1.0) * 2**23)


def exercise_3():
    """The output is divided by sqrt(variance + eps)."""
    return math.sqrt((0.01 + 1e-6) / (0.01 + 1e-5))
