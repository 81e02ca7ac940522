"""Exercises of lesson 12: a class for every place."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...geometry import SMALLEST_SIDE, stage_sizes
from ...reference import upsample_bilinear, upsample_nearest
from .exercise import THREE_DIGITS, Exercise, Mistake

CONFUSION = np.array([[60, 0, 0], [10, 15, 5], [0, 5, 5]])  # row: what it is; column: what is answered
PHOTO = 375, 500  # rows, columns


def mean_iou() -> float:
    """Intersection over union of each class, and their mean."""
    both = np.diag(CONFUSION)
    return float(np.mean(both / (CONFUSION.sum(axis=0) + CONFUSION.sum(axis=1) - both)))


def padded_sizes() -> list[tuple[int, int]]:
    """The four maps of the photo, padded to multiples of 32."""
    rows, columns = (-(-side // SMALLEST_SIDE) * SMALLEST_SIDE for side in PHOTO)
    return stage_sizes(4, rows, columns)


def twice(row: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """A row of numbers brought to twice its length."""
    x = np.asarray(row, np.float64)
    wide: npt.NDArray[np.float64] = upsample_bilinear(x[None, None, None], (1, 2 * x.size))[0, 0, 0]
    return wide


def twice_with_corners(row: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The same with the first and the last places on the first and the last numbers."""
    x = np.asarray(row, np.float64)
    return np.interp(np.linspace(0, x.size - 1, 2 * x.size), np.arange(x.size), x)


def repeated(row: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Each number two times."""
    x = np.asarray(row, np.float64)
    wide: npt.NDArray[np.float64] = upsample_nearest(x[None, None, None], (1, 2 * x.size))[0, 0, 0]
    return wide


EXERCISES = {
    (12, 1): Exercise(
        "a number, 0 to 1",
        mean_iou,
        lambda: [
            Mistake(100 * mean_iou(), "a share from 0 to 1 is asked for, not per cent."),
            Mistake(np.diag(CONFUSION).sum() / CONFUSION.sum(), "that is the share of right pixels: large classes rule it."),
            Mistake(np.mean(np.diag(CONFUSION) / CONFUSION.sum(axis=1)), "the union has the wrong answers of a class, too."),
            Mistake(np.mean(np.diag(CONFUSION) / CONFUSION.sum(axis=0)), "the union has the pixels that were missed, too."),
            Mistake(
                np.mean(np.diag(CONFUSION) / (CONFUSION.sum(axis=0) + CONFUSION.sum(axis=1))),
                "the intersection is in row and column: the union counts it once.",
            ),
        ],
        "for each class: what is right, divided by what is in its row or in its column; then the mean of the three.",
        THREE_DIGITS,
    ),
    (12, 2): Exercise(
        "a list of four pairs (rows, columns), the finest first",
        padded_sizes,
        lambda: [
            Mistake([pair[::-1] for pair in padded_sizes()], "rows first, then columns."),
            Mistake(stage_sizes(4, *PHOTO), "the photo is padded to multiples of 32 first."),
            Mistake(
                [(4 * rows, 4 * columns) for rows, columns in padded_sizes()], "a place of the finest map stands for 4 pixels."
            ),
        ],
        "what are 375 and 500, rounded up to multiples of 32? Divide by 4, 8, 16 and 32.",
    ),
    (12, 3): Exercise(
        "a function of a list or an array of numbers that returns one twice as long",
        lambda: twice,
        lambda: [
            Mistake(repeated, "that is nearest: each number twice."),
            Mistake(twice_with_corners, "your corners are aligned: the first place lies a quarter before the first number."),
            Mistake(lambda row: twice(row)[::-1], "the places are in the reverse order."),
        ],
        "new place i lies at (i + 1/2) / 2 - 1/2 of the old ones, and beyond the ends the end's own number stands.",
        THREE_DIGITS,
        (([4.0, 8.0],), ([1.0, -3.0, 5.0, 2.0],), ([7.0],)),
    ),
}
