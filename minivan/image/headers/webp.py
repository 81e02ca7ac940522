"""WebP: the size of the canvas, and how many chunks there are. RFC 9649."""

from __future__ import annotations

from ..bounds import ImageError, Look, Stated, Steps
from ..profiles import LARGEST_PROFILE, TOO_LARGE

LARGEST_METADATA = 1 << 20  # bytes of EXIF that are looked at
CANVASES = 16  # bytes for each pixel: two canvases, the decoder's own picture, its copy; measured


def walk(data: bytes, steps: Steps) -> Look:
    """Look at a WebP file."""
    exif = b""
    colours: tuple[Stated, ...] = ()
    width, height = _canvas(data[12:16], data[20:30])
    place = 12
    while place + 8 <= len(data):
        steps.take()
        name, size = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        if name == b"EXIF":  # which alone turns it: XMP says nothing here
            exif = data[place + 8 : place + 8 + min(size, LARGEST_METADATA)].removeprefix(b"Exif\0\0")
        elif name == b"ICCP" and not colours:
            colours = (data[place + 8 : place + 8 + size] if size <= LARGEST_PROFILE else TOO_LARGE,)
        place += 8 + size + size % 2
    if not width:
        raise ImageError("damaged image: a WebP file without a picture")
    return Look("WebP", width, height, "RGBA", (data,), buffers=CANVASES, exif=exif, colours=colours)


def _canvas(name: bytes, body: bytes) -> tuple[int, int]:
    """Return the width and the height that the first chunk says, which is the one that decides; zeros for another one."""
    if name == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if name == b"VP8 ":
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    bits = int.from_bytes(body[1:5], "little")
    return (1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)) if name == b"VP8L" else (0, 0)
