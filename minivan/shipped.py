"""What comes with minivan beside its code: in the package's folder, or in the zip that the package is imported from.

A file in a zip has no path in the file system. It goes by the path that Python gives a module there, as in
`minivan.pyz/minivan/imagenet1k.tsv`, and `content` gives its bytes for such a path. Nothing is ever unpacked into a folder, so
nothing is left behind, and any number of processes can do it at once.
"""

from __future__ import annotations

import errno
import functools
import os
from pathlib import Path
from typing import Any

from .errors import reason

PACKAGE = Path(__file__).parent


@functools.lru_cache(maxsize=1)
def in_zip() -> bool:
    """Tell whether the package is imported from a zip."""
    return not os.path.isdir(PACKAGE)


def _inside(path: str | os.PathLike[str]) -> Any:
    """Return the file or folder that a path means in the zip; None for every other path.

    The zip is opened anew each time: a file that is kept open shares its position with the processes that are forked from this.
    """
    if not in_zip():
        return None
    try:
        parts = Path(os.path.abspath(path)).relative_to(os.path.abspath(PACKAGE.parent)).parts
    except (OSError, ValueError):  # there is no current folder, or the path leads elsewhere
        return None
    if not parts:  # the zip itself
        return None
    from importlib import resources

    package: Any = resources.files(__package__)
    return package.parent.joinpath(*parts)


def photo(name: str) -> Path:
    """Return the path of a photo that comes with minivan: beside the bundled weights, or among a checkout's examples."""
    inside = PACKAGE / "bundled"
    return (inside if holds_files(inside) else PACKAGE.parent / "examples") / name


def content(path: str | os.PathLike[str]) -> bytes | None:
    """Return the bytes of a file in the zip that minivan is imported from; None for every other path.

    Raises OSError, naming the file, where the zip is gone or has become another.
    """
    if not in_zip():
        return None
    import zipfile
    import zlib

    try:
        found = _inside(path)
        read: bytes | None = found.read_bytes() if found is not None and found.is_file() else None
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        said = f"the zip that minivan is imported from is damaged, or has changed meanwhile ({reason(error)})"
        raise OSError(errno.EIO, said, os.fspath(path)) from None
    return read


def holds(path: str | os.PathLike[str]) -> bool | None:
    """Tell whether the zip that minivan is imported from has a file at a path; None for one that does not lead into it."""
    found = _inside(path)
    return None if found is None else bool(found.is_file())


def holds_files(folder: Path) -> bool:
    """Tell whether a path is a folder, in the zip or in the file system."""
    found = _inside(folder)
    return folder.is_dir() if found is None else bool(found.is_dir())


def files(folder: Path, ending: str) -> list[Path]:
    """Return the paths in a folder, in the zip or in the file system, whose names end so, sorted; none where there is none."""
    found = _inside(folder)
    if found is None:
        return sorted(folder.glob(f"*{ending}"))
    names = [each.name for each in found.iterdir()] if found.is_dir() else []
    return sorted(folder / name for name in names if name.endswith(ending))
