"""Reading: a trace, a network's input, and what a port recorded: safetensors, .npz or a folder of .npy, in four formats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..card import Preprocessing
from ..checkpoint.safetensors_file import lasting
from ..checkpoint.tensor import StoredTensor
from ..checks import Floating
from ..errors import quote, shown
from .arrays import LONGEST_NAME, MOST_ARRAYS, hold_npy_folder, hold_npz, read_npy
from .scales import RANGES, Point, Scales
from .stored import Held, Layers, cut, part_by_part
from .trace import Trace, from_tensors
from .ulp import FORMATS

HALVES = ("void16", "uint16")  # NumPy has no bfloat16: its two bytes come without a type, or as bits
NOT_NUMPYS = {"bfloat16": "wide bfloat16", "uint16": "whole uint16"}  # what safetensors has, and NumPy's files do not
WHOLE = (*RANGES, "whole uint16", "uint16", "int16", "int32", "uint32", "int64", "uint64")  # dtypes that a zero point may have
MEANINGLESS = (  # dtypes that no layer has
    "whole uint16", "bool", "int16", "int32", "uint32", "int64", "uint64", "float8_e4m3fn", "float8_e5m2"
)  # fmt: skip


class Recorded:
    """One layer of a port: its numbers in a dtype that holds them exactly, and the format they were stored in.

    `form` is one of FORMATS, or 'int8' for numbers that eight bits stand for; bfloat16 is held as float32. Instead of its
    numbers a layer may be given a Held: then they are read, and made what they stand for, whenever they are asked for; a Held
    with `pieces` is one whose numbers are made each by itself.
    """

    def __init__(self, values: Floating | Held, form: str, made: Callable[[npt.NDArray[Any]], Floating] = np.asarray) -> None:
        self._values, self.form, self._made = values, form, made
        self.shape: tuple[int, ...] = values.shape

    @property
    def values(self) -> Floating:
        """The numbers, read from their file where they lie in one. Raises ValueError or OSError where they cannot be."""
        return self._made(self._values.read()) if isinstance(self._values, Held) else self._values

    def pieces(self, size: int) -> Iterator[Floating]:
        """Yield the numbers in C order, so many at once, without the others in memory where their file can be read so."""
        if isinstance(self._values, Held) and self._values.pieces is not None:
            yield from map(self._made, self._values.pieces(size))
        else:
            yield from cut(self.values, size)


class Port(dict[str, Recorded]):
    """A port's layers by name, and what its file says of itself: `metadata` is empty for files that cannot say anything.

    `skipped` names arrays of whole numbers that nothing says the meaning of.
    """

    def __init__(
        self, layers: Mapping[str, Recorded], metadata: Mapping[str, str] | None = None, skipped: Iterable[str] = ()
    ) -> None:
        super().__init__(layers)
        self.metadata, self.skipped = dict(metadata or {}), list(skipped)


def read_trace(path: str | Path) -> Trace:
    """Read a trace that `oracle record` wrote. Raises ValueError, with the file's name, for anything else; OSError."""
    try:
        tensors, metadata, budget = lasting(path)
        _check_names(tensors)
        for name, tensor in tensors.items():
            if tensor.dtype not in FORMATS:
                raise ValueError(f"{shown(name)} has the dtype {tensor.dtype}; layers are {', '.join(FORMATS)}")
        return from_tensors(Layers(tensors), metadata, budget)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def is_tensor(path: str | Path) -> bool:
    """Return whether `read_input` takes a file for a tensor, by its name; it takes any other one for an image."""
    return Path(path).name.lower().endswith(".npy")


def read_input(path: str | Path, preprocessing: Preprocessing, notes: list[str] | None = None) -> npt.NDArray[Any]:
    """Return a network's input (N, C, H, W) from a file: an image, prepared as its weights demand, or a tensor as it is.

    A tensor is an .npy file of (C, H, W) or (N, C, H, W). Raises ValueError, one line with the file's name, for what is
    neither; OSError where nothing can be read. What a person should know of how an image was read is added to `notes`.
    """
    from ..image import prepare  # a tensor needs no Pillow

    if is_tensor(path):
        x = read_npy(Path(path))
        return x[None] if x.ndim == 3 else x
    try:
        return prepare(Path(path), preprocessing, notes=notes)[None]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def read(path: str | Path, scales: Scales | None = None) -> Port:
    """Read the layers of a port from a trace or any other safetensors file, an .npz, or a folder of .npy (subfolders too).

    A folder's names are the files' without `.npy`, subfolders joined with dots. Arrays of int8 or uint8 are layers where
    `scales` has a point of their name, or where the port has NAME.scale (and NAME.zero_point, of any whole dtype) beside NAME,
    one number each; other whole numbers are skipped. Raises ValueError, one line with the file's name, for damaged files,
    pickled objects, and where no array is a layer; OSError where nothing can be read.
    """
    path = Path(path)
    metadata: Mapping[str, str] = {}
    if path.is_dir():
        arrays = hold_npy_folder(path)
    elif path.suffix == ".npz":
        arrays = hold_npz(path)
    elif path.suffix == ".npy":
        raise ValueError(f"{path}: one array has no layer names; put the .npy files of all layers into a folder and name that")
    else:
        try:
            tensors, metadata, _ = lasting(path)
            _check_names(tensors)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        arrays = {name: _held(tensor) for name, tensor in tensors.items()}
    return _port(path, arrays, scales, metadata)


