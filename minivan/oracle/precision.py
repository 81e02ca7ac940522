"""The arithmetic that a port computes in, which need not be the format that its file stores numbers in.

A port that computes in float16 and writes float32 files errs as float16 does. What it is said to compute in decides, and where
nothing is said, the files: a layer that is stored in a shorter format was computed in it, and so were those after it at best;
float32 layers whose numbers are all numbers of a shorter format were rounded to that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ..checks import Floating
from ..paths import INPUT
from .memory_order import possible
from .recorded import Recorded
from .stored import OnDemand
from .ulp import DIGITS, round_to

PRECISIONS = ("float32", "tf32", "float16", "bfloat16", "int8")  # what a port may be said to compute in
COARSENESS = ("float64", *PRECISIONS)  # the finest first
SHORTER = ("bfloat16", "float16", "tf32")  # formats that float32 numbers may fit, the shortest first
GIVEN, STORED, GUESSED = "given", "stored", "guessed"
FEW, MANY = 1000, 1 << 16  # numbers of a layer that are looked at first, and then together


@dataclass(frozen=True)
class Precision:
    """What a port computes in: `layers` by path, `word` the coarsest of them, and how that is known."""

    layers: dict[str, str]
    word: str
    source: str  # GIVEN, STORED or GUESSED


def coarser(a: str, b: str) -> str:
    """Return the coarser one of two formats."""
    return max(a, b, key=COARSENESS.index)


def fits(values: Floating, form: str) -> bool:
    """Return whether all numbers are numbers of a format."""
    flat = values.reshape(-1)
    begins = (0, *range(FEW, flat.size, MANY))
    return all(_alike(flat[begin : end or None], form) for begin, end in zip(begins, (*begins[1:], 0), strict=True))


def _alike(some: Floating, form: str) -> bool:
    return bool(np.array_equal(round_to(some, form), some, equal_nan=True))


def resolve(ours: OnDemand, theirs: Mapping[str, Recorded], given: str | None = None, least: str = "float64") -> Precision:
    """Return what a port's layers (under the trace's paths) were computed in; `least` is what the trace was.

    `given` is what somebody says. Where nobody does, the input does not say what the layers after it were computed in, unless
    it is itself in a short format.
    """
    common = [path for path in ours if path in theirs]
    if given is not None:
        return Precision(dict.fromkeys(common, given), given, GIVEN)
    layers, running = {}, least
    for path in common:
        running = coarser(running, theirs[path].form)
        layers[path] = running
    if running in ("float64", "float32") and (guessed := _guess(ours, theirs, common)):
        return Precision({path: coarser(form, guessed) for path, form in layers.items()}, guessed, GUESSED)
    return Precision(layers, running, STORED)


def _guess(ours: OnDemand, theirs: Mapping[str, Recorded], common: Iterable[str]) -> str | None:
    """Return the shortest format that all layers' numbers are numbers of, where the trace's own are not; None for none.

    Layers whose shape cannot be the trace's are not asked: a file may say that they are of any size.
    """
    layers = [path for path in common if path != INPUT and possible(theirs[path].shape, ours.shape(path))]
    forms: tuple[str, ...] = SHORTER
    for path in layers:
        values = theirs[path].values
        forms = tuple(form for form in forms if fits(values, form))
        if not forms:
            return None
    return forms[0] if any(not fits(ours[path], forms[0]) for path in layers) else None


def step(form: str) -> float:
    """Return half the distance from 1 to the next number of a format: the relative error of one rounding."""
    return 2.0 ** -(1 + DIGITS[form])
