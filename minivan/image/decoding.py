"""From an image file to a picture: examined, decoded by Pillow, made RGB, turned."""

from __future__ import annotations

import importlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from .. import input, npy
from ..processors import startable
from ..variants import COLOURS
from . import bands, colour, given, headers, orientation, profiles, stretch, unended
from .apart import available, decoded_apart
from .bounds import ENDS_EARLY, LARGEST_FILE, STORED, Bytes, ImageError, Look, Steps, patches
from .headers import jpeg
from .kinds import FIRST, KINDS, check_readable, recognise

if TYPE_CHECKING:
    from .headers import tiff_bands, tiff_photo

Made = TypeVar("Made")
Source: TypeAlias = str | os.PathLike[str] | bytes | IO[bytes] | Image.Image | npt.NDArray[Any]
"""An image: a file's path or what it holds, an open file, a picture that Pillow has opened, or an array, uint8 (H, W, 3)."""
DEEP_STRIP = 1 << 14  # pixels of 16 bits that are rounded at once
HALF = 128  # of 257, which one level of 8 bits is in 16


def decode(
    source: Source,
    exif: bool = True,
    icc: bool = True,
    truncated: bool = False,
    notes: list[str] | None = None,
) -> Image.Image:
    """Return the first frame of an image as 8-bit sRGB, turned the way its EXIF orientation says unless `exif` is False.

    The image is a file, or what Pillow has opened, or an array, uint8 (H, W, 3): see `Source`. Colours are what it says that
    they are, by an ICC profile or by numbers, unless `icc` is False. Transparent pixels are laid over white, unless all are
    wholly transparent: then none is. 16-bit and floating greyscale are scaled to 8 bits; without a profile, CMYK is converted
    by Pillow. A JPEG file that ends early is a picture where every pixel is there all the same, and otherwise where `truncated`
    says so. What a person should know of all that is added to `notes`, a phrase each. Raises ImageError for anything that is
    not a complete image of a kind that minivan reads and within the limits of `bounds`, OSError where the file cannot be opened
    or is larger than 512 MiB, and TypeError for what is no `Source`. A decoder runs to its end: to stop waiting for one after a
    time, decode in a thread, as `minivan.predict` does.
    """
    examined = examine(source)
    picture = examined.decode(Reading(exif, icc, truncated))
    if notes is not None:
        notes.extend(examined.notes)
    if isinstance(picture, bands.Bands):
        raise ImageError("bands of numbers, where a photo is wanted")
    return picture


class Reading(NamedTuple):
    """How a photo is read: whether EXIF turns it, a profile colours it, and what is left of a JPEG file is taken.

    `draft` is for who makes the photo smaller afterwards: a large JPEG file is decoded at a half, a quarter or an eighth of its
    sides, as far as the shorter one still has twice the pixels that it is going to be scaled to.
    """

    exif: bool = True
    icc: bool = True
    truncated: bool = False
    draft: bool = False


AS_STATED = Reading()


