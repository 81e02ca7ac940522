"""Files that minivan writes: whole under their names or not there at all, and never in the place of something else.

A regular file is written beside its place and renamed. A symbolic link is followed: what it points to is replaced, the link
stays. Everything else that can have a name (a folder, a device, a pipe, a socket) is refused and left as it is.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

KINDS = {
    stat.S_IFDIR: (errno.EISDIR, ""),
    stat.S_IFCHR: (errno.EINVAL, "a device"),
    stat.S_IFBLK: (errno.EINVAL, "a device"),
    stat.S_IFIFO: (errno.EINVAL, "a pipe"),
    stat.S_IFSOCK: (errno.EINVAL, "a socket"),
}


def place(path: str | os.PathLike[str]) -> Path:
    """Return where a file of this name is written: `path` with every symbolic link followed.

    Raises OSError, naming `path`, where no regular file is or can be: for a folder, a device, a pipe, a socket, a chain of
    links that never ends, and where the folder that would hold it is not there.
    """
    named = os.fspath(path)
    try:
        end = Path(os.path.realpath(named))
        os.lstat(end.parent)
        try:
            mode = os.stat(end).st_mode
        except FileNotFoundError:
            if os.path.exists(named):  # /dev/stdout, where it is a file that has lost its name
                raise OSError(errno.ENOENT, "") from None
            return end
    except (OSError, ValueError) as error:
        number = (error.errno if isinstance(error, OSError) else None) or errno.EINVAL
        raise OSError(number, os.strerror(number), named) from None
    if not stat.S_ISREG(mode):
        number, kind = KINDS.get(stat.S_IFMT(mode), (errno.EINVAL, "no regular file"))
        said = f"{kind} stands there, and only a regular file is replaced: choose another name" if kind else os.strerror(number)
        raise OSError(number, said, named)
    return end


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Give a binary file that takes the place of `path` when the block ends well, and leaves no trace when it does not.

    A new file has the rights that the process's umask leaves; one that is replaced keeps its own. Raises OSError, naming
    `path`, as `place` does, where nothing may be written, and where the disk is full.
    """
    named, end = os.fspath(path), place(path)
    unfinished = end.with_name(f".minivan-{os.urandom(8).hex()}.part")
    made = False
    try:
        with open(unfinished, "xb", opener=lambda name, flags: os.open(name, flags, 0o666)) as file:
            made = True
            yield file
            file.flush()
            os.fsync(file.fileno())  # else a machine that stops may keep the new name of an empty file
        if end.exists():
            os.chmod(unfinished, stat.S_IMODE(end.stat().st_mode))
        os.replace(unfinished, end)
    except BaseException as error:
        if made:
            unfinished.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and (not made or error.filename in (None, str(unfinished))):
            raise OSError(error.errno, os.strerror(error.errno), named) from None  # not of the unfinished file's name
        raise
