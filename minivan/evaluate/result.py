"""What an evaluation found out: answers to labelled images, and all that is counted of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ..card import Card
from .answers import Answers
from .statistics import (
    Agreement,
    Calibration,
    ClassCount,
    Confused,
    Indices,
    Reals,
    Share,
    agreement,
    among_first,
    calibration,
    confused,
    per_class,
)

Mask = npt.NDArray[np.bool_]

FIRST = 5  # top-5
LISTED = 10  # pairs of classes that a summary names


@dataclass(frozen=True)
class Compared:
    """What another network, engine or port said of the same images."""

    name: str
    answers: Answers
    apart: Reals  # (N,), the largest difference of a logit; NaN where it says nothing


@dataclass(frozen=True)
class Evaluation:
    """One network's answers to N labelled images, in the dataset's order."""

    dataset: str
    card: Card  # of the weights
    classes: int
    model: str  # as a person reads it
    engine: str
    paths: Sequence[str]  # (N,), within the dataset
    targets: Indices  # (N,), the right classes; -1 of an image without a label
    answers: Answers
    faults: Mapping[int, str]  # place -> why that image could not be used
    seconds: float  # that reading and the network took together, those of an interrupted run included
    skipped: Mapping[str, int] = field(default_factory=dict)  # labels that are no class of the weights -> their images
    notes: Sequence[str] = ()  # what a person should know of how the dataset was read
    against: Compared | None = None
    remarks: Mapping[int, Sequence[str]] = field(default_factory=dict)  # place -> what to know of how that photo was read

    @cached_property
    def judged(self) -> Mask:
        """Which images have an answer, (N,)."""
        return self.answers.given

    @property
    def right(self) -> Mask:
        """Which of the judged images are answered rightly."""
        right: Mask = self.answers.rank[self.judged] == 0
        return right

    @property
    def top1(self) -> Share:
        """The judged images whose likeliest class is the right one."""
        return among_first(self.answers.rank[self.judged])

    @property
    def top5(self) -> Share | None:
        """Those with the right class among the first five; None where there are no more classes than that."""
        return among_first(self.answers.rank[self.judged], FIRST) if self.classes > FIRST else None

    @cached_property
    def per_class(self) -> list[ClassCount]:
        """Each class that has judged images."""
        return per_class(self.targets[self.judged], self.answers.top[self.judged], self.answers.rank[self.judged])

    @property
    def balanced(self) -> float:
        """The mean of the classes' own top-1 shares: each class counts the same, however many images it has."""
        return math.fsum(each.top1.rate for each in self.per_class) / len(self.per_class)

    @cached_property
    def confused(self) -> list[Confused]:
        """The pairs of classes that were confused, the most frequent first."""
        return confused(self.targets[self.judged], self.answers.top[self.judged])

    @cached_property
    def calibration(self) -> Calibration:
        """How far the likeliest class's probability is to be taken at its word."""
        return calibration(self.answers.probability[self.judged], self.right)

    @property
    def images_per_second(self) -> float:
        """Images read and judged in a second; 0 where no time was taken."""
        return int(self.judged.sum()) / self.seconds if self.seconds > 0 else 0.0

    @property
    def compared(self) -> Mask:
        """Which images both have answered, (N,); ValueError without a comparison."""
        return self.judged & self._against.answers.given

    @property
    def _against(self) -> Compared:
        if self.against is None:
            raise ValueError("this evaluation has compared with nothing")
        return self.against

    @property
    def agreement(self) -> Agreement:
        """How often both say the same, of the images that both have answered; ValueError without a comparison."""
        both = self.compared
        return agreement(self.targets[both], self.answers.top[both], self._against.answers.top[both])

    @property
    def differing(self) -> list[int]:
        """The places of the images to which both give another likeliest class; ValueError without a comparison."""
        apart = self.compared & (self.answers.top != self._against.answers.top)
        return [int(place) for place in np.flatnonzero(apart)]

    def label(self, index: int) -> str:
        """Return a class's usual name."""
        return self.card.label(index).short

    def as_dict(self) -> dict[str, Any]:
        """Return what was counted as JSON knows it; classes by index, WordNet id and name."""
        found = self.calibration
        return {
            "dataset": self.dataset,
            "model": self.card.name,
            "version": self.card.version,
            "engine": self.engine,
            "activation": self.card.activation,
            "images": int(self.judged.sum()),
            "top1": self.top1.as_dict(),
            "top5": self.top5.as_dict() if self.top5 else None,
            "balanced": self.balanced,
            "calibration_error": found.error,
            "calibration": [
                {"low": b.low, "high": b.high, "images": b.right.of, "right": b.right.count, "probability": b.probability}
                for b in found.bins
            ],
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.images_per_second, 1),
            "failed": [{"path": self.paths[i], "fault": fault} for i, fault in sorted(self.faults.items())],
            "skipped": dict(self.skipped),
            "classes": [self._class(each) for each in self.per_class],
            "confused": [
                {"label": self._named(pair.target), "taken_for": self._named(pair.top), "images": pair.images}
                for pair in self.confused[:LISTED]
            ],
            "against": self._comparison() if self.against else None,
        }

    def _named(self, index: int) -> dict[str, Any]:
        label = self.card.label(index)
        return {"index": index, "wnid": label.wnid, "name": label.name}

    def _class(self, each: ClassCount) -> dict[str, Any]:
        taken = None if each.taken_for is None else {**self._named(each.taken_for), "images": each.taken}
        top5 = each.top5.count if self.classes > FIRST else None
        return {**self._named(each.index), "images": each.top1.of, "top1": each.top1.count, "top5": top5, "taken_for": taken}

    def _comparison(self) -> dict[str, Any]:
        both, found, other = self.compared, self.agreement, self._against
        five = among_first(other.answers.rank[both], FIRST).as_dict() if self.classes > FIRST else None
        apart = other.apart[both]
        most = int(np.flatnonzero(both)[apart.argmax()]) if apart.size else None
        return {
            "name": other.name,
            "images": found.same.of,
            "same": found.same.as_dict(),
            "top1": among_first(other.answers.rank[both]).as_dict(),
            "top5": five,
            "both_right": found.both,
            "only_first_right": found.first,
            "only_second_right": found.second,
            "neither_right": found.neither,
            "largest_difference": None if most is None else {"path": self.paths[most], "logit": float(other.apart[most])},
            "differing": [self.paths[i] for i in self.differing],
        }
