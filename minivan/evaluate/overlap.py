"""What masks add up to: intersection over union by class, pixel accuracy, what was taken for what. NumPy alone.

Everything is counted in whole numbers of pixels, in one confusion matrix of int64: the order of the photos changes nothing, and
no photo weighs more than its pixels. Definitions are mmsegmentation's (`IoUMetric`), and torchmetrics' (`JaccardIndex`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .statistics import Indices, Share

Mask = npt.NDArray[Any]


def counted(target: Mask, found: Mask, classes: int) -> Indices:
    """Return how many pixels of each class were taken for each, int64 (classes, classes): rows are right, columns are answers.

    Both masks have one shape, and indices below `classes`; pixels that count for nothing are left out before.

    >>> counted(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    pairs = target.astype(np.int64) * classes + found
    return np.bincount(pairs.ravel(), minlength=classes * classes).reshape(classes, classes).astype(np.int64)


@dataclass(frozen=True)
class ClassOverlap:
    """One class's pixels."""

    index: int
    name: str
    both: int  # of the class, and answered so
    pixels: int  # of the class
    answered: int  # answered so

    @property
    def union(self) -> int:
        """Pixels that are of the class, or answered so."""
        return self.pixels + self.answered - self.both

    @property
    def iou(self) -> float | None:
        """Intersection over union, 0..1; None of a class that occurs in neither, which the mean leaves out."""
        return self.both / self.union if self.union else None

    @property
    def accuracy(self) -> float | None:
        """The share of the class's pixels that are answered so; None where it has none."""
        return self.both / self.pixels if self.pixels else None

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return {**vars(self), "iou": self.iou, "accuracy": self.accuracy}


@dataclass(frozen=True)
class Overlap:
    """What a confusion matrix (classes, classes) says of masks; rows are the right classes, columns the answers."""

    confusion: Indices
    names: tuple[str, ...]

    @property
    def per_class(self) -> list[ClassOverlap]:
        """Every class, in the order of the indices."""
        both, pixels, answered = (each.tolist() for each in (np.diag(self.confusion), *map(self.confusion.sum, (1, 0))))
        return [ClassOverlap(i, name, both[i], pixels[i], answered[i]) for i, name in enumerate(self.names)]

    @property
    def miou(self) -> float:
        """The mean of the classes' intersections over unions; a class in neither masks nor answers is left out. NaN of none."""
        return _mean([each.iou for each in self.per_class])

    @property
    def mean_accuracy(self) -> float:
        """The mean of the classes' accuracies, of those that have pixels. NaN of none."""
        return _mean([each.accuracy for each in self.per_class])

    @property
    def accuracy(self) -> Share:
        """The pixels that are answered rightly."""
        return Share(int(np.trace(self.confusion)), int(self.confusion.sum()))

    @property
    def confused(self) -> list[tuple[int, int, int]]:
        """Right class, answer and pixels of each pair of classes that was confused, the most pixels first."""
        wrong = self.confusion - np.diag(np.diag(self.confusion))
        order = np.argsort(-wrong, axis=None, kind="stable")[: np.count_nonzero(wrong)]
        return [(int(i // len(wrong)), int(i % len(wrong)), int(wrong.flat[i])) for i in order]


def _mean(values: list[float | None]) -> float:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else math.nan
