"""The kinds of image file that minivan reads, told by their first bytes; and names for some that it does not read."""

from __future__ import annotations

import importlib.util
from typing import NamedTuple

from .bounds import ImageError

SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo", ".png", ".apng", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".ppm",
    ".pgm", ".pbm", ".pnm", ".pfm", ".avif", ".avifs", ".heic", ".heif", ".hif", ".jp2", ".j2k", ".jpc", ".j2c", ".jpf", ".jpx",
)  # fmt: skip
FIRST = 64  # bytes that are enough to tell


class Kind(NamedTuple):
    """A kind of file, and the one class of Pillow, or of a plug-in for it, that decodes it."""

    name: str
    module: str
    decoder: str
    package: str = ""  # what to install for it, where that is not Pillow


KINDS = {
    kind.name: kind
    for kind in (
        Kind("JPEG", "PIL.JpegImagePlugin", "JpegImageFile"),  # and the first picture of an MPO
        Kind("PNG", "PIL.PngImagePlugin", "PngImageFile"),
        Kind("WebP", "PIL.WebPImagePlugin", "WebPImageFile"),
        Kind("BMP", "PIL.BmpImagePlugin", "BmpImageFile"),
        Kind("GIF", "PIL.GifImagePlugin", "GifImageFile"),
        Kind("TIFF", "PIL.TiffImagePlugin", "TiffImageFile"),
        Kind("PPM", "PIL.PpmImagePlugin", "PpmImageFile"),  # and PGM, PBM, PFM
        Kind("AVIF", "PIL.AvifImagePlugin", "AvifImageFile"),
        Kind("JPEG 2000", "PIL.Jpeg2KImagePlugin", "Jpeg2KImageFile"),
        Kind("HEIC", "pillow_heif", "HeifImageFile", "pillow-heif"),
    )
}
READ = "JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, AVIF, JPEG 2000, HEIC (with pillow-heif) and arrays (.npy)"

HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1")  # brands
RAW = "a camera's raw file"
PICTURES = ("a Photoshop file", "a JPEG XL file", RAW)  # what is an image, and not read

OTHERS = (  # first bytes -> what such a file is
    (b"%PDF", "a PDF"),
    (b"%!PS", "a PostScript file"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript file"),
    (b"8BPS", "a Photoshop file"),
    (b"\0\0\1\0", "an icon"),
    (b"\xff\x0a", "a JPEG XL file"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL file"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML file"),
    (b"<!DOCTYPE", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"PK\3\4", "a zip file"),
    (b"\x1f\x8b", "a gzip file"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself"),
)


class Unread(ImageError):
    """An image of a kind that is known, and not read."""


def check_readable(name: str) -> None:
    """Raise ImageError for a kind whose decoder is in a package that is not installed."""
    kind = KINDS[name]
    if kind.package and importlib.util.find_spec(kind.module) is None:
        said = f"a {name} photo, which the package {kind.package} decodes: pip install {kind.package}"
        raise ImageError(f"{said}, or export the photo as JPEG or PNG")


def recognise(first: bytes) -> str:
    """Return the name of the kind of file that begins with these bytes (FIRST of them are enough).

    Raises ImageError for any other, which says what it is where that is known, and is Unread for an image.
    """
    if first.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if first.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if first.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if first.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if first[:4] == b"RIFF" and first[8:12] == b"WEBP":
        return "WebP"
    if first.startswith(b"BM"):
        return "BMP"
    if first[:2] in (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"Pf") and first[2:3] in b" \t\n\r\v\f#":
        return "PPM"
    if first.startswith((b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")):
        return "JPEG 2000"
    if first[4:8] == b"ftyp":
        brands = [first[i : i + 4] for i in range(8, min(len(first), int.from_bytes(first[:4])), 4)]
        if b"avif" in brands or b"avis" in brands:
            return "AVIF"
        if any(brand in HEIC for brand in brands):
            return "HEIC"
        if b"crx " in brands:  # Canon's
            raise _unread(RAW)
        raise _unread("a film")
    for start, name in OTHERS:
        if first.lstrip().startswith(start):
            raise _unread(name)
    raise ImageError(f"not an image that minivan reads: those are {READ}")


def _unread(name: str) -> ImageError:
    """Return the error for a kind of file that is known, and not read; it says what to do with it."""
    if name in PICTURES:
        return Unread(f"{name}, which minivan does not read: export it as JPEG or PNG")
    return ImageError(f"{name} is nothing that minivan reads: it reads {READ}")
