"""Images whose class is known: folders of class folders, archives of them, tables of paths, WebDataset's shards.

What a dataset calls its classes is text here, as it stands there; `classes` finds out which of a network's classes is meant.
The images themselves are read by `minivan.predict`, as those that are classified.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import NamedTuple

from ..errors import quote
from ..places import Places, expand, has_magic
from ..predict import Found, find_images
from ..predict.archives import ENDINGS
from .shards import is_sharded, samples
from .tables import ENDINGS as TABLES
from .tables import Row, rows

IMAGES_OF_A_CLASS = "images"  # a folder of this name within a class folder, as Tiny ImageNet's training images have it
ANNOTATIONS = "val_annotations.txt"  # beside Tiny ImageNet's validation images, which lie in no class folders


class Example(NamedTuple):
    """One image and what the dataset calls its class."""

    path: str  # within the dataset, with '/': 'n07920052/cup.jpg'
    label: str  # as it stands there; '' where the image's fault says why there is none
    image: Found


@dataclass(frozen=True)
class Dataset:
    """Labelled images in an order that is the same each time."""

    name: str  # as it was named
    examples: Sequence[Example]
    notes: Sequence[str] = field(default=())  # what a person should know of how it was read


def open_dataset(sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> Dataset:
    """Return the labelled images of a dataset, or of several as one; no image is read yet.

    A source is one of these:

    - a folder of class folders, or a .zip or .tar of them: an image's class is the folder that it lies in (the one around it
      where that is called `images`), in whatever depth. Images are sorted by their paths;
    - Tiny ImageNet's folder `val` as it is downloaded, whose classes stand in val_annotations.txt;
    - a .csv or .tsv of paths and labels, see `tables.rows`; images keep its order;
    - WebDataset shards, .tar, see `shards.samples`; 'shard-{000..009}.tar' and 'shards/*.tar' stand for several.

    An image that cannot be read has its fault in `image`. Raises ValueError for a source that is none of these or has no
    labelled images, and for an image that is listed twice with two labels; OSError where a source cannot be read.
    """
    named = [os.fspath(sources)] if isinstance(sources, (str, os.PathLike)) else [os.fspath(source) for source in sources]
    parts = [part for source in named for part in expand(source) for part in _matching(part)]
    if not parts:
        raise ValueError("a dataset has at least one folder or file")
    sharded, last = is_sharded(parts), Counter(PurePosixPath(part).name for part in parts)
    kept: dict[str, Example] = {}
    notes: list[str] = []
    for part in parts:
        name = PurePosixPath(part).name
        within = "" if len(parts) == 1 and not sharded else f"{name if last[name] == 1 else part}/"
        for path, label, image in samples(part) if sharded else _examples(part, notes):
            before = kept.setdefault(within + path, Example(within + path, label, image))
            if before.label != label:
                raise ValueError(f"{part}: {quote(path)} is labelled {quote(before.label)} and {quote(label)}")
    if not kept:
        raise ValueError(f"{named[0]}: no labelled images")
    title = named[0] if len(named) == 1 else f"{named[0]} and {len(named) - 1} more"
    return Dataset(title, tuple(kept.values()), tuple(notes))


def _matching(source: str) -> list[str]:
    """Return the paths that a pattern matches, sorted; a path that is none by itself."""
    if os.path.lexists(source) or not has_magic(source):
        return [source]
    return Places().matching(source) or [source]


def _examples(source: str, notes: list[str]) -> Sequence[Example | Row]:
    """Return the labelled images of a source that is no set of shards, and note what of it was left out."""
    if source.lower().endswith(TABLES):
        return list(rows(source))
    if os.path.isfile(annotations := os.path.join(source, ANNOTATIONS)):
        return list(rows(annotations, under=IMAGES_OF_A_CLASS, header=False))
    if not os.path.isdir(source) and not source.lower().endswith(ENDINGS):
        if not os.path.lexists(source):
            raise ValueError(f"{source}: no such file or folder")
        kinds = "a folder of class folders, a .zip or .tar of them, a .csv or .tsv of paths and labels, or .tar shards"
        raise ValueError(f"{source}: no dataset that minivan reads: {kinds}")
    images, found, outside = find_images([source]), list[Example](), 0
    for image in images:
        if image.fault and (image.name == source or os.path.isdir(image.name)):  # no images there, or it cannot be read
            raise ValueError(f"{image.name}: {image.fault}")
        path = _within(source, image)
        label = class_folder(path)
        outside += not label
        if label:
            found.append(Example(path, label, image))
    if not found:
        raise ValueError(f"{source}: no images in class folders, such as n07920052/cup.jpg")
    if outside:
        notes.append(f"{source}: left out, because in no class folder: {outside} of {len(images)} images")
    if others := images.said_of_others():
        notes.append(f"{source}: {others}")
    return found


def labelled_in(archive: str) -> Sequence[Example | Row]:
    """Return the images in class folders of an archive, as `open_dataset` does. Raises ValueError where there are none."""
    return _examples(archive, [])


def class_folder(path: str) -> str:
    """Return the name of the class folder that a path, with '/', lies in; '' for one that lies in no folder.

    >>> class_folder("train/n07920052/cup.jpg"), class_folder("n07920052/images/cup.jpg"), class_folder("cup.jpg")
    ('n07920052', 'n07920052', '')
    """
    folders = PurePosixPath(path).parts[:-1]
    return folders[-2] if len(folders) > 1 and folders[-1] == IMAGES_OF_A_CLASS else folders[-1] if folders else ""


def _within(source: str, image: Found) -> str:
    """Return an image's path within its folder or archive, with '/'."""
    if image.member is not None:
        return PurePosixPath(image.member.name).as_posix()
    return os.path.relpath(image.name, source).replace(os.sep, "/")
