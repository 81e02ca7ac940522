"""What answers to labelled images add up to: shares with their intervals, classes, confusions, calibration. NumPy alone.

Everything is counted in whole numbers, and sums of probabilities are rounded once (`math.fsum`): the order of the images
changes nothing. Arrays of N images: `targets` are their classes and `top` the likeliest ones, indices; `rank` is how many
classes are likelier than the right one, so that an image is right among the first k where its rank is below k.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]

NORMAL_95 = 1.959963984540054  # the standard normal distribution has 95 % of its mass within so many deviations of its mean
BINS = 15  # of probabilities, as Guo et al. 2017 have them


def wilson(count: int, of: int, z: float = NORMAL_95) -> tuple[float, float]:
    """Return the interval in which a share lies of which `count` of `of` were seen, with 95 % confidence unless `z` is another.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference". It stays within 0..1 and holds for few
    images and for shares near 0 and 1. Of no images nothing is known: 0 to 1. ValueError unless 0 <= count <= of.

    >>> [round(edge, 4) for edge in wilson(8, 10)]
    [0.4902, 0.9433]
    """
    if not 0 <= count <= of:
        raise ValueError(f"a share is of 0 to {of} images, got {count}")
    if of == 0:
        return 0.0, 1.0
    share = count / of
    middle = share + z * z / (2 * of)
    reach = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    low, high = ((middle + sign * reach) / (1 + z * z / of) for sign in (-1, 1))
    return (0.0 if count == 0 else low), (1.0 if count == of else high)  # where rounding would leave 1e-17


@dataclass(frozen=True)
class Share:
    """So many of so many images."""

    count: int
    of: int

    @property
    def rate(self) -> float:
        """The share, 0..1; NaN of no images."""
        return self.count / self.of if self.of else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % confidence interval, `wilson`."""
        return wilson(self.count, self.of)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON knows it: count, of, rate (null of no images), low and high."""
        low, high = self.interval
        return {"count": self.count, "of": self.of, "rate": self.rate if self.of else None, "low": low, "high": high}


def ranks(logits: npt.ArrayLike, targets: npt.ArrayLike) -> Indices:
    """Return, for logits (N, classes) and classes (N,), how many classes are likelier than the right one, (N,).

    Of equal logits the one of the lower index counts as the likelier.
    """
    given, right = np.asarray(logits), np.asarray(targets, np.int64)[:, None]
    value = np.take_along_axis(given, right, axis=1)
    ahead = (given > value) | ((given == value) & (np.arange(given.shape[1]) < right))
    counted: Indices = ahead.sum(axis=1)
    return counted


def among_first(rank: npt.ArrayLike, k: int = 1) -> Share:
    """Return how many images have the right class among the k likeliest."""
    given = np.asarray(rank)
    return Share(int((given < k).sum()), given.size)


@dataclass(frozen=True)
class ClassCount:
    """One class's images, and what they were taken for."""

    index: int
    top1: Share
    top5: Share
    taken_for: int | None  # the class that most of its wrong images were given; None where all are right
    taken: int  # and how many of them


def per_class(targets: Indices, top: Indices, rank: Indices) -> list[ClassCount]:
    """Count the images of each class that has any, in the order of the classes.

    Of classes that a class's images were taken for equally often, that of the lowest index is named.
    """
    order = np.argsort(targets, kind="stable")
    classes, starts = np.unique(targets[order], return_index=True)
    counted = []
    for index, members in zip(classes, np.split(order, starts[1:]), strict=False):
        wrong, often = np.unique(top[members][top[members] != index], return_counts=True)
        most = int(often.argmax()) if often.size else None
        taken_for, taken = (None, 0) if most is None else (int(wrong[most]), int(often[most]))
        counted.append(ClassCount(int(index), among_first(rank[members]), among_first(rank[members], 5), taken_for, taken))
    return counted


def confusion(targets: Indices, top: Indices) -> tuple[Indices, Indices]:
    """Return the classes that occur as targets or as answers, (K,), and how often each was taken for each, int64 (K, K).

    Rows are the right classes, columns the answers.
    """
    classes, places = np.unique(np.concatenate([targets, top]), return_inverse=True)
    matrix = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(matrix, (places[: len(targets)], places[len(targets) :]), 1)
    return classes, matrix


class Confused(NamedTuple):
    """So many images of one class that were taken for another."""

    target: int
    top: int
    images: int


def confused(targets: Indices, top: Indices) -> list[Confused]:
    """Return the pairs of classes that were confused, the most frequent first, then by their indices."""
    wrong = targets != top
    pairs, often = np.unique(np.stack([targets[wrong], top[wrong]], axis=1), axis=0, return_counts=True)
    order = np.argsort(-often, kind="stable")
    return [Confused(int(pairs[i, 0]), int(pairs[i, 1]), int(often[i])) for i in order]


class Bin(NamedTuple):
    """The images whose likeliest class has a probability above `low` and up to `high`."""

    low: float
    high: float
    right: Share
    probability: float  # the mean of it; 0 of no images


class Calibration(NamedTuple):
    """Whether probabilities are to be taken at their word."""

    error: float  # the expected calibration error, 0..1
    bins: list[Bin]


def calibration(probability: npt.ArrayLike, right: npt.ArrayLike, bins: int = BINS) -> Calibration:
    """Compare the likeliest class's probability, (N,) in 0..1, with how often it is right, (N,) booleans, in bins of one width.

    The expected calibration error is the mean, over the images, of |share right - mean probability| of an image's bin:
    Naeini et al. 2015; Guo et al. 2017, "On calibration of modern neural networks", equation 3, whose bins ((m - 1) / M, m / M]
    these are. The first takes 0 as well. ValueError for a probability outside 0..1 and for no images.
    """
    given, said = np.asarray(probability, np.float64), np.asarray(right, np.bool_)
    if not given.size or not ((given >= 0) & (given <= 1)).all():
        raise ValueError("calibration is that of at least one image, with a probability from 0 to 1")
    edges = np.arange(bins + 1) / bins
    place = np.clip(np.searchsorted(edges, given, side="left") - 1, 0, bins - 1)
    found, apart = [], []
    for m in range(bins):
        inside = place == m
        share, total = Share(int(said[inside].sum()), int(inside.sum())), math.fsum(given[inside])
        apart.append(abs(share.count - total))
        found.append(Bin(float(edges[m]), float(edges[m + 1]), share, total / share.of if share.of else 0.0))
    return Calibration(math.fsum(apart) / given.size, found)


class Agreement(NamedTuple):
    """Two networks' answers to the same images."""

    same: Share  # have the same likeliest class
    both: int  # right
    first: int  # right where the second is wrong
    second: int  # right where the first is wrong
    neither: int


def agreement(targets: Indices, first: Indices, second: Indices) -> Agreement:
    """Compare the likeliest classes that two networks give the same images, (N,) each."""
    one, two = first == targets, second == targets
    counts = (int(which.sum()) for which in (one & two, one & ~two, ~one & two, ~one & ~two))
    return Agreement(Share(int((first == second).sum()), len(targets)), *counts)
