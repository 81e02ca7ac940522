"""What lies in the cache of compiled kernels: how much, of which versions of minivan, whether it is sound, and its removal.

Kernels of other versions of minivan's sources stay where they are until somebody clears them: another copy may use them.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from pathlib import Path
from typing import NamedTuple

from . import kernel_cache
from .errors import sentence
from .input import read
from .trust import distrust, distrust_status

VERSION_FOLDER = re.compile(r"minivan-[0-9a-f]{16}")
KERNEL_FILE = re.compile(r"[A-Za-z0-9_.]+-[0-9a-f]{32}\.kernel(\.[0-9a-f]{16}\.tmp)?")
LARGEST_KERNEL = 64 << 20  # bytes


class Version(NamedTuple):
    """The kernels of one version of minivan's sources."""

    folder: Path
    used_here: bool  # whether this process would load them
    kernels: int
    size: int  # bytes
    damaged: tuple[str, ...]  # names of files that are not what their first line says: each would be compiled again
    doubt: str | None  # why they are not trusted


def versions() -> list[Version]:
    """Return what the cache's folder holds, this process's version first. Nothing is unpickled; nothing is raised."""
    own = kernel_cache.state().folder
    if own is None:
        return []
    try:
        with os.scandir(own.parent) as entries:
            named = [entry for entry in entries if VERSION_FOLDER.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)]
    except OSError:
        named = []
    found = [_version(Path(entry.path), Path(entry.path) == own) for entry in sorted(named, key=lambda entry: entry.name)]
    return sorted(found, key=lambda version: not version.used_here)


def _version(folder: Path, used_here: bool) -> Version:
    count, size, damaged, doubt = 0, 0, [], distrust(folder)
    for path in _files(folder):
        try:
            status = path.lstat()
            doubt = doubt or distrust_status(path, status)
            count, size = count + (path.suffix == ".kernel"), size + status.st_size
            if path.suffix == ".kernel" and kernel_cache.parts(read(path, LARGEST_KERNEL, pipe=False)) is None:
                damaged.append(path.name)
        except OSError as error:
            doubt = doubt or sentence(error)
    return Version(folder, used_here, count, size, tuple(damaged), doubt)


def _files(folder: Path) -> list[Path]:
    """Return the regular files in a folder whose names this package gives."""
    try:
        return sorted(p for p in folder.iterdir() if KERNEL_FILE.fullmatch(p.name) and stat.S_ISREG(p.lstat().st_mode))
    except OSError:
        return []


def clear() -> int:
    """Remove the compiled kernels of all versions, and the folders that are then empty; return how many files went.

    Only regular files go whose names this package gives, in folders whose names it gives: nothing else, and through no link.
    Raises OSError, naming the file, where one cannot be removed.
    """
    removed = 0
    for version in versions():
        for path in _files(version.folder):
            path.unlink(missing_ok=True)
            removed += 1
        with contextlib.suppress(OSError):  # something else lies in it
            version.folder.rmdir()
    return removed
