"""The boxes that AVIF, HEIC and JPEG 2000 files are made of: a size, a name, a body. ISO/IEC 14496-12, 4.2."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..bounds import Steps


class Box(NamedTuple):
    """One box: its name, and where its body lies in the file."""

    name: bytes
    start: int
    end: int


def boxes(data: bytes, steps: Steps, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """Yield the boxes between two places of a file. The last one may end where the file does."""
    end = len(data) if end is None else min(end, len(data))
    while start + 8 <= end:
        steps.take()
        size, name, head = int.from_bytes(data[start : start + 4]), data[start + 4 : start + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[start + 8 : start + 16]), 16
        stop = end if size == 0 else start + size
        if stop < start + head:
            return
        yield Box(name, start + head, min(stop, end))
        start = stop
