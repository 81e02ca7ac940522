"""What has come of a download: in a folder of its own, from which a later call goes on where an interruption ended this one.

Nothing is believed of a folder but what it proves. It is minivan's own where it says so in MARK, by the name that it still has,
and belongs to the same user; nobody uses it where MARK can be locked, which ends with the process that locked it, however that
ends. What came is a beginning of the same file where NOTE gives the same address and the server still has the file under the
ETag in it; and it is what the server sent where its first bytes, as many as NOTE says, have the SHA-256 in it: whatever was
written after that, by whomever, is cut off.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from ..input import CHUNK, read
from ..output import replacing

ABANDONED = 24 * 3600  # seconds after which a download's folder belongs to nobody any more
OWN, MARK = "minivan-download-", "made-by-minivan"  # how a download's folder is called, and the file in it that says so
UNLOCKED = f"{MARK}.part"  # what that file is called before it is locked
NOTE, CONVERTED = "how-far", "converted"  # the other files in it that are not the download
NOTED_EACH = 16 << 20  # bytes: so many of a killed process's may come a second time
STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]{1,200}"')  # one that only a file of the same bytes has (RFC 9110, 8.8.3)
NOTE_TEXT = "minivan partial 1\nof {}\nsha256 {}\nbytes {}\netag {}\n"
NOTE_FORM = re.compile(NOTE_TEXT.format("([0-9a-f]{64})", "([0-9a-f]{64})", "([0-9]{1,15})", f"({STRONG_ETAG.pattern})"))
NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # nor a wait for whoever would write to a pipe


class Partial:
    """A file that is being downloaded into `folder`: `size` bytes of it have come, and `etag` tells whether it is the same.

    Without an ETag that is strong there is nothing to go on by: `etag` is '', and nothing is kept.
    """

    def __init__(self, folder: Path, url: str, mark: BinaryIO, alone: bool) -> None:
        self.folder = folder
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", Path(urlsplit(url).path).name)[-64:]
        self.path = folder / (name if name not in ("", ".", "..", MARK, NOTE, CONVERTED) else "download")
        self.etag, self.size = "", 0
        self._of = hashlib.sha256(url.encode()).hexdigest()  # not the address itself: a password may be in it
        self._mark, self._alone = mark, alone
        self._file: BinaryIO | None = None
        self._digest, self._noted = hashlib.sha256(), 0

    @property
    def can_go_on(self) -> bool:
        """Whether a later call could go on from what has come."""
        return bool(self.etag and self.size and self._alone)

    def begin(self, etag: str) -> None:
        """Begin with nothing, whatever came before; an ETag that is not strong is as good as none. Raises OSError."""
        self.forget()
        self.etag = etag if STRONG_ETAG.fullmatch(etag) else ""
        with self._named():
            (self.folder / NOTE).unlink(missing_ok=True)
            self._file = _opened(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            self.size, self._digest = 0, hashlib.sha256()
            if self.etag and self._alone:
                self._note()  # so that the next call for this address finds what is left, if only to clear it away

    def write(self, part: bytes) -> None:
        """Add what has come. Raises OSError, naming the folder; nothing is kept then."""
        assert self._file is not None
        with self._named():
            self._file.write(part)
            self._digest.update(part)
            self.size += len(part)
            if self.can_go_on and self.size - self._noted >= NOTED_EACH:
                self._note()

    def forget(self) -> None:
        """Let nobody go on from what has come, because it is whole or no good; write out all of it. Raises OSError."""
        self.etag = ""
        self._close()

    def take_up(self) -> bool:
        """Go on from what another call left in the folder, and tell whether that is proven to be of this address."""
        try:
            note = NOTE_FORM.fullmatch(read(self.folder / NOTE, 1000, pipe=False).decode("ascii"))
            if not (self._alone and note and note[1] == self._of):
                return False
            self._file = _opened(self.path, os.O_RDWR)
            status, known = os.fstat(self._file.fileno()), int(note[3])
            if not (stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and _is_mine(status)):
                return False
            while part := self._file.read(min(CHUNK, known - self.size)):
                self._digest.update(part)
                self.size += len(part)
            if self.size != known or self._digest.hexdigest() != note[2]:
                return False
            self._file.truncate(self.size)
        except (OSError, ValueError):
            return False
        self.etag, self._noted = note[4], self.size
        return True

    def leave(self, keep: bool) -> None:
        """Let go of the folder: with `keep` a later call may go on there, if there is anything to go on from; else it goes."""
        if keep and self.can_go_on:
            with suppress(OSError):
                if self.size > self._noted:
                    self._note()
                self._close()
                self._mark.close()
                return
        with suppress(OSError):
            self._close()
        with suppress(OSError):  # the mark goes last: what a kill leaves at this moment still says whose it is
            for path in self.folder.iterdir():
                if path.name != MARK:
                    path.unlink()
        if not self._alone:  # Windows removes nothing that is open; elsewhere the lock is held until all is gone
            self._mark.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        self._mark.close()

    def let_be(self) -> None:
        """Let go of the folder as it is."""
        with suppress(OSError):
            self._close()
        self._mark.close()

    def _note(self) -> None:
        """Write down how many bytes are there: they are on the disk before, so that the note is true of any later moment."""
        assert self._file is not None
        self._file.flush()
        os.fsync(self._file.fileno())
        with replacing(self.folder / NOTE) as file:
            file.write(NOTE_TEXT.format(self._of, self._digest.hexdigest(), self.size, self.etag).encode("ascii"))
        self._noted = self.size

    def _close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            with self._named():
                file.close()

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # a full disk gives no name, or one that nobody has ever heard of
            self.etag = ""
            raise OSError(error.errno, error.strerror, str(self.folder)) from None


@contextmanager
def scratch(downloads: Path, url: str) -> Iterator[Partial]:
    """Give the folder of this call's own for the download of an address; it is gone afterwards, if nothing interrupts it.

    What was interrupted before, and is proven to be a beginning of the same file, is taken up. Folders that belong to nobody
    any more go: those in which nothing has happened for a day, and others for the same address. Raises OSError where nothing
    can be written.
    """
    downloads.mkdir(parents=True, exist_ok=True)
    partial = _taken_up(downloads, url) or _made(downloads, url)
    keep = True
    try:
        yield partial
        keep = False
    finally:
        partial.leave(keep)


def _made(downloads: Path, url: str) -> Partial:
    folder = Path(tempfile.mkdtemp(prefix=OWN, dir=downloads))
    try:
        (folder / UNLOCKED).write_bytes(os.fsencode(folder.name))
        mark = _opened(folder / UNLOCKED, os.O_RDONLY)
        locked = _is_locked(mark)
        (folder / UNLOCKED).rename(folder / MARK)  # whoever finds the mark finds it locked
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):  # a full disk gives no name
            raise OSError(error.errno, error.strerror, str(downloads)) from None
        raise
    return Partial(folder, url, mark, locked is True)


def _taken_up(downloads: Path, url: str) -> Partial | None:
    """Return the folder of an interrupted download of this address in which most has come; clear away what is nobody's."""
    best: Partial | None = None
    for folder in downloads.glob(f"{OWN}*"):
        found = _claimed(folder, url)
        if found is None:
            continue
        old = _is_old(folder)
        if not found.take_up():
            found.leave(keep=False) if old else found.let_be()
        elif best is None or found.size > best.size:
            if best is not None:
                best.leave(keep=False)
            best = found
        else:
            found.leave(keep=False)
    return best


