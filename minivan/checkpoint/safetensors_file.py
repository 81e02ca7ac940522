"""safetensors files: every one that is read, and every one that minivan writes.

A safetensors file is a header's length (8 bytes), the header (JSON: for each tensor its dtype, shape and place; texts
under `__metadata__`), then the tensors' bytes. The format's own library is not needed: it cannot read bfloat16 into NumPy,
opens a file by its name once more to check it, and orders the metadata at random where equal input shall give equal bytes.
In the tests it judges both what is read and what is written. Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from io import BufferedIOBase
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import quote
from ..input import named, opened
from ..output import replacing
from .archive import read_into
from .budget import Budget
from .diagnoses import CUT_OFF
from .error import CheckpointError
from .json_text import parse_json
from .tensor import ITEM_SIZES, MOST_DIMENSIONS, Bytes, StoredTensor, is_natural

TENSOR, TENSOR_MEMORY = 8, 500  # steps and bytes that one tensor's entry takes
LARGEST_HEADER = 8 << 20  # bytes; a B6 with 21,841 class names takes about 2 MB
METADATA = "__metadata__"  # the header's key for texts
FIELDS = {"dtype", "shape", "data_offsets"}  # of a tensor in the header
DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32", "I16": "int16",
    "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
}  # fmt: skip
WRITTEN = {"float64": "F64", "float32": "F32", "float16": "F16"}
DAMAGED = "a damaged safetensors file"


PIECE = 1 << 18  # numbers of another file that are read, and written, together
Place = tuple[str, tuple[int, ...], int, int]  # a tensor's dtype and shape, and where its bytes begin and end


@contextmanager
def open_safetensors(path: str | Path) -> Iterator[tuple[dict[str, StoredTensor], dict[str, str], Budget]]:
    """Open a safetensors file and give its tensors, by name, its metadata, and what is left of its budget.

    The tensors can be read until the block ends. Raises CheckpointError for a file that is damaged, whose header is not what
    the format says, or takes more than its budget; OSError.
    """
    with named(path), opened(path) as file:
        budget = Budget(file.seek(0, 2))
        yield *contents(file, budget), budget


def lasting(path: str | Path) -> tuple[dict[str, StoredTensor], dict[str, str], Budget]:
    """Return what `open_safetensors` gives, of tensors that can be read at any time: for each, the file is opened again.

    Raises as `open_safetensors` does, and reading a tensor does where the file has become shorter or is gone.
    """

    def again(position: int, size: int) -> Bytes:
        with named(path), opened(path) as file:
            return read_into(file, position, size)

    with named(path), opened(path) as file:
        text, size = _text(file)
    budget = Budget(8 + len(text) + size)
    places, metadata = _understood(text, size, budget)
    return {name: _tensor(again, 8 + len(text), name, place) for name, place in places.items()}, metadata, budget


def contents(file: BufferedIOBase, budget: Budget) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    """Return the tensors and the metadata of a safetensors file that is open; the tensors can be read as long as it is.

    Raises CheckpointError as `open_safetensors` does.
    """
    text, size = _text(file)
    places, metadata = _understood(text, size, budget)
    read, start = partial(read_into, file), 8 + len(text)
    return {name: _tensor(read, start, name, place) for name, place in places.items()}, metadata


def _understood(text: bytes, size: int, budget: Budget) -> tuple[dict[str, Place], dict[str, str]]:
    """Return what a header says of tensors with `size` bytes, and the metadata."""
    if len(text) > LARGEST_HEADER:
        raise CheckpointError(f"a safetensors header of {len(text)} bytes", f"the limit is {LARGEST_HEADER}")
    header = parse_json(text, "the header", budget)
    if not isinstance(header, dict):
        raise CheckpointError("a safetensors header that is not a JSON object")
    metadata = _metadata(header.pop(METADATA, None))
    budget.step(TENSOR * len(header))
    budget.hold(TENSOR_MEMORY * len(header))
    places = {name: _place(name, entry) for name, entry in header.items()}
    _check_order(places, size)
    return places, metadata


def _text(file: BufferedIOBase) -> tuple[bytes, int]:
    """Return the header, and how many bytes follow it."""
    size = file.seek(0, 2)
    file.seek(0)
    prefix = file.read(8)
    length = int.from_bytes(prefix, "little")
    if len(prefix) < 8 or length > size - 8:
        raise CheckpointError(f"a safetensors header of {length} bytes in a file of {size}", f"not safetensors, or {CUT_OFF}")
    if length > LARGEST_HEADER:
        raise CheckpointError(f"a safetensors header of {length} bytes", f"the limit is {LARGEST_HEADER}")
    text = file.read(length)
    if len(text) < length:
        raise CheckpointError("the file became shorter while it was read")
    return text, size - 8 - length


def _metadata(texts: object) -> dict[str, str]:
    if texts is None:
        return {}
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise CheckpointError(DAMAGED, "its metadata are something else than texts")
    return texts


def _place(name: str, entry: object) -> Place:
    """Check one tensor's entry in the header by itself."""
    if not isinstance(entry, dict) or not entry.keys() >= FIELDS:
        raise CheckpointError(DAMAGED, f"{quote(name)} lacks one of {', '.join(sorted(FIELDS))}")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str):
        raise CheckpointError(DAMAGED, f"the dtype of {quote(name)} is something else than a text")
    if dtype not in DTYPES:
        raise CheckpointError(f"{quote(name)} is a tensor of {quote(dtype)}", "not a dtype minivan knows")
    for field, value in (("shape", shape), ("data_offsets", offsets)):
        if not (isinstance(value, list) and len(value) <= MOST_DIMENSIONS and all(map(is_natural, value))):
            raise CheckpointError(DAMAGED, f"the {field} of {quote(name)} is not at most {MOST_DIMENSIONS} integers from 0 on")
    if len(offsets) != 2:
        raise CheckpointError(DAMAGED, f"{quote(name)} has {len(offsets)} offsets, not a begin and an end")
    begin, end = offsets
    item = ITEM_SIZES[DTYPES[dtype]]
    if not is_natural(item * prod(side for side in shape if side)):
        raise CheckpointError(DAMAGED, f"{quote(name)} has the shape {shape}, which no memory holds")
    if end - begin != item * prod(shape):
        raise CheckpointError(DAMAGED, f"{quote(name)} is {dtype} of shape {shape} and has {end - begin} bytes")
    return dtype, tuple(shape), begin, end


