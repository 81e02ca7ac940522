"""One small file of each kind that readers differ on, beside what it shows: the rows of the table in docs/images.md."""

import io
import struct
import zlib
from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

from support import EXAMPLES
from support.heic import heic
from support.pictures import chunk, encode, segment, turned
from support.profiles import SPACES, in_srgb, packed, png_with, profile
from support.tiff_photos import photo_tiff

NEAR = 2.0  # levels of 255, on average over all pixels, within which a picture is what its file means
REFUSED = None


class Kind(NamedTuple):
    """A file, its ending, and the RGB picture (H, W, 3) that it means; REFUSED where there is none to show."""

    ending: str
    data: bytes
    right: np.ndarray | None


def grey(levels):
    return np.repeat(levels[..., None], 3, axis=2)


@cache
def kinds():
    """Return the kinds, what each is called -> Kind."""
    photo = Image.open(EXAMPLES / "cat.jpg").convert("RGB").resize((90, 60))
    rgb, levels = np.asarray(photo), np.asarray(photo.convert("L")).copy()
    levels.flat[:2] = 0, 255
    jpeg = encode(photo, "JPEG", quality=95)
    decoded = np.asarray(Image.open(io.BytesIO(jpeg)))
    wide, p3 = in_srgb(rgb, SPACES["ProPhoto"]), in_srgb(rgb, (*SPACES["Display P3"][:4], 0))
    odd = b"II*\0\x08\0\0\0\2\0" + struct.pack("<HHIIHHII", 0x010E, 5, 1, 38, 0x0112, 3, 1, 6) + bytes(12)
    missing = levels.astype("f4") / 255
    missing[:6] = -3.4028234663852886e38
    shown = levels.copy()
    shown[:6] = 0
    clear, texts = photo.convert("RGBA"), zlib.compress(b"a step, " * 300_000)
    clear.putalpha(0)
    bad = chunk(b"pHYs", struct.pack(">IIB", 2835, 2835, 1))
    plain = encode(photo)
    webp = encode(photo, "WEBP", lossless=True, xmp=b'<rdf:Description tiff:Orientation="6"/>')
    few, start = (levels >> 6).astype(np.uint8), plain.index(b"IDAT")
    keyed = np.where(few == 1, 255, few * 85)
    pixels = plain[: start + 14] + bytes([plain[start + 14] ^ 1]) + plain[start + 15 :]
    before = plain[:33] + bad[:-1] + bytes([bad[-1] ^ 1]) + plain[33:]
    icc, codes, linear = profile("ProPhoto"), (b"cICP", bytes([1, 13, 0, 1])), (b"gAMA", struct.pack(">I", 100_000))
    profiled = encode(photo, "JPEG", quality=100, subsampling=0, icc_profile=icc)
    lit = in_srgb(rgb, (*SPACES["sRGB"][:4], 1.0))
    told = jpeg[:2] + segment(0xE1, b"Exif\0\0" + odd) + jpeg[2:]
    upright = encode(photo, "WEBP", lossless=True, exif=turned(6))
    samples = levels[..., None]
    twelve, signed = np.rint(samples * (4095 / 255)).astype("u2"), (samples.astype("i4") * 200 - 20_000).astype("i2")
    inks = photo.convert("CMYK")
    lab = ImageCms.profileToProfile(photo, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), 1, "LAB")
    avif = encode(photo, "AVIF", quality=100, subsampling="4:4:4")
    place = avif.index(b"colrnclx") + 8
    coded = avif[:place] + struct.pack(">HH", 12, 13) + avif[place + 4 :]
    return {
        "a colour profile (ProPhoto) in a JPEG": Kind("jpg", profiled, wide),
        "a colour profile (ProPhoto) in a PNG": Kind("png", encode(photo, icc_profile=icc), wide),
        "Display P3 by codes (cICP) in a PNG": Kind("png", png_with(photo, (b"cICP", bytes([12, 13, 0, 1]))), p3),
        "Display P3 by codes (nclx) in an AVIF": Kind("avif", coded, p3),
        "codes before a profile in a PNG": Kind("png", png_with(photo, codes, (b"iCCP", packed(icc))), rgb),
        "linear light (gAMA) in a PNG": Kind("png", png_with(photo, linear), lit),
        "high dynamic range (PQ) in a PNG": Kind("png", png_with(photo, (b"cICP", bytes([9, 16, 0, 1]))), REFUSED),
        "megabytes of packed text in a PNG": Kind("png", png_with(photo, (b"zTXt", b"workflow\0\0" + texts)), rgb),
        "a wrong checksum beside the pixels of a PNG": Kind("png", before, rgb),
        "a wrong checksum of the pixels of a PNG": Kind("png", pixels, REFUSED),
        "a transparent grey of 2 bits in a PNG": Kind("png", two_bits(few), grey(keyed)),
        "an orientation beside an ill-typed tag in a JPEG": Kind("jpg", told, np.rot90(decoded, -1)),
        "a JPEG without its end mark": Kind("jpg", jpeg[:-2], decoded),
        "a JPEG of half the bytes": Kind("jpg", jpeg[: len(jpeg) // 2], REFUSED),
        "a JPEG of half the bytes, then zeros": Kind("jpg", jpeg[: len(jpeg) // 2] + bytes(len(jpeg) // 2), REFUSED),
        "transparency 0 everywhere in a BMP": Kind("bmp", bmp(clear), rgb),
        "an orientation in the XMP of a WebP": Kind("webp", webp, rgb),
        "an orientation in the EXIF of a WebP": Kind("webp", upright, np.rot90(rgb, -1)),
        "12 bits in a TIFF": Kind("tif", photo_tiff(twelve, 1, bits=12), grey(levels)),
        "12 bits, the lowest of a byte first, in a TIFF": Kind(
            "tif", photo_tiff(twelve, 1, bits=12, changed={266: [2]}), grey(levels)
        ),
        "16 bits, white is zero, in a TIFF": Kind("tif", photo_tiff(65535 - samples.astype("u2") * 257, 0), grey(levels)),
        "16 bits, colours apart, in a TIFF": Kind("tif", photo_tiff(rgb.astype("u2") * 257, 2, planar=True), rgb),
        "floating in 0..1, with no data, in a TIFF": Kind("tif", photo_tiff(missing[..., None], 1), grey(shown)),
        "numbers with a sign in a TIFF": Kind("tif", photo_tiff(signed, 1), grey(levels)),
        "inks, inverted as by Adobe, in a JPEG": Kind(
            "jpg", encode(inks, "JPEG", quality=100), np.asarray(inks.convert("RGB"))
        ),
        "CIE Lab in a TIFF": Kind("tif", encode(lab, "TIFF"), rgb),
        "a HEIC photo": Kind("heic", heic(photo), rgb),
        "a camera's raw values in a TIFF": Kind("tif", photo_tiff(samples, 32803), REFUSED),
    }


def two_bits(values):
    """A PNG file of grey of two bits, of which 1 is transparent."""
    height, width = values.shape
    digits = np.stack([values >> 1 & 1, values & 1], axis=2).reshape(height, -1)
    lines = b"".join(b"\0" + line.tobytes() for line in np.packbits(digits, axis=1))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 2, 0, 0, 0, 0))
    said = chunk(b"tRNS", b"\0\1")
    return b"\x89PNG\r\n\x1a\n" + head + said + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def bmp(picture):
    """A BMP file of 32 bits with a mask for transparency, as clipboards write it."""
    pixels = np.asarray(picture)[::-1, :, [2, 1, 0, 3]].tobytes()
    header = struct.pack("<IiiHHIIiiII", 124, *picture.size, 1, 32, 3, len(pixels), 0, 0, 0, 0)
    header += struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(64)
    return b"BM" + struct.pack("<IHHI", 138 + len(pixels), 0, 0, 138) + header + pixels


def verdict(kind, picture):
    """Return how a reader did, of the picture (H, W, 3) that it made, None where it made none."""
    if picture is None:
        return "refused"
    picture = np.asarray(picture, float)[..., :3]
    if kind.right is None:
        return "answers"
    if picture.shape != kind.right.shape:
        return "not turned as meant"
    off = np.abs(picture - kind.right).mean()
    return "as meant" if off <= NEAR else f"off by {off:.0f} levels"
