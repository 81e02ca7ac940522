"""A folder of figures, one for each image: under which names they go there."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from ..predict.images import STANDARD_INPUT, Found

ENDINGS = (".png", ".pdf", ".svg")  # minivan.explain.figure.ENDINGS: importing it costs NumPy
FORBIDDEN = '<>:"|?*'  # in the names of files on Windows
LONGEST = 180  # bytes of an image's name in its figure's: a name may have 255


def is_folder(output: str) -> bool:
    """Tell whether a command line means a folder for figures: one that is there, or a name that ends as a folder's does."""
    if output.endswith(("/", os.sep)):
        return True
    return os.path.isdir(output) and not output.lower().endswith(ENDINGS)


def check_folder(path: str) -> Path:
    """Return the folder that is there of those on the way to `path`; OSError where it is none, or nothing can be made in it."""
    there = Path(os.path.abspath(path))
    while not os.path.lexists(there):
        there = there.parent
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    return there


def names(folder: str, images: Sequence[Found], what: str) -> list[str]:
    """Return a path in `folder` for the figure of each image, cat_gradcam.png for `what` 'gradcam' in photos/cat.jpg.

    No two are one file, on systems that know no capitals either: the second is cat-2_gradcam.png. None is an image's own
    file; none is hidden, and none has characters that a file system or a terminal may not take.
    """
    end = Path(os.path.realpath(folder))
    taken = {os.path.realpath(image.name).casefold() for image in images if image.member is None}
    paths = []
    for image in images:
        base, number = stem(image.name), 1
        name = f"{base}_{what}.png"
        while str(end / name).casefold() in taken:
            number += 1
            name = f"{base}-{number}_{what}.png"
        taken.add(str(end / name).casefold())
        paths.append(os.path.join(folder, name))
    return paths


def stem(image: str) -> str:
    """Return an image's name without folders and ending, as it can stand in a file's name anywhere."""
    if image == STANDARD_INPUT:
        return "stdin"
    base = os.path.splitext(image.replace("\\", "/").rpartition("/")[2])[0]
    plain = "".join("_" if c in FORBIDDEN or not c.isprintable() else c for c in base).strip(" .")
    return plain.encode()[:LONGEST].decode(errors="ignore") or "image"
