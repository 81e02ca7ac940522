"""From paths to the images they name: files, folders, patterns and standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .. import input
from ..errors import reason
from ..places import Places, has_magic

STANDARD_INPUT = "-"


class Found(NamedTuple):
    """One image to read, or the reason why a path names none."""

    name: str  # as the user knows it
    fault: str = ""

    @property
    def waits(self) -> bool:
        """Whether reading it may wait for another process: standard input, and what `classify <(command)` hands over."""
        return self.name == STANDARD_INPUT or (not self.fault and input.is_pipe(self.name))

    def source(self) -> bytes:
        """Return what the file holds, what standard input gives, or another pipe: at most minivan.image.LARGEST_FILE bytes.

        Raises OSError where there is no standard input, where a file or a pipe cannot be read, and where there is more.
        """
        from ..image import LARGEST_FILE

        if self.name != STANDARD_INPUT:
            return input.read(self.name, LARGEST_FILE, pipe=self.waits)
        if sys.stdin is None:
            raise OSError("standard input is closed")
        return input.drained(sys.stdin.buffer, LARGEST_FILE, "standard input")


def find_images(paths: Iterable[str | os.PathLike[str]], channels: int = 3) -> list[Found]:
    """Return the images that paths name, in order, each once: folders are searched through and through, sorted by name.

    A path may be a file, a folder, a pattern as of `glob` ('photos/**/*.jpg') or '-' for standard input. Links to folders are
    followed, each folder being searched once. A path that names nothing is returned with its fault, as is a folder that cannot
    be read: the others can still be used. What a file holds is not looked at here, and only a pipe that a path names itself is
    an image. In folders `.npy` files are images for a network of other `channels` than a photo's three, which takes few others.
    """
    arrays = channels != 3
    found: dict[tuple[str, str], Found] = {}
    for path in paths:
        for image in _expand(os.fspath(path), arrays):
            found.setdefault((os.path.normpath(image.name), image.fault), image)
    return list(found.values())


def _expand(path: str, arrays: bool) -> Iterator[Found]:
    if path == STANDARD_INPUT:
        yield Found(path)
    elif os.path.isdir(path):
        yield from _folder(path, Places(), arrays)
    elif os.path.lexists(path) or not has_magic(path):
        yield Found(path, input.fault(path, pipe=True))
    else:
        places = Places()
        matches = places.matching(path)
        for match in matches:
            if os.path.isdir(match):
                yield from _folder(match, places, arrays)
            else:
                yield Found(match, input.fault(match))
        yield from _faults(places)
        if not matches and not places.faults:
            yield Found(path, "no such file or folder")


def _folder(path: str, places: Places, arrays: bool) -> Iterator[Found]:
    """Yield the images in a folder that was not searched yet, and what of it cannot be read."""
    from ..image import SUFFIXES  # a folder alone needs it, and it brings Pillow

    if places.searched(path):
        return
    suffixes = (*SUFFIXES, ".npy") if arrays else SUFFIXES
    inside = [Found(name, input.fault(name)) for name in places.files(path) if name.lower().endswith(suffixes)]
    inside += _faults(places)
    yield from sorted(inside)
    if not inside:
        yield Found(path, f"no images in this folder (looked for {' '.join(suffixes)})")


def _faults(places: Places) -> list[Found]:
    """Return the folders that could not be read since this was asked last."""
    faults, places.faults = places.faults, []
    return [Found(name, f"the folder cannot be read: {reason(error)}") for name, error in faults]
