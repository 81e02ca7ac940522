"""JPEG files that end too early: whether every pixel is there all the same, and how much is not.

libjpeg makes grey of what is missing, and says nothing that Pillow passes on. So such a file is decoded twice, once with an end
mark behind it and once with bytes of no meaning before that: where both pictures are the same, nothing was missing.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator

from PIL import Image

from .bounds import STRIP, Bytes, Steps
from .headers.jpeg import FRAMES, PROGRESSIVE, scan_headers

END = b"\xff\xd9"
MEANINGLESS = bytes(random.Random(0).choices(range(1, 255), k=4096))  # no marker among them
COEFFICIENTS = 64  # of a block


def decoded(parts: tuple[Bytes, ...], make: Callable[[bytes], Image.Image]) -> tuple[Image.Image, str]:
    """Return the picture of a file without an end mark, and what is missing of it: a phrase, or nothing where nothing is.

    `make` decodes a file. One picture is held at once.
    """
    whole = *parts[:-1], _without_marks(parts[-1])
    other = list(_rows(make(b"".join((*whole, MEANINGLESS, END)))))
    picture = make(b"".join((*whole, END)))
    pairs = zip(_rows(picture), other, strict=True)
    first = next((i for i, (row, same) in enumerate(pairs) if row != same), picture.height)
    if _lacks_scans(parts):
        return picture, "its last scans are missing, so that it is coarse or without its colours"
    missing = 1 - first / picture.height
    return picture, f"{max(missing, 0.001):.1%} of its rows are not all there" if missing else ""


def _without_marks(data: Bytes) -> Bytes:
    """Return bytes without those at the end that begin a marker."""
    end = len(data)
    while end and data[end - 1] == 0xFF:
        end -= 1
    return memoryview(data)[:end]


def _rows(picture: Image.Image) -> Iterator[int]:
    """Yield a checksum of each row."""
    width, height = picture.size
    few = max(1, STRIP // width)
    for top in range(0, height, few):
        strip = picture.crop((0, top, width, min(top + few, height)))
        data = strip.tobytes()
        each = len(data) // strip.height
        yield from (zlib.crc32(data[i : i + each]) for i in range(0, len(data), each))


def _lacks_scans(parts: tuple[Bytes, ...]) -> bool:
    """Tell whether a file of several scans has not all of them: for each colour every coefficient, to its last bit."""
    frame = next(bytes(part) for part in parts if part[0] == 0xFF and part[1] in FRAMES)
    colours = frame[10 : 10 + 3 * frame[9] : 3]
    left = {colour: [-1] * COEFFICIENTS for colour in colours}
    for header in scan_headers(bytes(parts[-1]), Steps()):
        count = header[2] if len(header) > 2 else 0
        if len(header) < 6 + 2 * count:
            continue
        first, last, bits = header[3 + 2 * count : 6 + 2 * count]
        if frame[1] not in PROGRESSIVE:
            first, last, bits = 0, COEFFICIENTS - 1, 0
        for colour in header[3 : 3 + 2 * count : 2]:
            for i in range(first, min(last, COEFFICIENTS - 1) + 1):
                left.get(colour, left[colours[0]])[i] = bits & 15
    return any(any(each) for each in left.values())
