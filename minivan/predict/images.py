"""From paths to the images they name: files, folders, patterns and standard input."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

STANDARD_INPUT = "-"


class Found(NamedTuple):
    """One image to read, or the reason why a path names none."""

    name: str  # as the user knows it
    fault: str = ""

    @property
    def waits(self) -> bool:
        """Whether reading it may wait for another process: standard input, and what `classify <(command)` hands over."""
        return self.name == STANDARD_INPUT or Path(self.name).is_fifo()

    def source(self) -> Path | bytes:
        """Return what `minivan.image.decode` reads: a path, or the bytes of standard input or of another pipe.

        Raises OSError where there is no standard input, or where a pipe cannot be read.
        """
        if self.name == STANDARD_INPUT:
            if sys.stdin is None:
                raise OSError("standard input is closed")
            return sys.stdin.buffer.read()
        path = Path(self.name)
        return path.read_bytes() if path.is_fifo() else path


def find_images(paths: Iterable[str | os.PathLike[str]]) -> list[Found]:
    """Return the images that paths name, in order, each once: folders are searched through and through, sorted by name.

    A path may be a file, a folder, a pattern as of `glob` ('photos/**/*.jpg') or '-' for standard input. One that names
    nothing is returned with its fault: the others can still be used. What a file holds is not looked at here.
    """
    found: dict[tuple[str, str], Found] = {}
    for path in paths:
        for image in _expand(os.fspath(path)):
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
    if not Path(path).is_dir():
        yield _file(path)
        return
    from ..image import SUFFIXES  # a folder alone needs it, and it brings Pillow

    inside = sorted(str(p) for p in Path(path).rglob("*") if p.suffix.lower() in SUFFIXES and not p.is_dir())
    yield from map(_file, inside)
    if not inside:
        yield Found(path, f"no images in this folder (looked for {' '.join(SUFFIXES)})")


def _file(path: str) -> Found:
    if Path(path).is_file() or Path(path).is_fifo():  # a pipe is what `classify <(command)` hands over
        return Found(path)
    return Found(path, "a link that leads nowhere" if Path(path).is_symlink() else "neither a file nor a folder")
