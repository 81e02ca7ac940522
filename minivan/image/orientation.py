"""How a photo is to be turned: the one number that is read from EXIF and XMP, whatever stands beside it."""

from __future__ import annotations

import re

from PIL import Image

TAG = 0x0112  # orientation, a short
LARGEST_DIRECTORY = 4096  # entries; more are no directory of a camera
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def from_exif(exif: bytes) -> int:
    """Return the orientation, 1..8, that EXIF data give, or 0 where they give none. `exif` begins with II or MM."""
    if exif[:2] not in (b"II", b"MM"):
        return 0

    def number(start: int, size: int) -> int:
        part = exif[start : start + size]
        return int.from_bytes(part, "little" if exif[:1] == b"I" else "big") if len(part) == size else 0

    first = number(4, 4)
    for i in range(min(number(first, 2), LARGEST_DIRECTORY)):
        entry = first + 2 + 12 * i
        if number(entry, 2) == TAG:
            kind = number(entry + 2, 2)
            value = number(entry + 8, {1: 1, 3: 2, 4: 4}.get(kind, 2))
            return value if 1 <= value <= 8 else 0
    return 0


def from_xmp(xmp: bytes) -> int:
    """Return the orientation, 1..8, that an XMP packet gives, or 0."""
    found = re.search(rb'tiff:Orientation(?:="|>)([1-8])', xmp)
    return int(found[1]) if found else 0


def turned(picture: Image.Image, orientation: int) -> Image.Image:
    """Return the picture turned upright; the picture itself where there is nothing to turn."""
    turn = TURNS.get(orientation)
    return picture if turn is None else picture.transpose(turn)
