"""WebDataset shards: tar files in which an image and its label are files of one key, 00017.jpg and 00017.cls.

The format is that of https://github.com/webdataset/webdataset: the key is the path up to the first dot of the file's name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..errors import quote, reason
from ..predict import Found
from ..predict.archives import LINK, ArchiveError, Member, members

LABELS = ("cls", "json", "txt")  # what a label's file ends in: the first that a sample has
KEYS = ("cls", "label", "class", "target", "wnid", "class_name", "label_name")  # in a sample's JSON, the first that is there
LARGEST_LABEL = 1 << 16  # bytes of such a file: a tar may name one file, by hard links, as often as it likes
LONGEST_LABEL = 1000  # characters


class Sample(NamedTuple):
    """One image of a shard and what the shard calls its class."""

    path: str  # within the shard
    label: str  # '' where the image's fault says why there is none
    image: Found


def is_sharded(sources: Sequence[str]) -> bool:
    """Tell whether sources are shards: tar files, in the first of which a label lies beside an image under its key."""
    if not all(source.lower().endswith(".tar") and os.path.isfile(source) for source in sources):
        return False
    try:
        return any(_image(parts) and _label(parts) for parts in _by_key(sources[0]).values())
    except (ArchiveError, OSError):
        return False  # which is said where it is read


def samples(shard: str) -> Iterator[Sample]:
    """Yield the images of a shard in the order of their keys; a sample without an image is left out.

    Its label is what its .cls says, or else a field of its .json (see KEYS), or else its .txt. Where there is none, or a
    damaged one, that is its image's fault. Raises ValueError for a shard that is no tar file, is damaged or ends early, OSError
    where it cannot be read.
    """
    try:
        found = _by_key(shard)
    except ArchiveError as error:
        raise ValueError(f"{shard}: the archive cannot be read: {error}") from None
    for parts in found.values():
        if (image := _image(parts)) is None:
            continue
        name = f"{shard}/{image.name}"
        try:
            yield Sample(image.name, _read_label(parts), Found(name, "", image))
        except (ValueError, OSError) as error:
            yield Sample(image.name, "", Found(name, reason(error), image))


def _by_key(shard: str) -> dict[str, dict[str, Member]]:
    """Return the files of a shard by their keys and endings. Raises ArchiveError, for one that ends early too."""
    found: dict[str, dict[str, Member]] = {}
    listed = members(shard)
    if listed.fault:
        raise ArchiveError(listed.fault)
    for member in listed:
        folder, slash, name = member.name.rpartition("/")
        key, _, ending = name.partition(".")
        if key and member.method != LINK:
            found.setdefault(folder + slash + key, {})[ending.lower()] = member
    return found


def _image(parts: dict[str, Member]) -> Member | None:
    """Return the image among a sample's files: the one whose whole ending is an image's, or else the last part of it."""
    from ..image import SUFFIXES

    whole = [member for ending, member in parts.items() if f".{ending}" in SUFFIXES]
    partly = [member for ending, member in parts.items() if f".{ending}".endswith(SUFFIXES)]
    return next(iter(whole or partly), None)


def _label(parts: dict[str, Member]) -> Member | None:
    return next((parts[ending] for ending in LABELS if ending in parts), None)


def _read_label(parts: dict[str, Member]) -> str:
    """Return what a sample's label says. ValueError where it has none, or one that says nothing."""
    member = _label(parts)
    if member is None:
        raise ValueError(f"no label beside it: .{', .'.join(LABELS)}")
    text = member.read(LARGEST_LABEL).decode("utf-8", "replace").strip()
    if member.name.lower().endswith(".json"):
        text = _field(text, member.name)
    if not text:
        raise ValueError(f"its label {quote(member.name)} is empty")
    if len(text) > LONGEST_LABEL:
        raise ValueError(f"its label {quote(member.name)} has {len(text):,} characters; the limit is {LONGEST_LABEL:,}")
    return text


def _field(text: str, name: str) -> str:
    """Return the label that a sample's JSON has under one of KEYS."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"its label {quote(name)} is no JSON") from None
    for key in KEYS:
        if isinstance(found, dict) and isinstance(found.get(key), (str, int)):
            return str(found[key]).strip()
    raise ValueError(f"its label {quote(name)} has none of {', '.join(KEYS)}")
