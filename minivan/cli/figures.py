"""A folder of figures, one for each image: under which names they go there."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from ..predict import Found
from ..predict.naming import names as several

ENDINGS = (".png", ".pdf", ".svg")  # minivan.explain.figure.ENDINGS: importing it costs NumPy


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

    They differ, and replace no image, as `predict.naming` says: the second is cat-2_gradcam.png.
    """
    return [path for (path,) in several(folder, images, [f"_{what}.png"])]
