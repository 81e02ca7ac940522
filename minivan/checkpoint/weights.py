"""Weights from any file that is a VAN checkpoint, told apart by what is in it and never by its name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..card import Card, Label, Preprocessing
from ..van import check_channels
from ..variants import Config, is_learned, parameter_shapes, title_with_shape, unusual_channels
from . import formats, layouts, own_metadata, reading, safetensors_file
from .error import CheckpointError
from .folder import Place, locate
from .open_checkpoint import Checkpoint

if TYPE_CHECKING:
    from .semantic_fpn import SemanticFPN

OWN = "minivan's own"
RANK = re.compile(r"(?:^|[._-])rank[._-]?[0-9]+", re.IGNORECASE)  # in the names of one process's part


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


def read(path: str | Path, key: str | None = None, *, strict: bool = False, allow_nonfinite: bool = False) -> Weights:
    """Read a VAN checkpoint of any layout and format; nothing in the file can run.

    `path` is a PyTorch file (zip or legacy), a safetensors file, minivan's own or another library's, one of PaddlePaddle's,
    Keras' or ONNX', or a folder: of Hugging Face's with one file or with shards, its Hub's cache, or a distributed checkpoint.
    `key` says where in the file the network lies, where there are several: keys of dictionaries and what stands before the
    names of its tensors, parted by dots ('ema.module', 'student'; '.' for the top). `strict` refuses a pickle with objects of
    classes that are not known, which are passed over else. float64 is rounded to the nearest float32, the engines' type; every
    narrower type is exact in it. Raises CheckpointError for anything that is not a complete VAN, or not one alone, for numbers
    that are NaN or infinite and variances that are negative unless `allow_nonfinite`, and OSError, naming the file, where it
    cannot be read.
    """
    with opened(path, key, strict=strict) as checkpoint:
        weights = read_opened(checkpoint, allow_nonfinite)
    return replace(weights, notes=(*weights.notes, checkpoint.head.left_out)) if checkpoint.head else weights


def read_opened(checkpoint: Checkpoint, allow_nonfinite: bool) -> Weights:
    """Read the tensors of an open checkpoint; what is on its network is left out. Errors as for `read`."""
    shapes = dict(parameter_shapes(checkpoint.config))  # layer scales are (C, 1, 1) in some files, heads (C, D, 1, 1)
    tensors, said = reading.sound(checkpoint.stored, shapes, checkpoint.size, allow_nonfinite)
    return Weights(checkpoint.config, tensors, checkpoint.card, (*checkpoint.notes, *said))


@contextmanager
def opened(path: str | Path, key: str | None = None, *, strict: bool = False) -> Iterator[Checkpoint]:
    """Open a checkpoint and give what `read` would read of it, no tensor read yet. Arguments and errors as for `read`.

    Each file is opened once, and everything is read from it; its tensors can be read until the block ends.
    """
    with opened_any(path, key, strict=strict) as found:
        if not isinstance(found, Checkpoint):
            from . import semantic_fpn

            raise CheckpointError(semantic_fpn.ALONE, f"{semantic_fpn.USE} uses it")
        yield found


@contextmanager
def opened_any(path: str | Path, key: str | None = None, *, strict: bool = False) -> Iterator[Checkpoint | SemanticFPN]:
    """Open what `opened` does, or a file of minivan's own with a segmentation head by itself."""
    place = locate(Path(path))
    try:
        with formats.opened(place, strict) as held:
            yield _understood(place, held, key)
    except CheckpointError as error:
        if RANK.search(place.path.name) and error.what.startswith("not a complete VAN"):
            error = CheckpointError(f"{error.what} (its name says that it is one process's part)", error.why, error.where)
        raise error.within(place.path) from None


def odd_numbers(checkpoint: Checkpoint | SemanticFPN) -> str:
    """Read an open checkpoint's tensors and say which have NaN, infinities or negative variances; '' for none.

    Raises CheckpointError for tensors that cannot be read.
    """
    shapes = {name: tensor.shape for name, tensor in checkpoint.stored.items()}
    return reading.numbers(checkpoint.stored, shapes, checkpoint.size)[2]


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
            from .foreign import unknown_preprocessing

            notes = tuple(note for note in notes if note != unknown_preprocessing(card.preprocessing))
            card = replace(card, size_said=True)
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
    loads with `load_state_dict(safetensors.torch.load_file(path))`; what those do not say is kept in `path`.json, which `read`
    reads beside it. 'onnx' is for an ONNX file, in float32, which says all about itself too (see onnx_written). Returns what
    whoever uses the file should know and cannot read in it, a sentence each. Raises CheckpointError where float16 cannot hold a
    number, where there is more on the card than `read` takes from a file and where `path`.json is another's, OSError where the
    file cannot be written.
    """
    if to == "onnx":
        if dtype != "float32":
            raise CheckpointError(f"an ONNX file in {dtype}", "it is written in float32, which exact computes in")
        from . import onnx_written

        return (onnx_written.write(path, weights.config, weights.tensors, weights.card),)
    if to == "minivan":
        metadata = own_metadata.describe(weights.config, weights.card)
        safetensors_file.write(path, weights.tensors, metadata, dtype, partial(own_metadata.understand, weights.card.name))
        return ()
    from . import sidecar

    sidecar.check(path)
    safetensors_file.write(path, weights.tensors, {"format": "pt"}, dtype)
    lost = sidecar.write(path, weights.config, weights.card)
    theirs, ours = layouts.LAYOUTS["authors"].layer_norm_eps, weights.config.layer_norm_eps
    return (lost,) if ours == theirs else (f"the authors' code has LayerNorm eps {theirs:g}, these weights {ours:g}", lost)


def _understood(place: Place, held: formats.Held, key: str | None) -> Checkpoint | SemanticFPN:
    if own_metadata.is_own(held.metadata):
        if key is not None:
            raise CheckpointError("minivan's own file holds one network", "leave out --key")
        tensors, head = held.tensors(), None
        if own_metadata.is_segmentation(held.metadata):
            from . import semantic_fpn

            if own_metadata.is_head_alone(held.metadata):
                return semantic_fpn.own(place, held, tensors)
        config, card = own_metadata.understand(place.name, held.metadata, held.budget)
        _check_epsilons(config, held)
        if own_metadata.is_segmentation(held.metadata):
            on_it = {name: tensor for name, tensor in tensors.items() if name.startswith(semantic_fpn.PARTS)}
            tensors = {name: tensor for name, tensor in tensors.items() if name not in on_it}
            head = semantic_fpn.own(place, held, on_it, config.dims)
        stored = layouts.complete(config, tensors)
        card = replace(card, file=place.path, activation=held.activation or card.activation)
        format = f"{held.format}, {OWN}" if held.is_whole else OWN
        return Checkpoint(format, held.size, config, card, stored, held.notes, head=head)
    from . import foreign

    return foreign.understood(place, held, key)


def _check_epsilons(config: Config, held: formats.Held) -> None:
    """Raise CheckpointError where a graph computes with other epsilons than the metadata beside it say."""
    if held.epsilons is None:
        return
    from .onnx_graph import CLOSE

    said = config.layer_norm_eps, config.batch_norm_eps
    if any(abs(a - b) > CLOSE * b for a, b in zip(held.epsilons, said, strict=True)):
        computed = "the epsilons {:g} and {:g} in the graph".format(*held.epsilons)
        raise CheckpointError(computed, "its metadata say {:g} and {:g}: somebody changed one of the two".format(*said))
