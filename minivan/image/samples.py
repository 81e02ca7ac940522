"""Samples of any number of bits, made the 8-bit picture that they are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

from . import colour, stretch
from .bounds import patches
from .headers.tiff_photo import Photo
from .stretch import Scale

Values = npt.NDArray[np.generic]
Bytes = npt.NDArray[np.uint8]

INKS = 4  # colours
MODES = {(1, False): "L", (1, True): "LA", (3, False): "RGB", (3, True): "RGBA", (INKS, False): "CMYK"}


def picture(photo: Photo, planes: Iterator[Values]) -> tuple[Image.Image, tuple[str, ...]]:
    """Return a photo, of whose samples each is a plane (H, W), as an image of 8 bits: L, LA, RGB, RGBA or CMYK, which
    has no transparency and is laid over white; and what to say of it, a phrase each.

    Whole numbers without a sign have all bits set where they are white; those with a sign, and floating ones, are shown as
    `stretch.find` says, which raises ImageError.
    """
    wanted = {*range(photo.colours), *(() if photo.alpha is None else (photo.alpha[0],))}
    kept = [plane for i, plane in enumerate(planes) if i in wanted]
    colours, rest = kept[: photo.colours], kept[photo.colours :]
    if photo.stored.dtype.kind == "u":
        scale = Scale(0.0, float(2**photo.stored.bits - 1), (), ())
    else:
        scale = stretch.find((plane[part] for plane in colours for part in _patches(plane)), photo.stored.look.no_data)
    made = [_levels(plane, scale, photo.inverted) for plane in colours]
    notes = scale.notes
    if rest:
        most, multiplied = scale.high if photo.stored.dtype.kind == "u" else 1.0, photo.alpha is not None and photo.alpha[1]
        alpha = _levels(rest[0], Scale(0.0, most, (), ()))
        used = bool(alpha.any())
        if photo.colours < INKS:
            made = [*(_divided(plane, alpha) if multiplied and used else plane for plane in made), alpha]
        elif not used:
            notes = *notes, colour.UNUSED
        elif not multiplied:  # paper is white, and where there is less of a pixel there is less ink
            made = [_multiplied(plane, alpha) for plane in made]
    mode = MODES[photo.colours, len(made) > photo.colours]
    bands = [Image.fromarray(each) for each in made]
    return (bands[0] if len(bands) == 1 else Image.merge(mode, bands)), notes


def _levels(plane: Values, scale: Scale, inverted: bool = False) -> Bytes:
    """Return values (H, W) as bytes."""
    made = np.empty(plane.shape, np.uint8)
    for part in _patches(plane):
        made[part] = scale.levels(plane[part], inverted)
    return made


def _patches(plane: Values) -> Iterator[tuple[slice, slice]]:
    """Yield where the parts of a plane (H, W) lie, as `bounds.patches` has them."""
    for left, top, right, bottom in patches(plane.shape[1], plane.shape[0]):
        yield slice(top, bottom), slice(left, right)


def _multiplied(plane: Bytes, alpha: Bytes) -> Bytes:
    """Return inks as there is of them where they are laid over white."""
    for part in _patches(plane):
        plane[part] = np.rint(plane[part] * (alpha[part] / 255.0))
    return plane


def _divided(plane: Bytes, alpha: Bytes) -> Bytes:
    """Return colours that were multiplied with their transparency as they were before."""
    for part in _patches(plane):
        values = plane[part] * 255.0 / np.maximum(alpha[part].astype(np.float64), 1)
        plane[part] = np.rint(np.minimum(values, 255))
    return plane
