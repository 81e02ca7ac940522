"""WebP: the size of the canvas, and how many chunks there are. RFC 9649."""

from __future__ import annotations

from ..bounds import ImageError, Look, Steps

CANVASES = 16  # bytes for each pixel: two canvases, the decoder's own picture, its copy; measured


def walk(data: bytes, steps: Steps) -> Look:
    """Look at a WebP file."""
    exif = xmp = b""
    width = height = 0
    place = 12
    while place + 8 <= len(data):
        steps.take()
        name, size = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        body = data[place + 8 : place + 8 + min(size, 1 << 20)] if name in (b"EXIF", b"XMP ") else data[place + 8 : place + 18]
        if name == b"VP8X" and not width:
            width, height = (1 + int.from_bytes(body[i : i + 3], "little") for i in (4, 7))
        elif name == b"VP8 " and not width:
            width, height = (int.from_bytes(body[i : i + 2], "little") & 0x3FFF for i in (6, 8))
        elif name == b"VP8L" and not width:
            bits = int.from_bytes(body[1:5], "little")
            width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        elif name == b"EXIF":
            exif = body.removeprefix(b"Exif\0\0")
        elif name == b"XMP ":
            xmp = body
        place += 8 + size + size % 2
    if not width:
        raise ImageError("damaged image: a WebP file without a picture")
    return Look("WebP", width, height, "RGBA", (data,), buffers=CANVASES, exif=exif, xmp=xmp)
