"""WebP: the size of the canvas, and the chunks, of which those that hold pixels are kept. RFC 9649."""

from __future__ import annotations

from ..bounds import ImageError, Look, Stated, Steps
from ..profiles import LARGEST_PROFILE, TOO_LARGE

LARGEST_METADATA = 1 << 20  # bytes of EXIF that are looked at
FRAME = b"ANMF"
PIXELS = (b"VP8X", b"ANIM", FRAME, b"ALPH", b"VP8 ", b"VP8L")
METADATA = 0x20 | 0x08 | 0x04  # flags of VP8X: a profile, EXIF, XMP
CANVASES = 16  # bytes for each pixel: two canvases, the decoder's own picture, its copy; measured


def walk(data: bytes, steps: Steps) -> Look:
    """Look at a WebP file."""
    exif = b""
    colours: tuple[Stated, ...] = ()
    width, height = _canvas(data[12:16], data[20:30])
    place, kept, frames = 12, [(0, 12)], 0
    while place + 8 <= len(data):
        steps.take()
        name, size = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        if name == b"EXIF":  # which alone turns it: XMP says nothing here
            exif = data[place + 8 : place + 8 + min(size, LARGEST_METADATA)].removeprefix(b"Exif\0\0")
        elif name == b"ICCP" and not colours:
            colours = (data[place + 8 : place + 8 + size] if size <= LARGEST_PROFILE else TOO_LARGE,)
        end = place + 8 + size + size % 2
        frames += name == FRAME
        if name in PIXELS and frames < 2:  # of a film the first picture
            kept[-1:] = [(kept[-1][0], end)] if kept[-1][1] == place else [kept[-1], (place, end)]
        place = end
    if not width:
        raise ImageError("damaged image: a WebP file without a picture")
    whole = kept == [(0, len(data))] and int.from_bytes(data[4:8], "little") == len(data) - 8
    padding = [b"\0"] if kept[-1][1] == len(data) + 1 else []  # of the last chunk, which may be cut off
    parts = (data,) if whole else _rewritten([*(data[start:end] for start, end in kept), *padding])
    return Look("WebP", width, height, "RGBA", parts, buffers=CANVASES, exif=exif, colours=colours)


def _rewritten(parts: list[bytes]) -> tuple[bytes, ...]:
    """Return a file of the parts that are left of one, which says its own size, and that it has no metadata."""
    first, *rest = parts
    head = bytearray(first[:21])
    head[4:8] = (sum(map(len, parts)) - 8).to_bytes(4, "little")
    if head[12:16] == b"VP8X":
        head[20] &= ~METADATA
    return bytes(head) + first[21:], *rest


def _canvas(name: bytes, body: bytes) -> tuple[int, int]:
    """Return the width and the height that the first chunk says, which is the one that decides; zeros for another one."""
    if len(body) < 10:
        return 0, 0
    if name == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if name == b"VP8 ":
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    bits = int.from_bytes(body[1:5], "little")
    return (1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)) if name == b"VP8L" else (0, 0)