def _check_order(places: Mapping[str, Place], size: int) -> None:
    """The tensors' bytes follow one another without a gap or an overlap, from the header to the end of the file."""
    reached = 0
    for name, (_, _, begin, end) in sorted(places.items(), key=lambda item: item[1][2:]):
        if begin != reached:
            raise CheckpointError(DAMAGED, f"{quote(name)} begins at byte {begin}, where byte {reached} is next")
        reached = end
    if reached != size:
        why = f": {CUT_OFF}" if reached > size else ""
        raise CheckpointError(DAMAGED, f"its tensors have {reached} bytes, {size} follow the header{why}")


def _tensor(read: Callable[[int, int], Bytes], start: int, name: str, place: Place) -> StoredTensor:
    """Return a tensor; `read(position, size)` returns bytes of the file."""
    dtype, shape, begin, end = place

    def fetch(offset: int, size: int) -> Bytes:
        if offset < 0 or begin + offset + size > end:
            raise CheckpointError(f"{quote(name)} has the shape {shape} and {end - begin} bytes")
        return read(start + begin + offset, size)

    return StoredTensor(shape, DTYPES[dtype], fetch)


def write(
    path: str | Path,
    tensors: Mapping[str, npt.NDArray[Any] | StoredTensor],
    metadata: Mapping[str, str],
    dtype: str | None = None,
    check: Callable[[Mapping[str, str], Budget], object] = lambda metadata, budget: None,
) -> None:
    """Write a safetensors file in one step: complete under its name, or not at all. Equal arguments give equal bytes.

    Arguments and errors as for `pieces`; OSError where the file cannot be written.
    """
    written = pieces(tensors, metadata, dtype, check)
    head = next(written)  # what is wrong with the header is said before there is a file
    with replacing(path) as file:
        file.write(head)
        for piece in written:
            file.write(piece)


def pieces(
    tensors: Mapping[str, npt.NDArray[Any] | StoredTensor],
    metadata: Mapping[str, str],
    dtype: str | None = None,
    check: Callable[[Mapping[str, str], Budget], object] = lambda metadata, budget: None,
) -> Iterator[bytes | memoryview]:
    """Yield the bytes of a safetensors file, the header first, then the tensors: those of another file are read then.

    `dtype` is float64, float32 or float16, to which every tensor is rounded, or None to write each as it is. Raises
    CheckpointError for a tensor that is none of the three, for a number that does not fit, and for a file that minivan would
    not read again (`check` says what more than the header there is to understand).
    """
    header: dict[str, Any] = {METADATA: dict(sorted(metadata.items()))}
    end = 0
    for name, tensor in tensors.items():
        form = dtype or _dtype(tensor)
        if form not in WRITTEN:
            raise CheckpointError(f"{name} has the dtype {form}", f"{', '.join(WRITTEN)} are written")
        size = prod(tensor.shape) * ITEM_SIZES[form]
        header[name] = {"dtype": WRITTEN[form], "shape": tensor.shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight
    budget = Budget(8 + len(text) + end)
    check(_understood(text, end, budget)[1], budget)
    yield struct.pack("<Q", len(text)) + text
    for name, tensor in tensors.items():
        for array in _read(tensor) if isinstance(tensor, StoredTensor) else [tensor]:
            narrowed = narrow(name, array, dtype or array.dtype.name)
            yield narrowed.astype(narrowed.dtype.newbyteorder("<"), copy=False).data


def _read(tensor: StoredTensor) -> Iterator[npt.NDArray[Any]]:
    """Yield the numbers of a tensor of another file in C order, a piece at a time where they lie in it like that."""
    if type(tensor) is StoredTensor and tensor.strides is None:
        for begin in range(0, tensor.count, PIECE):
            yield replace(tensor, shape=(min(PIECE, tensor.count - begin),), offset=tensor.offset + begin).read()
    else:
        yield tensor.read()


def _dtype(tensor: npt.NDArray[Any] | StoredTensor) -> str:
    return tensor.dtype if isinstance(tensor, StoredTensor) else tensor.dtype.name


def narrow(name: str, tensor: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """Return a tensor rounded to `dtype`, in C order; CheckpointError where a finite number would not fit."""
    with np.errstate(over="ignore"):
        narrowed = np.asarray(tensor, dtype, order="C")
    if narrowed.dtype.itemsize < tensor.dtype.itemsize and (np.isinf(narrowed) & np.isfinite(tensor)).any():
        raise CheckpointError(f"{name} has numbers up to {np.abs(tensor).max():g}", f"too large for {dtype}")
    return narrowed
