"""Photos and the masks that say what each pixel shows: two folders or archives, paired by the names of their files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

from ..predict import Found, find_images
from ..predict.archives import ENDINGS

MASKS = ".png"
TOLD = 3  # names in a note


class Scene(NamedTuple):
    """One photo and its mask."""

    name: str  # the path of both below their places, without an ending
    photo: Found
    mask: Found


@dataclass(frozen=True)
class Scenes:
    """Photos with their masks, sorted by their names."""

    name: str  # as the place of the photos was named
    scenes: Sequence[Scene]
    ignore: frozenset[int] = frozenset()  # indices in masks whose pixels count for nothing
    from_one: bool = False  # whether masks number the classes from 1, and 0 is none, as ADE20K's do
    notes: Sequence[str] = ()  # what a person should know of how they were paired


def open_scenes(
    images: str | os.PathLike[str], masks: str | os.PathLike[str], ignore: Iterable[int] = (), from_one: bool = False
) -> Scenes:
    """Return the photos of one place with the masks of another, or of the same; nothing is read yet.

    A place is a folder, a .zip or .tar, or a folder in such an archive, 'camvid.zip/test'. A mask is a PNG file that has its
    photo's name, and lies in a folder of the same name; in one place that has both every PNG is a mask. `ignore` and `from_one`
    are those of `Scenes`. Raises ValueError where nothing is found, or no mask has a photo; OSError where a place cannot be
    read.
    """
    one = os.path.realpath(images) == os.path.realpath(masks)
    photos, drawn = _found(os.fspath(images), but=MASKS if one else ""), _found(os.fspath(masks), MASKS)
    pairs = [Scene(key, found, drawn[key][1]) for key, (_, found) in sorted(photos.items()) if key in drawn]
    if not pairs:
        first = next(iter(photos.values()), ("",))[0]
        wanted = f"of {first} it would be {PurePosixPath(first).with_suffix(MASKS)}"
        raise ValueError(f"{os.fspath(masks)}: no mask has the name of a photo: {wanted}")
    notes = [*_alone(os.fspath(images), "photo", "a mask", photos.keys() - drawn.keys())]
    notes += _alone(os.fspath(masks), "mask", "a photo", drawn.keys() - photos.keys())
    return Scenes(os.fspath(images), tuple(pairs), frozenset(ignore), from_one, tuple(notes))


def _alone(place: str, what: str, lacked: str, keys: set[str]) -> Iterator[str]:
    if keys:
        some = ", ".join(sorted(keys)[:TOLD]) + (", ..." if len(keys) > TOLD else "")
        yield f"{place}: left out, without {lacked}: {len(keys):,} {what}{'' if len(keys) == 1 else 's'} ({some})"


def _found(place: str, only: str = "", but: str = "") -> dict[str, tuple[str, Found]]:
    """Return the images of a place, by their paths there without an ending, with that path; ValueError for two of one name."""
    archive, within = _parted(place)
    found = dict[str, tuple[str, Found]]()
    listed = find_images([archive])
    if len(listed) == 1 and listed[0].fault and listed[0].name == archive:
        raise ValueError(f"{place}: {listed[0].fault}")
    for image in listed:
        if not image.member and image.name == archive:
            raise ValueError(f"{place}: IMAGES and MASKS are folders or archives, not files")
        path = image.member.name if image.member else os.path.relpath(image.name, archive).replace(os.sep, "/")
        if within and not path.startswith(f"{within}/"):
            continue
        path = path[len(within) + 1 :] if within else path
        ending = PurePosixPath(path).suffix.lower()
        if (only and ending != only) or (but and ending == but):
            continue
        key = str(PurePosixPath(path).with_suffix(""))
        if key in found:
            raise ValueError(f"{place}: {found[key][0]} and {path} have one name: which is its mask's photo?")
        found[key] = (path, image)
    if not found:
        raise ValueError(f"{place}: no {only[1:].upper() + ' file' if only else 'image'} there")
    return found


def _parted(place: str) -> tuple[str, str]:
    """Return a place as what is opened, and the folder in it where it is an archive: 'a.zip', 'test' of 'a.zip/test'."""
    if os.path.lexists(place):
        return place, ""
    path = PurePosixPath(place.replace(os.sep, "/"))
    for parent in path.parents:
        if str(parent).lower().endswith(ENDINGS) and os.path.isfile(parent):
            return str(parent), str(path.relative_to(parent))
    return place, ""
