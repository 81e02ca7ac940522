"""The photos that a head learns from: of which classes, each once, and what is wrong with the collection."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from ..checks import Float32
from ..errors import is_line, quote
from ..evaluate import Example
from ..evaluate.statistics import Indices
from .features import Featured

FEW = 5  # photos of a class: of fewer, little can be learned, and less be said of how well
UNEVEN = 10  # times more photos of one class than of another
NAMED = 10  # things of a kind that have a line of their own


@dataclass(frozen=True)
class Photos:
    """N photos of known classes, sorted by their paths; no two of which the network would see the same."""

    paths: tuple[str, ...]
    targets: Indices  # (N,), their classes
    features: Float32  # (N, 2, C): of each photo, and of its mirror image
    contents: tuple[str, ...]  # SHA-256 of what the network sees, 64 hex digits
    faults: tuple[tuple[str, str], ...] = ()  # paths of photos that cannot be used, and why
    notes: tuple[tuple[str, str], ...] = ()  # paths, and what a person should know of how that photo was read
    remarks: tuple[str, ...] = ()  # what is wrong with the collection, or may be, a line each

    def counts(self, classes: int) -> Indices:
        """Return how many photos each class has, (classes,)."""
        return np.bincount(self.targets, minlength=classes)


def class_names(found: Iterable[Featured]) -> list[str]:
    """Return what classes are called of which there are usable photos, in the order that a person expects: 2 before 10."""
    names = {photo.label for photo in found if photo.features is not None}
    check_names(names)
    return sorted(names, key=_in_order)


def check_names(names: Collection[str]) -> None:
    """Raise ValueError for a name of a class that is no text on one line, and for two that differ in capitals alone."""
    for name in names:
        if not is_line(name):
            raise ValueError(f"the class {quote(name)} has a name that is no text on one line: rename it")
    folded = Counter(name.casefold() for name in names)
    if alike := sorted(name for name in names if folded[name.casefold()] > 1)[:2]:
        raise ValueError(f"the classes {quote(alike[0])} and {quote(alike[1])} differ in capitals alone: rename one of them")


def _in_order(name: str) -> tuple[list[tuple[int, str]], str]:
    parts = re.split(r"(\d+)", name)
    return [(int(part) if part.isdecimal() else -1, part) for part in parts], name


def collected(found: Iterable[Featured], meant: Mapping[str, int]) -> Photos:
    """Return the photos that can be used, in an order that does not depend on who made their features.

    `meant` says which class a label means. A photo that is there several times counts once; one that is there in several
    classes counts in none, since nobody knows in which it belongs. Raises ValueError where none is left.
    """
    sorted_found = sorted(found, key=lambda photo: (photo.path, photo.label))
    faults = tuple((photo.path, photo.fault) for photo in sorted_found if photo.features is None)
    notes = tuple((photo.path, note) for photo in sorted_found for note in photo.notes)
    alike: dict[str, list[Featured]] = {}
    for photo in sorted_found:
        if photo.features is not None:
            alike.setdefault(photo.content, []).append(photo)
    if not alike:
        why = next((f"{quote(path)}: {fault}" for path, fault in faults), "there is none")
        raise ValueError(f"no photo can be used: {why}")
    kept = [same[0] for same in alike.values() if len({meant[photo.label] for photo in same}) == 1]
    if not kept:
        raise ValueError("no photo can be used: each is there in several classes")
    features = np.stack([photo.features for photo in kept if photo.features is not None])
    return Photos(
        tuple(photo.path for photo in kept), np.array([meant[photo.label] for photo in kept], np.int64), features,
        tuple(photo.content for photo in kept), faults, notes, tuple(_of_copies(list(alike.values()), meant)),
    )  # fmt: skip


def _of_copies(alike: Sequence[Sequence[Featured]], meant: Mapping[str, int]) -> list[str]:
    """Say which photos are there several times: in several classes, or in one."""
    several = [same for same in alike if len(same) > 1]
    torn = [same for same in several if len({meant[photo.label] for photo in same}) > 1]
    said = []
    for same in torn[:NAMED]:
        other = next(photo for photo in same if meant[photo.label] != meant[same[0].label])
        said.append(f"the same photo is in two classes, and now in neither: {quote(same[0].path)} and {quote(other.path)}")
    if len(torn) > NAMED:
        said.append(f"{len(torn) - NAMED:,} more photos are in two classes, and now in neither")
    more = sum(len(same) - 1 for same in several if same not in torn)
    if more:
        first = next(same for same in several if same not in torn)
        what = "1 photo is a copy" if more == 1 else f"{more:,} photos are copies"
        said.append(
            f"{what} of another in its class, or mirrored, and left out: {quote(first[0].path)}, {quote(first[1].path)}"
        )
    return said


def check_classes(labels: Iterable[str]) -> None:
    """Raise ValueError for fewer than two classes among photos' labels."""
    if len(names := sorted(set(labels))) < 2:
        only = f"one class alone has photos, {quote(names[0])}" if names else "no class has photos"
        raise ValueError(f"{only}: there is nothing to tell apart; at least two classes are needed, in a folder each")


def few_said(counts: Sequence[int], names: Sequence[str]) -> list[str]:
    """Say which classes have so few photos that little can be learned, in a line."""
    few = [f"{quote(name)} has {count}" for count, name in zip(counts, names, strict=True) if count < FEW]
    more = f" and {len(few) - NAMED} more" if len(few) > NAMED else ""
    return [f"fewer than {FEW} photos of a class tell little: {', '.join(few[:NAMED])}{more}"] if few else []


def uneven_said(counts: Sequence[int], names: Sequence[str]) -> list[str]:
    """Say that one class has many times more photos than another, in a line."""
    (most, frequent), (least, rare) = (pick(zip(counts, names, strict=True)) for pick in (max, min))
    if most < UNEVEN * least:
        return []
    return [f"{quote(frequent)} has {most:,} photos and {quote(rare)} {least:,}: what is frequent here is favoured in answers"]


def scattered_said(found: Iterable[Featured]) -> list[str]:
    """Say, in a line, that a class is made of several folders of its name, which folders within class folders easily are."""
    folders: dict[str, set[str]] = {}
    for photo in found:
        folder = PurePosixPath(photo.path).parent
        if folder.name == photo.label:
            folders.setdefault(photo.label, set()).add(str(folder))
    several = [sorted(each) for _, each in sorted(folders.items()) if len(each) > 1]
    shown = ", ".join(f"{quote(each[0])} and {quote(each[1])}" for each in several[:NAMED])
    more = f", and {len(several) - NAMED} more" if len(several) > NAMED else ""
    return [f"folders of one name are one class, wherever they lie: {shown}{more}"] if several else []


def without_photos(source: str | os.PathLike[str], examples: Iterable[Example], labels: Iterable[str]) -> list[str]:
    """Say which class folders of a folder have no usable photo, a line each; `labels` are the classes that have some."""
    known = set(labels)
    said = [
        f"the class {quote(name)} has no photo that can be used, and is left out"
        for name in sorted({example.label for example in examples if example.label} - known)
    ]
    if os.path.isdir(source):
        used = {part for example in examples for part in PurePosixPath(example.path).parts[:1]}
        with os.scandir(source) as entries:
            empty = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith(".") and e.name not in used)
        said += [f"the class {quote(name)} has no photos, and is left out" for name in empty]
    return said