@dataclass(frozen=True)
class Examined:
    """An image file whose header was looked at and which is within the limits; nothing of it is decoded."""

    look: Look
    channels: int = COLOURS  # that its picture is to have
    stored: tiff_bands.Stored | None = None  # the bands of a TIFF file that is no photo
    photo: tiff_photo.Photo | None = None  # the samples of a TIFF file that is one, but not as Pillow reads it
    notes: list[str] = field(default_factory=list, compare=False)  # what a person should know of how it was decoded
    picture: Image.Image | None = None  # what Pillow has opened, where there is no file
    drafted: bool = False  # whether it is decoded as small as whoever asked has use for

    @property
    def planes(self) -> int:
        """How many of Pillow's images its picture is made of: one for a photo in colours, else one for each channel."""
        photo = self.look.kind != bands.ARRAY and self.stored is None and self.channels == COLOURS
        return 1 if photo else self.channels

    def decode(self, how: Reading = AS_STATED) -> Image.Image | bands.Bands:
        """Return its picture; see `minivan.image.decode`. A photo is one of Pillow's for three channels, else it is bands.

        What a person should know of it is in `notes` then, a phrase each.
        """
        self.notes.clear()
        return _named(lambda: self._decode(how))

    def _decode(self, how: Reading) -> Image.Image | bands.Bands:
        if self.look.kind == bands.ARRAY:
            return bands.of_array(bytes(self.look.parts[0]), self.channels)
        if self.stored is not None:
            picture = bands.Bands(tuple(map(bands.plane, self.stored.planes(map(_values, self.stored.files())))))
            self.notes.extend(picture.said_of(self.look.no_data))
            return picture.each(lambda band: orientation.turned(band, self.look.orientation if how.exif else 0))
        return bands.of_photo(self._photo(how), self.channels)

    def _photo(self, how: Reading) -> Image.Image:
        look = self.look
        colours = look.colours if how.icc else ()
        profiles.check(colours)
        opened, found = self._opened(how.truncated)
        if look.scale > 1 and not self.drafted:
            self.notes.append(f"it is read at 1/{look.scale} of its width and height, {look.width} x {look.height} pixels")
        if look.key and not look.deep:
            opened.info["transparency"] = look.key[0] if len(look.key) == 1 else look.key
        if colour.is_unused(opened):
            colour.opaque(opened)
            self.notes.append(colour.UNUSED)
        way, notes = profiles.way(colours, opened)
        self.notes.extend(notes)
        if colour.is_rgb(opened):
            picture = opened if way is None else way.of(opened)
        else:
            scale = stretch.find(colour.strips(opened), look.no_data) if opened.mode == "F" else None
            self.notes.extend(scale.notes if scale else ())
            picture = colour.to_rgb(opened, way, scale)
        del opened  # its pixels, before a turn takes as many again
        if not how.exif:
            return picture
        if self.picture is not None:
            return orientation.turned(picture, given.orientation_of(self.picture))
        number = look.orientation or orientation.from_exif(look.exif or found) or orientation.from_xmp(look.xmp)
        return orientation.turned(picture, number)

    def _opened(self, truncated: bool) -> tuple[Image.Image, bytes]:
        """Return what the decoder makes of the file, and the EXIF data that it made itself."""
        if self.picture is not None:
            return self.picture.copy(), b""  # whoever hands it over keeps it as it is
        if self.photo is not None:
            from . import samples

            stored = self.photo.stored
            picture, notes = samples.picture(self.photo, stored.planes(map(_values, stored.files())))
            self.notes.extend(notes)
            return picture, b""
        if self.look.deep:
            return _deep(self.look), b""
        if self.look.kind != "JPEG":
            return _opened(self.look)
        damage = ""  # a phrase: an error would keep the picture that was begun
        try:
            opened = _opened(self.look)
        except OSError as error:  # Pillow's word for a file that ends early, and for one that is damaged
            if error.errno is not None:
                raise
            damage = _line(error)
        else:
            if not unended.is_doubtful(self.look, opened[0]):
                return opened
            del opened  # before it is decoded again
        try:
            picture, missing = unended.decoded(self.look, lambda data: _load(self.look, data))
        except ImageError:
            raise
        except (OSError, ValueError) as error:
            raise ImageError(f"damaged image: {damage or _line(error)}") from None
        if missing and not truncated:
            raise ImageError(f"{ENDS_EARLY}: {missing}; a whole copy of it can be read")
        self.notes.extend([f"the file ends early: {missing}"] if missing else [])
        return picture, b""


def examine(source: Source, channels: int = COLOURS, shorter: int = 0) -> Examined:
    """Read an image file whole and walk over its header. `channels` is how many a network takes.

    `shorter` is for a photo whose shorter side is going to be scaled to so many pixels, where that may be seen in it: a JPEG
    file is decoded at a half, a quarter or an eighth of its sides where that leaves twice as many. Raises as `decode` does,
    ImageError for an array that has not so many channels, and TypeError for what is no `Source`.
    """
    check_source(source)
    return _named(lambda: _given(source, channels, shorter))


def is_source(value: object) -> bool:
    """Tell whether a value is one image, as `Source` says: a list of them is none."""
    kinds = (str, os.PathLike, bytes, bytearray, memoryview, Image.Image, np.ndarray)
    return isinstance(value, kinds) or hasattr(value, "read")


def check_source(value: object) -> None:
    """Raise TypeError for a value that is no image."""
    if not is_source(value):
        kind = type(value).__name__
        article = "an" if kind[0] in "aeiouAEIOU" else "a"
        raise TypeError(f"an image is a path, bytes, an open file, a picture of Pillow's or an array, not {article} {kind}")


def _given(source: Source, channels: int, shorter: int) -> Examined:
    if isinstance(source, np.ndarray):
        source = given.of_array(source, channels)
    if not isinstance(source, Image.Image):
        found = _examined(read_source(source), Steps(), channels)
        if shorter and found.look.kind == "JPEG":
            look = jpeg.drafted(found.look, shorter)
            return replace(found, look=look, drafted=look != found.look)
        return found
    bands.check_photo(channels)
    found = Examined(given.look_at(source), channels, picture=source)
    found.look.check()
    return found


