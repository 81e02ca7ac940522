"""Pictures of any number of channels: grey photos, and the bands of cameras that see more than three colours.

A band keeps the values it has: eight bits stay eight bits, everything else becomes float32. So 8-bit bands are resized to the
bits that a photo's colours are, and others lose nothing.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from .. import npy
from ..variants import COLOURS, counted
from .bounds import ImageError, Look, patches

ARRAY = "NumPy array"  # the kind of an .npy file
GREY = "L"  # Pillow's mode of 8 bits: ITU-R 601 makes it of colours, L = (299 R + 587 G + 114 B) / 1000
FLOATING = "F"  # and of float32
DARKEST, BRIGHTEST = 2, 98  # percentiles of a band's values that are shown black and white


@dataclass(frozen=True)
class Bands:
    """A picture of any number of channels: an image of Pillow's for each, of mode L or F, all of one size."""

    planes: tuple[Image.Image, ...]

    def each(self, change: Callable[[Image.Image], Image.Image]) -> Bands:
        """Return the picture with every band changed alike."""
        return Bands(tuple(map(change, self.planes)))

    def said_of(self, no_data: float | None) -> list[str]:
        """Return what to say where values are the number that a file states for none: a phrase, or nothing."""
        if no_data is None:
            return []
        strips = (np.asarray(plane.crop(place)) for plane in self.planes for place in patches(*plane.size))
        count = sum(int((strip == np.float32(no_data)).sum()) for strip in strips)
        return [f"{count} of its values are {no_data:g}, which the file states for no data: they are taken as they are"] * (
            count > 0
        )

    def shown(self) -> Image.Image:
        """Return what a person sees of it, in RGB: its first three bands, or the first one in grey where there are fewer.

        Of a floating band the 2nd percentile is black and the 98th white, as programs for satellite images have it.
        """
        few = self.planes[: COLOURS if len(self.planes) >= COLOURS else 1]
        made = [plane if plane.mode == GREY else _stretched(plane) for plane in few]
        return made[0].convert("RGB") if len(made) == 1 else Image.merge("RGB", made)


def check_photo(channels: int) -> None:
    """Raise ImageError where a network of so many channels takes no photos."""
    if channels not in (1, COLOURS):
        raise ImageError(
            f"a photo has {COLOURS} colours, and the network takes {counted(channels)}: give them as an .npy array, "
            f"(H, W, {channels}) or ({channels}, H, W), or as a TIFF file of {channels} bands"
        )


def of_photo(picture: Image.Image, channels: int) -> Image.Image | Bands:
    """Return an RGB photo as a network of three channels takes it, as it is, or of one, in grey."""
    return picture if channels == COLOURS else Bands((picture.convert(GREY),))


def look_at_array(data: bytes, channels: int) -> Look:
    """Look at an .npy file that is to be a picture of so many channels. Raises ImageError where it is none."""
    _, shape, _ = _array(data, channels)
    height, width = shape
    # Beside the bands there is one more of them while it is made, in the array's own order and in Pillow's.
    return Look(ARRAY, width, height, FLOATING, (data,), buffers=4 * channels + 8)


def of_array(data: bytes, channels: int) -> Bands:
    """Return the bands of an .npy file. Raises ImageError for what is none, and for values that are no finite float32."""
    values, _, axis = _array(data, channels)
    return Bands(tuple(plane(values.take(i, axis) if values.ndim > 2 else values) for i in range(channels)))


def plane(values: npt.NDArray[Any]) -> Image.Image:
    """Return one band (H, W) as Pillow holds it. Raises ImageError for values that are no finite float32."""
    if values.dtype == np.uint8:
        return Image.fromarray(np.ascontiguousarray(values))
    with np.errstate(over="ignore"):
        floating = np.ascontiguousarray(values, np.float32)
    if not np.isfinite(floating).all():
        raise ImageError("some of its values are infinite or no numbers: put others in their place")
    return Image.fromarray(floating)


def _array(data: bytes, channels: int) -> tuple[npt.NDArray[Any], tuple[int, int], int]:
    """Return an .npy file's array, not copied; its height and width; and which axis the channels are on."""
    file = io.BytesIO(data)
    try:
        dtype, shape, fortran, before = npy.header(file, len(data))
    except (ValueError, OverflowError) as error:
        raise ImageError(f"not an .npy file of numbers, or a damaged one ({error})") from None
    if dtype.kind not in "uif":
        raise ImageError(f"an array of the dtype {dtype}: bands are whole or floating numbers")
    axis = _channel_axis(shape, channels)
    numbers = np.frombuffer(data, dtype, int(np.prod(shape)), before)
    height, width = (side for i, side in enumerate(shape) if len(shape) == 2 or i != axis)
    return numbers.reshape(shape, order="F" if fortran else "C"), (height, width), axis


def _channel_axis(shape: tuple[int, ...], channels: int) -> int:
    """Return which axis of a picture's array the channels are on, the last or the first: the one that is as long."""
    wanted = f"(H, W, {channels}) or ({channels}, H, W)" + (", or (H, W)" if channels == 1 else "")
    if channels == 1 and len(shape) == 2:
        return 0
    if len(shape) != 3:
        raise ImageError(f"an array of the shape {shape}; an image of {counted(channels)} is {wanted}")
    first, last = shape[0] == channels, shape[2] == channels
    if first and last:
        raise ImageError(f"an array of the shape {shape}: its first axis or its last may be the channels; trim one side")
    if not (first or last):
        raise ImageError(f"an array of the shape {shape}, and the network takes {counted(channels)}: {wanted}")
    return 0 if first else 2


def _stretched(band: Image.Image) -> Image.Image:
    values = np.asarray(band, np.float64)
    low, high = np.percentile(values, (DARKEST, BRIGHTEST))
    scaled = (values - low) / ((high - low) or 1.0) * 255
    return Image.fromarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8))
