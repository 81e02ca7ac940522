"""Answers to lesson 10, half precision and eight bits."""

import math

import numpy as np


def exercise_1(x, bits):
    """The largest whole number is 2^(bits - 1) - 1: one bit is the sign. Divide by the step, round, multiply again."""
    step = np.abs(x).max() / (2 ** (bits - 1) - 1)
    return np.round(x / step) * step


def exercise_2():
    """With the 1 that is not stored there are 11 and 8 digits. 2^11 and 2^8 fit, being powers of two; one more does not."""
    return 2**11, 2**8


def exercise_3():
    """Root mean square 1: the step is 20 / 127, its error 20 / (127 sqrt(12)), and 20 log10 of the inverse is asked for."""
    return 20 * math.log10(127 * math.sqrt(12) / 20)
