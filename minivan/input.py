"""Files that minivan reads: one rule for what a path may be, and a limit for everything that is read whole.

A regular file is read, through links. A pipe has no end of its own and no size: it is read where the user named it, as
standard input is, up to a limit. A device, a socket or a folder is refused before it is opened: opening some of them waits, or
does something. What the file system calls a regular file may still have no end (`/proc` has some), so that no size that it
gives is believed. A file that comes with minivan in a zip is read as if it lay in a folder (`shipped.py`).
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn

from . import shipped

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}
NOT_INSIDE = "no file of the zip that minivan is imported from"
CHUNK = 1 << 20  # bytes read at once: what is too large is noticed before it is held


def fault(path: str | os.PathLike[str], pipe: bool = False) -> str:
    """Return why a path is no file to read, or '': 'no such file or folder', 'a device is no file to read', ...

    A pipe is one only where `pipe` says so. Nothing is opened.
    """
    if (inside := shipped.holds(path)) is not None:
        return "" if inside else NOT_INSIDE
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return "a link that leads nowhere" if os.path.islink(path) else "no such file or folder"
    except (OSError, ValueError) as error:  # ValueError: a name that holds a zero byte
        return (isinstance(error, OSError) and error.strerror) or "no name that a file can have"
    return _fault(mode, pipe)


def _fault(mode: int, pipe: bool) -> str:
    if stat.S_ISREG(mode) or (pipe and stat.S_ISFIFO(mode)):
        return ""
    return f"{KINDS.get(stat.S_IFMT(mode), 'something else')} is no file to read"


def is_pipe(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path leads to a pipe."""
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def opened(path: str | os.PathLike[str], pipe: bool = False) -> BufferedReader:
    """Open a regular file for reading, or a pipe where `pipe` allows it (that waits for whoever writes to it).

    Raises OSError, naming `path`, where there is none or it is something else.
    """
    named = os.fspath(path)
    if (inside := shipped.content(named)) is not None:
        return BufferedReader(io.BytesIO(inside))
    if shipped.holds(named) is False:  # of which the system would say that the zip is no folder
        raise FileNotFoundError(errno.ENOENT, NOT_INSIDE, named)
    try:
        mode = os.stat(named).st_mode
        if not (wrong := _fault(mode, pipe)):
            # no wait for a pipe that took the file's place meanwhile, nor for a file that has nothing to give now
            no_wait = 0 if stat.S_ISFIFO(mode) else getattr(os, "O_NONBLOCK", 0)
            file: BufferedReader = BufferedReader(_Waitless(named, opener=lambda name, flags: os.open(name, flags | no_wait)))
            if not (wrong := _fault(os.fstat(file.fileno()).st_mode, pipe)):
                return file
            file.close()
    except ValueError:
        raise OSError(errno.EINVAL, "no name that a file can have", named) from None
    raise OSError(errno.EINVAL, wrong, named)


class _Waitless(io.FileIO):
    """A file that was opened so that nobody waits: where it has nothing to give now, that is an error.

    Python says None there, which whoever reads to the end of a file takes for anything but the end.
    """

    def readinto(self, buffer: WriteableBuffer) -> int:
        count: int | None = super().readinto(buffer)
        return self._nothing() if count is None else count

    def readall(self) -> bytes:
        found: bytes | None = super().readall()
        return self._nothing() if found is None else found

    def _nothing(self) -> NoReturn:
        raise OSError(errno.EAGAIN, "it has nothing to read, and would have to be waited for", self.name)


def read(path: str | os.PathLike[str], limit: int, pipe: bool = True) -> bytes:
    """Return what a file holds, at most `limit` bytes; of a pipe too, unless `pipe` is False.

    Raises OSError, naming `path`, as `opened` does and where there is more than that.
    """
    with opened(path, pipe) as file:
        return drained(file, limit, os.fspath(path))


@contextmanager
def named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Give an OSError that comes while an open file is read the file's name, which Python leaves out."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or not error.errno:
            raise
        raise OSError(error.errno, os.strerror(error.errno), os.fspath(path)) from None


def drained(file: IO[bytes] | io.BufferedIOBase, limit: int, name: str) -> bytes:
    """Return what is left in an open file, at most `limit` bytes. Raises OSError, naming it `name`, where there is more."""
    held, size = io.BytesIO(), 0  # what it gives at the end is what it holds: no second copy
    with named(name):
        while part := file.read(min(CHUNK, limit - size + 1)):
            held.write(part)
            size += len(part)
            if size > limit:
                raise OSError(errno.EFBIG, f"more than {amount(limit)}, the limit for such a file", name)
    return held.getvalue()


def read_text(path: str | os.PathLike[str], limit: int, encoding: str = "utf-8") -> str:
    """Return a text file's contents; errors as for `read`. Raises UnicodeDecodeError for other bytes."""
    return read(Path(path), limit).decode(encoding)


def amount(size: int) -> str:
    """Return a number of bytes as a person says it: '16 MiB', '2 GiB', '300 bytes'."""
    for unit, bytes_ in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= bytes_:
            return f"{size / bytes_:.4g} {unit}"
    return f"{size} bytes"
