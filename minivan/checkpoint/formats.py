"""What a checkpoint's files hold, whatever their format: dictionaries of tensors, each read when it is asked for.

Safetensors come first, as the bundled weights do; what reads another format is imported with the first file of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from .. import input
from ..errors import quote
from . import safetensors_file
from .budget import Budget
from .error import CheckpointError
from .folder import Place
from .sniff import kind_of


@dataclass(frozen=True)
class Held:
    """What an open checkpoint holds, before anybody knows whether it is a network."""

    format: str
    size: int  # bytes of all its files
    budget: Budget
    contents: object  # dictionaries in one another, tensors in them
    metadata: Mapping[str, str] = field(default_factory=dict)  # of a safetensors or an ONNX file
    files: tuple[Path, ...] = ()  # where they are several: those that the tensors lie in
    notes: tuple[str, ...] = ()
    epsilons: tuple[float, float] | None = None  # LayerNorm's and BatchNorm's, where the format itself says them
    activation: str = ""  # what makes probabilities of logits, where the format itself says it
    made: Counter[str] = field(default_factory=Counter)  # objects that are passed over, by their classes
    is_whole: bool = False  # whether no block can be missing, as the format says what is computed
    is_flat: bool = False  # whether the contents are tensors alone, by their names

    def tensors(self) -> Mapping[str, Any]:
        """Return the contents where they are tensors alone."""
        assert self.is_flat and isinstance(self.contents, Mapping), "whoever asks knows it"
        return self.contents


@contextmanager
def opened(place: Place, strict: bool = False) -> Iterator[Held]:
    """Open a checkpoint and give what it holds; its tensors can be read until the block ends.

    `strict` refuses a pickle with objects of classes that are not known. Raises CheckpointError for what is no checkpoint, or
    damaged; OSError.
    """
    with ExitStack() as stack:
        stack.enter_context(input.named(place.path))
        if place.is_index:
            yield _sharded(place, stack, strict)
        elif place.is_distributed:
            from .dcp import Distributed

            parts = Distributed(place.path, stack)
            files = tuple(parts.paths)
            yield Held("PyTorch distributed", parts.size, parts.budget, parts.tensors, files=files, is_flat=True)
        else:
            file = stack.enter_context(input.opened(place.path))
            budget = Budget(file.seek(0, 2))
            if kind_of(file) == "onnx":
                yield _onnx(file, place.path, stack, budget)
            else:
                yield _one(file, budget, strict, stack)


def _onnx(file: BufferedIOBase, path: Path, stack: ExitStack, budget: Budget) -> Held:
    from .onnx_file import graph_of
    from .onnx_graph import Network

    graph = graph_of(file, path, stack, budget)
    network = Network(graph, budget)
    epsilons = network.layer_norm_eps, network.batch_norm_eps
    return Held(
        "ONNX", graph.size, budget, network.tensors, graph.metadata, notes=network.notes, epsilons=epsilons,
        activation=network.activation, is_whole=True, is_flat=True,
    )  # fmt: skip


def _one(file: BufferedIOBase, budget: Budget, strict: bool, stack: ExitStack) -> Held:
    size, kind = file.seek(0, 2), kind_of(file)
    if kind == "hdf5":
        from . import hdf5_apart, keras

        arrays, epsilons = keras.as_pytorch(hdf5_apart.contents_apart(file, budget, stack, keras.OPTIMIZER), budget)
        return Held("Keras HDF5", size, budget, arrays, epsilons=epsilons, is_flat=True)
    if kind == "safetensors":
        tensors, metadata = safetensors_file.contents(file, budget)
        return Held("safetensors", size, budget, tensors, metadata, is_flat=True)
    from . import paddle
    from .torchfile import open_torch

    torch = open_torch(file, budget, strict)
    if torch.format == "pickle" and isinstance(torch.contents, dict) and paddle.is_paddle(torch.contents, budget):
        return Held(paddle.FORMAT, size, budget, paddle.as_pytorch(torch.contents, budget))
    return Held(torch.format, size, budget, torch.contents, made=torch.made)


def _sharded(place: Place, stack: ExitStack, strict: bool) -> Held:
    from .shards import Shards

    shards = Shards(place.path, stack)
    format, made = "", Counter[str]()

    def read(file: BufferedIOBase, budget: Budget) -> Mapping[object, object]:
        nonlocal format
        held = _one(file, budget, strict, stack)
        if not isinstance(held.contents, dict):
            raise CheckpointError(f"the shard holds {quote(held.contents)}", "a dictionary of tensors is wanted")
        format = held.format
        made.update(held.made)
        return held.contents

    tensors = shards.tensors(read)
    title = f"{format} in {len(shards.files)} shards"
    return Held(title, shards.size, shards.budget, tensors, files=tuple(shards.paths), made=made, is_flat=True)
