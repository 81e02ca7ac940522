"""JPEG 2000: the size, the components and the tiles. ITU-T T.800, annexes A and I.

OpenJPEG holds the interpreter while it decodes, so that nothing could interrupt it, and its memory depends on more than the
number of pixels: it works in a process of its own.
"""

from __future__ import annotations

from ..bounds import ImageError, Look, Steps
from .boxes import boxes

START = b"\xff\x4f\xff\x51"
SAMPLE = 8  # bytes for each sample of a pixel: as a whole number in a tile, and in the picture; measured
COMPONENTS = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def walk(data: bytes, steps: Steps) -> Look:
    """Look at a JPEG 2000 file, in boxes or bare."""
    start = 0
    if not data.startswith(START):
        start = next((box.start for box in boxes(data, steps) if box.name == b"jp2c"), len(data))
    sizes = data[start : start + 42]
    if not sizes.startswith(START) or len(sizes) < 42:
        raise ImageError("damaged image: a JPEG 2000 file without a picture")
    right, bottom, left, top, wide, high, tile_left, tile_top = (int.from_bytes(sizes[i : i + 4]) for i in range(8, 40, 4))
    components = int.from_bytes(sizes[40:42])
    width, height = right - left, bottom - top
    if components not in COMPONENTS or not (wide and high) or width < 1 or height < 1:
        raise ImageError(f"a JPEG 2000 file of {components} components: 1 to 4 can be read")
    steps.take(-(-(right - tile_left) // wide) * -(-(bottom - tile_top) // high))
    return Look("JPEG 2000", width, height, "RGBA", (data,), buffers=SAMPLE * components + 4, apart=True)
