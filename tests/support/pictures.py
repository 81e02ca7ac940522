"""Small valid image files of every kind that minivan reads, and parts to make hostile ones of."""

import io
import struct
import zlib
from functools import cache

import numpy as np
from PIL import Image, ImageCms

from minivan.image.kinds import KINDS
from support.heic import heic
from support.tiff_photos import photo_tiff


def encode(picture, kind="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def photo(mode="RGB", size=(24, 16)):
    """A picture of one mode with something to see in it, the same each time."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (size[1], size[0], 4), np.uint8)
    if mode == "I;16":
        return Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    if mode == "F":
        return Image.fromarray(pixels[..., 0].astype(np.float32))
    return Image.fromarray(pixels[..., :3]).convert(mode) if mode != "RGBA" else Image.fromarray(pixels)


def turned(number):
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


@cache
def valid_files():
    """Return small files, name -> bytes; the name begins with the kind."""
    rgb, rgba, grey = photo(), photo("RGBA"), photo("L")
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    twelve = np.asarray(grey)[..., None].astype(np.uint16) * 16
    files = {
        "JPEG": encode(rgb, "JPEG", exif=turned(6), comment=b"a comment"),
        "JPEG progressive": encode(rgb, "JPEG", progressive=True),
        "JPEG CMYK": encode(photo("CMYK"), "JPEG"),
        "JPEG of two pictures": encode(rgb, "MPO", save_all=True, append_images=[grey]),
        "JPEG with a profile": encode(rgb, "JPEG", icc_profile=icc),
        "PNG with a profile": encode(rgb, "PNG", icc_profile=icc),
        "TIFF 12 bits": photo_tiff(twelve, 1, bits=12, rows=5),
        "PNG": encode(rgb, "PNG", exif=turned(3), dpi=(72, 72)),
        "PNG with alpha": encode(rgba, "PNG"),
        "PNG 16 bits": encode(photo("I;16"), "PNG"),
        "PNG palette": encode(rgb.quantize(9), "PNG", transparency=1),
        "GIF": encode(rgb.quantize(9), "GIF", transparency=1, comment=b"a comment"),
        "GIF film": encode(grey, "GIF", save_all=True, append_images=[grey.rotate(180)], loop=0),
        "BMP": encode(rgb, "BMP"),
        "BMP palette": encode(grey, "BMP"),
        "WebP": encode(rgb, "WEBP", exif=turned(2)),
        "WebP lossless": encode(rgba, "WEBP", lossless=True),
        "WebP film": encode(rgba, "WEBP", save_all=True, append_images=[rgba.rotate(180)]),
        "AVIF": encode(rgb, "AVIF", speed=10, exif=turned(8)),
        "TIFF": encode(rgb, "TIFF", tiffinfo={0x0112: 6}),
        "TIFF floating": encode(photo("F"), "TIFF"),
        "TIFF big": encode(grey, "TIFF", big_tiff=True),
        "TIFF LZW": encode(rgb, "TIFF", compression="tiff_lzw"),
        "TIFF deflate": encode(photo("I;16"), "TIFF", compression="tiff_adobe_deflate"),
        "HEIC": heic(photo(size=(72, 64)), exif=turned(6).tobytes()),
        "JPEG 2000": encode(rgb, "JPEG2000"),
        "JPEG 2000 bare": encode(grey, "JPEG2000", no_jp2=True),
        "PPM": encode(rgb, "PPM"),
        "PPM grey": encode(grey, "PPM"),
        "PPM bits": encode(photo("1"), "PPM"),
        "PPM floating": encode(photo("F"), "PPM"),
        "PPM plain": b"P3 # a comment\n2 2\n15\n 0 1 2  3 4 5  6 7 8  13 14 15\n",
        "PPM other scale": b"P5 4 4 99\n" + bytes(range(0, 96, 6)),
    }
    assert {name for kind in KINDS for name in files if name.startswith(kind)} == set(files)
    return files


def chunk(kind, body):
    """A chunk of a PNG file."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width, height, bits=8, colour=2, before=b"", pixels=b"", after=b""):
    """A PNG file with a header of one's own; its pixels may be missing."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + before + chunk(b"IDAT", pixels) + after + chunk(b"IEND", b"")


def png_header(width, height):
    """A PNG that claims a size and has no pixels."""
    return png(width, height)


def segment(marker, body):
    """A segment of a JPEG file."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def tiff(tags, body=b""):
    """A TIFF file of tags, number -> (type, values), after 8 bytes and `body`."""
    start = 8 + len(body) + len(body) % 2
    entries, more = b"", b""
    for tag, (kind, values) in sorted(tags.items()):
        raw = struct.pack(f"<{len(values)}{ {1: 'B', 3: 'H', 4: 'I'}[kind] }".replace(" ", ""), *values)
        if len(raw) > 4:
            place = start + 2 + 12 * len(tags) + 4 + len(more)
            raw, more = struct.pack("<I", place), more + raw
        entries += struct.pack("<HHI", tag, kind, len(values)) + raw.ljust(4, b"\0")
    return (
        b"II*\0"
        + struct.pack("<I", start)
        + body.ljust(start - 8, b"\0")
        + struct.pack("<H", len(tags))
        + entries
        + bytes(4)
        + more
    )


GIF_START = b"GIF89a" + struct.pack("<HHBBB", 4, 4, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
GIF_PICTURE = b"," + struct.pack("<HHHHB", 0, 0, 4, 4, 0) + b"\x02\x02\x44\x01\0"


def bmp(width, height, packing, body):
    """A BMP file of 8 bits a pixel."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, packing, len(body), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 1024 + len(body), 0, 0, 54 + 1024) + header + bytes(1024) + body
