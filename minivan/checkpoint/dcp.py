"""Checkpoints of torch.distributed.checkpoint: a folder of files that several processes wrote, and what each file holds where.

`.metadata` is a pickle. It says of each tensor its dtype, its size and the chunks that it is cut into, and of each chunk the
file, the offset and the length at which what torch.save wrote of it lies. Sources: torch/distributed/checkpoint/metadata.py and
filesystem.py of PyTorch 2.13. Only tensors that somebody asks for are put together.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from io import BufferedIOBase
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import input
from ..errors import quote
from .budget import Budget
from .cursor import Cursor
from .error import CheckpointError
from .folder import DISTRIBUTED, is_file_name
from .inert import Name
from .interpreter import Interpreter
from .shards import MOST_SHARDS
from .stateful import Record
from .tensor import FLOATING, ITEM_SIZES, MOST_DIMENSIONS, Bytes, StoredTensor, is_natural
from .torchfile import ZipFile

LARGEST_METADATA = 64 << 20  # bytes
STEP, MEMORY = 10, 1500  # steps and bytes that a chunk's description takes
DAMAGED = "a distributed checkpoint whose .metadata is damaged"
CONVERT = "python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER FILE makes one file of it"

Place = tuple[BufferedIOBase, int, int]  # a file, and where a chunk begins in it and how many bytes it has


class Window(BufferedIOBase):
    """A part of a file, as a file of its own."""

    def __init__(self, file: BufferedIOBase, start: int, size: int) -> None:
        self.file, self.start, self.size, self.position = file, start, size, 0

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place, as of any file."""
        self.position = offset + (0, self.position, self.size)[whence]
        return self.position

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes, none beyond the part."""
        left = max(0, self.size - self.position)
        size = left if size is None or size < 0 else min(size, left)
        self.file.seek(self.start + self.position)
        data = self.file.read(size)
        self.position += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with the next bytes, and return how many they are."""
        left = memoryview(buffer)[: max(0, self.size - self.position)]
        self.file.seek(self.start + self.position)
        count = self.file.readinto(left)
        self.position += count
        return count


