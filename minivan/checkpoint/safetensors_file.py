"""minivan's own file: safetensors with the authors' names and a metadata block that says all the rest.

A safetensors file is a header's length (8 bytes), the header (JSON: for each tensor its dtype, shape and place; texts
under `__metadata__`), then the tensors' bytes. The safetensors library checks a file's structure here; the numbers are
read without it, because NumPy has no bfloat16, and written without it, because it orders the metadata at random and
equal input shall give equal bytes. Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import errno
import json
import os
import struct
import tempfile
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..card import Card, Label, Preprocessing
from ..errors import quote
from ..variants import Config
from .archive import read_into
from .error import CheckpointError
from .tensor import ITEM_SIZES, StoredTensor

VERSION = "1"  # of the metadata below, under the key "minivan"
LARGEST_HEADER = 8 << 20  # bytes; a B6 with 21,841 class names takes about 2 MB
DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32", "I16": "int16",
    "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
}  # fmt: skip
WRITTEN = {"float64": "F64", "float32": "F32", "float16": "F16"}


@contextmanager
def open_safetensors(path: Path):
    """Open a safetensors file and give its tensors, by name, and its metadata; the tensors can be read until the block ends.

    Raises CheckpointError for a file that is damaged or whose header is not what the format says.
    """
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        header, start = _header(file, size)
        _check_structure(path)
        metadata = header.pop("__metadata__", None) or {}
        tensors = {name: _tensor(file, start, name, entry) for name, entry in header.items()}
        yield tensors, metadata


def _header(file, size) -> tuple[dict, int]:
    file.seek(0)
    prefix = file.read(8)
    length = int.from_bytes(prefix, "little")
    if len(prefix) < 8 or length > size - 8:
        raise CheckpointError(f"a safetensors header of {length} bytes in a file of {size}", "cut short, or not safetensors")
    if length > LARGEST_HEADER:
        raise CheckpointError(f"a safetensors header of {length} bytes", f"the limit is {LARGEST_HEADER}")
    header = parse_json(file.read(length), "the header")
    if not isinstance(header, dict):
        raise CheckpointError("a safetensors header that is not a JSON object")
    return header, 8 + length


def _check_structure(path):
    """Overlaps, holes, bytes left over, shapes that do not fit: the format's own library has the word on these."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            pass
    except SafetensorError as error:
        raise CheckpointError("a damaged safetensors file", " ".join(str(error).split())[:200]) from None


def _tensor(file, start, name, entry) -> StoredTensor:
    dtype, shape = entry["dtype"], tuple(entry["shape"])
    if dtype not in DTYPES:
        raise CheckpointError(f"{quote(name)} is a tensor of {quote(dtype)}", "not a dtype minivan knows")
    begin, end = entry["data_offsets"]

    def fetch(offset, size):
        if offset < 0 or begin + offset + size > end:
            raise CheckpointError(f"{quote(name)} has the shape {shape} and {end - begin} bytes")
        return read_into(file, start + begin + offset, size)

    return StoredTensor(shape, DTYPES[dtype], fetch)


def parse_json(data: bytes | str, where: str):
    """Return the value of a JSON text; CheckpointError for one that is damaged, nested too deep or says a key twice."""

    def no_key_twice(pairs):
        value = dict(pairs)
        if len(value) != len(pairs):
            seen = set()
            key = next(key for key, _ in pairs if key in seen or seen.add(key))
            raise CheckpointError(f"{where} has {quote(key)} twice")
        return value

    def no_constant(name):
        raise CheckpointError(f"{where} has the number {name}")

    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        return json.loads(text, object_pairs_hook=no_key_twice, parse_constant=no_constant)
    except CheckpointError:
        raise
    except RecursionError:
        raise CheckpointError(f"{where} is nested too deep") from None
    except ValueError:
        raise CheckpointError(f"{where} is not JSON") from None


def is_own(metadata: Mapping[str, str]) -> bool:
    return "minivan" in metadata


def describe(config: Config, card: Card) -> dict[str, str]:
    """Return the metadata of a file of minivan's own: texts, structured ones as JSON."""
    values = {
        "shape": {"dims": config.dims, "depths": config.depths, "mlp_ratios": config.mlp_ratios, "classes": config.classes},
        "eps": {"layer_norm": config.layer_norm_eps, "batch_norm": config.batch_norm_eps},
        "preprocessing": {
            "crop": card.preprocessing.crop, "resize": card.preprocessing.resize,
            "mean": card.preprocessing.mean, "std": card.preprocessing.std,
        },
        "labels": [[label.wnid, label.name] for label in card.labels],
    }  # fmt: skip
    texts = {key: json.dumps(value) for key, value in values.items()}
    return texts | {"minivan": VERSION, "layout": card.layout, "source": card.source, "source_sha256": card.source_sha256}


