"""Answers to lesson 12, a class for every place."""

import numpy as np


def exercise_1():
    """Row and column of a class together, the diagonal once: 60 of 70, 15 of 35, 5 of 15."""
    return (60 / 70 + 15 / 35 + 5 / 15) / 3


def exercise_2():
    """375 rows become 384, 500 columns 512; a place every 4, 8, 16 and 32 pixels."""
    return [(384 // stride, 512 // stride) for stride in (4, 8, 16, 32)]


def exercise_3(row):
    """New places lie a quarter before and a quarter after each old one: three quarters of it, and one of its neighbour."""
    row = np.asarray(row, float)
    before, after = np.concatenate([row[:1], row[:-1]]), np.concatenate([row[1:], row[-1:]])
    return np.stack([0.75 * row + 0.25 * before, 0.75 * row + 0.25 * after], axis=1).ravel()
