"""Spaces of colours that a file names by numbers: as codes of ITU-T H.273, or by where red, green, blue and white lie.

Each is made an ICC profile (ICC.1:2022), so that one reader serves them all.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Point = tuple[float, float]  # x and y of CIE 1931
Numbers = npt.NDArray[np.float64]

D65, C, EQUAL, THEATRE = (0.3127, 0.3290), (0.310, 0.316), (1 / 3, 1 / 3), (0.314, 0.351)
D50 = (0.9642, 1.0, 0.8249)  # XYZ of the white that profiles are relative to
BRADFORD = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))
VERSION = 0x04300000  # 4.3
COLUMNS, CURVES = (b"rXYZ", b"gXYZ", b"bXYZ"), (b"rTRC", b"gTRC", b"bTRC")  # tags of a profile's matrix, and beside it
TABLE = 4096  # entries of a curve that is no formula
BLACK, WHITE = 16 / 255, 235 / 255  # of a narrow range
S_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)  # IEC 61966-2-1, as a profile's third formula has it


class Space(NamedTuple):
    """A space of colours, of a screen: what its values are as light."""

    red: Point
    green: Point
    blue: Point
    white: Point
    gamma: float = 0.0  # the exponent that makes light of a value; 0 for sRGB's curve
    narrow: bool = False  # whether black is 16 and white 235, of 255
    unread: str = ""  # the name of a curve for which there is no light of a screen; then the rest says nothing

    def usable(self) -> bool:
        """Tell whether its primaries span a plane in which they make up its white, none of them less than nothing."""
        try:
            return bool((np.linalg.solve(self._xyz(), _xyz(self.white)) > 0).all()) and self.white[1] > 0
        except np.linalg.LinAlgError:
            return False

    def profile(self) -> bytes:
        """Return it as an ICC profile."""
        tags = {name: b"XYZ \0\0\0\0" + _fixed(*column) for name, column in zip(COLUMNS, self.to_d50().T, strict=True)}
        return written(b"RGB ", tags | dict.fromkeys(CURVES, self._curve()))

    def to_d50(self) -> Numbers:
        """Return the matrix (3, 3) from light of its red, green and blue to XYZ relative to D50."""
        columns = self._xyz()
        white = _xyz(self.white) / self.white[1]
        columns = columns * np.linalg.solve(columns, white)
        cones = np.array(BRADFORD)
        adapted: Numbers = np.linalg.inv(cones) @ np.diag((cones @ np.array(D50)) / (cones @ white)) @ cones @ columns
        return adapted

    def _xyz(self) -> Numbers:
        return np.stack([_xyz(point) for point in (self.red, self.green, self.blue)], axis=1)

    def _curve(self) -> bytes:
        if not self.narrow:
            formula, numbers = (0, (self.gamma,)) if self.gamma else (3, S_CURVE)
            return b"para\0\0\0\0" + struct.pack(">HH", formula, 0) + _fixed(*numbers)
        values = np.clip((np.linspace(0, 1, TABLE) - BLACK) / (WHITE - BLACK), 0, 1)
        light = values**self.gamma if self.gamma else _light(values)
        return b"curv\0\0\0\0" + struct.pack(">I", TABLE) + np.rint(light * 65535).astype(">u2").tobytes()


BT709 = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), D65)
PRIMARIES: dict[int, tuple[Point, Point, Point, Point]] = {  # H.273, table 2
    1: BT709,
    4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), C),
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), D65),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), D65),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), D65),
    8: ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), C),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65),
    10: ((1.0, 0.0), (0.0, 1.0), (0.0, 0.0), EQUAL),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), THEATRE),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), D65),
}
# H.273, table 3. The curves of television (1, 6, 11, 12, 14, 15) are those of cameras: what they make is looked at as sRGB is.
GAMMAS = {1: 0.0, 6: 0.0, 11: 0.0, 12: 0.0, 13: 0.0, 14: 0.0, 15: 0.0, 4: 2.2, 5: 2.8, 8: 1.0}
UNREAD = {16: "PQ", 18: "HLG"}  # ITU-R BT.2100
UNSPECIFIED = 2
SRGB = Space(*BT709)
LARGEST_GAMMA = 10.0  # beyond it everything but white is black


def coded(primaries: int, transfer: int, narrow: bool = False) -> Space | str | None:
    """Return the space of two codes of H.273; None where they say nothing, a phrase where what they say is not known."""
    if transfer in UNREAD:
        return SRGB._replace(unread=UNREAD[transfer])
    if primaries == transfer == UNSPECIFIED:
        return SRGB._replace(narrow=True) if narrow else None
    points = PRIMARIES.get(1 if primaries == UNSPECIFIED else primaries)
    gamma = GAMMAS.get(13 if transfer == UNSPECIFIED else transfer)
    if points is None or gamma is None:
        return f"the primaries {primaries} and the curve {transfer} (ITU-T H.273) are not known"
    return Space(*points, gamma, narrow)


def described(white: Point, red: Point, green: Point, blue: Point, gamma: float) -> Space | None:
    """Return the space of four points and an exponent, 0 for sRGB's curve; None for what is no space."""
    space = Space(red, green, blue, white, gamma)
    return space if (not gamma or 1 / LARGEST_GAMMA <= gamma <= LARGEST_GAMMA) and space.usable() else None


def written(space: bytes, tags: dict[bytes, bytes], inside: bytes = b"XYZ ", version: int = VERSION) -> bytes:
    """Return an ICC profile of a screen or a printer of a space, `inside` being the one that its tags lead to."""
    start = 128 + 4 + 12 * len(tags)
    places: dict[bytes, int] = {}
    body = b""
    for data in tags.values():
        if data not in places:
            places[data] = start + len(body)
            body += data + bytes(-len(data) % 4)
    table = b"".join(name + struct.pack(">II", places[data], len(data)) for name, data in tags.items())
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    head = struct.pack(">I4xI4s4s4s12x4s28x", start + len(body), version, kind, space, inside, b"acsp")
    return head + _fixed(*D50) + bytes(128 - len(head) - 12) + struct.pack(">I", len(tags)) + table + body


def encoded(light: Numbers) -> Numbers:
    """Return the values, in 0..1, that sRGB has for light in 0..1."""
    gamma, slope, offset, linear, least = S_CURVE
    return np.where(light < least * linear, light / linear, (light ** (1 / gamma) - offset) / slope)


def _fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _light(values: Numbers) -> Numbers:
    gamma, slope, offset, linear, least = S_CURVE
    return np.where(values < least, values * linear, (values * slope + offset) ** gamma)


def _xyz(point: Point) -> Numbers:
    x, y = point
    return np.array([x, y, 1 - x - y])