def understand(metadata: Mapping[str, str], name: str) -> tuple[Config, Card]:
    """Return what `describe` wrote. CheckpointError says which part is missing or out of range."""
    if metadata["minivan"] != VERSION:
        raise CheckpointError(f"minivan's format {quote(metadata['minivan'])}", f"a later one wrote it; this knows {VERSION}")
    part = "shape"
    try:
        shape = parse_json(metadata[part], f"the metadata's {part}")
        sizes = [_whole_numbers(shape[field]) for field in ("dims", "depths", "mlp_ratios")]
        part = "eps"
        eps = parse_json(metadata[part], f"the metadata's {part}")
        (classes,) = _whole_numbers([shape["classes"]])
        config = Config(*sizes, classes, _epsilon(eps["layer_norm"]), _epsilon(eps["batch_norm"]))
        part = "preprocessing"
        fields = parse_json(metadata[part], f"the metadata's {part}")
        preprocessing = Preprocessing(*_whole_numbers([fields["crop"], fields["resize"]]), fields["mean"], fields["std"])
        part = "labels"
        labels = tuple(Label(*_pair(pair)) for pair in parse_json(metadata[part], f"the metadata's {part}"))
        if labels and len(labels) != config.classes:
            raise ValueError(f"{len(labels)} labels for {config.classes} classes")
        part = "layout, source or source_sha256"
        texts = [_text(metadata[key]) for key in ("layout", "source", "source_sha256")]
    except CheckpointError:
        raise
    except KeyError as error:
        raise CheckpointError(f"the metadata's {part}", f"{error.args[0]!r} is missing") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(f"the metadata's {part}", str(error)) from None
    return config, Card(name, preprocessing, labels, *texts)


def _whole_numbers(values) -> list[int]:
    if not isinstance(values, list) or not all(type(value) is int for value in values):
        raise ValueError("a whole number is something else")
    return values


def _epsilon(value) -> float:
    if not isinstance(value, float) or not 0 < value < 1:
        raise ValueError(f"an eps of {quote(value)}; it lies between 0 and 1")
    return value


def _pair(pair) -> list[str]:
    if not (isinstance(pair, list) and len(pair) == 2):
        raise ValueError("a label is a list of two texts: WordNet id and names")
    return [_text(text) for text in pair]


def _text(value) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"{quote(value)} in the place of a text on one line")
    return value


def write(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str], dtype: str | None = None) -> None:
    """Write a safetensors file in one step: complete under its name, or not at all. Equal arguments give equal bytes.

    `dtype` None keeps each tensor in its own. Raises CheckpointError for a dtype that is not written here and where
    `dtype` cannot hold a number, OSError where the file cannot be written.
    """
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    end, kept = 0, {}
    for name, tensor in tensors.items():
        kept[name] = dtype or tensor.dtype.name
        if kept[name] not in WRITTEN:
            raise CheckpointError(f"{name} is of {kept[name]}", f"what can be written is {', '.join(WRITTEN)}")
        size = tensor.size * ITEM_SIZES[kept[name]]
        header[name] = {"dtype": WRITTEN[kept[name]], "shape": tensor.shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight
    with replacing(path) as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, tensor in tensors.items():
            narrowed = narrow(name, tensor, kept[name])
            file.write(narrowed.astype(narrowed.dtype.newbyteorder("<"), copy=False).data)


def narrow(name: str, tensor: np.ndarray, dtype: str) -> np.ndarray:
    """Return a tensor rounded to `dtype`, in C order; CheckpointError where a finite number would not fit."""
    with np.errstate(over="ignore"):
        narrowed = np.asarray(tensor, dtype, order="C")
    if narrowed.dtype.itemsize < tensor.dtype.itemsize and (np.isinf(narrowed) & np.isfinite(tensor)).any():
        raise CheckpointError(f"{name} has numbers up to {np.abs(tensor).max():g}", f"too large for {dtype}")
    return narrowed


@contextmanager
def replacing(path: Path):
    """Give a binary file that takes `path`'s place when the block ends well, and leaves no trace when it does not.

    Raises OSError, naming `path`, where no file can be put there.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from None
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp's is private
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
