"""Reading: a trace, a network's input, and what a port recorded: safetensors, .npz or a folder of .npy, in four formats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import input
from ..card import Preprocessing
from ..checkpoint.safetensors_file import open_safetensors
from ..checkpoint.tensor import StoredTensor
from ..checks import Floating
from ..errors import quote, shown
from .arrays import LONGEST_NAME, MOST_ARRAYS, read_npy, read_npy_folder, read_npz
from .trace import Trace, from_tensors
from .ulp import FORMATS

LARGEST_MAP = 1 << 20  # bytes
MOST_TRIES = 2_000_000  # of lines with '*', on one path each


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


def read_names(path: str | Path) -> list[tuple[str, str]]:
    """Read a map file: on each line a checkpoint path, '=', and the port's name for it; '#' starts a comment.

    A '*' on the left stands for one part of a path (between dots), or for some of it, and is put in place of the '*' on the
    right, first for first: `block*.*.norm1 = stage_*/block_*/bn1`. Raises ValueError with the line's number for a line that is
    not of that form; OSError, also for a file of more than 1 MiB.
    """
    pairs = []
    try:
        lines = input.read_text(path, LARGEST_MAP).splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: a map file is UTF-8 text") from None
    for number, line in enumerate(lines, start=1):
        line = line.partition("#")[0].strip()
        ours, equals, theirs = (part.strip() for part in line.partition("="))
        about = f"{path}, line {number}"
        if line and not (equals and ours and theirs):
            raise ValueError(f"{about}: expected 'checkpoint path = name in the port', got {quote(line)}")
        if line and ours.count("*") != theirs.count("*"):
            raise ValueError(f"{about}: {ours.count('*')} '*' on the left, {theirs.count('*')} on the right")
        if any(part.count("*") > 1 for part in ours.split(".")):
            raise ValueError(f"{about}: two '*' in one part of {quote(ours)}, which could be read in several ways")
        if line:
            pairs.append((ours, theirs))
    return pairs


def rename(layers: Mapping[str, Recorded], names: Iterable[tuple[str, str]], paths: Iterable[str]) -> dict[str, Recorded]:
    """Return a port's layers under checkpoint paths: those that `names` says (see `read_names`), the others as they are.

    The first line that fits a path decides. Raises ValueError where a path is mapped, by a line without '*', to a name
    that the port does not have, and for a map with too many '*' for so many layers.
    """
    renamed, wanted = dict(layers), list(paths)
    plain: dict[str, tuple[int, str]] = {}  # our name -> its line, and theirs
    globs: list[tuple[int, list[str], str]] = []
    lines = 0
    for lines, (ours, theirs) in enumerate(names, start=1):
        if "*" in ours:
            globs.append((lines, ours.split("."), theirs))
        else:
            plain.setdefault(ours, (lines, theirs))
    if len(globs) * len(wanted) > MOST_TRIES:
        raise ValueError(f"a map with {len(globs):,} lines with '*' for {len(wanted):,} layers: write fewer lines")
    for path in wanted:
        parts = path.split(".")
        line, name = plain.get(path, (lines + 1, ""))
        exact = path in plain
        for at, glob, theirs in globs:
            fitting = _fitting(glob, parts) if at < line else None
            if fitting is not None:
                exact, name = False, theirs
                for part in fitting:
                    name = name.replace("*", part, 1)
                break
        if name in layers:
            renamed[path] = layers[name]
        elif exact:
            said = f"{shown(path)} = {shown(name)}"
            raise ValueError(f"the map says {said}, but the port has no layer of that name")
    return renamed


def _fitting(glob: list[str], parts: list[str]) -> list[str] | None:
    """Return what each '*' of a glob stands for in a path, both cut at the dots; None where it does not fit."""
    if len(glob) != len(parts):
        return None
    found = []
    for pattern, part in zip(glob, parts, strict=True):
        before, star, after = pattern.partition("*")
        if not star:
            if part != pattern:
                return None
        elif len(part) > len(before) + len(after) and part.startswith(before) and part.endswith(after):
            found.append(part[len(before) : len(part) - len(after)])
        else:
            return None
    return found
