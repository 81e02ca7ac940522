"""A network whose weights lie in a file: each operator reads its own when it runs, and lets them go.

Those of a large network take as much memory as all else that recording it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..checkpoint.tensor import StoredTensor
from ..checks import Floating
from ..engines import Engine
from ..operators import Array
from ..paths import nested
from ..van import VAN
from .stored import IN_MEMORY, Layers, Spool


def put_aside(model: VAN, spool: Spool) -> VAN:
    """Return a network with its weights in a spool, as long as that is open: the same operators on the same numbers.

    That is the model itself where its weights are small, and where its engine has made something else of them.
    """
    if model.plan is not None or sum(tensor.nbytes for tensor in model.tensors.values()) <= IN_MEMORY:
        return model
    for name, tensor in model.tensors.items():
        spool.put(name, tensor)
    return on_engine(model, spool.layers, model.engine)


def on_engine(model: VAN, tensors: Mapping[str, Floating], engine: Engine) -> VAN:
    """Return a network with these tensors on an engine's operators; those that lie in a file are read when they are used."""
    if not isinstance(tensors, Layers):
        return VAN(model.config, tensors, engine, model.card)
    lean = VAN.__new__(VAN)
    lean.engine, lean.config, lean.card, lean.plan = engine, model.config, model.card, None
    vars(lean).update(tensors=tensors, parameters=_Read(nested(tensors.parts), engine.array))
    return lean


class _Read(Mapping[str, Any]):
    """A module's tensors by name, and its modules' likewise, as `paths.nested` has them; read whenever they are asked for."""

    def __init__(self, tree: Mapping[str, Any], array: Callable[[Floating], Array]) -> None:
        self.tree, self.array = tree, array

    def __getitem__(self, name: str) -> Any:
        below = self.tree[name]
        if isinstance(below, dict):
            return _Read(below, self.array)
        return self.array(below.read() if isinstance(below, StoredTensor) else below)

    def __iter__(self) -> Iterator[str]:
        return iter(self.tree)

    def __len__(self) -> int:
        return len(self.tree)
