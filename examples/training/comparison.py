"""What the trained comparison found: its figures, summed up, and what they say. It needs no PyTorch."""

from __future__ import annotations

import json
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minivan.geometry import CONV0, CONV_SPATIAL, DWCONV, PATCH_EMBEDS, output_side

FIGURES = Path(__file__).with_name("comparison.json")
SEEDS = range(5)
DENSE = 21  # the side of the one kernel that LKA stands for
SMALL = 3  # the side of the plain stack's kernels
STACKED = round((CONV0.taps + CONV_SPATIAL.taps) / SMALL**2)  # so many of them cost what LKA's two kernels cost
DISTANCE = output_side(32, PATCH_EMBEDS[0]) - 1  # places between the two marks of a drawing, on the first stage's map

GUESSED = 55.0  # per cent: guessing gives 50, and 2,000 drawings place an accuracy within 2
APART = 1.0  # points from which on two networks differ: near 100 %, 2,000 drawings place an accuracy within half a point
WORSE, AS_WELL, BETTER = "worse than LKA", "as well as LKA", "better than LKA"


@dataclass(frozen=True)
class Variant:
    """What stands in the place of LKA: depthwise kernels, (taps, reach in places), then a 1 x 1 that mixes the channels."""

    kernels: tuple[tuple[int, int], ...]
    why: str  # what a result rests on
    gated: bool = True
    dense: bool = False  # one standard convolution instead: nothing is depthwise, and no 1 x 1 follows
    published: float | None = None  # top-1 of VAN-B0 on ImageNet-1k, trained so: Guo et al. 2022

    @property
    def reach(self) -> int:
        """How many places to each side the attention reads."""
        return sum(reach for _, reach in self.kernels)

    def weights(self, C: int) -> int:
        """Weights on C channels, and multiply-adds at each place but for the gate's."""
        taps = sum(taps for taps, _ in self.kernels)
        return C * C * taps if self.dense else C * (taps + C)

    def biases(self, C: int) -> int:
        return C if self.dense else C * (len(self.kernels) + 1)

    def multiply_adds(self, C: int, places: int) -> int:
        return places * (self.weights(C) + C * self.gated)


NEAR, FAR = (CONV0.taps, CONV0.reach), (CONV_SPATIAL.taps, CONV_SPATIAL.reach)
LKA = "LKA"
VARIANTS = {
    LKA: Variant((NEAR, FAR), "the attention at one mark reads the other, and the gate multiplies the two.", published=75.4),
    "near kernel only": Variant(
        (NEAR,),
        f"no place of the map reads both marks, not even through the MLP's {DWCONV.side} x {DWCONV.side} in their middle, so "
        "that the answer is a sum of what each mark says alone, and each alone says nothing.",
        published=74.1,
    ),
    "without dilation": Variant(
        (NEAR, (CONV_SPATIAL.taps, CONV_SPATIAL.side // 2)),
        "at one mark the attention does not read the other: both meet only at places between them, where u, which the gate "
        "multiplies, is of blank paper.",
    ),
    "without the gate": Variant(
        (NEAR, FAR), "nothing multiplies the two marks: only the MLP's GELU is left to compare them.", False, published=74.3
    ),
    "added": Variant(
        (NEAR, FAR),
        "a sum of the two marks is handed on, and only the MLP's GELU is left to compare them.",
        False,
        published=74.6,
    ),
    "with a sigmoid": Variant(
        (NEAR, FAR),
        "the gate dims and cannot turn a sign over, so that one channel cannot say both yes and no.",
        published=75.2,
    ),
    "dense 21 x 21": Variant(
        ((DENSE**2, DENSE // 2),), "it reads every place with weights of its own, and the gate multiplies.", dense=True
    ),
    "3 x 3 stack": Variant(
        ((SMALL**2, SMALL // 2),) * STACKED,
        f"what one mark says passes {STACKED} kernels one after another before it meets the other, and no gate multiplies.",
        False,
    ),
}


@dataclass(frozen=True)
class Summary:
    """A variant's accuracies, in per cent: their mean and how far they spread (the sample's standard deviation)."""

    mean: float
    spread: float
    accuracies: tuple[float, ...]

    @property
    def guesses(self) -> bool:
        """Whether most seeds learned nothing: one that did, or did not, says little."""
        return statistics.median(self.accuracies) < GUESSED


def read(path: Path = FIGURES) -> dict[str, Any]:
    """Return the figures: 'runs' has for each variant, for each seed as a text, its accuracy and its losses."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def summaries(runs: Mapping[str, Mapping[str, Any]], seeds: Collection[int] = SEEDS) -> dict[str, Summary]:
    """Sum the seeds up, for each variant of which all were trained."""
    found = {}
    for variant in VARIANTS:
        if all(str(seed) in runs.get(variant, {}) for seed in seeds):
            found[variant] = summed([100 * runs[variant][str(seed)]["accuracy"] for seed in seeds])
    return found


def summed(accuracies: Sequence[float]) -> Summary:
    return Summary(statistics.mean(accuracies), statistics.stdev(accuracies), tuple(accuracies))


def against_lka(of: Mapping[str, Summary], variant: str) -> str:
    """Say how a variant does beside LKA, from most seeds, those of one seed having seen the same: WORSE, AS_WELL or BETTER."""
    apart = statistics.median(own - lka for own, lka in zip(of[variant].accuracies, of[LKA].accuracies, strict=True))
    return AS_WELL if abs(apart) < APART else BETTER if apart > 0 else WORSE


def agreement(of: Mapping[str, Summary], variant: str) -> str:
    """Say whether the paper has the same order of the two, as far as it has one. All that it took away cost something there."""
    if VARIANTS[variant].published is None:
        return "the paper has no accuracy of it"
    return "as in the paper" if against_lka(of, variant) == WORSE else "in the paper it does worse"


def sentence(of: Mapping[str, Summary], variant: str) -> str:
    """Say in one sentence what became of a variant, beside LKA and beside the paper, and what that rests on."""
    known = VARIANTS[variant]
    outcome = f"from most seeds it {'guesses' if of[variant].guesses else 'learns'}"
    if variant == LKA:
        return f"{variant}: {outcome}: {known.why}"
    here = against_lka(of, variant)
    borne_out = here != WORSE if known.dense else here == WORSE
    return f"{variant}: {outcome}, {here} ({agreement(of, variant)}): {'' if borne_out else 'and yet '}{known.why}"
