"""Layers that stay in a file until somebody asks for their numbers: those of a large network take gigabytes."""

from __future__ import annotations

import tempfile
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from ..checkpoint.tensor import Bytes, StoredTensor
from ..checks import Floating

IN_MEMORY = 32 << 20  # bytes of a spool that no file is made for


@dataclass(frozen=True)
class Held:
    """An array that lies in a file: its dtype's name, its shape, and the function that reads it, each time anew.

    `pieces` reads it so many numbers at once, in C order; None where it lies in the file in no such way.
    """

    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], npt.NDArray[Any]]
    pieces: Callable[[int], Iterator[npt.NDArray[Any]]] | None = None


class OnDemand(Mapping[str, Floating]):
    """Arrays by name, read or made whenever they are asked for; which there are, and their shapes, is known without that."""

    def __init__(self, ways: Mapping[str, object]) -> None:
        self._ways = ways

    def __contains__(self, name: object) -> bool:
        return name in self._ways

    def __iter__(self) -> Iterator[str]:
        return iter(self._ways)

    def __len__(self) -> int:
        return len(self._ways)

    @abstractmethod
    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an array without reading or making it."""

    def pieces(self, name: str, size: int) -> Iterator[Floating]:
        """Yield an array's numbers in C order, so many at once: without the others in memory where they can be had so."""
        yield from cut(self[name], size)


class Layers(OnDemand):
    """Arrays by name, in order, some of which are read whenever they are asked for: those that `parts` has as StoredTensor."""

    def __init__(self, parts: Mapping[str, Floating | StoredTensor]) -> None:
        self.parts = dict(parts)
        super().__init__(self.parts)

    def __getitem__(self, name: str) -> Floating:
        part = self.parts[name]
        return part.read() if isinstance(part, StoredTensor) else part

    def piece(self, name: str, begin: int, end: int) -> Floating:
        """Return an array's numbers from one place to another, in C order, without reading the others."""
        part = self.parts[name]
        if isinstance(part, StoredTensor):
            return replace(part, shape=(end - begin,), offset=part.offset + begin).read()
        return part.reshape(-1)[begin:end]

    def pieces(self, name: str, size: int) -> Iterator[Floating]:
        part = self.parts[name]
        yield from part_by_part(part, size) if isinstance(part, StoredTensor) else cut(part, size)

    def shape(self, name: str) -> tuple[int, ...]:
        return self.parts[name].shape


def cut(array: npt.NDArray[Any], size: int) -> Iterator[npt.NDArray[Any]]:
    """Yield the numbers of an array in C order, so many at once."""
    flat = array.reshape(-1)  # once: it copies what does not lie in that order
    for begin in range(0, flat.size, size):
        yield flat[begin : begin + size]


def part_by_part(tensor: StoredTensor, size: int) -> Iterator[Floating]:
    """Yield the numbers of a tensor that lies in a file in C order, so many at once."""
    for begin in range(0, tensor.count, size):
        yield replace(tensor, shape=(min(size, tensor.count - begin),), offset=tensor.offset + begin).read()


def as_layers(arrays: Mapping[str, Floating]) -> Layers:
    """Return a mapping of arrays as Layers, none of them read."""
    return arrays if isinstance(arrays, Layers) else Layers(arrays)


class Spool:
    """Arrays that are put aside one by one, in a temporary file of `folder` once they are many, and read back when asked for.

    A block: the file is gone when it ends.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.parts: dict[str, Floating | StoredTensor] = {}
        self.size = 0

    def __enter__(self) -> Spool:
        self.file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY, dir=None if self.folder is None else str(self.folder))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.file.close()

    def put(self, name: str, array: Floating) -> None:
        """Put an array aside: float64, float32 or float16, of any order."""
        array = np.asarray(array, order="C")
        begin = self.size
        self.file.seek(begin)
        self.file.write(array.reshape(-1).view(np.uint8).data)
        self.size += array.nbytes

        def fetch(offset: int, size: int) -> Bytes:
            data = np.empty(size, np.uint8)
            self.file.seek(begin + offset)
            self.file.readinto(data.data)
            return data

        self.parts[name] = StoredTensor(array.shape, array.dtype.name, fetch)

    @property
    def layers(self) -> Layers:
        """What was put aside, in order."""
        return Layers(self.parts)
