"""Answers to lesson 3, from 21 x 21 to large kernel attention."""

from minivan import lka
from minivan.geometry import CONV_SPATIAL, LARGE_KERNEL


def exercise_1():
    """d = 4, since 9^2 + 7^2 = 130 beats d = 3 (144 + 25) and d = 5 (49 + 81 = 130 ties, the smaller is taken); 39 wide."""
    d = lka.best_dilation(35)
    return d, lka.support(35, d)


def exercise_2():
    """Parameters times positions: 27.7 million against 5.7 thousand million."""
    return lka.lka_parameters(64, LARGE_KERNEL, CONV_SPATIAL.dilation) * 56 * 56, lka.dense_parameters(
        64, LARGE_KERNEL
    ) * 56 * 56


def exercise_3():
    """Only row -1 can hold something; weights land on r - 10, r - 8, ..., so the odd rows up to 9 hit it."""
    return [row for row in range(30) if any(row + offset == -1 for offset in range(-10, 11, 2))]
