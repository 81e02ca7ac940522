"""Reading: a trace, a network's input, and what a port recorded: safetensors, .npz or a folder of .npy, in four formats."""

from __future__ import annotations

from collections.abc import Mapping
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
from .trace import Trace, from_tensors
from .ulp import FORMATS


@dataclass(frozen=True)
class Recorded:
    """One layer of a port: its numbers in a dtype that holds them exactly, and the format they were stored in."""

    values: Floating
    form: str  # one of FORMATS; bfloat16 is held as float32


class Port(dict[str, Recorded]):
    """A port's layers by name, and what its file says of itself: `metadata` is empty for files that cannot say anything."""

    def __init__(self, layers: Mapping[str, Recorded], metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(layers)
        self.metadata = dict(metadata or {})


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
    """Return a network's input (N, 3, H, W) from a file: an image, prepared as its weights demand, or a tensor as it is.

    A tensor is an .npy file of (3, H, W) or (N, 3, H, W). Raises ValueError, one line with the file's name, for what is
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


def read(path: str | Path) -> Port:
    """Read the layers of a port from a trace or any other safetensors file, an .npz, or a folder of .npy (subfolders too).

    A folder's names are the files' without `.npy`, subfolders joined with dots. Raises ValueError, one line with the
    file's name, for damaged files, pickled objects and dtypes that are not floating; OSError where nothing can be read.
    """
    path = Path(path)
    if path.is_dir():
        return Port({name: _recorded(f"{path}, {shown(name)}", array) for name, array in read_npy_folder(path).items()})
    if path.suffix == ".npz":
        return Port({name: _recorded(f"{path}, {shown(name)}", array) for name, array in read_npz(path).items()})
    if path.suffix == ".npy":
        raise ValueError(f"{path}: one array has no layer names; put the .npy files of all layers into a folder and name that")
    try:
        with open_safetensors(path) as (tensors, metadata, _):
            return Port(_numbers(tensors), metadata)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _numbers(tensors: Mapping[str, StoredTensor]) -> dict[str, Recorded]:
    """Read the tensors of a safetensors file as layers. Raises ValueError."""
    if len(tensors) > MOST_ARRAYS:
        raise ValueError(f"{len(tensors):,} arrays; at most {MOST_ARRAYS:,} are compared")
    for name, tensor in tensors.items():
        if len(name) > LONGEST_NAME:
            raise ValueError(f"{quote(name)} has {len(name)} characters; a layer's name has at most {LONGEST_NAME}")
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
