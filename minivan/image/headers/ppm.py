"""PPM, PGM, PBM and PFM: a header of words, which may hold comments; and what Pillow would read number by number.

The parts that a walk gives have a header without comments. Samples that are written as text, or on another scale than 255 or
65535, are scaled here as Pillow scales them, with NumPy: it does so in Python, a sample in some 300 ns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ..bounds import LARGEST_HELD, LARGEST_PIXELS, ImageError, Look, Steps

LONGEST_HEADER = 1 << 16  # bytes, comments among them
WORD = re.compile(rb"(?:[ \t\n\r\v\f]|#[^\r\n]*+[\r\n])*+([^ \t\n\r\v\f#]{1,32})")
COMMENT = re.compile(rb"#[^\r\n]*+[\r\n]?")
SPACES = b" \t\n\r\v\f"
SPACE = re.compile(rb"[ \t\n\r\v\f]")
PLAIN, BITS, COLOURS = (b"P1", b"P2", b"P3"), (b"P1", b"P4"), (b"P3", b"P6")
BLOCK = 1 << 18  # samples, or characters of text, that are looked at at once

Samples = npt.NDArray[np.integer]


def walk(data: bytes, steps: Steps) -> Look:
    """Look at such a file; of one whose samples are text, or scaled unusually, the samples are made at once."""
    magic, place = data[:2], 2
    words: list[bytes] = []
    for _ in range(2 if magic in BITS else 3):
        steps.take()
        found = WORD.match(data, place, LONGEST_HEADER)
        if not found:
            raise ImageError("damaged image: the header ends too early")
        words.append(found[1])
        place = found.end()
    place += 1  # one space ends the header
    try:
        width, height = (int(word) for word in words[:2])
        largest = 1 if magic in BITS else 255 if magic == b"Pf" else int(words[2])
    except ValueError:
        raise ImageError("damaged image: no numbers in the header") from None
    if not 0 < largest < 65536:
        raise ImageError(f"damaged image: samples from 0 to {largest}")
    if not (width > 0 and height > 0 and width * height <= LARGEST_PIXELS):  # before anything is made of them
        return Look("PPM", width, height, "L", ())
    head = b"%s %d %d" % (magic, width, height)
    if magic == b"Pf":
        return Look("PPM", width, height, "F", (head + b" %s\n" % words[2], data[place:]))
    if magic == b"P4":
        return Look("PPM", width, height, "1", (head + b"\n", data[place:]))
    mode = "RGB" if magic in COLOURS else "L" if largest < 256 else "I"
    if magic not in PLAIN and (largest == 255 or (largest == 65535 and mode == "I")):
        return Look("PPM", width, height, mode, (head + b" %d\n" % largest, data[place:]))
    count, scale = width * height * (3 if mode == "RGB" else 1), 65535 if mode == "I" else 255
    if count > len(data):  # each takes one byte at least
        raise ImageError("damaged image: image file is truncated")
    made: npt.NDArray[np.integer] = np.empty(count, ">u2" if mode == "I" else np.uint8)
    if 3 * len(data) + 2 * made.nbytes > LARGEST_HELD:
        raise ImageError(f"{width} x {height} pixels are too many for samples that are written so")
    blocks = _plain(data[place:], steps, magic == b"P1") if magic in PLAIN else _binary(data, place, largest)
    filled = 0
    for block in blocks:
        block = block[: count - filled]
        if block.max(initial=0) > largest:
            raise ImageError("damaged image: a sample is larger than the header says")
        made[filled : filled + len(block)] = np.rint(block / largest * scale)
        filled += len(block)
        if filled == count:
            break
    if filled < count:
        raise ImageError("damaged image: image file is truncated")
    if magic == b"P1":
        np.subtract(255, made, made)  # 1 is black
    head = b"%s %d %d %d\n" % (b"P6" if mode == "RGB" else b"P5", width, height, scale)
    return Look("PPM", width, height, mode, (head, made.tobytes()), extra=len(data))


def _plain(text: bytes, steps: Steps, digits: bool) -> Iterator[Samples]:
    """Yield the samples of a text of numbers, or of single digits."""
    if comments := text.count(b"#"):
        steps.take(comments)
        text = _uncommented(text)
    place = 0
    while place < len(text):
        found = None if digits else SPACE.search(text, place + BLOCK)
        end = place + BLOCK if digits else found.end() if found else len(text)
        if end - place > 2 * BLOCK:
            raise ImageError("damaged image: a number without an end")
        part, place = text[place:end], end
        if part.translate(None, (b"01" if digits else b"0123456789") + SPACES):
            raise ImageError("damaged image: something between the samples that is no number")
        if digits:
            yield np.frombuffer(part.translate(None, SPACES), np.uint8) - np.uint8(ord("0"))
        elif part.strip():
            yield np.fromstring(part, np.int64, sep=" ")


def _uncommented(text: bytes) -> bytes:
    """Return a text without its comments."""
    kept, place = bytearray(), 0
    for found in COMMENT.finditer(text):  # `sub` would hold every piece of the text as an object
        kept += text[place : found.start()]
        place = found.end()
    kept += text[place:]
    return bytes(kept)


def _binary(data: bytes, start: int, largest: int) -> Iterator[Samples]:
    """Yield samples of one or two bytes, those above the largest as that."""
    kind = np.dtype(np.uint8 if largest < 256 else ">u2")
    samples = np.frombuffer(data, kind, max(0, len(data) - start) // kind.itemsize, min(start, len(data)))
    for place in range(0, len(samples), BLOCK):
        yield np.minimum(samples[place : place + BLOCK], largest)
