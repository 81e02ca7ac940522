"""JPEG 2000: the size, the components and the tiles. ITU-T T.800, annexes A and I.

OpenJPEG holds the interpreter while it decodes, so that nothing could interrupt it, and its memory depends on more than the
number of pixels: it works in a process of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..bounds import ImageError, Look, Stated, Steps
from ..profiles import LARGEST_PROFILE
from .boxes import boxes

START = b"\xff\x4f\xff\x51"
SAMPLE = 8  # bytes for each sample of a pixel: as a whole number in a tile, and in the picture; measured
PROFILES = (2, 3)  # methods of a box of colours: a profile of a few forms, and of any
COMPONENTS = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def walk(data: bytes, steps: Steps) -> Look:
    """Look at a JPEG 2000 file, in boxes or bare."""
    start, colours = 0, list[Stated]()
    if not data.startswith(START):
        start = len(data)
        for box in boxes(data, steps):
            if box.name == b"jp2h":
                colours += _profiles(data, steps, box.start, box.end)
            elif box.name == b"jp2c":
                start = box.start
                break
    sizes = data[start : start + 42]
    if not sizes.startswith(START) or len(sizes) < 42:
        raise ImageError("damaged image: a JPEG 2000 file without a picture")
    right, bottom, left, top, wide, high, tile_left, tile_top = (int.from_bytes(sizes[i : i + 4]) for i in range(8, 40, 4))
    components = int.from_bytes(sizes[40:42])
    width, height = right - left, bottom - top
    if components not in COMPONENTS or not (wide and high) or width < 1 or height < 1:
        raise ImageError(f"a JPEG 2000 file of {components} components: 1 to 4 can be read")
    steps.take(-(-(right - tile_left) // wide) * -(-(bottom - tile_top) // high))
    buffers = SAMPLE * components + 4
    return Look("JPEG 2000", width, height, "RGBA", (data,), buffers=buffers, colours=tuple(colours[:1]), apart=True)


def _profiles(data: bytes, steps: Steps, start: int, end: int) -> Iterator[bytes]:
    """Yield the profiles in a header's boxes of colours."""
    for box in boxes(data, steps, start, end):
        if box.name == b"colr" and data[box.start] in PROFILES:
            yield data[box.start + 3 : min(box.end, box.start + 4 + LARGEST_PROFILE)]
