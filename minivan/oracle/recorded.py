"""Reading what a port recorded: a safetensors file, an .npz, or a folder of .npy, in four floating formats."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..checkpoint.safetensors_file import open_safetensors
from . import trace as traces
from .ulp import FORMATS


@dataclass(frozen=True)
class Recorded:
    """One layer of a port: its numbers in a dtype that holds them exactly, and the format they were stored in."""

    values: np.ndarray
    form: str  # one of FORMATS; bfloat16 is held as float32


def read_trace(path: str | Path) -> traces.Trace:
    """Read a trace that `oracle record` wrote. Raises ValueError, with the file's name, for anything else; OSError."""
    tensors, metadata = _read_safetensors(Path(path))
    return traces.from_tensors({name: recorded.values for name, recorded in tensors.items()}, metadata, str(path))


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
        return {".".join(f.relative_to(path).with_suffix("").parts): _recorded(str(f), _read_npy(f)) for f in files}
    if path.suffix == ".npz":
        return _read_npz(path)
    if path.suffix == ".npy":
        raise ValueError(f"{path}: one array has no layer names; put the .npy files of all layers into a folder and name that")
    return _read_safetensors(path)[0]


def _read_safetensors(path) -> tuple[dict[str, Recorded], dict[str, str]]:
    try:
        with open_safetensors(path) as (tensors, metadata):
            for name, tensor in tensors.items():
                if tensor.dtype not in FORMATS:
                    raise ValueError(f"{name} has the dtype {tensor.dtype}; layers are {', '.join(FORMATS)}")
            return {name: Recorded(tensor.read(), tensor.dtype) for name, tensor in tensors.items()}, metadata
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _read_npz(path) -> dict[str, Recorded]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: _recorded(f"{path}, {name}", arrays[name]) for name in arrays.files}
    except (zipfile.BadZipFile, EOFError, AttributeError):
        raise ValueError(f"{path}: not an .npz file, or a damaged one") from None
    except ValueError as error:
        raise ValueError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from None


def _read_npy(path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: not an .npy file of numbers, or a damaged one ({' '.join(str(error).split())})") from None


def _recorded(name, array) -> Recorded:
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


def rename(layers: dict[str, Recorded], names: Iterable[tuple[str, str]], paths: Iterable[str]) -> dict[str, Recorded]:
    """Return a port's layers under checkpoint paths: those that `names` says (see `read_names`), the others as they are.

    The first line that fits a path decides. Raises ValueError where a path is mapped, by a line without '*', to a name
    that the port does not have.
    """
    renamed = dict(layers)
    for path in paths:
        for ours, theirs in names:
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
