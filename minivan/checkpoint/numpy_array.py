"""NumPy's arrays in a pickle, as tensors; their numbers are read when they are asked for.

NumPy pickles an array as `_reconstruct(ndarray, (0,), b'b')` and the state (version, shape, dtype, is_fortran, bytes), since
protocol 5 as `_frombuffer(bytes, dtype, shape, order)`; a dtype as `dtype('f4', False, True)` and a state with its byte order
(numpy/_core/src/multiarray/methods.c, `array_reduce` and `array_reduce_ex_picklebuffer`; descriptor.c, `arraydescr_reduce`).
"""

from __future__ import annotations

from math import prod

from ..errors import quote
from .error import CheckpointError
from .stateful import Encoded, Span, Stateful
from .tensor import ITEM_SIZES, MOST_DIMENSIONS, ByteOrder, Bytes, StoredTensor, is_natural

# NumPy's letter and bytes -> PyTorch's name
DTYPES = {
    "f8": "float64", "f4": "float32", "f2": "float16", "i8": "int64", "i4": "int32", "i2": "int16", "i1": "int8",
    "u8": "uint64", "u4": "uint32", "u2": "uint16", "u1": "uint8", "b1": "bool", "c16": "complex128", "c8": "complex64",
}  # fmt: skip
BYTE_ORDERS: dict[object, ByteOrder] = {"<": "<", "|": "<", "=": "<", ">": ">"}
EMPTY = "a NumPy array without its state"
SIZE = "a NumPy array of shape {} that holds {} bytes"


class Dtype(Stateful):
    """What a pickle says of an array's numbers: PyTorch's name, '' where it has none, and their byte order."""

    def __init__(self, code: object = None, *rest: object) -> None:
        self.name = DTYPES.get(code.lstrip("<>=|"), "") if isinstance(code, str) else ""
        self.byteorder: ByteOrder = ">" if isinstance(code, str) and code.startswith(">") else "<"

    def set_state(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in BYTE_ORDERS:
            raise CheckpointError("a NumPy dtype whose state is not one")
        self.byteorder = BYTE_ORDERS[state[1]]


class Array(StoredTensor, Stateful):
    """A tensor that a pickle makes empty and fills afterwards; it is the same object before and after.

    So it is filled in place, as no other tensor is: what the file refers to has been handed on already.
    """

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
    if not isinstance(dtype, Dtype) or not dtype.name or not isinstance(data, (bytes, str, Span, Encoded)):
        return StoredTensor((0,), "uint8", _nothing, unreadable="a NumPy array of something else than numbers")
    size = prod(shape) * ITEM_SIZES[dtype.name]
    if isinstance(data, (str, bytes)):  # Python 2 pickles have texts of bytes, which are read as Latin-1
        data = Encoded(data if isinstance(data, str) else data.decode("latin-1"))
    if data.known_size not in (size, None):
        raise CheckpointError(SIZE.format(shape, data.known_size))
    strides = None
    if fortran and len(shape) > 1:
        strides = tuple(prod(shape[:axis]) for axis in range(len(shape)))
    return StoredTensor(shape, dtype.name, data.read, strides=strides, byteorder=dtype.byteorder)


def _nothing(start: int, size: int) -> Bytes:
    raise CheckpointError(EMPTY)
