"""Answers to lesson 1, one convolution by hand."""

import numpy as np


def exercise_1(side, kernel, stride, padding, dilation):
    """From the first weight to the last lie `dilation * (kernel - 1)` steps; the rest is jumped over, one output each time."""
    return (side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def exercise_2():
    """Every output of each of the 32 channels takes 7 * 7 * 3 products."""
    side = exercise_1(224, 7, 4, 3, 1)
    return side * side * 32 * 7 * 7 * 3


def exercise_3():
    """Stamp the kernel onto itself: nine copies of 1/9, each scaled by 1/9, all cover the middle."""
    twice = np.zeros((5, 5))
    for i, j in np.ndindex(3, 3):
        twice[i : i + 3, j : j + 3] += 1 / 9 * np.full((3, 3), 1 / 9)
    return twice[2, 2]
