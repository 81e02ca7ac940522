"""Files that minivan writes: whole under their names or not there at all, and never in the place of something else.

A regular file is written beside its place and renamed. A symbolic link is followed: what it points to is replaced, the link
stays. Everything else that can have a name (a folder, a device, a pipe, a socket) is refused and left as it is.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

KINDS = {
    stat.S_IFDIR: (errno.EISDIR, ""),
    stat.S_IFCHR: (errno.EINVAL, "a device"),
    stat.S_IFBLK: (errno.EINVAL, "a device"),
    stat.S_IFIFO: (errno.EINVAL, "a pipe"),
    stat.S_IFSOCK: (errno.EINVAL, "a socket"),
}
OPEN_FILES = "/proc/self/fd"  # where Linux lists them under their numbers


def check_ending(path: str | os.PathLike[str], known: Sequence[str], what: str, bare: bool = False) -> None:
    """Raise ValueError where a file's name ends in none of the known endings, which say how `what` ('rows are') written.

    `bare` takes a name without any ending, too.
    """
    ending = os.path.splitext(path)[1]
    if ending.lower() in known or (bare and not ending):
        return
    said = f"ends in {ending}" if ending else "has no ending"
    raise ValueError(f"{os.fspath(path)}: it {said}; {what} written as {', '.join(known)}")


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
    `path`, as `place` does, where nothing may be written, and where the disk is full. Where the system has files without a
    name (Linux, on most file systems), nothing is left of a killed process either; elsewhere `.minivan-*.part` may be.
    """
    named, end = os.fspath(path), place(path)
    unfinished = _unfinished(end)
    try:
        nameless = _nameless(end.parent)
        with nameless or open(unfinished, "xb", opener=lambda name, flags: os.open(name, flags, 0o666)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # else a machine that stops may keep the new name of an empty file
            if end.exists():
                os.chmod(file.fileno() if nameless else unfinished, stat.S_IMODE(end.stat().st_mode))
            if nameless and _name(nameless, end, unfinished):
                return
        os.replace(unfinished, end)
    except BaseException as error:
        unfinished.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and _is_inner(error.filename, unfinished):
            raise OSError(error.errno, os.strerror(error.errno), named) from None  # not of the unfinished file's name
        raise


def _is_inner(filename: object, unfinished: Path) -> bool:
    """Tell whether a file name in an error is none that the caller has ever heard of."""
    return filename in (None, str(unfinished)) or str(filename).startswith(OPEN_FILES)


def _nameless(folder: Path) -> BinaryIO | None:
    """Open a new file that no folder lists yet, on the file system of `folder`; None where there are no such files."""
    flag = getattr(os, "O_TMPFILE", 0)
    if not (flag and os.path.isdir(OPEN_FILES)):
        return None
    try:
        return os.fdopen(os.open(folder, flag | os.O_WRONLY, 0o666), "wb")
    except OSError:  # what else may be wrong, a file with a name will tell
        return None


def _name(file: BinaryIO, end: Path, unfinished: Path) -> bool:
    """Give a nameless file the name `end` and return True, or, where one stands there already, `unfinished` and False."""
    source = f"{OPEN_FILES}/{file.fileno()}"
    for name in (end, unfinished):
        with suppress(FileExistsError):
            # Any folder makes Python call linkat, which can follow that link; both paths being absolute, it is not used.
            os.link(source, name, src_dir_fd=file.fileno(), follow_symlinks=True)
            return name == end
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


@contextmanager
def filling(folder: Path) -> Iterator[Path]:
    """Give the folder to fill: one beside `folder`, which takes its name when the block ends well and is gone when it does not.

    A folder that is there already is filled itself, and stays with what it holds. Raises OSError, naming `folder`, where there
    can be none. Of a killed process `.minivan-*.part` may be left.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(folder):
        yield folder
        return
    unfinished = _unfinished(folder)
    try:
        unfinished.mkdir()
        yield unfinished
        os.rename(unfinished, folder)  # where a folder with something in it stands there by now, it stays
    except BaseException as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        if isinstance(error, OSError) and error.errno and str(error.filename).startswith(str(unfinished)):
            named = str(folder) + str(error.filename).removeprefix(str(unfinished))
            raise OSError(error.errno, error.strerror, named) from None
        raise


def _unfinished(end: Path) -> Path:
    """Return a new hidden name beside what is to be written."""
    return end.with_name(f".minivan-{os.urandom(8).hex()}.part")
