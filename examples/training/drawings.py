"""Drawings for a task that needs reach: do the two marks match, and are they on one line?

A drawing has a mark on its left edge and one on its right edge, each one pixel wide and four high, the same ink in all kinds.
The first stage's patches lie 4 pixels apart and see 3 to each side: of its 8 x 8 map, column 0 alone sees a left mark, and
column 7 alone a right one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SIDE = 32  # pixels
KINDS = np.array([[1, 1, 0, 0], [1, 0, 0, 1], [0, 0, 1, 1], [0, 1, 1, 0]], np.float32)  # a mark's pixels from the top
LINES = SIDE // KINDS.shape[1]  # heights at which a mark stands
NOISE = 0.1  # the standard deviation of what is added to every pixel

Images = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


def draw(count: int, random: np.random.Generator) -> tuple[Images, Integers]:
    """Return drawings (N, 1, 32, 32), and whether the marks match on one line, (N,): 1 or 0.

    Half of them do. Of the others, one half has two kinds on one line, the other half one kind on two lines. So each mark by
    itself is of any kind and on any line equally often, whatever the answer is.
    """
    targets = random.permutation(count) % 2
    choices = len(KINDS), LINES
    left = random.integers(0, choices, size=(count, 2))  # kind and line
    others = (left + random.integers(1, choices, size=(count, 2))) % choices  # another kind, another line
    right = left.copy()
    at = np.flatnonzero(targets == 0)
    part = random.integers(0, 2, size=len(at))  # which of the two differs
    right[at, part] = others[at, part]
    return marked(left, right) + random.normal(0, NOISE, (count, 1, SIDE, SIDE)).astype(np.float32), targets


def marked(left: npt.ArrayLike, right: npt.ArrayLike) -> Images:
    """Return drawings (N, 1, 32, 32) without noise, ink 1 on 0, of marks' kinds and lines (N, 2)."""
    left, right = np.asarray(left), np.asarray(right)
    cells = np.zeros((len(left), LINES, KINDS.shape[1], SIDE), np.float32)
    for column, marks in ((0, left), (SIDE - 1, right)):
        cells[np.arange(len(marks)), marks[:, 1], :, column] = KINDS[marks[:, 0]]
    return cells.reshape(-1, 1, SIDE, SIDE)
