"""From a picture to the network's view of it: resize, crop, normalise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..card import Preprocessing
from .bounds import LARGEST_PIXELS, RGB, STRIP, ImageError
from .decoding import decode


def resize(picture: Image.Image, shorter: int) -> Image.Image:
    """Scale the shorter side to `shorter` pixels, the other to int(shorter * long / short), with antialiased bicubic.

    The other side is truncated, not rounded, as torchvision's Resize has it. Raises ImageError for a picture so narrow that
    it would have more than 179 megapixels.
    """
    size = resized(*picture.size, shorter)
    if size[0] * size[1] > LARGEST_PIXELS:
        width, height = picture.size
        raise ImageError(f"{width} x {height} pixels is too narrow: scaled for the network it would be {size[0]} x {size[1]}")
    return picture if size == picture.size else picture.resize(size, Image.Resampling.BICUBIC)


def resized(width: int, height: int, shorter: int) -> tuple[int, int]:
    """Return the size that `resize` makes of a size."""
    if width <= height:
        return shorter, int(shorter * height / width)
    return int(shorter * width / height), shorter


def centre_crop(picture: Image.Image, side: int) -> Image.Image:
    """Cut the central square of `side` pixels, its corner rounded as torchvision's CenterCrop does; what lies outside the
    picture is zero."""
    width, height = picture.size
    left, top = round((width - side) / 2), round((height - side) / 2)
    return picture.crop((left, top, left + side, top + side))  # Pillow fills what lies outside with zeros


def normalise(picture: Image.Image, mean: Sequence[float], std: Sequence[float]) -> npt.NDArray[np.float32]:
    """Return an RGB image as float32 (3, H, W): (value / 255 - mean) / std, with a mean and a deviation for each channel."""
    width, height = picture.size
    means, deviations = np.array(mean, np.float32), np.array(std, np.float32)
    made = np.empty((3, height, width), np.float32)
    rows = max(1, STRIP // max(1, width))
    for top in range(0, height, rows):
        strip = picture if rows >= height else picture.crop((0, top, width, min(top + rows, height)))
        pixels = np.asarray(strip, np.float32) / np.float32(255)  # (rows, W, 3)
        made[:, top : top + rows] = ((pixels - means) / deviations).transpose(2, 0, 1)
    return made


def viewed(width: int, height: int, preprocessing: Preprocessing) -> int:
    """Return the most bytes that resizing, cropping and normalising a picture of a size hold at once, itself among them."""
    wide, high = resized(width, height, preprocessing.resize)
    pictures = width * height + wide * height + wide * high + preprocessing.crop**2  # Pillow resizes rows, then columns
    return RGB * pictures + (3 * 4 + 3) * preprocessing.crop**2 + 64 * STRIP


def view(picture: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    """Return the square the network sees, still as an RGB image."""
    return centre_crop(resize(picture, preprocessing.resize), preprocessing.crop)


def prepare(source: str | Path | bytes | IO[bytes], preprocessing: Preprocessing, exif: bool = True) -> npt.NDArray[np.float32]:
    """Return the network's input for an image file, float32 (3, crop, crop). Arguments and errors as for `decode`."""
    return normalise(view(decode(source, exif), preprocessing), preprocessing.mean, preprocessing.std)
