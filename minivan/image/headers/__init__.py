"""Walks over the headers of image files, one module for each kind: what the picture will cost, before a decoder starts.

A walk reads a file that is held in memory, forwards, in counted steps. It gives the parts of the file that hold pixels or say
how they are meant: comments, thumbnails, profiles and further pictures never reach a decoder.
"""

from __future__ import annotations

import importlib

from ..bounds import Look, Steps

WALKS = {  # kind -> the module of its walk, and the function there
    "JPEG": ("jpeg", "walk"),
    "PNG": ("png", "walk"),
    "WebP": ("webp", "walk"),
    "BMP": ("bmp", "walk"),
    "GIF": ("gif", "walk"),
    "TIFF": ("tiff", "walk"),
    "PPM": ("ppm", "walk"),
    "AVIF": ("heif", "avif"),
    "JPEG 2000": ("jp2", "walk"),
    "HEIC": ("heif", "heic"),
}


def walk(kind: str, data: bytes, steps: Steps) -> Look:
    """Walk over the header of a file of a kind, whose module is imported with the first of them. Raises ImageError."""
    module, function = WALKS[kind]
    look: Look = getattr(importlib.import_module(f"{__name__}.{module}"), function)(data, steps)
    return look
