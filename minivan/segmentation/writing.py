"""Where the masks of photos are written: one file, or a folder with a file for each photo."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .. import input
from ..image import SUFFIXES, Reading
from ..output import check_ending, place
from ..predict import Found
from ..predict.naming import names
from .network import SegmentationVAN
from .predict import Side, identity
from .result import ABOUT, MASKS, Segmentation

PHOTO = "photo_bytes"  # what is said of the photo among what made its mask
OVERLAY = "-overlay"  # what the name of an overlay has that its mask's has not


class Files(NamedTuple):
    """What is written of one photo."""

    mask: Path
    overlay: Path | None  # where one was asked for

    def write(self, found: Segmentation, about: str = "") -> None:
        """Write them, each whole or not at all, into their folder, which is made where it is missing. Raises OSError.

        `about`, what made them, stands in the files: `files` and `are_of` look there. The mask is the last.
        """
        self.mask.parent.mkdir(parents=True, exist_ok=True)
        if self.overlay:
            found.save_overlay(self.overlay, about=about)
        found.save_mask(self.mask, about)

    def are_of(self, image: Found, about: str) -> bool:
        """Tell whether they are there, of this image, made since it was last changed. ValueError where not `about` did it."""
        if image.waits:  # a pipe: what it gives now, nobody has seen
            return False
        try:
            written = os.stat(self.mask).st_mtime
        except FileNotFoundError:
            return False
        made_by, bytes_of_photo = _parted(_about(self.mask))
        if made_by != _parted(about)[0]:
            raise ValueError(f"{self.mask}: other weights, another side, precision or program made it: choose another folder")
        if bytes_of_photo != image.size:  # another photo of this name
            return False
        source = image.member.archive if image.member else image.name
        return written >= os.stat(source).st_mtime and (self.overlay is None or self.overlay.is_file())


def files(images: Sequence[Found], output: str | os.PathLike[str], overlay: bool = False) -> list[Files]:
    """Return what is written of each image. `output` is a file that ends in .png, for one image, or a folder.

    In a folder a mask is called as its photo is, and ends in .png; an overlay lies beside it, NAME-overlay.png. They differ,
    see `minivan.predict.naming`, and replace nothing there but what `Files.write` wrote: a photo's labelled mask has the same
    name. Raises ValueError where another file has it, for a file that is to hold several masks, is no .png, or is the photo;
    OSError where no file can be written.
    """
    named = os.fspath(output)
    ends = [".png", f"{OVERLAY}.png"][: 1 + overlay]
    if os.path.isdir(named) or named.endswith(("/", os.sep)) or not named.lower().endswith((*SUFFIXES, ".npy")):
        if os.path.lexists(named) and not os.path.isdir(named):
            raise ValueError(f"{named}: a file of this name stands there: name a folder, or a file that ends in .png")
        paths = names(named, images, ends)
        for there in (path for each in paths for path in each):
            if os.path.exists(there) and not _about(there):
                raise ValueError(f"{there}: a file of this name is there, and segment did not write it: choose another folder")
        return [Files(Path(mask), Path(*more) if more else None) for mask, *more in paths]
    check_ending(named, MASKS, "masks are")
    if len(images) != 1:
        raise ValueError(f"{named}: one file, and {len(images):,} photos: name a folder")
    mask = Path(named)
    beside = mask.with_name(f"{mask.stem}{OVERLAY}.png") if overlay else None
    for path in map(place, filter(None, (mask, beside))):
        if not images[0].member and os.path.realpath(images[0].name) == str(path):
            raise ValueError(f"{path}: it is the photo itself: choose another name")
    return [Files(mask, beside)]


def about(model: SegmentationVAN, side: Side, how: Reading) -> str:
    """Return all that decides what a mask is, but for the photo and which engine of a precision it is, as JSON."""
    precision = "bfloat16" if model.engine.halved else "float32"
    said = {**identity(model), "side": side or model.card.side, "precision": precision, "reading": how._asdict()}
    return json.dumps(said, sort_keys=True)


def about_photo(about: str, image: Found) -> str:
    """Return `about` with what tells a photo from most others of its name: how many bytes its file has."""
    return json.dumps({**json.loads(about), PHOTO: image.size}, sort_keys=True)


def _parted(about: str) -> tuple[object, object]:
    """Return what made a mask, and how many bytes its photo's file has; of what is no such text, itself and None."""
    try:
        said = json.loads(about)
    except (ValueError, RecursionError):
        return about, None
    return (said, said.pop(PHOTO, None)) if isinstance(said, dict) else (about, None)


def _about(path: str | Path) -> str:
    """Return what made a mask or an overlay, as its file says it; '' where it says nothing."""
    from PIL import PngImagePlugin

    try:
        with input.opened(path) as file, PngImagePlugin.PngImageFile(file) as opened:
            return str(opened.info.get(ABOUT, ""))
    except (ValueError, SyntaxError, OSError, EOFError):  # what Pillow raises for what is no PNG
        return ""