class Distributed:
    """A distributed checkpoint, its files open until `stack` closes; `tensors` are by their full names."""

    def __init__(self, metadata: Path, stack: ExitStack) -> None:
        self.folder, self.stack = metadata.parent, stack
        self.files: dict[str, tuple[BufferedIOBase, int]] = {}  # name -> file and its bytes
        self.paths: list[Path] = []
        file = stack.enter_context(input.opened(metadata))
        self.size = file.seek(0, 2)  # bytes of all files
        if self.size > LARGEST_METADATA:
            raise CheckpointError(f"{DISTRIBUTED} of {self.size} bytes", f"the limit is {LARGEST_METADATA}")
        self.budget = Budget(self.size)
        whole = Interpreter(Cursor(file, 0, self.size), self.budget).run()
        described, stored = (_field(whole, "Metadata", name, dict) for name in ("state_dict_metadata", "storage_data"))
        places = dict(self._places(stored))
        self.tensors: dict[str, StoredTensor] = {}
        for name, tensor in described.items():
            if isinstance(tensor, Record) and tensor.path.endswith("TensorStorageMetadata"):
                self.tensors[str(name)] = self._tensor(str(name), tensor, places)

    def _places(self, stored: dict[Any, Any]) -> Iterator[tuple[tuple[str, tuple[int, ...]], Place]]:
        """Yield where each chunk lies, by its tensor's name and its offsets."""
        for key, info in stored.items():
            self.budget.step(STEP)
            self.budget.hold(MEMORY)
            name, offsets = _field(key, "MetadataIndex", "fqn", str), _field(key, "MetadataIndex", "offset", tuple, ())
            file = _field(info, "_StorageInfo", "relative_path", str)
            start, length = (_field(info, "_StorageInfo", field, int) for field in ("offset", "length"))
            if _field(info, "_StorageInfo", "transform_descriptors", (tuple, list), ()):
                raise CheckpointError(f"a distributed checkpoint whose {quote(name)} is packed", CONVERT)
            if file not in self.files:
                self._open(name, file)
            opened, size = self.files[file]
            if not (is_natural(start) and is_natural(length) and start + length <= size):
                raise CheckpointError(f"{quote(file)} ends before {quote(name)} does", "cut short: fetch it again")
            yield (name, offsets), (opened, start, length)

    def _open(self, tensor: str, name: str) -> None:
        if not is_file_name(name):
            raise CheckpointError(f"{DISTRIBUTED} puts {quote(tensor)} into {quote(name)}", "a file beside it is wanted")
        if len(self.files) == MOST_SHARDS:
            raise CheckpointError(f"a distributed checkpoint of more than {MOST_SHARDS} files", CONVERT)
        if input.fault(self.folder / name):
            raise CheckpointError(f"the file {quote(name)} is missing", f"{quote(tensor)} lies in it: fetch it too")
        file = self.stack.enter_context(input.opened(self.folder / name))
        self.files[name] = file, file.seek(0, 2)
        self.paths.append(self.folder / name)
        self.size += self.files[name][1]

    def _tensor(self, name: str, described: Record, places: dict[tuple[str, tuple[int, ...]], Place]) -> StoredTensor:
        shape = _sizes(name, _field(described, "TensorStorageMetadata", "size", tuple))
        properties = _field(described, "TensorStorageMetadata", "properties", Record).state
        dtype = properties[0].dtype if isinstance(properties, tuple) and properties and isinstance(properties[0], Name) else ""
        chunks: list[tuple[tuple[slice, ...], Place]] = []
        for chunk in _field(described, "TensorStorageMetadata", "chunks", list):
            self.budget.step(STEP)
            self.budget.hold(MEMORY)
            offsets, sizes = (_sizes(name, _field(chunk, "ChunkStorageMetadata", f, tuple)) for f in ("offsets", "sizes"))
            if (name, offsets) not in places:
                raise CheckpointError(DAMAGED, f"a chunk of {quote(name)} lies nowhere")
            chunks.append((tuple(slice(o, o + s) for o, s in zip(offsets, sizes, strict=False)), places[name, offsets]))
        if dtype not in FLOATING:
            return StoredTensor(shape, dtype or "uint8", _nothing, unreadable="" if dtype else "its dtype is not known")
        if prod(shape) * ITEM_SIZES[dtype] > sum(length for _, (_, _, length) in chunks):
            raise CheckpointError(DAMAGED, f"{quote(name)} of shape {shape} has fewer bytes than that")
        if prod(shape) != sum(prod(part.stop - part.start for part in parts) for parts, _ in chunks):
            raise CheckpointError(DAMAGED, f"the chunks of {quote(name)} are not all of it")

        def fetch(start: int, size: int) -> Bytes:
            return _assembled(name, shape, dtype, chunks).view(np.uint8).reshape(-1)[start : start + size]

        return StoredTensor(shape, "float32" if dtype == "bfloat16" else dtype, fetch)


def _assembled(
    name: str, shape: tuple[int, ...], dtype: str, chunks: list[tuple[tuple[slice, ...], Place]]
) -> npt.NDArray[np.floating[Any]]:
    """Return a tensor of its chunks; CheckpointError where they overlap, or one is not what the metadata say."""
    whole = np.zeros(shape, "<f4" if dtype == "bfloat16" else f"<{FLOATING[dtype]}")
    filled = np.zeros(shape, bool)
    for parts, (file, start, length) in chunks:
        chunk = ZipFile(Window(file, start, length), length, Budget(length)).contents
        wanted = tuple(part.stop - part.start for part in parts)
        if not isinstance(chunk, StoredTensor) or chunk.shape != wanted or chunk.dtype != dtype:
            raise CheckpointError(f"a chunk of {quote(name)} is not the tensor that {DISTRIBUTED} says", "fetch both again")
        if len(parts) != len(shape) or whole[parts].shape != wanted or filled[parts].any():
            raise CheckpointError(DAMAGED, f"the chunks of {quote(name)} do not lie side by side")
        whole[parts], filled[parts] = chunk.read(), True
    return whole


def _field(record: object, kind: str, name: str, types: Any, default: Any = None) -> Any:
    """Return a field of an object of this class; CheckpointError for another object, or where it holds something else."""
    if isinstance(record, Record) and record.path.rpartition(".")[2] == kind and isinstance(record.state, dict):
        value = record.state.get(name)
        if isinstance(value, types):
            return value
        if value is None and default is not None:
            return default
    raise CheckpointError(DAMAGED, f"no {name} in {quote(kind)}")


def _sizes(name: str, values: tuple[object, ...]) -> tuple[int, ...]:
    if len(values) > MOST_DIMENSIONS or not all(map(is_natural, values)):
        raise CheckpointError(DAMAGED, f"the sizes of {quote(name)}")
    return values  # type: ignore[return-value]


def _nothing(start: int, size: int) -> Bytes:
    raise CheckpointError("a tensor without numbers")
