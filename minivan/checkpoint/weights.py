"""Weights from any file that is a VAN checkpoint, told apart by what is in it and never by its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from io import BufferedIOBase
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .. import input, paths
from ..card import Card, Label, Preprocessing, default_preprocessing, usual_activation
from ..errors import printable, quote
from ..van import check_channels
from ..variants import COLOURS, Config, counted, is_learned, title_with_shape, unusual_channels
from . import layouts, own_metadata, safetensors_file, stated
from .budget import Budget
from .error import CheckpointError
from .library_metadata import huggingface_config, labels_beside, usual_labels
from .sniff import kind_of
from .state_dict import AVERAGED, find_state_dict
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
    tensors: dict[str, npt.NDArray[np.float32]]
    card: Card
    notes: tuple[str, ...] = ()  # what a person should know of how they were read, a sentence each

    @property
    def summary(self) -> str:
        """'VAN-B0, 200 classes, 3,900,200 parameters': BatchNorm's running statistics are not parameters."""
        count = sum(tensor.size for name, tensor in self.tensors.items() if is_learned(name))
        shape = f"{title_with_shape(self.config)}{unusual_channels(self.config)}"
        return f"{shape}, {self.config.classes} classes, {count:,} parameters"


@dataclass(frozen=True)
class Checkpoint:
    """An open checkpoint, understood: `stored` has the network's tensors by the authors' names, each read when asked."""

    format: str
    size: int  # bytes of the file
    config: Config
    card: Card
    stored: dict[str, StoredTensor]
    notes: tuple[str, ...] = ()


def read(path: str | Path, key: str | None = None) -> Weights:
    """Read a VAN checkpoint of any layout and format; nothing in the file can run.

    `path` is a PyTorch file (zip or legacy), a safetensors file, minivan's own or another library's, or a Hugging Face
    folder. `key` says under which key of a PyTorch file the network lies, where the usual ones are wrong. float64 is
    rounded to the nearest float32, the engines' type; every narrower type is exact in it. Raises CheckpointError for
    anything that is not a complete VAN, and OSError, naming the file, where it cannot be read.
    """
    with opened(path, key) as checkpoint:
        tensors, rounded = _numbers(checkpoint)
    notes = checkpoint.notes
    if rounded:
        notes += (f"{rounded} float64 tensors were rounded to float32, the engines' type",)
    return Weights(checkpoint.config, tensors, checkpoint.card, notes)


@contextmanager
def opened(path: str | Path, key: str | None = None) -> Iterator[Checkpoint]:
    """Open a checkpoint and give what `read` would read of it, no tensor read yet. Arguments and errors as for `read`.

    The file is opened once, and everything is read from it; its tensors can be read until the block ends.
    """
    path = resolve_folder(Path(path))
    try:
        with input.named(path), input.opened(path) as file:
            yield _understood(path, file, key)
    except CheckpointError as error:
        raise error.within(path) from None


def with_source_sha256(weights: Weights) -> Weights:
    """Return the weights with the SHA-256 of the file they came from on their card; what was converted keeps its first."""
    if weights.card.source_sha256:
        return weights
    return replace(weights, card=replace(weights.card, source_sha256=weights.card.sha256))


def revise(
    weights: Weights,
    labels: Sequence[Label] | None = None,
    eps: float | None = None,
    preprocessing: Preprocessing | None = None,
    version: str | None = None,
    not_sure: float | None = None,
    activation: str | None = None,
) -> Weights:
    """Return the weights with what you know better than their file: class names, LayerNorm's eps, preprocessing, their
    version, the top probability below which they are not sure, and what makes probabilities of logits.

    Raises ValueError where the labels are not one a class, where mean and std are not one number a channel, for an eps or a
    probability that is not between 0 and 1, and for an activation that is none of `minivan.card.ACTIVATIONS`.
    """
    card, config, notes = weights.card, weights.config, weights.notes
    if labels is not None:
        if len(labels) != config.classes:
            raise ValueError(f"{len(labels)} labels for {config.classes} classes")
        card = replace(card, labels=tuple(labels))
    if eps is not None:
        if not 0 < eps < 1:
            raise ValueError(f"eps {eps:g}: it lies between 0 and 1")
        config = replace(config, layer_norm_eps=eps)
    if preprocessing is not None:
        if preprocessing != card.preprocessing:
            notes = tuple(note for note in notes if note != unknown_preprocessing(card.preprocessing))
        card = replace(card, preprocessing=preprocessing)
        check_channels(config, card)
    if version is not None:
        card = replace(card, version=version)
    if not_sure is not None:
        card = replace(card, not_sure=not_sure)
    if activation is not None:
        card = replace(card, activation=activation)
    return replace(weights, card=card, config=config, notes=notes)


