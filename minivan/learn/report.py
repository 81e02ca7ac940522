"""What a person should know of a head before it is used: how well it answers, to what it does not, and what to do next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..evaluate import Evaluation, Share
from ..evaluate.result import LISTED
from ..evaluate.statistics import Agreement, Indices, Reals, agreement
from ..variants import VARIANTS, Config

SURE = 0.5  # the probability from which on a wrong answer is worth a look at the photo's label
ENOUGH = 20  # photos of a class: of fewer, more are the first thing to try
GAIN = 0.01  # of top-1, by twice as many photos: less is no reason to take more
SIGMAS = 2  # by which photos that only all of the others answer outnumber those that only half do: McNemar's test
LARGER = "b2"  # the published weights whose features cost some five times b0's and are much better


class Doubtful(NamedTuple):
    """A photo that was answered wrongly, though held out, and how surely."""

    path: str
    label: str  # the class that it lies in
    said: str  # the class that it was taken for
    probability: float


class OldClasses(NamedTuple):
    """What the network's own classes lose by new ones beside them, of the photos of old classes that were held out."""

    before: Share  # top-1 of the network as it was
    after: Share  # with the new classes beside
    taken: int  # photos of old classes taken for a new one


@dataclass(frozen=True)
class Report:
    """What was found out of a head, by photos held out."""

    held_out: Evaluation  # the cross-validated answers
    counts: Indices  # (classes,), photos that each class has
    strength: float  # C, of the regularisation
    loss: float  # the mean log loss of the answers; NaN where none was held out
    remarks: Sequence[str] = ()  # what is wrong with the collection of photos, or may be
    half: Share | None = None  # top-1 by half of the photos; None where that was not tried
    paired: Agreement | None = None  # the same photos answered by all of the others, and by half of them
    known: int = 0  # classes that the network knew before, and knows still
    old: OldClasses | None = None  # where classes were added to those of a network

    @property
    def guessing(self) -> Share:
        """What is right by answering the largest class always."""
        return Share(int(self.counts.max()), int(self.counts.sum()))

    @property
    def doubtful(self) -> list[Doubtful]:
        """The photos that were answered wrongly and surely, the surest first."""
        found, judged = self.held_out, self.held_out.judged
        wrong = np.flatnonzero(judged & (found.answers.top != found.targets) & (found.answers.probability >= SURE)).tolist()
        said = []
        for i in sorted(wrong, key=lambda i: (-found.answers.probability[i], found.paths[i]))[:LISTED]:
            label, top = (found.label(int(each[i])) for each in (found.targets, found.answers.top))
            said.append(Doubtful(found.paths[i], label, top, float(found.answers.probability[i])))
        return said

    def advice(self, config: Config) -> list[str]:
        """Say what to do next, a line each: which photos would help, and whether weights would; `config` is the network's."""
        said = []
        if self.doubtful:
            said.append("look at the photos that are wrong most surely: some may lie in the wrong folder")
        learned = range(self.known, len(self.counts))
        few = [(int(self.counts[index]), index) for index in learned if self.counts[index] < ENOUGH]
        if few:
            shown = ", ".join(f"{self.held_out.label(index)} {count}" for count, index in sorted(few)[:5])
            said.append(f"take more photos of classes with fewer than {ENOUGH}: {shown}{', ...' if len(few) > 5 else ''}")
        if self.half is not None and self.half.of:
            now, before = self.held_out.top1.rate, self.half.rate
            gained, lost = (self.paired.first, self.paired.second) if self.paired is not None else (0, 0)
            if gained - lost > SIGMAS * math.sqrt(gained + lost):
                helps = "more photos are likely to help"
            elif now - before >= GAIN:
                helps = "more photos may help; these are too few to tell"
            else:
                helps = "more photos alone will hardly help"
            said.append(f"with half of the photos top-1 is {before:.1%}, with all {now:.1%}: {helps}")
        if _width_and_depth(config) < _width_and_depth(VARIANTS[LARGER]):
            said.append(f"a larger network has better features: python -m minivan fetch {LARGER}, then --model {LARGER}")
        return said

    def figures(self) -> tuple[tuple[str, str], ...]:
        """Return what of it weights say of themselves: what -> words."""
        top1, there = self.held_out.top1, self.counts[self.counts > 0]
        spread = f"{there.min():,} to {there.max():,} of a class" if there.min() < there.max() else f"{there.max():,} of each"
        rows = {"learned from": f"{self.counts.sum():,} photos of {len(there):,} classes, {spread}; C {self.strength:.3g}"}
        if top1.of:
            low, high = top1.interval
            rows["held out"] = (
                f"top-1 {top1.rate:.1%} of {top1.of:,} photos (95 %: {100 * low:.1f}-{100 * high:.1f}), cross-validated; "
                f"the largest class {self.guessing.rate:.1%}"
            )
        if self.old is not None:
            before, after = self.old.before, self.old.after
            rows["old classes"] = f"top-1 {before.rate:.1%} before, {after.rate:.1%} after, of {after.of:,} photos held out"
        return tuple(rows.items())

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        found = self.held_out.as_dict()
        for name in ("seconds", "images_per_second", "against", "skipped", "version", "activation"):
            del found[name]  # of an evaluation
        old = None
        if self.old is not None:
            old = {"before": self.old.before.as_dict(), "after": self.old.after.as_dict(), "taken_for_new": self.old.taken}
        return {
            "photos": int(self.counts.sum()),
            "counts": [
                {"name": self.held_out.label(index), "photos": int(count)} for index, count in enumerate(self.counts) if count
            ],
            "strength": self.strength,
            "log_loss": None if math.isnan(self.loss) else self.loss,
            "guessing": self.guessing.as_dict(),
            "half_of_the_photos": None if self.half is None else self.half.as_dict(),
            "old_classes": old,
            "doubtful": [each._asdict() for each in self.doubtful],
            "remarks": list(self.remarks),
            "held_out": found,
        }


def _width_and_depth(config: Config) -> int:
    return sum(config.dims) * sum(config.depths)


def compared(targets: Indices, logits: Reals, others: Reals) -> Agreement:
    """Compare the answers of logits (N, classes) with those of others, of the photos that have both."""
    judged = np.isfinite(logits).all(axis=1) & np.isfinite(others).all(axis=1)
    return agreement(targets[judged], logits[judged].argmax(axis=1), others[judged].argmax(axis=1))


def top1_of(targets: Indices, logits: Reals) -> Share:
    """Return top-1 of the photos that have logits (N, classes)."""
    judged = np.isfinite(logits).all(axis=1)
    return Share(int((logits[judged].argmax(axis=1) == targets[judged]).sum()), int(judged.sum()))
