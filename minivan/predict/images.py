"""From the paths on the command line to the images they name: files, folders, patterns and standard input."""

from __future__ import annotations

import glob
import os
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
        """Return what `minivan.image.decode` reads: a path, or the bytes of standard input or of another pipe."""
        if self.name == STANDARD_INPUT:
            if sys.stdin is None:
                raise OSError("standard input is closed")
            return sys.stdin.buffer.read()
        path = Path(self.name)
        return path.read_bytes() if path.is_fifo() else path


def find_images(paths: list[str]) -> list[Found]:
    """Return the images that paths name, in order, each once: folders are searched through and through, sorted by name.

    A path that names nothing is returned with its fault: the others can still be used.
    """
    found: dict[tuple[str, str], Found] = {}
    for path in paths:
        for image in _expand(path):
            found.setdefault((os.path.normpath(image.name), image.fault), image)
    return list(found.values())


def _expand(path: str) -> Iterator[Found]:
    if path == STANDARD_INPUT:
        yield Found(path)
    elif os.path.lexists(path):
        yield from _existing(path)
    else:
        matches = sorted(glob.glob(path, recursive=True))
        for match in matches:
            yield from _existing(match)
        if not matches:
            yield Found(path, "no such file or folder")


def _existing(path: str) -> Iterator[Found]:
    from ..image import SUFFIXES

    if not Path(path).is_dir():
        yield _file(path)
        return
    inside = sorted(str(p) for p in Path(path).rglob("*") if p.suffix.lower() in SUFFIXES and not p.is_dir())
    yield from map(_file, inside)
    if not inside:
        yield Found(path, f"no images in this folder (looked for {' '.join(SUFFIXES)})")


def _file(path: str) -> Found:
    if Path(path).is_file() or Path(path).is_fifo():  # a pipe is what `classify <(command)` hands over
        return Found(path)
    return Found(path, "a link that leads nowhere" if Path(path).is_symlink() else "neither a file nor a folder")
