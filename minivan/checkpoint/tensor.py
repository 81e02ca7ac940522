"""A tensor as a file describes it: checked first, read when somebody asks for its numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any, Literal, TypeGuard

import numpy as np
import numpy.typing as npt

from ..errors import quote
from .error import CheckpointError

Bytes = npt.NDArray[np.uint8]
ByteOrder = Literal["<", ">"]

MOST_DIMENSIONS = 8  # NumPy allows 64, a VAN's tensors have at most four

# PyTorch's name -> bytes per element. Only the four that hold a network's weights are ever read.
ITEM_SIZES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint64": 8, "uint32": 4, "uint16": 2, "uint8": 1, "bool": 1,
    "complex128": 16, "complex64": 8, "complex32": 4,
    "float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1, "float8_e8m0fnu": 1,
    "qint8": 1, "quint8": 1, "qint32": 4, "quint4x2": 1, "quint2x4": 1, "bits8": 1, "bits16": 2,
}  # fmt: skip
MARKS = {"bool": "?", "uint8": "u1", "int8": "i1", "int32": "i4", "int64": "i8"}  # besides those, what a mask may be of
FLOATING = {"float64": "f8", "float32": "f4", "float16": "f2", "bfloat16": "u2"}


@dataclass(frozen=True)
class StoredTensor:
    """Shape, strides (in elements) and dtype of a tensor, and the function that reads its elements' bytes.

    `fetch(start, size)` returns `size` bytes of the record, writable, from byte `start` on.
    """

    shape: tuple[int, ...]
    dtype: str
    fetch: Callable[[int, int], Bytes]
    offset: int = 0  # elements from the record's first
    strides: tuple[int, ...] | None = None  # None: C order
    byteorder: ByteOrder = "<"
    negated: bool = False  # PyTorch's neg bit: what is stored are the numbers with the other sign
    unreadable: str = ""  # why its numbers cannot be known

    @property
    def count(self) -> int:
        """Elements that the tensor has."""
        return prod(self.shape)

    @property
    def extent(self) -> int:
        """Elements from the first to the last that the tensor touches."""
        if self.count == 0 or self.strides is None:
            return self.count
        return 1 + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))

    @property
    def extent_bytes(self) -> int:
        """The same in bytes."""
        return self.extent * ITEM_SIZES[self.dtype]

    def read(self) -> npt.NDArray[np.floating[Any]]:
        """Return the numbers exactly, in C order: float64, float32 or float16 as stored, bfloat16 as float32.

        Raises CheckpointError for integers and other dtypes, for what is `unreadable`, and for what `fetch` finds wrong with
        the bytes.
        """
        if self.dtype not in FLOATING:
            self._check_readable()
            raise CheckpointError(f"a tensor of {self.dtype}", f"weights are {', '.join(FLOATING)}")
        return self._numbers(FLOATING[self.dtype])

    def read_marks(self) -> npt.NDArray[Any]:
        """Return the numbers of a mask, which may be integers or True and False too. Errors as for `read`."""
        return self._numbers(MARKS[self.dtype]) if self.dtype in MARKS and not self.negated else self.read()

    def _check_readable(self) -> None:
        if self.unreadable:
            raise CheckpointError("a tensor that cannot be read", self.unreadable)

    def _numbers(self, kind: str) -> npt.NDArray[Any]:
        self._check_readable()
        item = ITEM_SIZES[self.dtype]
        dtype = np.dtype(kind).newbyteorder(self.byteorder)
        values: npt.NDArray[Any] = self.fetch(self.offset * item, self.extent_bytes).view(dtype)
        if self.strides is not None and self.count:
            values = np.lib.stride_tricks.as_strided(values, self.shape, tuple(s * item for s in self.strides), writeable=False)
        values = np.asarray(values.reshape(self.shape), order="C")
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        if self.dtype == "bfloat16":  # the upper half of a float32, so widening is exact
            values = (values.astype(np.uint32) << 16).view(np.float32)
        return np.negative(values) if self.negated else values


@dataclass(frozen=True)
class Derived(StoredTensor):
    """A tensor that is computed from others when it is read: `formula` takes their numbers, in order."""

    parts: tuple[StoredTensor, ...] = ()
    formula: Callable[..., npt.NDArray[np.floating[Any]]] = np.asarray

    @property
    def extent_bytes(self) -> int:
        """Bytes from the first to the last that its parts touch, together."""
        return sum(part.extent_bytes for part in self.parts)

    def read(self) -> npt.NDArray[np.floating[Any]]:
        """Return the numbers in C order, of its first part's kind. Errors as for any tensor."""
        return np.asarray(self.formula(*(part.read_marks() for part in self.parts)), order="C")


