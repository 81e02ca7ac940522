"""Where the masks of photos are written: one file, or a folder with a file for each photo."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ..errors import quote
from ..image import SUFFIXES
from ..output import check_ending, place
from ..predict import STANDARD_INPUT, Found
from .result import MASKS, Segmentation

OVERLAY = "-overlay"  # what the name of an overlay has that its mask's has not


class Files(NamedTuple):
    """What is written of one photo."""

    mask: Path
    overlay: Path | None  # where one was asked for

    def write(self, found: Segmentation) -> None:
        """Write them, each whole or not at all, into their folder, which is made where it is missing. Raises OSError."""
        self.mask.parent.mkdir(parents=True, exist_ok=True)
        found.save_mask(self.mask)
        if self.overlay:
            found.save_overlay(self.overlay)


def files(images: Sequence[Found], output: str | os.PathLike[str], overlay: bool = False) -> list[Files]:
    """Return what is written of each image. `output` is a file that ends in .png, for one image, or a folder.

    In a folder a mask is called as its photo is, and ends in .png; an overlay lies beside it, NAME-overlay.png. Raises
    ValueError for a file that is to hold several masks or is no .png, for two photos of one name, and where a mask would take
    a photo's place; OSError where no file can be written.
    """
    named = os.fspath(output)
    ending = os.path.splitext(named)[1].lower()
    if not os.path.isdir(named) and ending in (*SUFFIXES, ".npy"):
        check_ending(named, MASKS, "masks are")
        if len(images) != 1:
            raise ValueError(f"{named}: one file, and {len(images):,} photos: name a folder")
        place(named)
        masks = [Path(named)]
    else:
        if os.path.lexists(named) and not os.path.isdir(named):
            raise ValueError(f"{named}: a file of this name stands there: name a folder, or a file that ends in .png")
        masks = [Path(named, f"{_stem(image)}.png") for image in images]
    planned = [Files(mask, mask.with_name(f"{mask.stem}{OVERLAY}.png") if overlay else None) for mask in masks]
    _check(images, planned)
    return planned


def _stem(image: Found) -> str:
    if image.name == STANDARD_INPUT:
        return "standard-input"
    return PurePosixPath(image.name.replace(os.sep, "/")).stem


def _check(images: Sequence[Found], planned: Sequence[Files]) -> None:
    photos = {os.path.realpath(image.name): image.name for image in images if image.member is None}
    taken = dict[str, str]()
    for image, each in zip(images, planned, strict=True):
        for path in filter(None, each):
            real = os.path.realpath(path)
            if real in photos:
                raise ValueError(
                    f"{path}: it is a photo, {quote(photos[real])}, and a mask would take its place: name another folder"
                )
            if other := taken.get(real):
                raise ValueError(f"{path} would be written of both {quote(other)} and {quote(image.name)}: segment them apart")
            taken[real] = image.name
