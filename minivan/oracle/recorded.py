"""Reading: a trace, a network's input, and what a port recorded: safetensors, .npz or a folder of .npy, in four formats."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..card import Preprocessing
from ..checkpoint.safetensors_file import open_safetensors
from ..checks import Floating
from ..errors import sentence
from .trace import Trace, from_tensors
from .ulp import FORMATS


@dataclass(frozen=True)
class Recorded:
    """One layer of a port: its numbers in a dtype that holds them exactly, and the format they were stored in."""

    values: Floating
    form: str  # one of FORMATS; bfloat16 is held as float32


def read_trace(path: str | Path) -> Trace:
    """Read a trace that `oracle record` wrote. Raises ValueError, with the file's name, for anything else; OSError."""
    tensors, metadata = read_safetensors(path)
    return from_tensors({name: recorded.values for name, recorded in tensors.items()}, metadata, str(path))


def read_input(path: str | Path, preprocessing: Preprocessing) -> npt.NDArray[Any]:
    """Return a network's input (N, 3, H, W) from a file: an image, prepared as its weights demand, or a tensor as it is.

    A tensor is an .npy file of (3, H, W) or (N, 3, H, W). Raises ValueError, one line with the file's name, for what is
    neither; OSError where nothing can be read.
    """
    from ..image import prepare  # a tensor needs no Pillow

    if Path(path).name.lower().endswith(".npy"):
        x = read_npy(Path(path))
        return x[None] if x.ndim == 3 else x
    try:
        return prepare(Path(path), preprocessing)[None]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def read(path: str | Path) -> dict[str, Recorded]:
    """Read the layers of a port from a trace or any other safetensors file, an .npz, or a folder of .npy (subfolders too).

    A folder's names are the files' without `.npy`, subfolders joined with dots. Raises ValueError, one line with the
    file's name, for damaged files, pickled objects and dtypes that are not floating; OSError where nothing can be read.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(path.rglob("*.npy"))
        if not files:
            raise ValueError(f"{path}: a folder without .npy files")
        return {".".join(f.relative_to(path).with_suffix("").parts): _recorded(str(f), read_npy(f)) for f in files}
    if path.suffix == ".npz":
        return _read_npz(path)
    if path.suffix == ".npy":
        raise ValueError(f"{path}: one array has no layer names; put the .npy files of all layers into a folder and name that")
    return read_safetensors(path)[0]


def read_safetensors(path: str | Path) -> tuple[dict[str, Recorded], dict[str, str]]:
    """Read the tensors of a safetensors file, and its metadata. Raises as `read` does."""
    try:
        with open_safetensors(Path(path)) as (tensors, metadata, _):
            for name, tensor in tensors.items():
                if tensor.dtype not in FORMATS:
                    raise ValueError(f"{name} has the dtype {tensor.dtype}; layers are {', '.join(FORMATS)}")
            return {name: Recorded(tensor.read(), tensor.dtype) for name, tensor in tensors.items()}, metadata
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _read_npz(path: Path) -> dict[str, Recorded]:
    with open(path, "rb") as file:
        try:
            with np.load(file, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
        except Exception as error:  # zipfile and NumPy meet hostile bytes with NotImplementedError, TypeError and more
            raise ValueError(f"{path}: not an .npz file, or a damaged one ({sentence(error)})") from None
    return {name: _recorded(f"{path}, {name}", array) for name, array in arrays.items()}


def read_npy(path: Path) -> npt.NDArray[Any]:
    """Read one .npy file. Raises ValueError, with its name, for anything else, pickled objects included; OSError."""
    with open(path, "rb") as file:
        try:
            array: npt.NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        except Exception as error:  # a header is Python text: SyntaxError and tokenize's own are among them
            raise ValueError(f"{path}: not an .npy file of numbers, or a damaged one ({sentence(error)})") from None
    return array


def _recorded(name: str, array: npt.NDArray[Any] | bytes) -> Recorded:
    if isinstance(array, bytes):  # what a zip file holds besides arrays
        raise ValueError(f"{name}: not an array")
    if array.dtype in (np.dtype("V2"), np.dtype("u2")):  # NumPy has no bfloat16: its two bytes come without a type, or as bits
        bits = np.ascontiguousarray(array).view(np.uint16).astype(np.uint32) << 16
        return Recorded(bits.view(np.float32), "bfloat16")
    if array.dtype.name not in FORMATS:
        raise ValueError(f"{name}: dtype {array.dtype}; layers are {', '.join(FORMATS)}")
    return Recorded(array.astype(array.dtype.newbyteorder("="), copy=False), array.dtype.name)


def read_names(path: str | Path) -> list[tuple[str, str]]:
    """Read a map file: on each line a checkpoint path, '=', and the port's name for it; '#' starts a comment.

    A '*' on the left stands for one part of a path (between dots) and is put in place of the '*' on the right, first for first:
    `block*.*.norm1 = stage_*/block_*/bn1`. Raises ValueError with the line's number for a line that is not of that form.
    """
    pairs = []
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: a map file is UTF-8 text") from None
    for number, line in enumerate(lines, start=1):
        line = line.partition("#")[0].strip()
        ours, equals, theirs = (part.strip() for part in line.partition("="))
        if line and not (equals and ours and theirs):
            raise ValueError(f"{path}, line {number}: expected 'checkpoint path = name in the port', got {line!r}")
        if line and ours.count("*") != theirs.count("*"):
            raise ValueError(f"{path}, line {number}: {ours.count('*')} '*' on the left, {theirs.count('*')} on the right")
        if line:
            pairs.append((ours, theirs))
    return pairs


def rename(layers: Mapping[str, Recorded], names: Iterable[tuple[str, str]], paths: Iterable[str]) -> dict[str, Recorded]:
    """Return a port's layers under checkpoint paths: those that `names` says (see `read_names`), the others as they are.

    The first line that fits a path decides. Raises ValueError where a path is mapped, by a line without '*', to a name
    that the port does not have.
    """
    renamed, pairs = dict(layers), list(names)
    for path in paths:
        for ours, theirs in pairs:
            match = re.fullmatch("([^.]+)".join(re.escape(part) for part in ours.split("*")), path)
            if match is None:
                continue
            name = theirs
            for part in match.groups():
                name = name.replace("*", part, 1)
            if name in layers:
                renamed[path] = layers[name]
            elif "*" not in ours:
                raise ValueError(f"the map says {path} = {name}, but the port has no layer of that name")
            break
    return renamed
