"""A file's bytes, taken in order."""

from __future__ import annotations

from io import BufferedIOBase

from .diagnoses import CUT_OFF
from .error import CheckpointError

AHEAD = 1 << 16  # bytes read at once
LONGEST_LINE = 512  # bytes of a module's or a class's name


class Cursor:
    """The bytes of `file` from `position` up to `end`, taken in order; running out of them is a CheckpointError."""

    def __init__(self, file: BufferedIOBase, position: int, end: int) -> None:
        self.file, self.end = file, end
        self._data, self._at = b"", 0  # what was read ahead, and how much of it is taken
        self._base = position  # where in the file it begins
        self.began = position  # where the last single byte was taken

    @property
    def position(self) -> int:
        """The place in the file of the next byte."""
        return self._base + self._at

    @property
    def left(self) -> int:
        """How many bytes are still to come."""
        return self.end - self.position

    def byte(self) -> int:
        """Return the next byte, and note in `began` where it stands."""
        at = self._at
        self.began = self._base + at
        if at == len(self._data):
            self._fill(1)
            at = 0
        self._at = at + 1
        return self._data[at]

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        end = self._at + size
        if end > len(self._data):
            self._fill(size)
            end = size
        data = self._data[self._at : end]
        self._at = end
        return data

    def skip(self, size: int) -> int:
        """Step over the next `size` bytes without reading them, and return where in the file they begin."""
        position = self.position
        if size > self.left:
            raise CheckpointError(f"the data ends {size - self.left} bytes early")
        self._at += size
        if self._at > len(self._data):
            self._data, self._at, self._base = b"", 0, position + size
        return position

    def number(self, size: int) -> int:
        """Return the next `size` bytes as a whole number, the lowest byte first."""
        return int.from_bytes(self.take(size), "little")

    def line(self) -> str:
        """Return the text up to the end of the line, which is taken too."""
        if len(self._data) - self._at < LONGEST_LINE:
            self._fill(min(LONGEST_LINE, self.end - self.position))
        end = self._data.find(b"\n", self._at, self._at + LONGEST_LINE)
        if end < 0:
            raise CheckpointError("a name without an end")
        try:
            return self.take(end + 1 - self._at)[:-1].decode("utf-8")
        except UnicodeDecodeError:
            raise CheckpointError("a name that is not UTF-8") from None

    def _fill(self, size: int) -> None:
        """Read ahead until the next `size` bytes are there, with nothing that is taken before them."""
        position = self.position
        left = self.end - position
        if size > left:
            raise CheckpointError(f"the data ends {size - left} bytes early", CUT_OFF)
        kept = self._data[self._at :]
        self.file.seek(position + len(kept))
        data = kept + self.file.read(min(max(size, AHEAD), left) - len(kept))
        if len(data) < size:
            raise CheckpointError("the file became shorter while it was read")
        self._data, self._at, self._base = data, 0, position