def _claimed(folder: Path, url: str) -> Partial | None:
    """Return a folder that `_made` made and that nobody uses: it says so itself, by the name it still has.

    None for a link, for what belongs to another user, and for what anybody uses.
    """
    mark = None
    try:
        mark = _opened(folder / (MARK if os.path.lexists(folder / MARK) else UNLOCKED), os.O_RDONLY)
        status, own = folder.lstat(), os.fstat(mark.fileno())
        proven = stat.S_ISDIR(status.st_mode) and stat.S_ISREG(own.st_mode) and _is_mine(status) and _is_mine(own)
        if proven and own.st_size == len(folder.name) and mark.read(own.st_size) == os.fsencode(folder.name):
            locked = _is_locked(mark)
            if locked is not False:
                return Partial(folder, url, mark, locked is True)
        mark.close()
    except OSError:  # another process was quicker, or it has no mark
        if mark is not None:
            mark.close()
    return None


def _is_old(folder: Path) -> bool:
    try:
        return time.time() - folder.lstat().st_mtime > ABANDONED
    except OSError:
        return False


def _is_mine(status: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or status.st_uid == os.geteuid()


def _is_locked(mark: BinaryIO) -> bool | None:
    """Lock a folder's mark for this call; False where another has the lock, None where there are no such locks."""
    try:
        import fcntl

        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):  # Windows, and file systems without locks
        return None
    return True


def _opened(path: Path, flags: int) -> BinaryIO:
    """Open a file for reading, or for both where `flags` say so, and never through a link."""
    descriptor = os.open(path, flags | NO_LINK | getattr(os, "O_BINARY", 0), 0o666)
    return os.fdopen(descriptor, "rb" if flags == os.O_RDONLY else "r+b")