def _held(tensor: StoredTensor) -> Held:
    """Return a tensor of a safetensors file; whole numbers as NumPy's."""

    def read() -> npt.NDArray[Any]:
        if tensor.dtype in FORMATS:
            return tensor.read()
        return tensor.fetch(tensor.offset, tensor.extent_bytes).view(tensor.dtype).reshape(tensor.shape)

    pieces = partial(part_by_part, tensor) if tensor.dtype in FORMATS else None
    return Held(NOT_NUMPYS.get(tensor.dtype, tensor.dtype), tensor.shape, read, pieces)


def _port(path: Path, arrays: Mapping[str, Held], scales: Scales | None, metadata: Mapping[str, str]) -> Port:
    """Put a port together: its layers, its arrays of eight bits, and the names of those that can be no layer.

    Raises ValueError where there are such arrays, and no layer.
    """
    whole = {name: held for name, held in arrays.items() if held.dtype in RANGES}
    others = {name: held for name, held in arrays.items() if held.dtype in MEANINGLESS}
    layers = {n: _recorded(f"{path}, {shown(n)}", held) for n, held in arrays.items() if n not in whole and n not in others}
    points = {name: _point(name, held, layers, arrays, scales) for name, held in whole.items()}
    meant = {name: _dequantised(name, point, whole[name]) for name, point in points.items() if point is not None}
    parts = {f"{name}.{part}" for name in meant for part in ("scale", "zero_point")}
    kept = {name: layer for name, layer in {**layers, **meant}.items() if name not in parts}
    skipped = [name for name in (*whole, *others) if name not in kept and name not in parts]
    if skipped and not kept:
        name = skipped[0]
        advice = "" if name in others else "; what eight bits stand for --scales FILE says"
        raise ValueError(f"{path}, {shown(name)}: dtype {arrays[name].dtype}; layers are {', '.join(FORMATS)}{advice}")
    return Port(kept, metadata, skipped)


def _point(
    name: str, held: Held, layers: Mapping[str, Recorded], arrays: Mapping[str, Held], scales: Scales | None
) -> Point | None:
    """Return what eight-bit numbers stand for: by the scales, or by arrays beside them; None where neither says.

    A zero point is one whole number of any dtype, and one that the eight bits can be.
    """
    if scales is not None and name in scales.points:
        return scales.points[name]
    scale, zero = layers.get(f"{name}.scale"), arrays.get(f"{name}.zero_point")
    if scale is None or prod(scale.shape) != 1 or (zero is not None and (prod(zero.shape) != 1 or zero.dtype not in WHOLE)):
        return None
    number = 0 if zero is None else int(zero.read().ravel()[0])
    low, high = RANGES[held.dtype]
    if not low <= number <= high:
        return None
    return Point(scale.values.reshape(1).astype(np.float32), np.array([number], np.int32), None, held.dtype)


def _dequantised(name: str, point: Point, held: Held) -> Recorded:
    """Return the layer that eight-bit numbers stand for. Raises ValueError where the scales do not fit its shape."""
    point.check(name, held.shape)
    return Recorded(replace(held, pieces=None), "int8", partial(point.restored, name))  # each channel may have its own scale


def _recorded(name: str, held: Held) -> Recorded:
    """Return an array as a layer. Raises ValueError for a dtype that no layer has."""
    if held.dtype == NOT_NUMPYS["bfloat16"]:
        return Recorded(held, "bfloat16")
    if held.dtype in HALVES:
        return Recorded(held, "bfloat16", _widened)
    if held.dtype not in FORMATS:
        raise ValueError(f"{name}: dtype {held.dtype}; layers are {', '.join(FORMATS)}")
    return Recorded(held, held.dtype, _native)


def _widened(array: npt.NDArray[Any]) -> Floating:
    """The bits of bfloat16, the upper half of a float32's."""
    bits = np.ascontiguousarray(array).view(np.uint16).astype(np.uint32) << 16
    return bits.view(np.float32)


def _native(array: npt.NDArray[Any]) -> Floating:
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _check_names(tensors: Mapping[str, StoredTensor]) -> None:
    if len(tensors) > MOST_ARRAYS:
        raise ValueError(f"{len(tensors):,} arrays; at most {MOST_ARRAYS:,} are compared")
    for name in tensors:
        if len(name) > LONGEST_NAME:
            raise ValueError(f"{quote(name)} has {len(name)} characters; a layer's name has at most {LONGEST_NAME}")
