"""Weights from any file that is a VAN checkpoint, told apart by what is in it and never by its name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..card import PRESETS, Card, imagenet1k
from ..errors import quote
from ..variants import Config, variant_of
from . import layouts
from . import safetensors_file as store
from .error import CheckpointError
from .origins import AVERAGED, huggingface_config, openmmlab_labels, state_dict
from .safetensors_file import narrow, open_safetensors
from .sniff import kind_of
from .tensor import StoredTensor
from .torchfile import open_torch

LARGEST_READING = 8  # a file's tensors may span this many times its size: some share bytes, none needs more
OWN = "minivan's own"
HUGGING_FACE_FILES = ("model.safetensors", "pytorch_model.bin")
SUFFIXES = (".tar", ".pth", ".pt", ".bin", ".ckpt", ".safetensors")


@dataclass(frozen=True)
class Weights:
    """A network's shape, its tensors (the authors' names, float32, in `parameter_shapes` order) and what is known of them."""

    config: Config
    tensors: dict[str, np.ndarray]
    card: Card
    notes: tuple[str, ...] = ()  # what a person should know of how they were read, a sentence each

    @property
    def summary(self) -> str:
        """'VAN-B0, 200 classes, 3,900,200 parameters': BatchNorm's running statistics are not parameters."""
        variant = variant_of(self.config)
        title = f"VAN-{variant.upper()}" if variant else f"VAN {self.config.dims} x {self.config.depths}"
        count = sum(tensor.size for name, tensor in self.tensors.items() if ".running_" not in name)
        return f"{title}, {self.config.classes} classes, {count:,} parameters"


@dataclass(frozen=True)
class Checkpoint:
    """An open checkpoint, understood: `stored` has the network's tensors by the authors' names, each read when asked."""

    format: str
    config: Config
    card: Card
    stored: dict[str, StoredTensor]
    notes: tuple[str, ...] = ()


def read(path: str | Path, key: str | None = None) -> Weights:
    """Read a VAN checkpoint of any layout and format; nothing in the file can run.

    `path` is a PyTorch file (zip or legacy), a safetensors file, minivan's own or another library's, or a Hugging Face
    folder. `key` says under which key of a PyTorch file the network lies, where the usual ones are wrong. float64 is
    rounded to the nearest float32, the engines' type; every narrower type is exact in it. Raises CheckpointError for
    anything that is not a complete VAN, and OSError where the file cannot be opened.
    """
    with opened(path, key) as checkpoint:
        tensors, rounded = _numbers(Path(path), checkpoint.stored)
    notes = checkpoint.notes
    if rounded:
        notes += (f"{rounded} float64 tensors were rounded to float32, the engines' type",)
    card = checkpoint.card
    if checkpoint.format == OWN:
        card = replace(card, sha256=digest(path))
    return Weights(checkpoint.config, tensors, card, notes)


@contextmanager
def opened(path: str | Path, key: str | None = None):
    """Open a checkpoint and give what `read` would read of it, no tensor read yet. Arguments and errors as for `read`."""
    path = resolve_folder(Path(path))
    try:
        if kind_of(path) == "safetensors":
            with open_safetensors(path) as (tensors, metadata):
                yield _own(path, tensors, metadata) if store.is_own(metadata) else _foreign(path, "safetensors", tensors)
        else:
            with open_torch(path) as file:
                state, chosen = state_dict(file.contents, key)
                notes = (f"{quote(chosen)} was read, the averaged weights",) if chosen in AVERAGED else ()
                yield _foreign(path, file.format, state, openmmlab_labels(file.contents), notes)
    except CheckpointError as error:
        raise error.within(path) from None


def with_digest(weights: Weights, path: str | Path) -> Weights:
    """Return the weights with the SHA-256 of the file they came from on their card; what was converted keeps its first."""
    if weights.card.source_sha256:
        return weights
    return replace(weights, card=replace(weights.card, source_sha256=digest(path)))


def write(weights: Weights, path: str | Path, dtype: str = "float32", to: str = "minivan"):
    """Write weights as a safetensors file, float32 or float16; equal weights give equal bytes.

    `to` is 'minivan' for a file that says all about itself, or 'authors' for the tensors alone, which the authors' code
    loads with `load_state_dict(safetensors.torch.load_file(path))`. Raises CheckpointError where float16 cannot hold a
    number, OSError where the file cannot be written.
    """
    metadata = store.describe(weights.config, weights.card) if to == "minivan" else {"format": "pt"}
    store.write(Path(path), weights.tensors, metadata, dtype)


def resolve_folder(path: Path) -> Path:
    """Return the weights file of a Hugging Face folder, any other path as it is."""
    if not path.is_dir():
        return path
    for name in HUGGING_FACE_FILES:
        if (path / name).is_file():
            return path / name
    raise CheckpointError("a folder without weights", f"neither {' nor '.join(HUGGING_FACE_FILES)} is in it", str(path))


def name_of(path: Path) -> str:
    """Return a short name for the weights in a file: 'van_tiny_754' for van_tiny_754.pth.tar, for Hugging Face its folder's."""
    if path.name in HUGGING_FACE_FILES:
        return path.resolve().parent.name
    name = path.name
    while Path(name).suffix.lower() in SUFFIXES:
        name = Path(name).stem
    return name


def digest(path: str | Path) -> str:
    """Return a file's SHA-256, 64 hex digits."""
    with open(path, "rb") as file:
        sha256 = hashlib.sha256()
        while chunk := file.read(1 << 20):
            sha256.update(chunk)
    return sha256.hexdigest()


def _own(path, tensors, metadata) -> Checkpoint:
    config, card = store.understand(metadata, name_of(path))
    return Checkpoint(OWN, config, card, layouts.complete(config, tensors))


def _foreign(path, kind, state, labels=(), notes=()) -> Checkpoint:
    """Set what the layout implies: eps, preprocessing, class names."""
    layout, config, stored = layouts.understand(state)
    if layout.name == "huggingface":
        config, labels = huggingface_config(path.parent / "config.json", config)
    if labels and len(labels) != config.classes:
        notes += (f"its {len(labels)} class names are left out: it has {config.classes} classes",)
        labels = ()
    if config.classes == 1000 and not labels:
        labels = imagenet1k()
    return Checkpoint(kind, config, Card(name_of(path), PRESETS[layout.preset], labels, layout.name, path.name), stored, notes)


def _numbers(path, stored: Mapping[str, StoredTensor]) -> tuple[dict[str, np.ndarray], int]:
    """Read the tensors as float32 and count those that lost digits on the way."""
    size, wanted = resolve_folder(path).stat().st_size, sum(tensor.extent_bytes for tensor in stored.values())
    if wanted > LARGEST_READING * size:
        limit = f"at most {LARGEST_READING} times its size is read"
        raise CheckpointError(f"tensors that span {wanted} bytes in a file of {size}", limit)
    tensors, rounded = {}, 0
    for name, tensor in stored.items():
        try:
            exact = tensor.read()
        except CheckpointError as error:
            raise error.within(name) from None
        tensors[name] = narrow(name, exact, "float32")
        if ".layer_scale_" in name:
            tensors[name] = tensors[name].reshape(tensor.shape[:1])  # (C, 1, 1) in some files
        rounded += exact.dtype == np.float64 and not np.array_equal(tensors[name].ravel(), exact.ravel(), equal_nan=True)
    return tensors, rounded
