"""From a photo to the network's input: decode, orient, resize, crop, normalise."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from .card import Preprocessing

__all__ = ["ImageError", "centre_crop", "decode", "normalise", "prepare", "resize", "to_rgb", "view"]

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".avif", ".jp2")
LARGEST_PIXELS = 178_956_970  # where Pillow begins to warn of a decompression bomb


class ImageError(ValueError):
    """An image that cannot be used; the message is one line that says why."""


def decode(source: str | Path | bytes | IO[bytes], exif: bool = True) -> Image.Image:
    """Return the first frame of an image file as 8-bit RGB, turned the way its EXIF orientation says unless `exif` is False.

    Transparent pixels are laid over white; 16-bit and floating greyscale are scaled to 8 bits; CMYK and palettes are
    converted by Pillow. Raises ImageError for anything that is not a complete image of at most 179 megapixels, and
    OSError where the file cannot be opened.
    """
    if isinstance(source, bytes):
        source = io.BytesIO(source)
    if isinstance(source, (str, Path)) and Path(source).stat().st_size == 0:
        raise ImageError("the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd metadata; the size is checked below
            with Image.open(source) as opened:
                width, height = opened.size
                if width * height > LARGEST_PIXELS:
                    raise ImageError(f"{width} x {height} pixels is more than the limit of {LARGEST_PIXELS:,} pixels")
                opened.load()
                return to_rgb(ImageOps.exif_transpose(opened) if exif else opened)
    except UnidentifiedImageError:
        raise ImageError("not an image that Pillow can read") from None
    except Image.DecompressionBombError as error:  # Pillow's own limit: it names the number of pixels
        pixels = re.search(r"\d+", str(error))
        found = f"{int(pixels[0]):,} pixels" if pixels else "its size"
        raise ImageError(f"{found} is more than the limit of {LARGEST_PIXELS:,} pixels") from None
    except ImageError:
        raise
    except OSError as error:
        if error.errno is not None:  # the file system's word (missing, no permission), not the decoder's
            raise
        raise ImageError(f"damaged image: {error}") from None
    except MemoryError:
        raise ImageError("not enough memory to decode it") from None
    except Exception as error:  # decoders meet hostile bytes with IndexError, struct.error, SyntaxError and more
        raise ImageError(f"damaged image: {error or type(error).__name__}") from None


def to_rgb(picture: Image.Image) -> Image.Image:
    """Convert any Pillow image to 8-bit RGB knowingly, mode by mode: see `decode`.

    Raises ImageError for floating greyscale that holds infinities or no numbers.
    """
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture.copy()
    if picture.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I", "F"):
        return _wide_to_rgb(picture)
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return picture.convert("RGB")


def _wide_to_rgb(picture: Image.Image) -> Image.Image:
    """Scale greyscale of more than 8 bits down; Pillow's own convert would clip it to white."""
    values = np.asarray(picture).astype(np.float64)
    if picture.mode == "F":
        low, high = (float(v) for v in (np.nanmin(values), np.nanmax(values)))
        if not np.isfinite([low, high]).all():
            raise ImageError("a floating-point image with infinite or no values")
        if low < 0 or high > 1:  # not on the scale 0..1: stretch what is there
            values = (values - low) / ((high - low) or 1.0)
        values = np.nan_to_num(values) * 255
    else:
        values = values / 257  # 65535 / 255
    grey = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def resize(picture: Image.Image, shorter: int) -> Image.Image:
    """Scale the shorter side to `shorter` pixels, the other to int(shorter * long / short), with antialiased bicubic.

    The other side is truncated, not rounded, as torchvision's Resize has it. Raises ImageError for a picture so narrow that
    it would have more than 179 megapixels.
    """
    width, height = picture.size
    if width <= height:
        size = shorter, int(shorter * height / width)
    else:
        size = int(shorter * width / height), shorter
    if size[0] * size[1] > LARGEST_PIXELS:
        raise ImageError(f"{width} x {height} pixels is too narrow: scaled for the network it would be {size[0]} x {size[1]}")
    return picture if size == picture.size else picture.resize(size, Image.Resampling.BICUBIC)


def centre_crop(picture: Image.Image, side: int) -> Image.Image:
    """Cut the central square of `side` pixels, its corner rounded as torchvision's CenterCrop does; what lies outside the
    picture is zero."""
    width, height = picture.size
    left, top = round((width - side) / 2), round((height - side) / 2)
    return picture.crop((left, top, left + side, top + side))  # Pillow fills what lies outside with zeros


def normalise(picture: Image.Image, mean: Sequence[float], std: Sequence[float]) -> npt.NDArray[np.float32]:
    """Return an RGB image as float32 (3, H, W): (value / 255 - mean) / std, with a mean and a deviation for each channel."""
    pixels = np.asarray(picture, np.float32) / np.float32(255)  # (H, W, 3)
    centred = pixels - np.array(mean, np.float32)
    return np.ascontiguousarray((centred / np.array(std, np.float32)).transpose(2, 0, 1))


def view(picture: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    """Return the square the network sees, still as an RGB image."""
    return centre_crop(resize(picture, preprocessing.resize), preprocessing.crop)


def prepare(source: str | Path | bytes | IO[bytes], preprocessing: Preprocessing, exif: bool = True) -> npt.NDArray[np.float32]:
    """Return the network's input for an image file, float32 (3, crop, crop). Arguments and errors as for `decode`."""
    return normalise(view(decode(source, exif), preprocessing), preprocessing.mean, preprocessing.std)
