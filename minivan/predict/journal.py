"""What a long run has done so far: a file of JSON lines that one process adds to, and that a later run reads.

The first line says what made the others. Each is written when its work is done, in one piece, and has its own CRC-32: of a
killed process at most the last one is torn, and whatever has spoiled a line, a power cut or an editor, it counts as never
written. Nothing is forced onto the disk: what the system had still to write when the power went is done again.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from ..errors import quote
from ..input import named
from ..output import place
from .identity import plain
from .images import Found

LONGEST_LINE = 64 << 20  # bytes
CHECK = b', "crc32": '  # what the end of a line begins with: the CRC-32 of the JSON before it
BEGINS = b'{"minivan": '  # every journal: the first thing in `about` is what kind it is
Line = dict[str, Any]
Stamp = list[int]


class Journal:
    """A journal, opened or begun, that this process alone writes until `close`. `about` is what its first line is to say.

    `said` is what it does say: whoever goes on with the others looks first whether that is the same. Raises ValueError where
    another process writes it, or where it is no journal: that file is left as it is. Raises OSError.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self.path, self.about = path, plain(dict(about))
        self._file = _alone(path)
        try:
            self.said = self._first()
        except BaseException:
            self.close()
            raise

    def _first(self) -> Line:
        """Return what the first line says; write it where there is none, or where the run was killed while it wrote that."""
        with self._reader() as file:
            line = file.readline(LONGEST_LINE)
        if line.endswith(b"\n") and (said := _value(line)) is not None and line.startswith(BEGINS):
            self._end_line()
            return said
        if line.endswith(b"\n") or not (line.startswith(BEGINS) or BEGINS.startswith(line) or not line.strip(b"\0")):
            raise ValueError(f"{self.path} is no journal that minivan wrote: choose another name, or delete it")
        self.restart()
        return self.about

    def _end_line(self) -> None:
        """End a last line that is torn, so that it counts as one that is spoiled."""
        with self._reader() as file:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                self._write(b"\n")

    def restart(self) -> None:
        """Leave nothing in it but the first line, `about`. Raises OSError."""
        with named(self.path):
            self._file.truncate(0)
        self._write(_line(self.about))
        self.said = self.about

    def add(self, value: Mapping[str, Any]) -> int:
        """Add a line; return where in the file it begins. Raises OSError, as where the disk is full."""
        start = self._file.seek(0, os.SEEK_END)
        self._write(_line(value))
        return start

    def lines(self) -> Iterator[tuple[int, Line]]:
        """Yield where each line behind the first begins, and what it says; none that is spoiled. Raises OSError."""
        with self._reader() as file:
            start = len(file.readline(LONGEST_LINE))
            while line := file.readline(LONGEST_LINE):
                if (value := _value(line)) is not None:
                    yield start, value
                start += len(line)

    def at(self, starts: Iterable[int]) -> Iterator[Line]:
        """Yield what lines say that begin there. Raises ValueError where one was spoiled meanwhile, and OSError."""
        with self._reader() as file:
            for start in starts:
                file.seek(start)
                value = _value(file.readline(LONGEST_LINE))
                if value is None:
                    raise ValueError(f"{self.path} was changed by another program meanwhile: begin anew")
                yield value

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def remove(self) -> None:
        """Remove the file: nobody needs it any more."""
        if _is_named(self._file, self.path):
            self.path.unlink(missing_ok=True)
        self.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    @contextlib.contextmanager
    def _reader(self) -> Iterator[BinaryIO]:
        """Give the file to be read from its beginning: as it is open, so that it may have lost its name meanwhile."""
        with named(self.path), open(self._file.fileno(), "rb", closefd=False) as file:
            file.seek(0)
            yield file

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        with named(self.path):
            while rest:
                rest = rest[self._file.write(rest) :]


def stamp(image: Found) -> Stamp | None:
    """Return an image's size in bytes and when its file, or its archive, was changed, in ns; None where that is not known."""
    if image.fault or image.waits:
        return None
    try:
        status = os.stat(image.name if image.member is None else image.member.archive)
    except (OSError, ValueError):
        return None
    return [status.st_size if image.member is None else image.member.size, status.st_mtime_ns]


def otherwise(said: Mapping[str, Any], wanted: Mapping[str, Any], names: list[str]) -> str:
    """Say how a journal was begun that differs from this run."""
    if "sha256" in names:
        return f"with other weights ({quote(said.get('weights'))})"
    values = [f"{name} {json.dumps(said.get(name))[:80]}, not {json.dumps(wanted.get(name))[:80]}" for name in names]
    return f"otherwise: {'; '.join(values)}"


def _alone(path: Path) -> BinaryIO:
    """Open a file that this process alone may write from now on, for reading and adding to it."""
    file = open(place(path), "a+b", buffering=0)  # noqa: SIM115 - `close` closes it
    try:
        _lock(file, path)
        if _is_named(file, path):
            return file
    except BaseException:
        file.close()
        raise
    file.close()
    return _alone(path)  # the run that wrote it has ended meanwhile, and removed it


def _lock(file: Any, path: Path) -> None:
    """Keep a file to this process. Raises ValueError where another has it; where there are no such locks, nothing."""
    with contextlib.suppress(ImportError):
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{path} is being written by another run: wait until that has ended") from None
        except OSError:  # a file system without locks
            return


def _is_named(file: Any, path: Path) -> bool:
    """Tell whether a path still leads to an open file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except OSError:
        return False


def _line(value: Mapping[str, Any]) -> bytes:
    """Return a value, which is not empty, as JSON with the CRC-32 of that JSON under CHECK at its end."""
    text = json.dumps(value, allow_nan=False).encode("ascii")
    return text[:-1] + CHECK + b"%d}\n" % zlib.crc32(text)


def _value(line: bytes) -> Line | None:
    """Return what a line says; None where it is not what was written. A CRC-32 is no proof: another program can make one."""
    start, _, number = line.rpartition(CHECK)
    text = start + b"}"
    if number != b"%d}\n" % zlib.crc32(text):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
