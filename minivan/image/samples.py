"""Samples of any number of bits, made the 8-bit picture that they are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

from .bounds import STRIP, ImageError
from .headers.tiff_photo import Photo

Values = npt.NDArray[np.generic]
Bytes = npt.NDArray[np.uint8]

MODES = {(1, False): "L", (1, True): "LA", (3, False): "RGB", (3, True): "RGBA", (4, False): "CMYK"}


def picture(photo: Photo, planes: Iterator[Values]) -> Image.Image:
    """Return a photo, of whose samples each is a plane (H, W), as an image of 8 bits: L, LA, RGB, RGBA or CMYK.

    Whole numbers without a sign have all bits set where they are white. Those with a sign and floating ones are taken as they
    are in 0..1, or stretched from their least to their greatest. Raises ImageError for infinities and what is no number.
    """
    wanted = {*range(photo.colours), *(() if photo.alpha is None else (photo.alpha[0],))}
    kept = [plane for i, plane in enumerate(planes) if i in wanted]
    colours, rest = kept[: photo.colours], kept[photo.colours :]
    if photo.stored.dtype.kind == "u":
        low, high = 0.0, float(2**photo.stored.bits - 1)
    else:
        low, high = extent(colours)
    made = [_scaled(plane, low, high, photo.inverted) for plane in colours]
    if rest and photo.colours < 4:
        most = high if photo.stored.dtype.kind == "u" else 1.0
        alpha = _scaled(rest[0], 0.0, most, False)
        if photo.alpha and photo.alpha[1] and alpha.any():
            made = [_divided(plane, alpha) for plane in made]
        made.append(alpha)
    mode = MODES[photo.colours, len(made) > photo.colours]
    bands = [Image.fromarray(each) for each in made]
    return bands[0] if len(bands) == 1 else Image.merge(mode, bands)


def extent(planes: list[Values]) -> tuple[float, float]:
    """Return which values are black and white: 0 and 1 where all lie between, otherwise the least and the greatest."""
    low, high = min(float(plane.min()) for plane in planes), max(float(plane.max()) for plane in planes)
    if not np.isfinite([low, high]).all():
        raise ImageError("a floating-point image with infinite or no values")
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)


def _scaled(plane: Values, low: float, high: float, inverted: bool) -> Bytes:
    """Return values (H, W) as bytes, `low` being 0 and `high` 255, or the reverse; some rows at a time."""
    made = np.empty(plane.shape, np.uint8)
    few = max(1, STRIP // plane.shape[1])
    for top in range(0, len(plane), few):
        values = plane[top : top + few].astype(np.float64)
        values = np.clip((values - low) * (255 / ((high - low) or 1.0)), 0, 255)
        made[top : top + few] = np.rint(255 - values if inverted else values)
    return made


def _divided(plane: Bytes, alpha: Bytes) -> Bytes:
    """Return colours that were multiplied with their transparency as they were before."""
    few = max(1, STRIP // plane.shape[1])
    for top in range(0, len(plane), few):
        part = alpha[top : top + few].astype(np.float64)
        values = plane[top : top + few] * 255.0 / np.maximum(part, 1)
        plane[top : top + few] = np.rint(np.minimum(values, 255))
    return plane