@dataclass(frozen=True)
class Storage:
    """A run of equal elements in one record of a file. `fetch(key, start, size)` returns bytes of that record, writable."""

    key: str
    dtype: str
    count: int  # elements
    fetch: Callable[[str, int, int], Bytes]
    first: int = 0  # element of the record at which it begins: only files from before PyTorch 0.4 have views of storages
    byteorder: ByteOrder = "<"

    @property
    def size(self) -> int:
        """Bytes that the storage has."""
        return self.count * ITEM_SIZES[self.dtype]

    def view(self, offset: object, shape: object, strides: object, dtype: str | None = None) -> StoredTensor:
        """Return the tensor that a file describes as a view of this storage, or raise CheckpointError.

        Every number is a Python integer, so nothing overflows. Refused are elements outside the storage, and strides by
        which two elements share their bytes: a few bytes could otherwise claim to be gigabytes.
        """
        dtype = dtype or self.dtype
        shape, strides = _naturals("shape", shape), _naturals("strides", strides)
        if len(shape) != len(strides):
            raise CheckpointError(f"a tensor of shape {shape} with {len(strides)} strides")
        if not is_natural(offset):
            raise CheckpointError(f"a tensor that begins at element {quote(offset)} of its storage")
        if dtype != self.dtype and self.byteorder == ">":  # PyTorch swaps the bytes of the storage's elements
            raise CheckpointError(f"a tensor of {dtype} in a big-endian storage of {self.dtype}", "its byte order is not known")
        item, begin = ITEM_SIZES[dtype], self.first * ITEM_SIZES[self.dtype]
        if begin % item:
            raise CheckpointError(f"a tensor of {dtype} that begins between two elements", f"byte {begin} of its record")
        start = begin // item + offset
        tensor = StoredTensor(shape, dtype, partial(self.fetch, self.key), start, strides, self.byteorder)
        held = self.size // item
        if offset + tensor.extent > held:
            raise CheckpointError(
                f"a tensor of shape {shape}, strides {strides} from element {offset}",
                f"it ends at element {offset + tensor.extent} of a storage of {held}",
            )
        if tensor.count and _overlaps(shape, strides):
            raise CheckpointError(f"a tensor of shape {shape} with strides {strides}", "its elements overlap")
        return replace(tensor, strides=None) if _is_c_order(shape, strides) else tensor


def is_natural(value: object) -> TypeGuard[int]:
    """True for an integer that a 64-bit size may be."""
    return type(value) is int and 0 <= value < 1 << 63


def _naturals(name: str, value: object) -> tuple[int, ...]:
    if not (isinstance(value, tuple) and len(value) <= MOST_DIMENSIONS and all(map(is_natural, value))):
        raise CheckpointError(f"a tensor whose {name} is not at most {MOST_DIMENSIONS} integers from 0 to 2^63")
    return value


def _overlaps(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """True where two index tuples may reach the same element: each stride must step over all smaller ones together."""
    reach = 0
    for stride, size in sorted((stride, size) for size, stride in zip(shape, strides, strict=True) if size > 1):
        if stride <= reach:
            return True
        reach += (size - 1) * stride
    return False


def _is_c_order(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    step = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size > 1 and stride != step:
            return False
        step *= size
    return True
