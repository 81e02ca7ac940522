"""ICC profiles of three curves and a matrix (ICC.1:2022, 8.3.3) whose blue is sRGB's, as Display P3's and Adobe RGB's is.

Light of that blue adds nothing to sRGB's red and green, which so are a table of the file's red and green. What these add to
sRGB's blue is in the same table, and what the file's blue adds in one of its own: the sum is looked up in a third. These are
four steps of NumPy for a pixel, in half of the time that LittleCMS takes. To multiply by any matrix takes as long as that.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from .bounds import patches
from .spaces import COLUMNS, CURVES, SRGB, Numbers, encoded

PART = 1 << 16  # pixels that are changed at once: what is held of them, and the tables, stay in a processor's cache
VALUES, PAIRS = 1 << 8, 1 << 16  # of a byte, and of two
FAINT = 1e-4  # of all light, which is a third of a level where sRGB is steepest
WIDEST = 4.0  # of the sums, of all light: a 16-bit unit is then a fifth of such a level
OVER = 1e-3  # that a curve may leave 0..1 by, as rounded numbers of one do
FORMULAS = {0: 1, 3: 5}  # forms of a formula (10.18) -> its numbers: a power, and one beside a straight line


@dataclass(frozen=True)
class Tables:
    """What makes sRGB of a picture's bytes, whatever the order of the machine's own."""

    pairs: npt.NDArray[np.uint32]  # of red and green: two bytes, sRGB's red and green, and 16 bits that they add to blue
    blues: npt.NDArray[np.uint16]  # of blue: what it adds to blue
    sums: npt.NDArray[np.uint16]  # of such a sum: two bytes, sRGB's blue and 255

    def change(self, picture: Image.Image) -> None:
        """Make sRGB of a picture of RGB, where it is."""
        for place in patches(*picture.size, PART):
            part = picture.crop(place)
            pixels = np.frombuffer(part.tobytes("raw", "RGBX"), np.uint8).reshape(-1, 4)
            # no index is outside, which the default mode would look for
            mixed = self.pairs.take(pixels.view(np.uint16)[:, 0], mode="clip")
            blue = mixed.view(np.uint16)[1::2]
            blue[:] = self.sums.take(self.blues.take(pixels[:, 2], mode="clip") + blue, mode="clip")
            part.frombytes(mixed.tobytes(), "raw", "RGBX")
            picture.paste(part, place[:2])
        picture.info.pop("icc_profile", None)


def tables(profile: bytes) -> Tables | None:
    """Return the tables of a profile as `spaces.written` makes them; None for one of another blue, or of other tags."""
    entries = struct.iter_unpack(">4sII", profile[132 : 132 + 12 * int.from_bytes(profile[128:132])])
    tags = {name: profile[start : start + size] for name, start, size in entries}
    if profile[16:24] != b"RGB XYZ " or set(tags) != {*COLUMNS, *CURVES} or any(len(tags[name]) < 20 for name in COLUMNS):
        return None
    to_d50 = np.array([struct.unpack(">3i", tags[name][8:20]) for name in COLUMNS], np.float64).T / 65536
    mix = np.asarray(np.linalg.solve(SRGB.to_d50(), to_d50), np.float64)  # from light of the file's colours to light of sRGB's
    least, most = np.minimum(mix[2], 0).sum(), np.maximum(mix[2], 0).sum()
    light = [_light(tags[name]) for name in CURVES]
    if np.abs(mix[:2, 2]).max() > FAINT or mix[2, 2] <= 0 or most - least > WIDEST or any(each is None for each in light):
        return None
    return _tables(mix, np.array(light), least, (PAIRS - 2) / (most - least))


def _tables(mix: Numbers, light: Numbers, least: float, units: float) -> Tables:
    """`mix` is (3, 3), `light` (3, 256); a sum is in `units` from `least` upwards, and its parts may be rounded up."""
    both = np.arange(PAIRS, dtype=np.uint16).view(np.uint8).reshape(-1, 2)  # the red and the green of each index
    added = mix[:, :2] @ np.stack([light[0, both[:, 0]], light[1, both[:, 1]]])  # (3, 65536)
    pairs = np.empty((PAIRS, 2), np.uint16)
    pairs.view(np.uint8)[:, :2] = _levels(added[:2]).T
    pairs[:, 1] = np.rint((added[2] - least) * units)
    sums = np.full((PAIRS, 2), 255, np.uint8)
    sums[:, 0] = _levels(np.arange(PAIRS) / units + least)
    blues = np.rint(mix[2, 2] * light[2] * units).astype(np.uint16)
    return Tables(pairs.view(np.uint32)[:, 0], blues, sums.view(np.uint16)[:, 0])


def _levels(light: Numbers) -> Numbers:
    return np.rint(255 * encoded(np.clip(light, 0, 1)))


def _light(curve: bytes) -> Numbers | None:
    """Return the light of a byte's values, (256,); None for a curve that leaves 0..1, or of which LittleCMS knows more."""
    values = np.linspace(0, 1, VALUES)
    count, form = int.from_bytes(curve[8:12]), int.from_bytes(curve[8:10])
    if curve[:4] == b"curv" and len(curve) >= 12 + 2 * count:
        table = np.frombuffer(curve, ">u2", count, 12)
        if count > 1:
            return np.interp(values, np.linspace(0, 1, count), table / 65535)
        power = table[0] / 256 if count else 1.0
        numbers = (power,)
    elif curve[:4] == b"para" and len(curve) >= 12 + 4 * FORMULAS.get(form, len(curve)):
        numbers = tuple(np.frombuffer(curve, ">i4", FORMULAS[form], 12) / 65536)
    else:
        return None
    power, slope, offset, linear, start = numbers if len(numbers) > 1 else (*numbers, 1.0, 0.0, 0.0, 0.0)
    with np.errstate(all="ignore"):  # of numbers that nobody means, of which the last line tells
        light = np.where(values < start, values * linear, np.maximum(values * slope + offset, 0) ** power)
    return np.clip(light, 0, 1) if ((light > -OVER) & (light < 1 + OVER)).all() else None
