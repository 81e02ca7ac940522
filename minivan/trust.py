"""Whose files may be run: who owns a place, and who else can write there.

Whoever can write a compiled kernel can run code as the user that loads it. A file or folder is trusted if it and all
folders above it belong to root or to the current user, and nobody else may write them. One exception: in a folder above
with the sticky bit, like /tmp, all may add entries but none can replace another's: there, what lies below decides.

Permission bits are all that is looked at: on POSIX systems an access control list that lets somebody write shows in the
group's. Windows has neither owners nor bits that Python can read, and there only the user's own folder is trusted.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from .errors import reason

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def untaken(folder: Path) -> Path:
    """Return `folder`, or where it stands in a sticky one and is another user's, the same name with this user's number.

    In a place such as /tmp whoever comes first has the name, and everybody else could not use the place at all.
    """
    try:
        owner, sticky = os.lstat(folder).st_uid, os.stat(folder.parent).st_mode & stat.S_ISVTX
    except OSError:
        return folder
    if sticky and hasattr(os, "geteuid") and owner not in (0, os.geteuid()):
        return folder.with_name(f"{folder.name}-{os.geteuid()}")
    return folder


def distrust(path: Path) -> str | None:
    """Say why `path` is not to be trusted and how to mend that, in one sentence; None if it is trusted.

    `path` is absolute and without symbolic links (os.path.realpath). It need not exist: then the folders decide in which
    it would be made.
    """
    if not hasattr(os, "geteuid"):
        home = Path(os.path.realpath(os.path.expanduser("~")))
        return (
            None if path.is_relative_to(home) else f"this system does not tell who can write {path}: choose a place in {home}"
        )
    for place in (path, *path.parents):
        try:
            status = os.lstat(place)
        except FileNotFoundError:
            continue
        except OSError as error:
            return f"{place} cannot be read ({reason(error)})"
        doubt = distrust_status(place, status, sticky=place != path)
        if doubt:
            return doubt
    return None


def distrust_status(place: Path, status: os.stat_result, sticky: bool = False) -> str | None:
    """The same for one place, whose `status` is known; with `sticky`, everybody may add entries to a sticky folder."""
    if not hasattr(os, "geteuid"):
        return None
    if status.st_uid not in (0, os.geteuid()):
        return f"{place} belongs to user {status.st_uid}, neither root nor you (chown makes it yours)"
    if status.st_mode & OTHERS_WRITE and not (sticky and status.st_mode & stat.S_ISVTX):
        return f"others may write {place}, mode {stat.S_IMODE(status.st_mode):04o} (chmod go-w ends that)"
    return None
