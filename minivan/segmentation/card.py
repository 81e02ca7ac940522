"""What a segmentation network says about itself: its classes and their colours, how it wants a photo, what was measured."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..card import LARGEST_VIEW, PRESETS, Preprocessing
from ..errors import is_line, quote
from ..geometry import SMALLEST_SIDE

MOST_CLASSES = 256  # a mask has a byte for each pixel
LONGEST_NAME = 200  # characters of a class's name
Colour = tuple[int, int, int]  # red, green, blue, 0..255

# mmsegmentation's: the mean and standard deviation of ImageNet's colours, photos scaled bilinearly. There is no crop.
PHOTOS = Preprocessing(mean=PRESETS["hf"].mean, std=PRESETS["hf"].std, interpolation="bilinear")


def in_oklab(colours: np.ndarray) -> np.ndarray:
    """Return colours, (N, 3) sRGB in 0..255, in a space where distance is about what an eye sees of it.

    Source: Björn Ottosson 2020, "A perceptual color space for image processing".
    """
    coded = colours / 255
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    to_cones = np.array([
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ])  # fmt: skip
    to_lab = np.array([
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ])  # fmt: skip
    lab: np.ndarray = np.cbrt(linear @ to_cones.T) @ to_lab.T
    return lab


@functools.cache
def _far_apart() -> tuple[Colour, ...]:
    """Return MOST_CLASSES colours: each is the one that lies furthest from all before it, and from black and white."""
    levels = np.arange(8) * 255 // 7
    colours = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    places = in_oklab(colours)
    nearest = np.minimum(*(np.linalg.norm(places - places[taken], axis=1) for taken in (0, -1)))
    chosen = []
    for _ in range(MOST_CLASSES):
        furthest = int(nearest.argmax())
        chosen.append(furthest)
        nearest = np.minimum(nearest, np.linalg.norm(places - places[furthest], axis=1))
    return tuple((int(red), int(green), int(blue)) for red, green, blue in colours[chosen])


def own_palette(classes: int) -> tuple[Colour, ...]:
    """Return as many colours as there are classes, 1..256, that can be told apart. Those of fewer classes begin those of more.

    >>> own_palette(3)
    ((72, 36, 255), (255, 0, 0), (0, 182, 0))
    """
    if not 1 <= classes <= MOST_CLASSES:
        raise ValueError(f"a mask has a byte for each pixel: it tells 1 to {MOST_CLASSES} classes apart, not {quote(classes)}")
    return _far_apart()[:classes]


@dataclass(frozen=True)
class SegmentationCard:
    """Everything about a segmentation network that is neither a shape nor a tensor. ValueError for what cannot be meant.

    Where there are classes and no palette, the palette is minivan's own: `own_palette`.
    """

    name: str  # as the user sees it: 'van_b0_camvid_fpn'
    classes: tuple[str, ...] = ()  # in index order, one line each; empty where the names are not known: see `label`
    palette: tuple[Colour, ...] = ()  # by class; empty where neither names nor colours are known: see `colours`
    side: int | None = None  # pixels to which a photo's shorter side is scaled first; None: as it is
    preprocessing: Preprocessing = PHOTOS  # its mean and std alone, and the interpolation where there is a `side`
    backbone_sha256: str = ""  # of a head by itself: predict.identity's of the backbone that it was trained on
    backbone: str = ""  # and that backbone's name
    source: str = ""  # the file the weights were converted from
    source_sha256: str = ""  # and its SHA-256, 64 hex digits
    figures: tuple[tuple[str, str], ...] = ()  # what was measured: what -> words, in the order to show them in
    notes: tuple[str, ...] = field(default=(), compare=False)  # what a person should know of how it was read
    file: Path | None = field(default=None, compare=False)  # where it was read from, if from a file

    def __post_init__(self) -> None:
        if len(self.classes) > MOST_CLASSES or len(self.palette) > MOST_CLASSES:
            most = max(len(self.classes), len(self.palette))
            raise ValueError(f"a mask has a byte for each pixel: it tells {MOST_CLASSES} classes apart, not {most}")
        for index, name in enumerate(self.classes):
            if not (isinstance(name, str) and name and is_line(name) and len(name) <= LONGEST_NAME):
                wanted = f"the name of class {index} is a text on one line of at most {LONGEST_NAME} characters"
                raise ValueError(f"{wanted}, got {quote(name)}")
        for index, colour in enumerate(self.palette):
            if len(colour) != 3 or not all(type(value) is int and 0 <= value <= 255 for value in colour):
                raise ValueError(f"the colour of class {index} is three whole numbers from 0 to 255, got {quote(str(colour))}")
        if self.classes and not self.palette:
            object.__setattr__(self, "palette", own_palette(len(self.classes)))
        if self.classes and len(self.palette) != len(self.classes):
            raise ValueError(f"a palette of {len(self.palette)} colours for {len(self.classes)} classes")
        if self.side is not None and not (type(self.side) is int and SMALLEST_SIDE <= self.side <= LARGEST_VIEW):
            wanted = f"a photo's shorter side is scaled to {SMALLEST_SIDE} to {LARGEST_VIEW} pixels"
            raise ValueError(f"{wanted}, got {quote(self.side)}")
        if self.preprocessing.channels != 3:
            raise ValueError(f"mean and std of photos are three numbers each, got {self.preprocessing.channels}")
        for what, digest in (("backbone", self.backbone_sha256), ("source", self.source_sha256)):
            if digest and not re.fullmatch("[0-9a-f]{64}", digest):
                raise ValueError(f"the SHA-256 of the {what} has 64 hex digits, got {quote(digest)}")
        texts = (self.backbone, self.source, *(text for figure in self.figures for text in figure))
        if not all(is_line(text) for text in texts):
            raise ValueError("backbone, source and what was measured are said in texts on one line each")

    def label(self, index: int) -> str:
        """Return the name of the class at `index`, or a stand-in such as 'class 17' where names are not known."""
        return self.classes[index] if self.classes else f"class {index}"

    def colours(self, classes: int) -> tuple[Colour, ...]:
        """Return the colours of a network of so many classes: the palette, or minivan's own where nobody gave one."""
        return self.palette or own_palette(classes)
