"""What one network said of each image of a dataset, in the dataset's order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..card import Card
from ..predict import guesses
from .statistics import Indices, Reals, ranks


class Said(NamedTuple):
    """What a network said of one image."""

    top: int  # its likeliest class
    rank: int  # how many classes are likelier than the right one
    probability: float  # of its likeliest class


def said(card: Card, logits: npt.NDArray[np.float32], target: int) -> Said:
    """Return what logits (classes,) say of an image of a class. ValueError for those that are no finite numbers."""
    best = guesses(card, logits, 1)[0]
    return Said(best.index, int(ranks(logits[None], [target])[0]), best.probability)


@dataclass(frozen=True)
class Answers:
    """What a network said of N images; -1 and NaN of those that it has not seen."""

    top: Indices  # (N,)
    rank: Indices  # (N,)
    probability: Reals  # (N,)

    @classmethod
    def of_none(cls, images: int) -> Answers:
        """Return those of a network that has not seen any of so many images."""
        nothing = np.full(images, -1, np.int64)
        return cls(nothing, nothing.copy(), np.full(images, np.nan))

    def put(self, index: int, answer: Said) -> None:
        """Keep what was said of one image."""
        self.top[index], self.rank[index], self.probability[index] = answer

    @property
    def given(self) -> npt.NDArray[np.bool_]:
        """Which images were seen, (N,)."""
        return self.top >= 0
