"""Numbers that are no levels of light, floating or with a sign: which are black and white, and which stand for none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .bounds import ImageError

Values = npt.NDArray[np.generic]

EXTREME = 1e30  # from here on, with either sign, a number stands for none: programs write the largest that there is
# Such too, where one of them is farther from the rest than those lie apart: the extremes of 16 and 32 bits among them.
CUSTOMARY = (-9999.0, -99999.0, -32768.0, -32767.0, 32767.0, -2147483648.0, -2147483647.0, 2147483647.0)
SCALES = (1.0, 255.0)  # what is white where all values lie between 0 and it


@dataclass(frozen=True)
class Scale:
    """Which value is black, which is white, and which are no values."""

    low: float
    high: float
    missing: tuple[float, ...]  # beside those that are infinite, no numbers or extreme
    notes: tuple[str, ...]  # what was done, a phrase each

    def levels(self, values: Values, inverted: bool = False) -> npt.NDArray[np.uint8]:
        """Return values as bytes, what is none as 0. Where `inverted`, `low` is white."""
        with np.errstate(all="ignore"):
            numbers = values.astype(np.float64)
            there = _there(numbers, self.missing)
        scaled = (np.where(there, numbers, self.low) - self.low) * (255 / ((self.high - self.low) or 1.0))
        scaled = np.clip(np.rint(255 - scaled if inverted else scaled), 0, 255)
        return np.where(there, scaled, 0).astype(np.uint8)


def find(strips: Iterable[Values], stated: float | None = None) -> Scale:
    """Look at all values of a picture, given in parts; `stated` is the one that its file says to stand for none.

    Raises ImageError where no value is left.
    """
    low, high, gone, total = np.inf, -np.inf, 0, 0
    found = dict.fromkeys(CUSTOMARY, 0)  # how many there are
    missing = () if stated is None or not np.isfinite(stated) else (stated,)
    with np.errstate(all="ignore"):  # what is no number is compared here on purpose
        for strip in strips:
            numbers = strip.astype(np.float64)
            numbers = numbers[_there(numbers, missing)]
            customary = np.isin(numbers, CUSTOMARY)
            for number, count in zip(*np.unique(numbers[customary], return_counts=True), strict=True):
                found[float(number)] += int(count)
            rest = numbers[~customary]
            gone, total = gone + strip.size - numbers.size, total + strip.size
            low, high = min(low, rest.min(initial=np.inf)), max(high, rest.max(initial=-np.inf))
    apart = high - low  # nothing where all others are one: then the greatest number is as likely white
    far = [
        number for number in CUSTOMARY
        if found[number] and low < np.inf and (low - number > apart or (apart and number - high > apart))
    ]  # fmt: skip
    missing, gone = (*missing, *far), gone + sum(found[number] for number in far)
    near = [number for number in CUSTOMARY if found[number] and number not in far]
    low, high = min([low, *near]), max([high, *near])
    if low == np.inf:
        raise ImageError("an image of which every value is infinite, no number, or stands for none")
    white = next((white for white in SCALES if low >= 0 and high <= white), None)
    said = f"its values, from {low:.6g} to {high:.6g}, are "
    said += "stretched from black to white" if white is None else f"shown on the scale from 0 to {white:g}"
    notes = [said] + ([f"{gone} of its {total} values are no data, and black"] if gone else [])
    return Scale(low if white is None else 0.0, high if white is None else white, missing, tuple(notes))


def _there(numbers: npt.NDArray[np.float64], missing: tuple[float, ...]) -> npt.NDArray[np.bool_]:
    """Tell which numbers stand for themselves. A stated one is compared as float32, as files round it."""
    there: npt.NDArray[np.bool_] = np.abs(numbers) < EXTREME  # not so for what is no number
    for number in missing:
        there &= numbers.astype(np.float32) != np.float32(number)
    return there
