"""From the paths on the command line to the images they name: files, folders, patterns and standard input."""

from __future__ import annotations

import glob
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

STANDARD_INPUT = "-"


class Found(NamedTuple):
    """One image to read, or the reason why a path names none."""

    name: str  # as the user knows it
    fault: str = ""

    def source(self):
        """Return what `minivan.image.decode` reads: the path, or the bytes of standard input."""
        return sys.stdin.buffer.read() if self.name == STANDARD_INPUT else Path(self.name)


def find_images(paths: list[str]) -> list[Found]:
    """Return the images that paths name, in order, each once: folders are searched through and through, sorted by name.

    A path that names nothing is returned with its fault: the others can still be used.
    """
    found: dict[str, Found] = {}
    for path in paths:
        for image in _expand(path):
            found.setdefault(image.name, image)
    return list(found.values())


def _expand(path: str) -> Iterator[Found]:
    from ..image import SUFFIXES

    if path == STANDARD_INPUT or Path(path).is_file():
        yield Found(path)
    elif Path(path).is_dir():
        inside = sorted(str(p) for p in Path(path).rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        yield from map(Found, inside)
        if not inside:
            yield Found(path, f"no images in this folder (looked for {' '.join(SUFFIXES)})")
    else:
        matches = sorted(glob.glob(path, recursive=True))
        for match in matches:
            yield from _expand(match)
        if not matches:
            yield Found(path, "no such file or folder")
