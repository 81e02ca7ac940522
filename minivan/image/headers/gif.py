"""GIF: the screen and what comes before the first picture. CompuServe, GIF89a."""

from __future__ import annotations

from ..bounds import ImageError, Look, Steps
from ..profiles import LARGEST_PROFILE

EXTENSION, PICTURE, CONTROL = 0x21, 0x2C, 0xF9
PROFILE = b"\xff\x0bICCRGBG1012"  # how an extension begins whose blocks are a profile (ICC.1, annex B.6)


def walk(data: bytes, steps: Steps) -> Look:
    """Look at a GIF file, of which comments and whatever applications left in it go before the first picture."""
    flags = data[10] if len(data) > 12 else 0
    place = 13 + (3 << ((flags & 7) + 1) if flags & 128 else 0)
    parts, profile = [data[:place]], bytearray()
    while place < len(data) and data[place] != PICTURE:
        steps.take()
        if data[place] == ord(";"):
            place = len(data)
        elif data[place] != EXTENSION:
            place += 1  # as decoders do: what lies between blocks is passed over
        else:
            start, control = place, data[place + 1 : place + 2] == bytes([CONTROL])
            coloured = not profile and data.startswith(PROFILE, place + 1)
            place += 2
            while place < len(data) and (size := data[place]):
                steps.take()
                if coloured and place > start + 2 and len(profile) <= LARGEST_PROFILE:
                    profile += data[place + 1 : place + 1 + size]
                place += 1 + size
            place += 1
            if control:
                parts.append(data[start:place])
    if place + 10 > len(data):
        raise ImageError("damaged image: a GIF file without a picture")
    left, top, wide, high = (int.from_bytes(data[place + i : place + i + 2], "little") for i in (1, 3, 5, 7))
    width = max(int.from_bytes(data[6:8], "little"), left + wide)
    height = max(int.from_bytes(data[8:10], "little"), top + high)
    parts.append(data[place:])
    colours = (bytes(profile),) if profile else ()
    return Look(
        "GIF", width, height, "P", tuple(parts), buffers=3, colours=colours
    )  # filled, made larger, and kept for the next picture
