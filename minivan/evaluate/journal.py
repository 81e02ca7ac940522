"""What an interrupted evaluation has done: JSON lines, one an image, that the same evaluation goes on from.

The first line says of which images and which network it is. A line counts when its end is there: the last one of a process that
was killed is taken away. An image has one place in the arrays, so that nothing can be counted twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from .. import input
from ..errors import quote
from ..predict.journal import lock

NAME = "journal.jsonl"
MOST_BYTES = 4 << 30


class Journal:
    """A file of lines that is added to, a batch at a time."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def add(self, lines: list[dict[str, Any]]) -> None:
        """Add lines, and hand them to the system at once."""
        self._file.write(b"".join(_line(line) for line in lines))
        self._file.flush()


@contextmanager
def opened(folder: Path, identity: Mapping[str, Any]) -> Iterator[tuple[Journal, list[dict[str, Any]]]]:
    """Open the journal of a folder, or begin it; give it with the lines that it has already.

    Raises ValueError where it is that of another evaluation, saying in what, where another process writes it, or where it is
    damaged or no journal; OSError where it cannot be read or written.
    """
    path = folder / NAME
    if os.path.lexists(path) and not os.path.isfile(path):
        raise ValueError(f"{path} is no file: choose another folder")
    with open(path, "a+b") as file:
        lock(file, path)
        kept, lines = _read(path, identity)
        file.truncate(kept)
        journal = Journal(file)
        if not kept:
            journal.add([dict(identity)])
        yield journal, lines


def _read(path: Path, identity: Mapping[str, Any]) -> tuple[int, list[dict[str, Any]]]:
    """Return how many bytes of a journal are whole lines, and the lines behind the first."""
    data = input.read(path, MOST_BYTES, pipe=False)
    kept = data.rfind(b"\n") + 1
    if not kept and not _line(identity).startswith(data):  # nor is it a first line that is torn
        raise ValueError(f"{path} is no journal of an evaluation: choose another folder")
    lines = []
    for number, line in enumerate(data[:kept].splitlines(), start=1):
        try:
            found = json.loads(line)
            if not isinstance(found, dict):
                raise ValueError
        except (ValueError, RecursionError):
            raise ValueError(f"{path}, line {number}: damaged; remove the folder to begin anew") from None
        lines.append(found)
    if lines:
        _check(path, lines[0], json.loads(json.dumps(dict(identity))))
    return kept, lines[1:]


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(dict(value), allow_nan=False).encode() + b"\n"


def _check(path: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raise ValueError where a journal is that of another evaluation."""
    for what in (*wanted, *found):
        if found.get(what) != wanted.get(what):
            other = f"the evaluation of another {what.replace('_', ' ')}, {quote(_short(found.get(what)))}"
            here = quote(_short(wanted.get(what)))
            raise ValueError(f"{path.parent} holds {other} and not {here}: choose another folder, or remove this one")


def _short(value: Any) -> Any:
    """Return a value as it is told: whatever has parts as its JSON."""
    return json.dumps(value) if isinstance(value, (dict, list)) else value
