"""Reading: a trace, a network's input, and what a port recorded: safetensors, .npz or a folder of .npy, in four formats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..card import Preprocessing
from ..checkpoint.safetensors_file import open_safetensors
from ..checkpoint.tensor import StoredTensor
from ..checks import Floating
from ..errors import quote, shown
from .arrays import LONGEST_NAME, MOST_ARRAYS, read_npy, read_npy_folder, read_npz
from .scales import RANGES, Point, Scales
from .trace import Trace, from_tensors
from .ulp import FORMATS


@dataclass(frozen=True)
class Recorded:
    """One layer of a port: its numbers in a dtype that holds them exactly, and the format they were stored in."""

    values: Floating
    form: str  # one of FORMATS; bfloat16 is held as float32. 'int8' for numbers that eight bits stand for


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
        with open_safetensors(path) as (tensors, metadata, budget):
            layers = _numbers(tensors)
            return from_tensors({name: layer.values for name, layer in layers.items()}, metadata, budget)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def is_tensor(path: str | Path) -> bool:
    """Return whether `read_input` takes a file for a tensor, by its name; it takes any other one for an image."""
    return Path(path).name.lower().endswith(".npy")


def read_input(path: str | Path, preprocessing: Preprocessing) -> npt.NDArray[Any]:
    """Return a network's input (N, C, H, W) from a file: an image, prepared as its weights demand, or a tensor as it is.

    A tensor is an .npy file of (C, H, W) or (N, C, H, W). Raises ValueError, one line with the file's name, for what is
    neither; OSError where nothing can be read.
    """
    from ..image import prepare  # a tensor needs no Pillow

    if is_tensor(path):
        x = read_npy(Path(path))
        return x[None] if x.ndim == 3 else x
    try:
        return prepare(Path(path), preprocessing)[None]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def read(path: str | Path, scales: Scales | None = None) -> Port:
    """Read the layers of a port from a trace or any other safetensors file, an .npz, or a folder of .npy (subfolders too).

    A folder's names are the files' without `.npy`, subfolders joined with dots. Arrays of int8 or uint8 are layers where
    `scales` has a point of their name, or where the port has NAME.scale (and NAME.zero_point) beside NAME, one number each;
    other whole numbers are skipped. Raises ValueError, one line with the file's name, for damaged files, pickled objects, and
    where no array is a layer; OSError where nothing can be read.
    """
    path = Path(path)
    if path.is_dir():
        return _split(path, read_npy_folder(path), scales)
    if path.suffix == ".npz":
        return _split(path, read_npz(path), scales)
    if path.suffix == ".npy":
        raise ValueError(f"{path}: one array has no layer names; put the .npy files of all layers into a folder and name that")
    try:
        with open_safetensors(path) as (tensors, metadata, _):
            _check_names(tensors)
            layers = {name: Recorded(t.read(), t.dtype) for name, t in tensors.items() if t.dtype in FORMATS}
            whole = {name: t.fetch(t.offset, t.extent_bytes).view(t.dtype).reshape(t.shape)
                     for name, t in tensors.items() if t.dtype in RANGES}  # fmt: skip
            others = {name: t.dtype for name, t in tensors.items() if t.dtype not in (*FORMATS, *RANGES)}
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return _port(path, layers, whole, others, scales, metadata)


def _split(path: Path, arrays: Mapping[str, npt.NDArray[Any]], scales: Scales | None) -> Port:
    """Make layers of NumPy's arrays."""
    whole = {name: array for name, array in arrays.items() if array.dtype.name in RANGES}
    others = {
        n: a.dtype.name for n, a in arrays.items() if a.dtype.kind in "iub" and n not in whole and a.dtype != np.dtype("u2")
    }
    layers = {n: _recorded(f"{path}, {shown(n)}", a) for n, a in arrays.items() if n not in whole and n not in others}
    return _port(path, layers, whole, others, scales, {})


def _port(
    path: Path,
    layers: Mapping[str, Recorded],
    whole: Mapping[str, npt.NDArray[Any]],
    others: Mapping[str, str],
    scales: Scales | None,
    metadata: Mapping[str, str],
) -> Port:
    """Put a port together: its layers, its arrays of eight bits, and the dtypes of what can be no layer.

    Raises ValueError where there are such arrays, and no layer.
    """
    points = {name: _point(name, array, layers, whole, scales) for name, array in whole.items()}
    meant = {name: Recorded(point.restored(name, whole[name]), "int8") for name, point in points.items() if point is not None}
    parts = {f"{name}.{part}" for name in meant for part in ("scale", "zero_point")}
    kept = {name: layer for name, layer in {**layers, **meant}.items() if name not in parts}
    skipped = [name for name in (*whole, *others) if name not in kept and name not in parts]
    if skipped and not kept:
        name = skipped[0]
        dtype = others.get(name) or whole[name].dtype
        advice = "" if name in others else "; what eight bits stand for --scales FILE says"
        raise ValueError(f"{path}, {shown(name)}: dtype {dtype}; layers are {', '.join(FORMATS)}{advice}")
    return Port(kept, metadata, skipped)


def _point(
    name: str,
    array: npt.NDArray[Any],
    layers: Mapping[str, Recorded],
    whole: Mapping[str, npt.NDArray[Any]],
    scales: Scales | None,
) -> Point | None:
    """Return what eight-bit numbers stand for: by the scales, or by arrays beside them; None where neither says."""
    if scales is not None and name in scales.points:
        return scales.points[name]
    scale, zero = layers.get(f"{name}.scale"), whole.get(f"{name}.zero_point")
    if scale is None or scale.values.size != 1 or (zero is not None and zero.size != 1):
        return None
    number = 0 if zero is None else int(zero.ravel()[0])
    return Point(scale.values.reshape(1).astype(np.float32), np.array([number], np.int32), None, array.dtype.name)


def _check_names(tensors: Mapping[str, StoredTensor]) -> None:
    if len(tensors) > MOST_ARRAYS:
        raise ValueError(f"{len(tensors):,} arrays; at most {MOST_ARRAYS:,} are compared")
    for name in tensors:
        if len(name) > LONGEST_NAME:
            raise ValueError(f"{quote(name)} has {len(name)} characters; a layer's name has at most {LONGEST_NAME}")


def _numbers(tensors: Mapping[str, StoredTensor]) -> dict[str, Recorded]:
    """Read the tensors of a trace as layers. Raises ValueError."""
    _check_names(tensors)
    for name, tensor in tensors.items():
        if tensor.dtype not in FORMATS:
            raise ValueError(f"{shown(name)} has the dtype {tensor.dtype}; layers are {', '.join(FORMATS)}")
    return {name: Recorded(tensor.read(), tensor.dtype) for name, tensor in tensors.items()}


def _recorded(name: str, array: npt.NDArray[Any]) -> Recorded:
    if array.dtype in (np.dtype("V2"), np.dtype("u2")):  # NumPy has no bfloat16: its two bytes come without a type, or as bits
        bits = np.ascontiguousarray(array).view(np.uint16).astype(np.uint32) << 16
        return Recorded(bits.view(np.float32), "bfloat16")
    if array.dtype.name not in FORMATS:
        raise ValueError(f"{name}: dtype {array.dtype}; layers are {', '.join(FORMATS)}")
    return Recorded(array.astype(array.dtype.newbyteorder("="), copy=False), array.dtype.name)
