"""A trace's file while it is made: each layer goes into its place in it at once, and nowhere else.

safetensors begins with what its tensors are, and a trace's metadata have a SHA-256 of each. All shapes are known before the
network runs, and every SHA-256 has 64 digits: so the file begins with what will stand there, but for those digits.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from math import prod
from typing import BinaryIO

import numpy as np

from ..checkpoint import safetensors_file
from ..checkpoint.tensor import Bytes, StoredTensor
from ..checks import Floating
from ..geometry import stage_sizes
from ..paths import HEAD, INPUT, POOL, all_paths, stage_of
from ..variants import Config

STARTED = 32 << 20  # bytes after which the system is asked to begin with bringing them to the disk
UNKNOWN = "0" * 64  # what stands for a SHA-256 before it is known
HIDDEN = (".mlp.fc1", ".mlp.dwconv.dwconv", ".mlp.act")  # layers with the MLP's many channels


def layer_shapes(config: Config, images: int, height: int, width: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of every layer of a network for so many images of so many pixels, the input's first."""
    sizes = stage_sizes(config.stages, height, width)
    shapes: dict[str, tuple[int, ...]] = {INPUT: (images, config.channels, height, width)}
    for path in all_paths(config.depths, bool(config.classes)):
        stage = stage_of(path)
        if stage is not None:
            channels = config.dims[stage - 1] * (config.mlp_ratios[stage - 1] if path.endswith(HIDDEN) else 1)
            shapes[path] = images, channels, *sizes[stage - 1]
        elif path == POOL:
            shapes[path] = images, config.dims[-1]
        elif path == HEAD:
            shapes[path] = images, config.classes
    return shapes


class TraceFile:
    """Takes layers one by one, in order: those that `shapes` names, the input first.

    `metadata(digests)` returns a trace's metadata. Raises OSError where the file cannot be written.
    """

    def __init__(
        self, file: BinaryIO, shapes: Mapping[str, tuple[int, ...]], metadata: Callable[[Mapping[str, str]], dict[str, str]]
    ) -> None:
        self.file, self.shapes, self.metadata = file, shapes, metadata
        self.dtypes: dict[str, str] = {}
        self.size = self.started = 0

    def put(self, path: str, array: Floating) -> None:
        """Write the next layer. All but the input have one dtype: float64, float32 or float16."""
        self.dtypes[path] = array.dtype.name
        if path == INPUT:
            self.input = array
            return
        if len(self.dtypes) == 2:  # the first layer tells what the others are
            self.dtypes = {INPUT: self.dtypes[INPUT], **dict.fromkeys(list(self.shapes)[1:], array.dtype.name)}
            self._write(self._head(dict.fromkeys(self.shapes, UNKNOWN)))
            self._write(_bytes(self.input))
        self._write(_bytes(array))

    def finish(self, digests: Mapping[str, str]) -> None:
        """Write what the file begins with, now that it is known."""
        head = self._head(digests)
        if self.size != len(head) + sum(prod(s) * np.dtype(self.dtypes[p]).itemsize for p, s in self.shapes.items()):
            raise RuntimeError("the network's layers have other shapes than it should give")
        self.file.seek(0)
        self.file.write(head)

    def _head(self, digests: Mapping[str, str]) -> bytes:
        tensors = {path: StoredTensor(shape, self.dtypes[path], _unread) for path, shape in self.shapes.items()}
        return bytes(next(safetensors_file.pieces(tensors, self.metadata(digests))))

    def _write(self, data: bytes | memoryview) -> None:
        self.file.write(data)
        self.size += len(data)
        if self.size - self.started >= STARTED and hasattr(os, "posix_fadvise"):
            self.file.flush()
            with suppress(OSError):  # Linux begins to write what is advised so; else the end would wait for all of it
                os.posix_fadvise(self.file.fileno(), self.started, self.size - self.started, os.POSIX_FADV_DONTNEED)
            self.started = self.size


def _bytes(array: Floating) -> memoryview:
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.astype(flat.dtype.newbyteorder("<"), copy=False).view(np.uint8).data


def _unread(begin: int, size: int) -> Bytes:
    raise RuntimeError("a layer that is yet to be written")
