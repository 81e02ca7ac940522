"""From a picture to the network's view of it: resize, crop, normalise. What is done to a photo is done to each band."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..card import Preprocessing
from .bands import GREY, Bands
from .bounds import LARGEST_PIXELS, RGB, STRIP, ImageError
from .decoding import Reading, Source, examine


def resize(picture: Image.Image, shorter: int, interpolation: str = "bicubic") -> Image.Image:
    """Scale the shorter side to `shorter` pixels, the other to int(shorter * long / short), by one of Pillow's filters.

    The other side is truncated, not rounded, as torchvision's Resize has it. Raises ImageError for a picture so narrow that
    it would have more than 179 megapixels.
    """
    size = resized(*picture.size, shorter)
    if size[0] * size[1] > LARGEST_PIXELS:
        width, height = picture.size
        raise ImageError(f"{width} x {height} pixels is too narrow: scaled for the network it would be {size[0]} x {size[1]}")
    return picture if size == picture.size else picture.resize(size, Image.Resampling[interpolation.upper()])


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


def normalise(picture: Image.Image | Bands, mean: Sequence[float], std: Sequence[float]) -> npt.NDArray[np.float32]:
    """Return an image as float32 (C, H, W): (value - mean) / std, with a mean and a deviation for each channel.

    8-bit values, a photo's among them, are divided by 255 first, as torchvision's ToTensor does; all others are taken as they
    are. Raises ValueError where there is not one mean and one deviation for each channel.
    """
    if isinstance(picture, Bands):
        bands = zip(picture.planes, mean, std, strict=True)
        return np.stack([_normalised(band, np.float32(m), np.float32(s)) for band, m, s in bands])
    width, height = picture.size
    means, deviations = np.array(mean, np.float32), np.array(std, np.float32)
    made = np.empty((3, height, width), np.float32)
    rows = max(1, STRIP // max(1, width))
    for top in range(0, height, rows):
        strip = picture if rows >= height else picture.crop((0, top, width, min(top + rows, height)))
        pixels = np.asarray(strip, np.float32) / np.float32(255)  # (rows, W, 3)
        made[:, top : top + rows] = ((pixels - means) / deviations).transpose(2, 0, 1)
    return made


def _normalised(band: Image.Image, mean: np.float32, std: np.float32) -> npt.NDArray[np.float32]:
    values = np.asarray(band, np.float32)
    if band.mode == GREY:
        values = values / np.float32(255)
    return (values - mean) / std


def viewed(width: int, height: int, preprocessing: Preprocessing, planes: int = 1) -> int:
    """Return the most bytes that resizing, cropping and normalising a picture of a size hold at once, itself among them.

    `planes` is how many of Pillow's images it is made of, of four bytes a pixel each.
    """
    wide, high = resized(width, height, preprocessing.resize)
    pictures = width * height + wide * height + wide * high + preprocessing.crop**2  # Pillow resizes rows, then columns
    return RGB * planes * pictures + (preprocessing.channels * 4 + 3) * preprocessing.crop**2 + 64 * STRIP


@overload
def view(picture: Image.Image, preprocessing: Preprocessing) -> Image.Image: ...
@overload
def view(picture: Bands, preprocessing: Preprocessing) -> Bands: ...
def view(picture: Image.Image | Bands, preprocessing: Preprocessing) -> Image.Image | Bands:
    """Return the square the network sees, still as an RGB image, or as bands."""
    if isinstance(picture, Bands):
        return picture.each(lambda band: view(band, preprocessing))
    return centre_crop(resize(picture, preprocessing.resize, preprocessing.interpolation), preprocessing.crop)


def prepare(
    source: Source,
    preprocessing: Preprocessing,
    exif: bool = True,
    icc: bool = True,
    truncated: bool = False,
    notes: list[str] | None = None,
    draft: bool = False,
) -> npt.NDArray[np.float32]:
    """Return the network's input for an image, float32 (C, crop, crop), C being `preprocessing.channels`.

    `source` is a file's path or bytes, an open file, a picture of Pillow's, or a uint8 array (H, W, 3). A photo becomes grey
    for one channel. For other numbers than 3 and 1 it is an array, or an .npy file, of a shape (H, W, C) or (C, H, W).
    Arguments and errors as for `decode`; `draft` is as for `Reading`, TypeError for anything else.
    """
    examined = examine(source, preprocessing.channels, preprocessing.resize if draft else 0)
    picture = examined.decode(Reading(exif, icc, truncated, draft))
    if notes is not None:
        notes.extend(examined.notes)
    return normalise(view(picture, preprocessing), preprocessing.mean, preprocessing.std)
