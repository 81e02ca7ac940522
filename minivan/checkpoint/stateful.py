"""What a pickle makes first and fills afterwards: objects whose state minivan reads, and bytes that stay in the file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from io import BufferedIOBase

import numpy as np

from .archive import read_into
from .error import CheckpointError
from .tensor import Bytes


class Stateful(ABC):
    """An object whose state, what BUILD sets, is read."""

    @abstractmethod
    def set_state(self, state: object) -> None:
        """Take the state that the file gives; CheckpointError where it will not do."""


class Record(Stateful):
    """An object of a class whose fields minivan reads, and what the file sets them to. It may be a dictionary's key."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.state: object = None

    def set_state(self, state: object) -> None:
        if self.state is not None:
            raise CheckpointError(f"a state set twice on an object of {self.path}")
        self.state = state


@dataclass(frozen=True, slots=True)
class Span:
    """A long text or bytes object of a pickle, left in the file until its bytes are wanted."""

    file: BufferedIOBase
    position: int
    size: int  # in the file
    encoded: bool = False  # protocols below 3 have no bytes: each is written as the character of its number, in UTF-8

    @property
    def known_size(self) -> int | None:
        """How many bytes it stands for; None where only reading it tells."""
        return None if self.encoded else self.size

    def read(self, start: int, size: int) -> Bytes:
        """Return `size` bytes from `start` on, writable; CheckpointError where there are not as many."""
        if self.encoded:
            text = read_into(self.file, self.position, self.size).tobytes()
            return _part(decoded(text.decode("utf-8", "replace")), start, size)
        _check(self.size, start, size)
        return read_into(self.file, self.position + start, size)


@dataclass(frozen=True, slots=True)
class Encoded:
    """Bytes that a pickle of a protocol below 3 gives as a text, and has Python encode as Latin-1."""

    text: str

    @property
    def known_size(self) -> int | None:
        """How many bytes it stands for."""
        return len(self.text)

    def read(self, start: int, size: int) -> Bytes:
        """Return `size` bytes from `start` on, writable; CheckpointError where there are not as many."""
        return _part(decoded(self.text), start, size)


def decoded(text: str) -> bytes:
    """Return the bytes that a text's characters stand for; CheckpointError for a character beyond the 256th."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise CheckpointError("bytes written as a text with characters that are none") from None


def encode(text: object = None, encoding: object = None, *rest: object) -> object:
    """Stand in for `_codecs.encode`: what bytes are made of below protocol 3. Nothing is encoded before it is wanted."""
    if encoding in ("latin1", "latin-1", "iso-8859-1") and not rest:
        if isinstance(text, str):
            return Encoded(text)
        if isinstance(text, Span):
            return Span(text.file, text.position, text.size, encoded=True)
    raise CheckpointError("the file calls _codecs.encode with something else than bytes written as a text")


def _part(data: bytes, start: int, size: int) -> Bytes:
    _check(len(data), start, size)
    return np.frombuffer(data, np.uint8)[start : start + size].copy()


def _check(held: int, start: int, size: int) -> None:
    if start < 0 or start + size > held:
        raise CheckpointError(f"bytes {start} to {start + size} of {held} are wanted")
