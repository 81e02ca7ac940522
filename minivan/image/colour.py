"""Every mode of Pillow's made 8-bit RGB knowingly, a strip at a time where that takes copies."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

from . import stretch
from .bounds import patches
from .profiles import Way, from_lab
from .stretch import Scale

WIDE = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")  # greyscale of more than 8 bits
UNUSED = "its transparency is 0 everywhere and counts as none"
ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")


def to_rgb(picture: Image.Image, way: Way | None = None, scale: Scale | None = None) -> Image.Image:
    """Return any Pillow image as a new one of 8-bit RGB.

    Transparent pixels are laid over white; 16-bit greyscale is scaled to 8 bits, and floating as `scale` says, by default as
    `stretch.find` finds. Colours go the way to sRGB, if one is given; otherwise CMYK and palettes are converted by Pillow.
    Raises ImageError for floating greyscale without any finite value.
    """
    if is_rgb(picture):
        return picture.copy() if way is None else way.of(picture.copy())
    if picture.mode == "F":
        scale = scale or stretch.find(strips(picture))
        return _in_strips(picture, lambda strip: _led(Image.fromarray(scale.levels(np.asarray(strip))).convert("RGB"), way))
    if picture.mode in WIDE and "transparency" in picture.info:
        return _in_strips(picture, lambda strip: _over_white(_led(_keyed(strip, picture.info["transparency"]), way)))
    if picture.mode in WIDE:
        return _in_strips(picture, lambda strip: _led(_grey(np.asarray(strip).astype(np.float64) / 257), way))  # 65535 / 255
    if picture.mode == "LAB":
        return _in_strips(picture, (way or from_lab()).of)
    if picture.mode in ALPHA or "transparency" in picture.info:
        return _in_strips(picture, lambda strip: _over_white(_led(_transparent(strip), way)))
    if way is not None:
        return _in_strips(picture, lambda strip: _led(strip if strip.mode == way.mode else strip.convert("RGB"), way))
    return picture.convert("RGB")


def is_unused(picture: Image.Image) -> bool:
    """Tell whether a picture's transparency is 0 everywhere: bytes that nobody wrote, of a channel or beside a palette."""
    if picture.mode == "P":
        values, counts = picture.info.get("transparency"), picture.histogram()  # a number where one colour is transparent
        if not isinstance(values, bytes):
            return False
        return sum(counts[i] for i, value in enumerate(values) if not value) == picture.width * picture.height
    return picture.mode in ("RGBA", "LA", "PA") and picture.getchannel("A").getextrema() == (0, 0)


def opaque(picture: Image.Image) -> None:
    """Have a picture whose transparency is unused show what it has."""
    if picture.mode == "P":
        del picture.info["transparency"]
    else:
        picture.putalpha(255)


def is_rgb(picture: Image.Image) -> bool:
    """Tell whether a picture is 8-bit RGB as it is."""
    return picture.mode == "RGB" and "transparency" not in picture.info


def _in_strips(picture: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Convert a part at a time: what a conversion holds beside its result is a part's."""
    places = [*patches(*picture.size)]
    if len(places) == 1:
        return convert(picture)
    made = Image.new("RGB", picture.size)
    for place in places:
        made.paste(convert(picture.crop(place)), place[:2])
    return made


def _led(strip: Image.Image, way: Way | None) -> Image.Image:
    return strip if way is None else way.of(strip)


def _keyed(strip: Image.Image, key: int) -> Image.Image:
    """Return wide grey as RGBA, of which one value is transparent."""
    values = np.asarray(strip)
    made = _grey(values.astype(np.float64) / 257)
    made.putalpha(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
    return made


def _transparent(strip: Image.Image) -> Image.Image:
    """Return a strip as RGBA; of single bits, the transparent one is 0 or 255."""
    if strip.mode != "1":
        return strip.convert("RGBA")
    grey = strip.convert("L")
    grey.info["transparency"] = strip.info["transparency"]
    return grey.convert("RGBA")


def _over_white(rgba: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", rgba.size, (255, 255, 255, 255)), rgba).convert("RGB")


def strips(picture: Image.Image) -> Iterator[npt.NDArray[np.generic]]:
    """Yield the values of a picture, a part at a time, as `bounds.patches` has them."""
    for place in patches(*picture.size):
        yield np.asarray(picture.crop(place))


def _grey(values: npt.NDArray[np.float64]) -> Image.Image:
    """Round (H, W) on the scale 0..255; Pillow's own convert would clip wide values to white."""
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8)).convert("RGB")
