"""Photos in, a class for every pixel out.

>>> import minivan
>>> found = minivan.segment("street.jpg")                       # doctest: +SKIP
>>> found.shares()                                              # doctest: +SKIP
{'road': 0.31, 'building': 0.27, 'sky': 0.2, ...}
>>> found.overlay().show()                                      # doctest: +SKIP
"""

from __future__ import annotations

import errno
import functools
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, overload

import numpy as np

from ..card import LARGEST_VIEW, Preprocessing
from ..errors import printable, quote
from ..geometry import SMALLEST_SIDE
from ..image import LARGEST_PIXELS, Examined, ImageError, Reading, Source, is_source
from ..predict import Found, Unusable
from ..predict.ahead import Decoding, decode_ahead
from ..predict.identity import identity as of_backbone
from ..predict.identity import tensors_sha256
from ..predict.sources import Given, given
from ..van import VAN
from .network import SegmentationVAN
from .result import Segmentation
from .windows import WINDOW, bands, padded, paint, scaled_size

if TYPE_CHECKING:
    from PIL import Image

    from ..engines import Engine

Side: TypeAlias = int | Literal["full"] | None  # None: as the card says; 'full': the photo as it is

AHEAD = 1  # photos that are decoded while the network computes: two large ones are held at once, and no more
PIXEL = 4  # bytes of one in Pillow's RGB


class Scaled(NamedTuple):
    """One photo as the network sees it, or the reason why it cannot be used."""

    name: str
    picture: Image.Image | None  # scaled; None where there is a fault
    size: tuple[int, int]  # the photo's own width and height
    photo: Image.Image | None  # itself, where it is to be kept
    fault: str
    seconds: float  # spent on reading, decoding and scaling
    notes: tuple[str, ...] = ()


class Scaling(Decoding[Scaled]):
    """How photos are decoded and scaled."""

    def __init__(self, settings: Preprocessing, side: int | None, how: Reading | None, keep: bool) -> None:
        super().__init__(settings.channels, how)
        self.interpolation, self.side, self.keep = settings.interpolation, side, keep

    def ready(self, name: str, examined: Examined, start: float) -> Scaled:
        from PIL import Image

        photo = examined.decode(self.how)
        assert isinstance(photo, Image.Image)  # of three channels
        size = self._scaled(*photo.size)
        picture = photo if size == photo.size else photo.resize(size, Image.Resampling[self.interpolation.upper()])
        kept = photo if self.keep else None
        return Scaled(name, picture, photo.size, kept, "", time.perf_counter() - start, tuple(examined.notes))

    def failed(self, name: str, fault: str, seconds: float) -> Scaled:
        return Scaled(name, None, (0, 0), None, fault, seconds)

    def held(self, examined: Examined) -> int:
        """The photo, the scaled one, and what Pillow makes between: the rows that are scaled before the columns are."""
        width, height = examined.look.width, examined.look.height
        wide, high = self._scaled(width, height)
        between = max(wide * height, high * width)  # whichever way EXIF turns it
        return PIXEL * (width * height + between + wide * high)

    def _scaled(self, width: int, height: int) -> tuple[int, int]:
        wide, high = scaled_size(width, height, self.side)
        if padded(wide) * padded(high) > LARGEST_PIXELS:
            seen = f"for the network it would be {padded(wide)} x {padded(high)}"
            raise ImageError(f"{width} x {height} pixels is too narrow: {seen}; cut it into parts")
        return wide, high


def checked_side(side: Side, usual: int | None) -> int | None:
    """Return the pixels to which photos' shorter sides are scaled, None for as they are. ValueError for what is no side."""
    if side is None:
        return usual
    if side == "full":
        return None
    if isinstance(side, bool) or not isinstance(side, int) or not SMALLEST_SIDE <= side <= LARGEST_VIEW:
        wanted = f"a whole number of pixels from {SMALLEST_SIDE} to {LARGEST_VIEW}, or 'full' for photos as they are"
        raise ValueError(f"the side is {wanted}; got {quote(side)}")
    return side


def segmentations(
    model: SegmentationVAN,
    images: Iterable[Found | Given],
    *,
    side: Side = None,
    threads: int | None = None,
    how: Reading | None = None,
    keep_photo: bool = False,
) -> Iterator[Segmentation | Unusable]:
    """Yield, for each image in order, a class for every pixel, or why it cannot be used.

    The photo's shorter side is scaled to `side` pixels: by default as the model's card says, 'full' takes it as it is. What is
    larger than 1,024 pixels then is seen in windows that overlap by 256. The next photo is decoded by `threads` threads (all)
    while the network computes; all are read as `how` says. `keep_photo` has each answer keep it for an overlay.

    Held at once are, beside the network and what it holds for one window: two photos and their scaled copies, 4 bytes a pixel
    each, with what decoding takes (minivan.image.LARGEST_HELD at most); one mask, a byte a pixel; logits of one row of windows,
    1 KiB for each class and each pixel of the scaled photo's shorter side; some tens of MiB. Raises ValueError for another
    side than 32 to 8,192 pixels, for more classes than a byte tells apart, and for logits that are no numbers.
    """
    if model.config.classes > 256:
        raise ValueError(f"{model.card.name} has {model.config.classes} classes; a mask has a byte for each pixel")
    model = settled(model)
    return (segmented(model, each) for each in scaled_ahead(model, images, side, threads, how, keep_photo))


def scaled_ahead(
    model: SegmentationVAN,
    images: Iterable[Found | Given],
    side: Side = None,
    threads: int | None = None,
    how: Reading | None = None,
    keep_photo: bool = False,
) -> Iterator[Scaled]:
    """Return the photos as a model's card wants them, each decoded while the one before it is worked on."""
    work = Scaling(model.card.preprocessing, checked_side(side, model.card.side), how, keep_photo)
    return decode_ahead(images, work, AHEAD, threads)


