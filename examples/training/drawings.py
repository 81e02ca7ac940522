"""Drawings for a task that needs reach: do the two marks match, and are they on one line?

A drawing of 32 x 32 pixels has a mark on its left edge and one on its right edge, one pixel wide and four high. A VAN's first
patches are 4 pixels apart and see 3 pixels to each side, so that the left mark shows in column 0 of its 8 x 8 map alone, and
the right one in column 7.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SIDE = 32  # pixels
KINDS = np.array([[1, 1, 0, 0], [1, 0, 0, 1]], np.float32)  # a mark's pixels from top to bottom: as much ink in each
LINES = SIDE // KINDS.shape[1]  # a mark's top is at one of so many heights
NOISE = 0.1  # standard deviation of what is added to every pixel


def draw(count: int, random: np.random.Generator) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return drawings (N, 1, 32, 32), float32, ink 1 on 0, and what they are, (N,): 1 where the marks match on one line, else 0.

    Half of them are 1. Of the others, one half has two kinds on one line, the other half one kind on two lines.
    """
    left = random.integers(0, (len(KINDS), LINES), size=(count, 2))  # kind and line
    right = left.copy()
    targets = random.permutation(count) % 2
    differs = random.integers(2, size=count)  # in what, where it does not match: its kind or its line
    other = (left + random.integers(1, (len(KINDS), LINES), size=(count, 2))) % (len(KINDS), LINES)
    rows = np.flatnonzero(targets == 0)
    right[rows, differs[rows]] = other[rows, differs[rows]]
    images = random.normal(0, NOISE, (count, 1, SIDE, SIDE)).astype(np.float32)
    for column, marks in ((0, left), (SIDE - 1, right)):
        for image, (kind, line) in zip(images, marks, strict=True):
            top = line * KINDS.shape[1]
            image[0, top : top + KINDS.shape[1], column] += KINDS[kind]
    return images, targets.astype(np.int64)
