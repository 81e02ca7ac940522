"""JPEG files that end too early: whether every pixel is there all the same, and how much is not.

libjpeg makes grey of what is missing, and says nothing that Pillow passes on. So such a file is decoded twice, once with an end
mark behind it and once with bytes of no meaning before that: where both pictures are the same, nothing was missing. A file with
an end mark may have been cut and mended: one whose last pixels are that grey, or whose last codes are zeros, is looked at
likewise.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator

from PIL import Image

from .bounds import STRIP, Bytes, Look, Steps
from .headers.jpeg import BLOCK, FRAMES, PROGRESSIVE, check_work, codes_end, count_scans, ends_in_zeros, scan_headers

END = b"\xff\xd9"
MEANINGLESS = bytes(random.Random(0).choices(range(1, 255), k=4096))  # no marker among them
OPPOSITE = bytes(255 - byte for byte in MEANINGLESS)  # of which every bit is another
TIMES, TIMES_WITH_ZEROS = 3, 7  # that a file is decoded, at most: the first time without a look at its end
COEFFICIENTS = BLOCK * BLOCK
GREY = slice(126, 130)  # levels: what coefficients of 0 become, and what colours around them may add


def decoded(look: Look, make: Callable[[bytes], Image.Image]) -> tuple[Image.Image, str]:
    """Return the picture of a file, and what is missing of it: a phrase, or nothing where nothing is.

    `make` decodes a file. One picture is held at once. Raises ImageError where that takes too long.
    """
    *before, scans = look.parts
    end, zeros = codes_end(scans, Steps())
    times = TIMES if zeros == end else TIMES_WITH_ZEROS
    check_work(count_scans(bytes(scans), 0, Steps()), look.width * look.scale, look.height * look.scale, times)

    def made(end: int, further: bytes) -> Image.Image:
        return make(b"".join((*before, memoryview(scans)[:end], further, END)))

    if zeros < end and not _are_codes(end, lambda *parts: list(_rows(made(*parts)))):
        end = zeros + 1  # the last byte of the codes may be one
    other = list(_rows(made(end, MEANINGLESS)))
    picture = made(end, b"")
    pairs = zip(_rows(picture), other, strict=True)
    first = next((i for i, (row, same) in enumerate(pairs) if row != same), picture.height)
    if lacking := _lacking_scans(look.parts):
        return picture, f"{_percent(lacking)} of its coefficients are not all there, so that it is coarse or lacks colours"
    missing = 1 - first / picture.height
    return picture, f"{_percent(missing)} of its rows are not all there" if missing else ""


def _are_codes(end: int, rows: Callable[[int, bytes], list[int]]) -> bool:
    """Tell whether zeros at the end are codes, as those of black may be: with them nothing is missing, and with one fewer
    something is. `rows` makes a picture of what ends at a place, and of further bytes."""
    whole = rows(end, b"")
    return whole == rows(end, MEANINGLESS) and any(whole != rows(end - 1, other) for other in (MEANINGLESS, OPPOSITE))


def is_doubtful(look: Look, picture: Image.Image) -> bool:
    """Tell whether a picture that was decoded without a complaint may lack pixels: some of its scans, its last block, or what
    is zeros where a file was not copied to its end.

    Of JPEG files every block is 8 pixels square, or that divided by the scale.
    """
    width, height = picture.size
    side = BLOCK // look.scale
    last = picture.crop(((width - 1) // side * side, (height - 1) // side * side, width, height))
    brightness = last.getchannel("K") if last.mode == "CMYK" else last.convert("L")
    grey = sum(brightness.histogram()[GREY]) == last.width * last.height
    return grey or ends_in_zeros(look.parts[-1]) or _lacking_scans(look.parts) > 0


def _percent(share: float) -> str:
    return f"{max(share, 0.001):.1%}"


def _rows(picture: Image.Image) -> Iterator[int]:
    """Yield a checksum of each row."""
    width, height = picture.size
    few = max(1, STRIP // width)
    for top in range(0, height, few):
        strip = picture.crop((0, top, width, min(top + few, height)))
        data = strip.tobytes()
        each = len(data) // strip.height
        yield from (zlib.crc32(data[i : i + each]) for i in range(0, len(data), each))


def _lacking_scans(parts: tuple[Bytes, ...]) -> float:
    """Return which share of the coefficients a file of several scans does not have to their last bits, for each colour 64."""
    frame = next(bytes(part) for part in parts if part[0] == 0xFF and part[1] in FRAMES)
    colours = frame[10 : 10 + 3 * frame[9] : 3]
    left = {colour: bytearray(b"\xff" * COEFFICIENTS) for colour in colours}
    for header in scan_headers(bytes(parts[-1]), Steps()):
        count = header[2] if len(header) > 2 else 0
        if len(header) < 6 + 2 * count:
            continue
        first, last, bits = header[3 + 2 * count : 6 + 2 * count]
        if frame[1] not in PROGRESSIVE:
            first, last, bits = 0, COEFFICIENTS - 1, 0
        last = min(last, COEFFICIENTS - 1)
        if first > last:
            continue
        for colour in header[3 : 3 + 2 * count : 2]:
            left.get(colour, left[colours[0]])[first : last + 1] = bytes([bits & 15]) * (last + 1 - first)
        if not any(map(any, left.values())):
            return 0.0
    return sum(COEFFICIENTS - each.count(0) for each in left.values()) / (COEFFICIENTS * len(left))
