"""The tensors of an ONNX file, whose numbers lie in it or in a file beside it, each read when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from io import BufferedIOBase
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from .. import input
from ..errors import quote
from .archive import read_into
from .budget import Budget
from .error import CheckpointError
from .folder import is_file_name
from .protobuf import DAMAGED, name_of
from .tensor import ITEM_SIZES, MOST_DIMENSIONS, Bytes, StoredTensor, is_natural

MOST_EXTERNAL = 100  # files of tensors beside the graph
MEMORY = 1200  # bytes that a tensor takes besides its numbers
# TensorProto.DataType -> PyTorch's name, where numbers stand that are not in raw_data, and NumPy's type of these
DTYPES = {
    1: ("float32", "float_data", "<f4"), 10: ("float16", "int32_data", "<u2"), 11: ("float64", "double_data", "<f8"),
    16: ("bfloat16", "int32_data", "<u2"), 7: ("int64", "int64_data", "<i8"), 6: ("int32", "int32_data", "<i4"),
}  # fmt: skip


class Tensors:
    """What reads the tensors of a graph in `folder`; the files beside it are open until `stack` closes."""

    def __init__(self, folder: Path, stack: ExitStack, budget: Budget) -> None:
        self.folder, self.stack, self.budget = folder, stack, budget
        self.size = 0  # bytes of the files beside the graph
        self.beside: dict[str, tuple[BufferedIOBase, int]] = {}  # name -> file and its bytes

    def stored(self, name: str, tensor: Any) -> StoredTensor:
        """Return a TensorProto as what it describes. CheckpointError where its numbers are not all there."""
        self.budget.hold(MEMORY)
        if tensor.data_type not in DTYPES:
            return StoredTensor((0,), "uint8", _nothing, unreadable=f"ONNX's data type {tensor.data_type} holds no weights")
        if len(tensor.dims) > MOST_DIMENSIONS or not all(map(is_natural, tensor.dims)):
            raise CheckpointError(DAMAGED, f"the shape of {quote(name)}")
        (dtype, typed, kind), shape = DTYPES[tensor.data_type], tuple(tensor.dims)
        wanted = prod(shape) * ITEM_SIZES[dtype]
        fetch: Callable[[int, int], Bytes]
        if tensor.data_location == tensor.EXTERNAL:
            file, position, held = self._external(name, tensor.external_data, wanted)
            fetch = lambda start, count: read_into(file, position + start, count)  # noqa: E731
        elif tensor.HasField("raw_data"):
            held, fetch = len(tensor.raw_data), partial(_raw, tensor)
        else:
            held, fetch = len(getattr(tensor, typed)) * ITEM_SIZES[dtype], partial(_typed, tensor, typed, kind)
        if held != wanted:
            raise CheckpointError(DAMAGED, f"{quote(name)} is {dtype} of shape {shape} and has {held} bytes")
        return StoredTensor(shape, dtype, fetch)

    def _external(self, name: str, entries: Any, wanted: int) -> tuple[BufferedIOBase, int, int]:
        """Return the file beside the graph that a tensor's numbers are in, where they begin, and how many bytes they have."""
        told = {name_of(entry.key, self.budget): name_of(entry.value, self.budget) for entry in entries}
        location = told.get("location")
        if not is_file_name(location) or location is None:
            raise CheckpointError(f"{quote(name)} lies in {quote(location)}", "a file of tensors is one beside its graph")
        if location not in self.beside:
            path = self.folder / location
            if len(self.beside) == MOST_EXTERNAL:
                raise CheckpointError(f"tensors in more than {MOST_EXTERNAL} files")
            if input.fault(path):
                raise CheckpointError(f"the file of tensors {quote(location)} is missing", "it belongs beside the graph")
            opened = self.stack.enter_context(input.opened(path))
            self.beside[location] = opened, opened.seek(0, 2)
            self.size += self.beside[location][1]
        file, held = self.beside[location]
        try:
            offset, length = int(told.get("offset", "0")[:20]), int(told.get("length", str(wanted))[:20])
        except ValueError:
            raise CheckpointError(DAMAGED, f"the place of {quote(name)} in {quote(location)} is no number") from None
        if not (is_natural(offset) and is_natural(length) and offset + length <= held):
            raise CheckpointError(f"{quote(name)} ends {offset + length - held} bytes after {quote(location)}", "cut short")
        return file, offset, length


def _raw(tensor: Any, start: int, size: int) -> Bytes:
    return np.frombuffer(tensor.raw_data, np.uint8)[start : start + size].copy()


def _typed(tensor: Any, typed: str, kind: str, start: int, size: int) -> Bytes:
    numbers = np.array(getattr(tensor, typed), "<f8" if "f" in kind else "<i8").astype(kind)
    return numbers.view(np.uint8)[start : start + size]


def _nothing(start: int, size: int) -> Bytes:
    raise CheckpointError("a tensor without numbers")
