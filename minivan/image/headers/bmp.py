"""BMP: one header of a fixed size. Microsoft, Bitmap Storage."""

from __future__ import annotations

from ..bounds import ImageError, Look, Steps
from ..profiles import LARGEST_PROFILE, TOO_LARGE

PACKED = (1, 2)  # run lengths of 8 and of 4 bits, which Pillow decodes in Python
EMBEDDED = b"DEBM"  # of the fifth version: its colours are those of a profile in the file
LARGEST_PACKED = 20_000_000  # pixels: some two seconds


def walk(data: bytes, steps: Steps) -> Look:
    """Look at a BMP file."""
    steps.take()

    def number(start: int, size: int) -> int:
        return int.from_bytes(data[start : start + size], "little")

    old = number(14, 4) == 12  # OS/2's header has shorter fields
    width, height = (number(18, 2), number(20, 2)) if old else (number(18, 4), number(22, 4))
    height = min(height, (1 << 32) - height)  # rows from the top have a negative height
    bits, packing = (number(24, 2), 0) if old else (number(28, 2), number(30, 4))
    if packing in PACKED and width * height > LARGEST_PACKED:
        raise ImageError(f"{width} x {height} pixels is more than the limit for a packed BMP file: {LARGEST_PACKED:,} pixels")
    mode = "P" if bits <= 8 else "RGBA"  # RGB takes as much
    colours: tuple[bytes | str, ...] = ()
    if number(14, 4) >= 124 and data[70:74] == EMBEDDED:
        start, size = 14 + number(126, 4), number(130, 4)
        colours = (data[start : start + size] if size <= LARGEST_PROFILE else TOO_LARGE,)
    return Look("BMP", width, height, mode, (data,), buffers=3 if packing in PACKED else 0, colours=colours)
