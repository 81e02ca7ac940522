"""A folder with files for each image: under which names they go there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from .images import STANDARD_INPUT, Found

FORBIDDEN = '<>:"|?*'  # in the names of files on Windows
LONGEST = 180  # bytes of an image's name in its files': a name may have 255


def names(folder: str | os.PathLike[str], images: Sequence[Found], ends: Sequence[str]) -> list[list[str]]:
    """Return paths in `folder` for the files of each image: its name without its ending, and one of `ends`.

    No two are one file, on systems that know no capitals either: those of a second cat.jpg are cat-2. None is an image's own
    file; none is hidden, and none has characters that a file system or a terminal may not take.
    """
    root = Path(os.path.realpath(folder))
    taken = {os.path.realpath(image.name).casefold() for image in images if image.member is None}
    paths = []
    for image in images:
        base = numbered = stem(image.name)
        number = 1
        while any(str(root / f"{numbered}{end}").casefold() in taken for end in ends):
            number += 1
            numbered = f"{base}-{number}"
        taken |= {str(root / f"{numbered}{end}").casefold() for end in ends}
        paths.append([os.path.join(folder, f"{numbered}{end}") for end in ends])
    return paths


def stem(image: str) -> str:
    """Return an image's name without folders and ending, as it can stand in a file's name anywhere."""
    if image == STANDARD_INPUT:
        return "stdin"
    base = os.path.splitext(image.replace("\\", "/").rpartition("/")[2])[0]
    plain = "".join("_" if c in FORBIDDEN or not c.isprintable() else c for c in base).strip(" .")
    return plain.encode()[:LONGEST].decode(errors="ignore") or "image"