def write(weights: Weights, path: str | Path, dtype: str = "float32", to: str = "minivan") -> tuple[str, ...]:
    """Write weights as a safetensors file, float32 or float16; equal weights give equal bytes.

    `to` is 'minivan' for a file that says all about itself, or 'authors' for the tensors alone, which the authors' code
    loads with `load_state_dict(safetensors.torch.load_file(path))`. Returns what whoever uses the file should know and
    cannot read in it, a sentence each. Raises CheckpointError where float16 cannot hold a number and where there is more on
    the card than `read` takes from a file, OSError where the file cannot be written.
    """
    if to == "minivan":
        metadata = own_metadata.describe(weights.config, weights.card)
        safetensors_file.write(path, weights.tensors, metadata, dtype, partial(own_metadata.understand, weights.card.name))
    else:
        safetensors_file.write(path, weights.tensors, {"format": "pt"}, dtype)
    theirs, ours = layouts.LAYOUTS["authors"].layer_norm_eps, weights.config.layer_norm_eps
    if to == "minivan" or ours == theirs:
        return ()
    return (f"the authors' code has LayerNorm eps {theirs:g}, these weights {ours:g}",)


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


def _understood(path: Path, file: BufferedIOBase, key: str | None) -> Checkpoint:
    size = file.seek(0, 2)
    budget = Budget(size)
    if kind_of(file) == "safetensors":
        tensors, metadata = safetensors_file.contents(file, budget)
        if own_metadata.is_own(metadata):
            config, card = own_metadata.understand(name_of(path), metadata, budget)
            return Checkpoint(OWN, size, config, replace(card, file=path), layouts.complete(config, tensors))
        return _foreign(path, size, "safetensors", tensors, budget)
    torch = open_torch(file, budget)
    state, chosen = find_state_dict(torch.contents, budget, key)
    found = _foreign(path, size, torch.format, state, budget, torch.contents)
    if chosen in AVERAGED:
        found = replace(found, notes=(f"{quote(chosen)} was read, the averaged weights", *found.notes))
    return found


def _foreign(
    path: Path, size: int, kind: str, state: Mapping[str, object], budget: Budget, contents: object = None
) -> Checkpoint:
    """Understand another library's tensors, with what their layout implies: eps, preprocessing, class names.

    `contents` is all that a pickle holds: class names may lie beside the tensors.
    """
    layout, config, stored = layouts.understand(state, budget)
    labels = labels_beside(contents, config.classes, budget)
    notes: tuple[str, ...] = ()
    activation = usual_activation(config.classes)
    if layout.name == "huggingface":
        config, named, activation = huggingface_config(path.parent / "config.json", config)
        labels = named or labels
    if not labels:
        labels = usual_labels(config)
    elif len(labels) != config.classes:
        notes += (f"its {len(labels)} class names are left out: it has {config.classes} classes",)
        labels = ()
    said = stated.beside(contents, path.parent if layout.name == "huggingface" else None, budget)
    preprocessing, left = said.applied(default_preprocessing(config.channels, layout.preset))
    notes += left
    if config.channels != COLOURS and "mean" not in said.fields:
        notes += (unknown_preprocessing(preprocessing),)
    source = printable(path.name)
    card = Card(name_of(path), preprocessing, labels, layout.name, source, file=path, activation=activation)
    return Checkpoint(kind, size, config, card, stored, notes)


def unknown_preprocessing(taken: Preprocessing) -> str:
    """Say what is taken for the mean and std of a network whose images are no photos, and how to say it better."""
    unknown = f"how its images of {counted(taken.channels)} were prepared is not known"
    return f"{unknown}: mean {taken.mean[0]:g} and std {taken.std[0]:g} are taken (others: convert --mean and --std)"


def _numbers(checkpoint: Checkpoint) -> tuple[dict[str, npt.NDArray[np.float32]], int]:
    """Read the tensors as float32 and count those that lost digits on the way."""
    wanted = sum(tensor.extent_bytes for tensor in checkpoint.stored.values())
    if wanted > LARGEST_READING * checkpoint.size:
        limit = f"at most {LARGEST_READING} times its size is read"
        raise CheckpointError(f"tensors that span {wanted} bytes in a file of {checkpoint.size}", limit)
    tensors: dict[str, npt.NDArray[np.float32]] = {}
    rounded = 0
    for name, tensor in checkpoint.stored.items():
        try:
            exact = tensor.read()
        except CheckpointError as error:
            raise error.within(name) from None
        tensors[name] = safetensors_file.narrow(name, exact, "float32")
        if paths.is_layer_scale(name):
            tensors[name] = tensors[name].reshape(tensor.shape[:1])  # (C, 1, 1) in some files
        rounded += exact.dtype == np.float64 and not np.array_equal(tensors[name].ravel(), exact.ravel(), equal_nan=True)
    return tensors, rounded
