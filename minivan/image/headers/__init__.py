"""Walks over the headers of image files, one module for each kind: what the picture will cost, before a decoder starts.

A walk reads a file that is held in memory, forwards, in counted steps. It gives the parts of the file that hold pixels or say
how they are meant: comments, thumbnails, profiles and further pictures never reach a decoder.
"""

from collections.abc import Callable

from ..bounds import Look, Steps
from . import bmp, gif, heif, jp2, jpeg, png, ppm, tiff, webp

WALKS: dict[str, Callable[[bytes, Steps], Look]] = {
    "JPEG": jpeg.walk,
    "PNG": png.walk,
    "WebP": webp.walk,
    "BMP": bmp.walk,
    "GIF": gif.walk,
    "TIFF": tiff.walk,
    "PPM": ppm.walk,
    "AVIF": heif.avif,
    "JPEG 2000": jp2.walk,
    "HEIC": heif.heic,
}
