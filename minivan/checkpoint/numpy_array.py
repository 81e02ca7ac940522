"""NumPy's arrays in a pickle, as tensors; their numbers are read when they are asked for.

NumPy pickles an array as `_reconstruct(ndarray, (0,), b'b')` and the state (version, shape, dtype, is_fortran, bytes), since
protocol 5 as `_frombuffer(bytes, dtype, shape, order)`; a dtype as `dtype('f4', False, True)` and a state with its byte order
(numpy/_core/src/multiarray/methods.c, `array_reduce` and `array_reduce_ex_picklebuffer`; descriptor.c, `arraydescr_reduce`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from ..errors import quote
from .budget import Budget
from .error import CheckpointError
from .stateful import Encoded, Span, Stateful
from .tensor import ITEM_SIZES, MOST_DIMENSIONS, ByteOrder, Bytes, StoredTensor, is_natural

# NumPy's letter and bytes -> PyTorch's name
DTYPES = {
    "f8": "float64", "f4": "float32", "f2": "float16", "i8": "int64", "i4": "int32", "i2": "int16", "i1": "int8",
    "u8": "uint64", "u4": "uint32", "u2": "uint16", "u1": "uint8", "b1": "bool", "c16": "complex128", "c8": "complex64",
}  # fmt: skip
BYTE_ORDERS: dict[str, ByteOrder] = {"<": "<", "|": "<", "=": "<", ">": ">"}
INTEGERS = ("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8")
TEXT_CODE = re.compile("U[0-9]{1,7}")
LONGEST_TEXT = 4096  # characters of a single one
EMPTY = "a NumPy array without its state"


class Dtype(Stateful):
    """What a pickle says of an array's numbers: PyTorch's name, '' where it has none, and their byte order.

    Of texts `characters` says how many each has, of objects `is_object` is true.
    """

    def __init__(self, code: object = None, *rest: object) -> None:
        plain = code.lstrip("<>=|") if isinstance(code, str) else ""
        self.name = DTYPES.get(plain, "")
        self.characters = int(plain[1:]) if TEXT_CODE.fullmatch(plain) else 0
        self.is_object = plain in ("O", "O8", "O4")
        self.byteorder: ByteOrder = ">" if isinstance(code, str) and code.startswith(">") else "<"

    def set_state(self, state: object) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if not isinstance(order, str) or order not in BYTE_ORDERS:
            raise CheckpointError("a NumPy dtype whose state is not one")
        self.byteorder = BYTE_ORDERS[order]


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of an array, each of the same number of characters, zeros at its end included; or a list of objects."""

    count: int
    characters: int
    byteorder: ByteOrder
    source: Span | Encoded | list[object]

    def read(self, budget: Budget) -> Sequence[object]:
        """Return them; one empty text where the bytes are none. What it takes is paid from the budget before."""
        if isinstance(self.source, list):
            return self.source
        size = self.count * self.characters
        budget.step(self.count + size // 16)
        budget.hold(100 * self.count + 16 * size)
        whole = text_of(self.source, size, self.byteorder)
        if whole is None:
            return [""]
        return [whole[i : i + self.characters].rstrip("\0") for i in range(0, size, self.characters)]


class Array(StoredTensor, Stateful):
    """A tensor that a pickle makes empty and fills afterwards; it is the same object before and after.

    So it is filled in place, as no other tensor is: what the file refers to has been handed on already. Of an array of texts
    there are no numbers, and `texts`.
    """

    texts: Texts | None = None

    def set_state(self, state: object) -> None:
        if self.unreadable != EMPTY:
            raise CheckpointError("a state set on a NumPy array that has one")
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise CheckpointError("a NumPy array whose state is not one")
        shape, dtype, fortran, data = state[-4:]
        vars(self).update(vars(tensor_of(data, dtype, shape, fortran is True)))


def reconstruct(kind: object = None, *rest: object) -> Array:
    """Stand in for `numpy.core.multiarray._reconstruct`: an array that is yet to be filled."""
    return Array((0,), "uint8", _nothing, unreadable=EMPTY)


def from_buffer(data: object = None, dtype: object = None, shape: object = None, order: object = None) -> StoredTensor:
    """Stand in for `numpy.core.numeric._frombuffer`: an array of protocol 5, whole at once."""
    return tensor_of(data, dtype, shape, order == "F")


def on_device(array: object = None, dtype: object = None, *rest: object) -> object:
    """Stand in for `torch._utils._rebuild_device_tensor_from_numpy`: a tensor that was on a device without storages.

    Its numbers are the array's. PyTorch makes one of bfloat16 a float32 array, which loses nothing.
    """
    if not isinstance(array, StoredTensor):
        raise CheckpointError(f"a tensor rebuilt from {quote(array)}", "a NumPy array is wanted")
    wanted = getattr(dtype, "dtype", "")
    if (array.dtype, wanted) not in ((wanted, wanted), ("float32", "bfloat16")):
        raise CheckpointError(f"a tensor of {quote(wanted)} rebuilt from an array of {array.dtype}", "the two are the same")
    return array


def tensor_of(data: object, dtype: object, shape: object, fortran: bool) -> StoredTensor:
    """Return the tensor that an array is; one of text, objects or records has no numbers to be read."""
    if not (isinstance(shape, tuple) and len(shape) <= MOST_DIMENSIONS and all(map(is_natural, shape))):
        raise CheckpointError(f"a NumPy array whose shape is not at most {MOST_DIMENSIONS} integers from 0 on")
    source = _source(data)
    if not isinstance(dtype, Dtype) or not dtype.name or source is None:
        array = Array((0,), "uint8", _nothing, unreadable="a NumPy array of something else than numbers")
        if isinstance(dtype, Dtype) and len(shape) == 1:
            vars(array)["texts"] = _texts(data if isinstance(data, list) else source, dtype, shape[0])
        return array
    source.claim(prod(shape) * ITEM_SIZES[dtype.name])
    strides = None
    if fortran and len(shape) > 1:
        strides = tuple(prod(shape[:axis]) for axis in range(len(shape)))
    return StoredTensor(shape, dtype.name, source.read, strides=strides, byteorder=dtype.byteorder)


def scalar(dtype: object = None, data: object = None, *rest: object) -> int | str | None:
    """Stand in for `numpy.core.multiarray.scalar`: a whole number or a text of NumPy's; None for any other."""
    source = _source(data)
    if not isinstance(dtype, Dtype) or source is None:
        return None
    if dtype.name in INTEGERS and source.known_size == ITEM_SIZES[dtype.name]:
        order: Literal["little", "big"] = "little" if dtype.byteorder == "<" else "big"
        source.claim(ITEM_SIZES[dtype.name])
        return int.from_bytes(source.read(0, ITEM_SIZES[dtype.name]), order, signed=dtype.name.startswith("i"))
    if 0 < dtype.characters <= LONGEST_TEXT and _fits(source, 4 * dtype.characters):
        source.claim(4 * dtype.characters)
        text = text_of(source, dtype.characters, dtype.byteorder)
        return None if text is None else text.rstrip("\0")
    return None


def text_of(source: Span | Encoded, characters: int, byteorder: ByteOrder) -> str | None:
    """Return a text of so many characters of four bytes each; None where the bytes are not as many, or no characters."""
    try:
        return source.read(0, 4 * characters).tobytes().decode("utf-32-le" if byteorder == "<" else "utf-32-be")
    except (UnicodeDecodeError, CheckpointError):
        return None


def _fits(source: Span | Encoded, size: int) -> bool:
    """Tell whether a source has `size` bytes, as far as that is known without reading: UTF-8 has one or two for each."""
    if source.known_size is None and isinstance(source, Span):
        return size <= source.size <= 2 * size
    return source.known_size == size


def _source(data: object) -> Span | Encoded | None:
    """Return where an array's bytes are; Python 2's pickles have texts of bytes, which are read as Latin-1."""
    if isinstance(data, (str, bytes)):
        return Encoded(data if isinstance(data, str) else data.decode("latin-1"))
    return data if isinstance(data, (Span, Encoded)) else None


def _texts(source: Span | Encoded | list[object] | None, dtype: Dtype, count: int) -> Texts | None:
    """Return an array's texts, None where it has none, or not as many bytes as they take."""
    if isinstance(source, list):
        return Texts(count, 0, "<", source) if dtype.is_object and len(source) == count else None
    if source is None or not dtype.characters or not _fits(source, 4 * dtype.characters * count):
        return None
    source.claim(4 * dtype.characters * count)
    return Texts(count, dtype.characters, dtype.byteorder, source)


def _nothing(start: int, size: int) -> Bytes:
    raise CheckpointError(EMPTY)
