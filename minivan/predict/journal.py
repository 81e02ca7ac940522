"""What a long run has found out so far, beside the file that it will become: a line of JSON for each image.

The first line says what made the others. Each is written when its image is done, in one piece: of a killed process at most the
last one is torn, and a run that resumes goes on behind the others.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import quote
from ..input import named, opened
from ..output import place, replacing
from .identity import differing
from .images import Found

ENDING = ".partial"
LONGEST_LINE = 64 << 20  # bytes
STAMP = "stamp"  # the key of a row's image's size and time of change
Row = dict[str, Any]
Stamp = list[int]


def stamp(image: Found) -> Stamp | None:
    """Return an image's size in bytes and when its file, or its archive, was changed, in ns; None where that is not known."""
    if image.fault or image.waits:
        return None
    try:
        status = os.stat(image.name if image.member is None else image.member.archive)
    except (OSError, ValueError):
        return None
    return [status.st_size if image.member is None else image.member.size, status.st_mtime_ns]


class Journal:
    """Rows on their way into the file `target`, of which `about` says what makes them: whoever goes on has to make the same.

    `begin` comes first; the file is closed by `close`, and gone after `end`.
    """

    def __init__(self, target: str | os.PathLike[str], about: Mapping[str, Any]) -> None:
        end = place(target)
        self.path = end.with_name(end.name + ENDING)
        self.about = dict(about)
        self.rows_added = 0
        self._file: BinaryIO | None = None

    def begin(self, images: Iterable[Found], resume: bool = False) -> list[Found]:
        """Return the images that have no row yet.

        Without `resume` those are all. With it, rows of images that are here, and still have the size and the time of change
        that they had, are kept; rows of others, and of images that could not be used, are not. Raises ValueError where a
        journal lies here already and is not to be resumed, where it is none, or where something else made it; OSError.
        """
        images = list(images)
        if not os.path.lexists(self.path):
            self._file = open(self.path, "xb", buffering=0)  # noqa: SIM115 - `close` closes it
            lock(self._file, self.path)
            self._append(self.about)
            return images
        if not resume:
            raise ValueError(f"{self.path} is what an interrupted run has done: --resume goes on with it, or delete it")
        with open(place(self.path), "rb+") as old:
            lock(old, self.path)
            seen = self._compact({_key(image.name, stamp(image)) for image in images})
            self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115 - `close` closes it
            lock(self._file, self.path)
        return [image for image in images if _key(image.name, stamp(image)) not in seen]

    def _compact(self, wanted: set[bytes]) -> set[bytes]:
        """Leave in the journal the rows of images with these keys alone, each once; return which there are."""
        kept = set[bytes]()
        with replacing(self.path) as new:
            new.write(_line(self.about))
            for row in self._read():
                key = _key(row.get("image"), row.get(STAMP))
                if key in wanted and key not in kept and row.get(STAMP) and not row.get("fault"):
                    kept.add(key)
                    new.write(_line(row))
        self.rows_added = len(kept)
        return kept

    def add(self, row: Row, stamp: Stamp | None) -> None:
        """Write a row. Raises OSError where the disk is full."""
        self._append({**row, STAMP: stamp})
        self.rows_added += 1

    def rows(self) -> Iterator[Row]:
        """Yield the rows in the order in which they came."""
        for row in self._read():
            row.pop(STAMP, None)
            yield row

    def close(self) -> None:
        """Close the file; one without rows is removed."""
        if self._file is not None:
            self._file.close()
            self._file = None
            if not self.rows_added:
                self.path.unlink(missing_ok=True)

    def end(self) -> None:
        """Close the file and remove it: what it was for is written."""
        self.rows_added = 0
        self.close()

    def _append(self, value: Mapping[str, Any]) -> None:
        assert self._file is not None, "it has begun"
        data = memoryview(_line(value))
        with named(self.path):
            while data:
                data = data[self._file.write(data) :]

    def _read(self) -> Iterator[Row]:
        """Yield the rows; a last one that is torn is left out. Raises ValueError for a journal that something else made."""
        with opened(self.path, pipe=False) as file, named(self.path):
            number = 0
            while (line := file.readline(LONGEST_LINE)).endswith(b"\n"):
                number += 1
                try:
                    value = json.loads(line)
                except (ValueError, RecursionError):
                    value = None
                if not isinstance(value, dict):
                    raise ValueError(f"{self.path}, line {number}, is no row: delete the file and begin anew")
                if number > 1:
                    yield value
                elif wrong := differing(value, self.about):
                    raise ValueError(f"{self.path} was begun {otherwise(value, self.about, wrong)}; delete it to begin anew")
            if len(line) >= LONGEST_LINE or not number:
                raise ValueError(f"{self.path} is no journal of an interrupted run: delete it and begin anew")


def otherwise(said: Mapping[str, Any], wanted: Mapping[str, Any], names: list[str]) -> str:
    """Say how a journal was begun that differs from this run."""
    if "sha256" in names:
        return f"with other weights ({quote(said.get('weights'))})"
    values = [f"{name} {json.dumps(said.get(name))[:80]}, not {json.dumps(wanted.get(name))[:80]}" for name in names]
    return f"otherwise: {'; '.join(values)}"


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value).encode("ascii") + b"\n"


def _key(name: object, stamp: object) -> bytes:
    """Return what an image is known by, in few bytes, so that a million of them take little memory."""
    return hashlib.blake2b(json.dumps([name, stamp]).encode("ascii"), digest_size=16).digest()


def lock(file: Any, path: Path) -> None:
    """Keep a journal to this process. Raises ValueError where another writes it; where there are no such locks, nothing."""
    with contextlib.suppress(ImportError):
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{path} is being written by another run: wait until that has ended") from None
        except OSError:  # a file system without locks
            return