def read_source(source: Any) -> bytes:
    """Return what a path, bytes or an open file hold. It is read once: what is judged is what is decoded, whatever changes.

    Raises OSError, and ImageError where it is empty or larger than an image may be.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
    elif isinstance(source, (str, os.PathLike)):
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
        stored, photo = None, None
        if kind == "TIFF":
            from .headers import tiff_bands, tiff_photo

            stored = tiff_bands.find(data, Steps(), channels)
        if stored is None:
            bands.check_photo(channels)
        look = stored.look if stored else _look(data, steps)
        if kind == "TIFF" and stored is None:
            photo = tiff_photo.find(data, Steps())
        found = Examined(photo.stored.look if photo else look, channels, stored, photo)
    found.look.check()
    return found


def _look(data: bytes, steps: Steps) -> Look:
    kind = recognise(data[:FIRST])
    check_readable(kind)
    look = headers.walk(kind, data, steps)
    look.check()
    return look


def stored_values(data: bytes) -> npt.NDArray[np.generic]:
    """Return the samples that an image file of one sample a pixel holds, (H, W), whatever they mean. Raises ImageError."""
    return _named(lambda: _values(data))


def _values(file: bytes) -> npt.NDArray[np.generic]:
    """Return what a TIFF file of one sample a pixel holds."""
    return np.asarray(_opened(_look(file, Steps()))[0])


def _opened(look: Look) -> tuple[Image.Image, bytes]:
    return (decoded_apart(look), b"") if look.apart and available() else _decoded(look)


def _decoded(look: Look) -> tuple[Image.Image, bytes]:
    """Decode in this process; return the picture, and the EXIF data that the decoder made of what is no EXIF."""
    opened = _load(look, look.parts[0] if len(look.parts) == 1 else b"".join(look.parts))
    made = opened.info.get("exif", b"") if look.kind == "AVIF" else b""
    return opened, made.removeprefix(b"Exif\0\0")


def _deep(look: Look) -> Image.Image:
    """Decode a PNG of RGB or RGBA of 16 bits, of RGB perhaps with one colour that is transparent; return it in 8 bits.

    The decoder gives the higher byte of each sample, or, told that the lower one comes first, the lower.
    """
    data = b"".join(look.parts)
    picture, low = (_load(look, data, f"{look.mode};16{order}") for order in "BL")
    alpha = Image.new("L", picture.size) if look.key else None
    for place in patches(*picture.size, DEEP_STRIP):
        upper, lower = (np.asarray(each.crop(place)) for each in (picture, low))
        beyond = np.subtract(lower, upper, dtype=np.int16)  # 256 upper + lower is 257 upper and so much
        rounded = upper + (beyond > HALF) - (beyond < -HALF)
        picture.paste(Image.fromarray(rounded), place[:2])
        if alpha is not None:
            key = np.array(look.key, ">u2").view(np.uint8).reshape(-1, 2)
            same = ((upper == key[:, 0]) & (lower == key[:, 1])).all(axis=2)
            alpha.paste(Image.fromarray(np.where(same, np.uint8(0), np.uint8(255))), place[:2])
    if alpha is not None:
        picture.putalpha(alpha)
    return picture


def _load(look: Look, data: Bytes, raw_mode: str = "") -> Image.Image:
    kind = KINDS[look.kind]
    make: Callable[[IO[bytes]], Any] = getattr(importlib.import_module(kind.module), kind.decoder)
    with make(io.BytesIO(data)) as opened:
        if look.scale > 1:
            opened.draft(opened.mode, (opened.width // look.scale, opened.height // look.scale))
        if opened.width * opened.height * STORED.get(opened.mode, 4) > look.pixels * STORED.get(look.mode, 4):
            raise ImageError(f"damaged image: {look.width} x {look.height} pixels, or {opened.width} x {opened.height}")
        if raw_mode:
            opened.tile = [tile._replace(args=raw_mode) for tile in opened.tile]
        opened.load()
    loaded: Image.Image = opened
    return loaded


def _named(work: Callable[[], Made]) -> Made:
    """Do what decoders do; raise ImageError for whatever they raise, save the file system's own errors."""
    try:
        return work()
    except ImageError:
        raise
    except OSError as error:
        if error.errno is not None:  # the file system's word (missing, no permission), not the decoder's
            raise
        raise _damage(error) from None
    except MemoryError:
        raise ImageError("not enough memory to decode it") from None
    except Exception as error:  # decoders meet hostile bytes with IndexError, struct.error, SyntaxError and more
        if "not installed" in str(error):
            raise ImageError("this Pillow was built without a decoder for such images") from None
        raise _damage(error) from None


def _damage(error: Exception) -> ImageError:
    """Return what to say of a file that a decoder gave up. Those of AVIF do so as well where they can start no thread."""
    if startable(2) < 2:
        return ImageError(f"its decoder failed where the system starts no thread, which it may need: {_line(error)}")
    return ImageError(f"damaged image: {_line(error)}")


def _line(error: Exception) -> str:
    """Return a decoder's words on one line, of a length that can be read."""
    return " ".join(str(error).split())[:200] or type(error).__name__
