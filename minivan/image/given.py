"""Pictures that a program hands over in a file's place: those that Pillow has decoded, and arrays."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..variants import COLOURS
from .bounds import ImageError, Look
from .orientation import TAG

PICTURE = "picture of Pillow's"  # the kind of what is no file
PHOTO = "a photo's array is uint8 (H, W, 3), RGB, or (H, W), grey"


def look_at(picture: Image.Image) -> Look:
    """Return what a picture of Pillow's says of itself: its size, its mode and its profile. Nothing is decoded."""
    profile = picture.info.get("icc_profile")
    colours = (bytes(profile),) if isinstance(profile, (bytes, bytearray)) and profile else ()
    return Look(PICTURE, *picture.size, picture.mode, (), colours=colours)


def orientation_of(picture: Image.Image) -> int:
    """Return the orientation, 1..8, that a decoded picture's EXIF data give, or 0. A TIFF file Pillow turns itself."""
    try:
        number = picture.getexif().get(TAG)
    except Exception:  # damaged EXIF data turn nothing, whatever Pillow raises for them
        return 0
    return number if isinstance(number, int) and 1 <= number <= 8 else 0


def of_array(array: npt.NDArray[Any], channels: int) -> Image.Image | bytes:
    """Return an array as a picture for a network of so many channels: a photo, or what an .npy file of it would hold.

    Raises ImageError for an array that is no photo, where the network takes photos alone.
    """
    colours = array.ndim == 3 and array.shape[2] == COLOURS
    if array.dtype == np.uint8 and (colours or array.ndim == 2) and channels in (1, COLOURS) and array.size:
        return Image.fromarray(np.ascontiguousarray(array))
    if channels == COLOURS:
        found = f"an array of the shape {array.shape} and the dtype {array.dtype}"
        prepared = array.ndim in (3, 4) and array.shape[-3] == COLOURS and array.dtype.kind == "f"
        advice = "; what is prepared already goes to the model itself, model(x)" if prepared else ""
        if array.ndim == 4 and array.shape[3] == COLOURS:
            advice = "; several are a list, list(array)"
        raise ImageError(f"{found}: {PHOTO}{advice}")
    held = io.BytesIO()
    try:
        np.lib.format.write_array(held, array, allow_pickle=False)
    except ValueError:
        raise ImageError(f"an array of the dtype {array.dtype}: bands are whole or floating numbers") from None
    return held.getvalue()
