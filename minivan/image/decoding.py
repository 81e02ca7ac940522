"""From an image file to a picture: examined, decoded by Pillow, made RGB, turned."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from .. import input, npy
from ..variants import COLOURS
from . import bands, colour, orientation
from .apart import available, decoded_apart
from .bounds import LARGEST_FILE, STORED, ImageError, Look, Steps
from .headers import WALKS, tiff_bands
from .kinds import FIRST, KINDS, recognise

Made = TypeVar("Made")


def decode(source: str | Path | bytes | IO[bytes], exif: bool = True) -> Image.Image:
    """Return the first frame of an image file as 8-bit RGB, turned the way its EXIF orientation says unless `exif` is False.

    Transparent pixels are laid over white; 16-bit and floating greyscale are scaled to 8 bits; CMYK and palettes are
    converted by Pillow. Raises ImageError for anything that is not a complete image of a kind that minivan reads and within
    the limits of `bounds`, and OSError where the file cannot be opened or is larger than 512 MiB. A decoder runs to its end:
    to stop waiting for one after a time, decode in a thread, as `minivan.predict` does.
    """
    picture = examine(source).decode(exif)
    if isinstance(picture, bands.Bands):
        raise ImageError("bands of numbers, where a photo is wanted")
    return picture


@dataclass(frozen=True)
class Examined:
    """An image file whose header was looked at and which is within the limits; nothing of it is decoded."""

    look: Look
    channels: int = COLOURS  # that its picture is to have
    stored: tiff_bands.Stored | None = None  # the bands of a TIFF file that is no photo

    @property
    def planes(self) -> int:
        """How many of Pillow's images its picture is made of: one for a photo in colours, else one for each channel."""
        photo = self.look.kind != bands.ARRAY and self.stored is None and self.channels == COLOURS
        return 1 if photo else self.channels

    def decode(self, exif: bool = True) -> Image.Image | bands.Bands:
        """Return its picture; see `minivan.image.decode`. A photo is one of Pillow's for three channels, else it is bands."""
        return _named(lambda: self._decode(exif))

    def _decode(self, exif: bool) -> Image.Image | bands.Bands:
        if self.look.kind == bands.ARRAY:
            return bands.of_array(bytes(self.look.parts[0]), self.channels)
        if self.stored is not None:
            picture = bands.Bands(tuple(map(bands.plane, self.stored.planes(map(_values, self.stored.files())))))
            return picture.each(lambda band: orientation.turned(band, self.look.orientation if exif else 0))
        return bands.of_photo(self._photo(exif), self.channels)

    def _photo(self, exif: bool) -> Image.Image:
        look = self.look
        opened, found = _opened(look)
        picture = opened if colour.is_rgb(opened) else colour.to_rgb(opened)
        del opened  # its pixels, before a turn takes as many again
        if not exif:
            return picture
        said = look.orientation or orientation.from_exif(look.exif or found) or orientation.from_xmp(look.xmp)
        return orientation.turned(picture, said)


def examine(source: str | Path | bytes | IO[bytes], channels: int = COLOURS) -> Examined:
    """Read an image file whole and walk over its header. `channels` is how many a network takes.

    Raises as `decode` does, and ImageError for an array that has not so many.
    """
    return _named(lambda: _examined(_read(source), Steps(), channels))


def _read(source: str | Path | bytes | IO[bytes]) -> bytes:
    """Return what a source holds. It is read once: what is judged is what is decoded, even if the file changes meanwhile."""
    if isinstance(source, bytes):
        data = source
    elif isinstance(source, (str, Path)):
        data = input.read(source, LARGEST_FILE)
    else:
        if source.seekable():
            source.seek(0)
        data = input.drained(source, LARGEST_FILE, str(getattr(source, "name", "the file")))
    if not data:
        raise ImageError("the file is empty")
    if len(data) > LARGEST_FILE:
        raise ImageError(f"{input.amount(len(data))} is more than the limit for an image file, {input.amount(LARGEST_FILE)}")
    return data


def _examined(data: bytes, steps: Steps, channels: int) -> Examined:
    if data.startswith(npy.MAGIC):
        found = Examined(bands.look_at_array(data, channels), channels)
    else:
        kind = recognise(data[:FIRST])
        stored = tiff_bands.find(data, Steps(), channels) if kind == "TIFF" else None
        if stored is None:
            bands.check_photo(channels)
        found = Examined(_look(data, steps) if stored is None else stored.look, channels, stored)
    found.look.check()
    return found


def _look(data: bytes, steps: Steps) -> Look:
    look = WALKS[recognise(data[:FIRST])](data, steps)
    look.check()
    return look


def _values(file: bytes) -> npt.NDArray[np.generic]:
    """Return what a TIFF file of one sample a pixel holds."""
    return np.asarray(_opened(_look(file, Steps()))[0])


def _opened(look: Look) -> tuple[Image.Image, bytes]:
    return (decoded_apart(look), b"") if look.apart and available() else _decoded(look)


def _decoded(look: Look) -> tuple[Image.Image, bytes]:
    """Decode in this process; return the picture, and the EXIF data that the decoder made of what is no EXIF."""
    kind = KINDS[look.kind]
    make: Callable[[IO[bytes]], Any] = getattr(importlib.import_module(kind.module), kind.decoder)
    file = io.BytesIO(look.parts[0] if len(look.parts) == 1 else b"".join(look.parts))
    with make(file) as opened:
        if opened.width * opened.height * STORED.get(opened.mode, 4) > look.pixels * STORED.get(look.mode, 4):
            raise ImageError(f"damaged image: {look.width} x {look.height} pixels, or {opened.width} x {opened.height}")
        opened.load()
    made = opened.info.get("exif", b"") if look.kind == "AVIF" else b""
    return opened, made.removeprefix(b"Exif\0\0")


def _named(work: Callable[[], Made]) -> Made:
    """Do what decoders do; raise ImageError for whatever they raise, save the file system's own errors."""
    try:
        return work()
    except ImageError:
        raise
    except OSError as error:
        if error.errno is not None:  # the file system's word (missing, no permission), not the decoder's
            raise
        raise ImageError(f"damaged image: {_line(error)}") from None
    except MemoryError:
        raise ImageError("not enough memory to decode it") from None
    except Exception as error:  # decoders meet hostile bytes with IndexError, struct.error, SyntaxError and more
        if "not installed" in str(error):
            raise ImageError("this Pillow was built without a decoder for such images") from None
        raise ImageError(f"damaged image: {_line(error)}") from None


def _line(error: Exception) -> str:
    """Return a decoder's words on one line, of a length that can be read."""
    return " ".join(str(error).split())[:200] or type(error).__name__
