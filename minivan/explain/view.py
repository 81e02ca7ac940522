"""At which size a photo is shown to the network, and to a person.

A network trained on small squares has so few positions in its last stage that a map of them says little: it is shown more
pixels of the same part of the photo. What class it is is told at the size that the network was trained for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL.Image import Image

from .. import paths
from ..card import Preprocessing
from ..checks import Float32
from ..geometry import SMALLEST_SIDE
from ..image import Bands, Reading, Source, examine, normalise, prepare, view
from ..van import VAN
from .choices import LARGEST_VIEW, SMALLEST_VIEW

DISPLAY = 384  # pixels a side at which a photo is drawn, or as many as the network sees


class Seen(NamedTuple):
    """A photo as the network sees it, and as a person does."""

    name: str
    x: Float32  # (1, C, side, side): what its maps are of
    as_trained: Float32  # (1, C, crop, crop): what its class is told from; x itself where the sides are the same
    photo: npt.NDArray[np.uint8]  # (H, W, 3): the same square with at least DISPLAY pixels a side; of bands the first three
    notes: tuple[str, ...] = ()  # what a person should know of how the photo was read
    smaller: tuple[Float32, ...] = ()  # in the place of x where its class is not recognised so large: as_trained is the last

    @property
    def zoom(self) -> float:
        """The photo's pixels over those that the network sees."""
        return float(self.photo.shape[0] / self.x.shape[2])


def look(
    model: VAN,
    source: Source,
    size: int | None = None,
    exif: bool = True,
    name: str = "",
    icc: bool = True,
    truncated: bool = False,
) -> Seen:
    """Decode a photo and prepare it as the model's weights want it, at `view_side(preprocessing, size)` pixels a side.

    Where no size is given and this is larger than the training's, smaller ones go with it, each one position of the last stage
    less a side: `photo_maps` takes the largest at which the network's answer is still that of the size it was trained at.
    `source`, `exif`, `icc` and `truncated` are as for minivan.image.decode, which raises ImageError for what is no image and
    OSError for what cannot be opened; ValueError for a side out of range. `name` is what figures call the photo, by default
    its path.
    """
    trained = model.card.preprocessing
    side = view_side(trained, size)
    examined = examine(source, trained.channels)
    picture = examined.decode(Reading(exif, icc, truncated))
    x = _square(picture, trained, side)
    as_trained = x if side == trained.crop else _square(picture, trained, trained.crop)
    large = view(picture, scaled(trained, max(side, DISPLAY)))
    photo = np.asarray(large.shown() if isinstance(large, Bands) else large)
    stride = paths.stride_of(paths.norm(model.config.stages))
    sides = range(side - stride, trained.crop, -stride) if size is None and side > trained.crop else ()
    smaller = (*(_square(picture, trained, each) for each in sides), as_trained) if size is None and x is not as_trained else ()
    named = name or (os.fspath(source) if isinstance(source, (str, os.PathLike)) else "photo")
    return Seen(named, x, as_trained, photo, tuple(examined.notes), smaller)


def _square(picture: Image | Bands, trained: Preprocessing, side: int) -> Float32:
    return normalise(view(picture, scaled(trained, side)), trained.mean, trained.std)[None]


def batch(preprocessing: Preprocessing, sources: Iterable[Source], side: int, notes: list[str] | None = None) -> Float32:
    """Return the same part of each photo that `look` shows, float32 (N, C, side, side). Raises as `look` does.

    What a person should know of how they were read is added to `notes`, a phrase each.
    """
    shown = scaled(preprocessing, view_side(preprocessing, side))
    return np.stack([prepare(source, shown, notes=notes) for source in sources])


def scaled(preprocessing: Preprocessing, side: int) -> Preprocessing:
    """Return the preprocessing that shows the same part of a photo in `side` pixels."""
    return preprocessing.at(side)


def view_side(preprocessing: Preprocessing, size: int | None = None) -> int:
    """Return the side in pixels of the square that the network sees: `size`, or as it was trained, but SMALLEST_VIEW at least.

    Raises ValueError for a side below the smallest that a VAN takes or above LARGEST_VIEW.
    """
    side = max(preprocessing.crop, SMALLEST_VIEW) if size is None else size
    if not SMALLEST_SIDE <= side <= LARGEST_VIEW:
        raise ValueError(f"the side of a view lies in {SMALLEST_SIDE}..{LARGEST_VIEW} pixels; got {side}")
    return side
