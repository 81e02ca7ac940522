"""Running a network once more to see how each layer was made: which operator, from which arrays.

The network is written once, in `minivan.model`; here its own code tells what feeds what, through an engine that takes notes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .. import ops
from ..engines import Engine


@dataclass
class Call:
    """One use of an operator: its name, its arguments by name, the path of the layer that its x is, and of the one it made."""

    operator: str
    arguments: dict
    source: str
    path: str = ""

    def again(self, **changed):
        """Run the operator once more with some arguments changed."""
        return getattr(ops, self.operator)(**{**self.arguments, **changed})


@dataclass
class Replay:
    """What a run showed: each layer's value, and the call behind it where a single operator made it."""

    values: dict[str, np.ndarray] = field(default_factory=dict)  # path -> what the network computed there
    given: dict[str, np.ndarray] = field(default_factory=dict)  # path -> what the layers after it were given
    calls: dict[str, Call] = field(default_factory=dict)

    def consumers(self, path: str) -> list[Call]:
        """Return the calls whose x is the layer of this path."""
        return [call for call in self.calls.values() if call.source == path]


class _Witness:
    """The operators of `exact`, noting each call."""

    def __init__(self):
        self.last = None
        self.paths = {}  # id of an array -> its path; `kept` holds the arrays, so that no id is used twice
        self.kept = []

    def __getattr__(self, operator):
        function = getattr(ops, operator)
        signature = inspect.signature(function)

        def call(*args, **kwargs):
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            result = function(*args, **kwargs)
            x = bound.arguments["x"]
            self.last = Call(operator, dict(bound.arguments), self.paths.get(id(x), "")), result
            return result

        return call


def replay(run: Callable, substitutes: dict[str, np.ndarray]) -> Replay:
    """Call `run(engine, hook)`, which runs a network on its input, and return how each layer came about.

    Where `substitutes` has a layer, the layers after it are computed from that instead: given a port's own layers, every
    operator is judged on what the port fed it, and an earlier error does not blur a later one.
    """
    witness, seen = _Witness(), Replay()

    def hook(path, array):
        if witness.last is not None and witness.last[1] is array:
            call = witness.last[0]
            call.path = path
            seen.calls[path] = call
        witness.last = None
        seen.values[path] = array
        substitute = substitutes.get(path)
        given = array
        if substitute is not None and substitute.shape == array.shape:
            given = np.array(substitute, np.float32, order="C")  # a copy: every layer is an object of its own
        seen.given[path] = given
        witness.paths[id(given)] = path
        witness.kept.append(given)
        return given

    run(Engine("exact, witnessed", witness), hook)
    return seen
