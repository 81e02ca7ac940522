"""What lies in the cache of compiled kernels: how much, of which versions of minivan, whether it is sound, and its removal.

Kernels of other versions of minivan's sources stay where they are until somebody clears them: another copy may use them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from . import kernel_cache
from .errors import sentence
from .input import read
from .trust import distrust, distrust_status

VERSION_FOLDER = re.compile(r"minivan-[0-9a-f]{16}(-[0-9]+)?")
KERNEL_FILE = re.compile(r"[A-Za-z0-9_.]+-[0-9a-f]{32}\.kernel(\.[0-9a-f]{16}\.tmp)?")
LARGEST_KERNEL = 64 << 20  # bytes


class Version(NamedTuple):
    """The kernels of one version of minivan's sources."""

    folder: Path
    used_here: bool  # whether this process would load them
    owner: str  # its folder's
    kernels: int
    size: int  # bytes, those of what was left unfinished included
    seconds: float  # that compiling them took, as far as it is known
    foreign: int  # kernels that this process would not load: for other processors, Pythons, versions and settings of Numba
    unfinished: int  # files that killed processes left
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


def kept(kernel: str, signature: str | None = None) -> bool:
    """Tell whether the cache holds a kernel's machine code. Nothing is unpickled, and nothing is raised.

    Without a signature a file of the kernel's name is enough. With the beginning of one, the file must be for that, be sound,
    and be made with what this process has.
    """
    folder = kernel_cache.folder()
    files = [] if folder is None else [path for path in _files(folder) if path.name.startswith(f"{kernel}-")]
    kernels = [path for path in files if path.suffix == ".kernel"]
    if signature is None or not kernels:
        return bool(kernels)
    ours = _made_with()
    return bool(ours) and any(_loads(path, signature, ours) for path in kernels)


def _loads(path: Path, signature: str, ours: Mapping[str, Any]) -> bool:
    """Tell whether a file is sound, for that signature, and made with what this process has."""
    try:
        content = kernel_cache.parts(read(path, LARGEST_KERNEL, pipe=False))
        about = json.loads(content.key) if content else {}
        return about["signature"].startswith(signature) and all(about.get(name) == value for name, value in ours.items())
    except (OSError, ValueError, AttributeError, KeyError):
        return False


def _version(folder: Path, used_here: bool) -> Version:
    kernels, size, seconds, foreign, unfinished, damaged, doubt = 0, 0, 0.0, 0, 0, list[str](), distrust(folder)
    ours = _made_with()
    for path in _files(folder):
        try:
            status = path.lstat()
            doubt = doubt or distrust_status(path, status)
            size += status.st_size
            if path.suffix != ".kernel":
                unfinished += 1
                continue
            kernels += 1
            content = kernel_cache.parts(read(path, LARGEST_KERNEL, pipe=False))
            if content is None:
                damaged.append(path.name)
                continue
            about = json.loads(content.key)
            seconds += float(content.seconds)
            foreign += any(about.get(name) != value for name, value in ours.items())
        except OSError as error:
            doubt = doubt or sentence(error)
        except (ValueError, AttributeError):  # the checksum is right, and what it is of is nothing that this package wrote
            damaged.append(path.name)
    return Version(folder, used_here, _owner(folder), kernels, size, seconds, foreign, unfinished, tuple(damaged), doubt)


def _made_with() -> dict[str, Any]:
    try:
        return kernel_cache.made_with()
    except Exception:  # Numba cannot be imported, or is another than expected: the doctor says so elsewhere
        return {}


def _owner(folder: Path) -> str:
    """Return the name of a folder's owner, or his number where he has none."""
    try:
        return folder.owner()
    except (KeyError, OSError, NotImplementedError):
        with contextlib.suppress(OSError):
            return f"user {folder.stat().st_uid}"
        return "somebody"


def _files(folder: Path) -> list[Path]:
    """Return the regular files in a folder whose names this package gives."""
    try:
        return sorted(p for p in folder.iterdir() if KERNEL_FILE.fullmatch(p.name) and stat.S_ISREG(p.lstat().st_mode))
    except OSError:
        return []


def clear() -> int:
    """Remove the compiled kernels of all versions, and the folders that are then empty; return how many files went.

    Only regular files go whose names this package gives, in folders whose names it gives: nothing else, and through no link.
    Other users' folders, in a place that all share, are left to them and to root. Raises OSError, naming the file, where one
    cannot be removed.
    """
    removed, me = 0, os.geteuid() if hasattr(os, "geteuid") else 0
    for version in versions():
        if me and version.folder.lstat().st_uid != me:
            continue
        for path in _files(version.folder):
            path.unlink(missing_ok=True)
            removed += 1
        with contextlib.suppress(OSError):  # something else lies in it
            version.folder.rmdir()
    return removed
