"""PNG: all chunks, of which those that hold pixels, and what these mean, are kept. W3C, PNG (third edition)."""

from __future__ import annotations

import re
import zlib
from dataclasses import replace

from ..bounds import ImageError, Look, Steps
from . import png_colours

CHANNELS = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}  # by colour type
RGB, PALETTE, RGBA = 2, 3, 6  # colour types
KEYED = {0: 1, RGB: 3}  # colour types of which one colour may be transparent, and of how many samples it is
PIXELS = (b"IHDR", b"PLTE", b"IDAT")  # chunks whose checksum has to be right
ONCE = (b"IHDR", b"PLTE", b"tRNS")
OF_PALETTES = (b"PLTE", b"tRNS")  # chunks that a decoder needs for pictures of a palette alone
XMP, PROFILE = b"XML:com.adobe.xmp", b"Raw profile type exif"  # texts that are looked at for an orientation, one of each
TWICE = 9.0  # bytes for each pixel beside a picture that is decoded twice, for its higher bytes and its lower ones
LARGEST_TEXT = 1 << 20  # bytes of such a text, and of EXIF
LONGEST_KEYWORD = 79
NAME = re.compile(rb"[A-Za-z]{4}")


def walk(data: bytes, steps: Steps) -> Look:
    """Look at a PNG file, of which only the header, the palette, the transparency and the pixels are left."""
    place, kept, header, view = 8, [(0, 8, b"")], b"", memoryview(data)
    seen: set[bytes] = set()
    texts: dict[bytes, bytes] = {}
    said: dict[bytes, bytes] = {}
    exif = b""
    while place < len(data):
        steps.take()
        name, end = data[place + 4 : place + 8], place + 12 + int.from_bytes(data[place : place + 4])
        if not NAME.fullmatch(name):
            raise ImageError("damaged image: a PNG file with something between its chunks")
        body = slice(place + 8, end - 4)
        wanted = name not in OF_PALETTES or header[9:10] == bytes([PALETTE])
        needed = name in ONCE and wanted and name not in seen and b"IDAT" not in seen
        sum_of_its_own = b""
        if name in (*PIXELS, b"tRNS") and wanted and end <= len(data):
            right = zlib.crc32(view[place + 4 : end - 4]).to_bytes(4)
            if right != data[end - 4 : end]:
                if name in PIXELS:
                    raise ImageError(f"damaged image: a wrong checksum in the chunk {name.decode()} of a PNG file")
                sum_of_its_own = right
        if name == b"IDAT" or needed or name == b"IEND":
            if name == b"IHDR":
                header = data[body]
            if sum_of_its_own:  # the decoder would refuse the file, for transparency that is no colour of a pixel
                kept.append((place, end - 4, sum_of_its_own))
            elif kept[-1][1:] == (place, b""):
                kept[-1] = kept[-1][0], end, b""
            else:
                kept.append((place, end, b""))
        elif name == b"eXIf":
            exif = data[body.start : min(body.stop, body.start + LARGEST_TEXT)]
        elif name in (b"tEXt", b"zTXt", b"iTXt") and body.stop - body.start <= LARGEST_TEXT:
            keyword = data[body.start : min(body.start + LONGEST_KEYWORD + 1, body.stop)].partition(b"\0")[0]
            if keyword in (XMP, PROFILE) and keyword not in texts:
                texts[keyword] = _text(name, data[body])
        elif name in (*png_colours.NAMES, b"tRNS") and b"IDAT" not in seen:
            said.setdefault(name, data[body.start : min(body.stop, body.start + png_colours.LARGEST)])
        seen.add(name)
        if name == b"IEND":
            break
        place = end
    if len(header) < 13 or b"IDAT" not in seen:
        raise ImageError("damaged image: a PNG file without a picture")
    mode = CHANNELS.get(header[9], "RGBA")
    if header[8] == 16 and mode != "RGB":
        mode = "I;16" if mode == "L" else "RGBA"
    key = _key(header, said.get(b"tRNS", b""))
    deep = header[8] == 16 and header[9] in (RGB, RGBA)
    width, height = int.from_bytes(header[:4]), int.from_bytes(header[4:8])
    whole = kept == [(0, len(data), b"")]
    parts = (data,) if whole else tuple(data[start:end] + more for start, end, more in kept)
    exif = exif or _raw_profile(texts.get(PROFILE, b""))
    colours, xmp = png_colours.stated(said), texts.get(XMP, b"")
    look = Look(
        "PNG",
        width,
        height,
        mode,
        parts,
        extra=32 * width,
        exif=exif,
        xmp=xmp,
        colours=colours,
        key=key,
        deep=deep,
        buffers=TWICE if deep else 0.0,
    )
    return look if key or look.fits() else replace(look, deep=False, buffers=0.0)


def _key(header: bytes, said: bytes) -> tuple[int, ...]:
    """Return the one colour that is transparent, nothing where there is none: as the picture has it, or the file of 16 bits."""
    bits, colour = header[8], header[9]
    if colour not in KEYED or len(said) != 2 * KEYED[colour]:
        return ()
    values = [int.from_bytes(said[i : i + 2]) & ((1 << bits) - 1) for i in range(0, len(said), 2)]
    return tuple(value * 255 // ((1 << bits) - 1) if bits < 8 else value for value in values)


def _text(name: bytes, body: bytes) -> bytes:
    """Return the text of a text chunk, of which what is packed too large is left out."""
    rest = body.partition(b"\0")[2]
    if name == b"tEXt":
        return rest
    packed = name == b"zTXt"
    if name == b"iTXt":
        packed, rest = rest[:1] == b"\1", b"".join(rest[2:].split(b"\0", 2)[2:])
    else:
        rest = rest[1:]
    if packed:
        try:
            rest = zlib.decompressobj().decompress(rest, LARGEST_TEXT)
        except zlib.error:
            return b""
    return rest


def _raw_profile(text: bytes) -> bytes:
    """Return EXIF data out of the hexadecimal text that ImageMagick writes: a name, a length, digits."""
    digits = b"".join(text.split()[2:])
    try:
        return bytes.fromhex(digits.decode("ascii")).removeprefix(b"Exif\0\0")
    except ValueError:
        return b""
