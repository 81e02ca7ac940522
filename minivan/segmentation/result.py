"""What a segmentation network says of one photo: a class for every pixel, and what follows from it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..output import check_ending, replacing
from . import drawing
from .card import Colour
from .windows import Mask

if TYPE_CHECKING:
    from PIL import Image

MASKS = (".png",)
ABOUT = "minivan"  # the name of the text in a mask's or an overlay's file that says what made it


@dataclass(frozen=True)
class Area:
    """How much of a photo shows one class."""

    index: int
    name: str
    pixels: int
    share: float  # of all pixels, 0..1


@dataclass(frozen=True, repr=False, eq=False)
class Segmentation:
    """A class for every pixel of one photo."""

    image: str  # as the photo was named
    mask: Mask  # (H, W) uint8, indices of classes, at the photo's own size, upright
    classes: Sequence[str]  # their names, in index order
    palette: Sequence[Colour]  # their colours, red, green and blue
    model: str  # the head's name
    engine: str
    milliseconds: float  # of reading, scaling, and the network
    scaled: tuple[int, int]  # width and height at which the network saw the photo
    notes: tuple[str, ...] = ()  # what a person should know of how the photo was read
    photo: Image.Image | None = field(default=None)  # upright, RGB; None where it was not to be kept
    fault: ClassVar[str] = ""  # a `minivan.predict.Unusable` has one

    @property
    def width(self) -> int:
        return int(self.mask.shape[1])

    @property
    def height(self) -> int:
        return int(self.mask.shape[0])

    @cached_property
    def areas(self) -> tuple[Area, ...]:
        """The classes that the photo shows, the largest first."""
        counts = np.bincount(self.mask.ravel(), minlength=len(self.classes))
        order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
        return tuple(Area(int(i), self.classes[i], int(counts[i]), int(counts[i]) / self.mask.size) for i in order)

    def shares(self) -> dict[str, float]:
        """Return each class's share of the area, 0..1, of those that the photo shows, the largest first."""
        shares = dict[str, float]()
        for area in self.areas:
            shares[area.name] = shares.get(area.name, 0.0) + area.share
        return shares

    def mask_image(self) -> Image.Image:
        """Return the mask as a picture of Pillow's, of mode P: its values are classes, its palette is the classes' colours."""
        return drawing.palette_image(self.mask, self.palette)

    def overlay(self, opacity: float = drawing.OPACITY, legend: bool = True) -> Image.Image:
        """Return the photo with every class in its colour over it, and below it what the colours mean, as an RGB picture.

        Raises ValueError for an opacity outside 0..1, and where the photo was not kept.
        """
        if self.photo is None:
            raise ValueError("the photo was not kept: segment it with keep_photo=True")
        drawn = drawing.coloured(self.photo, self.mask_image(), opacity)
        return drawing.with_legend(drawn, self.areas, self.palette) if legend else drawn

    def save_mask(self, path: str | os.PathLike[str], about: str = "") -> None:
        """Write `mask_image` as a PNG, whole or not at all; `about` becomes its text 'minivan'. Raises ValueError for another
        ending, OSError.
        """
        _save(self.mask_image(), path, about)

    def save_overlay(
        self, path: str | os.PathLike[str], opacity: float = drawing.OPACITY, legend: bool = True, about: str = ""
    ) -> None:
        """Write `overlay` as a PNG, as `save_mask` does. Raises ValueError and OSError."""
        _save(self.overlay(opacity, legend), path, about)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON knows it: shares of the area rounded to six digits; of the mask its size alone."""
        return {
            "image": self.image, "width": self.width, "height": self.height, "seen": [*self.scaled], "model": self.model,
            "engine": self.engine, "milliseconds": round(self.milliseconds, 1),
            "classes": [{**vars(area), "share": round(area.share, 6)} for area in self.areas], "notes": [*self.notes],
        }  # fmt: skip

    def __repr__(self) -> str:
        return f"<Segmentation {drawing.line(self)}>"

    def __str__(self) -> str:
        return drawing.text(self)

    def _repr_html_(self) -> str:
        return drawing.page(self)


def _save(picture: Image.Image, path: str | os.PathLike[str], about: str = "") -> None:
    from PIL.PngImagePlugin import PngInfo

    check_ending(path, MASKS, "masks and overlays are")
    said = PngInfo()
    if about:
        said.add_text(ABOUT, about)
    with replacing(path) as file:
        picture.save(file, "PNG", pnginfo=said)