def segmented(model: SegmentationVAN, seen: Scaled) -> Segmentation | Unusable:
    """Return a class for every pixel of a photo that is scaled, or why it cannot be used."""
    if seen.picture is None:
        return Unusable(seen.name, seen.fault)
    start = time.perf_counter()
    width, height = seen.size
    mask = np.empty((height, width), np.uint8)
    paint(mask, (seen.picture.height, seen.picture.width), bands(model, seen.picture, model.card.preprocessing))
    card, classes = model.card, model.config.classes
    milliseconds = 1000 * (seen.seconds + time.perf_counter() - start)
    names = tuple(card.label(index) for index in range(classes))
    told = model.engine.name, milliseconds, seen.picture.size, seen.notes, seen.photo
    return Segmentation(seen.name, mask, names, card.colours(classes), card.name, *told)


class Segmentations(list[Segmentation | Unusable]):
    """What was found in a list of photos, in its order; of a photo that cannot be used an `Unusable` says why."""

    def __repr__(self) -> str:
        return "\n".join(map(repr, self)) or "[]"

    def _repr_html_(self) -> str:
        from .drawing import pages

        return pages(self)


@overload
def segment(  # type: ignore[overload-overlap]
    photo: Source, model: SegmentationVAN | str | Path | None = None, *, weights: str | Path | None = None,
    engine: str | Engine | None = None, side: Side = None, threads: int | None = None, how: Reading | None = None,
    keep_photo: bool = True,
) -> Segmentation: ...  # fmt: skip
@overload
def segment(
    photo: Iterable[Source], model: SegmentationVAN | str | Path | None = None, *, weights: str | Path | None = None,
    engine: str | Engine | None = None, side: Side = None, threads: int | None = None, how: Reading | None = None,
    keep_photo: bool = True,
) -> Segmentations: ...  # fmt: skip
def segment(
    photo: Source | Iterable[Source],
    model: SegmentationVAN | str | Path | None = None,
    *,
    weights: str | Path | None = None,
    engine: str | Engine | None = None,
    side: Side = None,
    threads: int | None = None,
    how: Reading | None = None,
    keep_photo: bool = True,
) -> Segmentation | Segmentations:
    """Return a class for every pixel of a photo, or of each of a list of photos.

    A photo is a file's path or its bytes, an open file, a picture of Pillow's, or an array, uint8 (H, W, 3), of any size.
    `model` is a SegmentationVAN, or a file of a head or of a head with its backbone; by default the bundled head, which knows
    street scenes alone. `weights` is the backbone of a head by itself, `engine` as for `minivan.load`. The rest is that of
    `segmentations`. What is wrong with a single photo is raised: FileNotFoundError, or ImageError (a ValueError); in a list it
    is an `Unusable` in its place. Raises ValueError for weights that cannot be used, TypeError for what is no photo. What was
    loaded last stays loaded.
    """
    one = is_source(photo) or not isinstance(photo, Iterable)
    images = given([photo] if one else photo)  # type: ignore[list-item, arg-type]
    loaded = _model(model, weights, engine)
    found = Segmentations(segmentations(loaded, images, side=side, threads=threads, how=how, keep_photo=keep_photo))
    if not one:
        return found
    return found[0] if isinstance(found[0], Segmentation) else _raised(found[0])


def _raised(found: Unusable) -> Any:
    if found.fault == "no such file or folder":
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), found.image)
    raise ImageError(printable(found))


def _model(
    model: SegmentationVAN | str | Path | None, weights: str | Path | None, engine: str | Engine | None
) -> SegmentationVAN:
    if not isinstance(model, SegmentationVAN):
        return _kept(model, weights, engine, tuple(map(_stamp, (model, weights))))
    if weights is not None:
        raise ValueError("a model has its backbone: weights are for a head by itself")
    return model if engine is None else on(model, engine)


def on(model: SegmentationVAN, engine: str | Engine) -> SegmentationVAN:
    """Return a model of the same tensors on another engine."""
    backbone = model.backbone
    return SegmentationVAN(VAN(backbone.config, backbone.tensors, engine, backbone.card), model.tensors, model.card)


def settled(model: SegmentationVAN) -> SegmentationVAN:
    """Return a model on the engine that 'auto' stands for, 'fast' or, where that cannot be, 'numpy'; itself on any other.

    However few photos there are: to compile takes no longer than 'numpy' does for one of them.
    """
    return model.settled(None, WINDOW, WINDOW)


def make_ready(model: SegmentationVAN) -> None:
    """Compile, or load, the kernels of a model by one pass over a black photo of the least size."""
    model(np.zeros((1, 3, SMALLEST_SIDE, SMALLEST_SIDE), np.float32))


def _stamp(path: str | Path | None) -> tuple[int, ...] | None:
    try:
        found = os.stat(path) if path is not None else None
    except OSError:  # a name, or gone: loading says so
        return None
    return found and (found.st_mtime_ns, found.st_size, found.st_ino)


@functools.lru_cache(maxsize=1)
def _kept(model: Any, weights: Any, engine: Any, stamps: Any) -> SegmentationVAN:
    """Return the model of files as they were at a time: whoever segments one photo after the other reads them once."""
    from .files import load

    return load(model, weights, engine)


def identity(model: SegmentationVAN) -> dict[str, Any]:
    """Return which head and which backbone these are, by their names and the SHA-256 of their numbers."""
    backbone = of_backbone(model.backbone)
    return {
        "head": model.card.name, "head_sha256": tensors_sha256(model.config, model.tensors),
        "weights": backbone["weights"], "weights_sha256": backbone["sha256"],
    }  # fmt: skip
