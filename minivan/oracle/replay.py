"""Running a network once more to see how each layer was made: which operator, from which arrays.

The network is written once, in `minivan.model`; here its own code tells what feeds what, through an engine that takes notes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import numpy as np

from ..checks import Floating
from ..engines import EXACT, Engine
from ..hooks import Callback
from ..operators import Array, Operators
from .ulp import round_to

Run: TypeAlias = Callable[[Engine, Callback], None]
"""Runs one network on one input: with the engine's operators, every layer shown to the hook, the input first."""


@dataclass
class Call:
    """One use of an operator: its arguments by name, the path of the layer that its x is, and of the one it made."""

    operator: str
    function: Callable[..., Array]
    arguments: dict[str, Any]
    source: str
    path: str = ""

    def again(self, **changed: Any) -> Array:
        """Run the operator once more with some arguments changed."""
        return self.function(**{**self.arguments, **changed})


@dataclass
class Replay:
    """What a run showed: each layer's value, and the call behind it where a single operator made it."""

    values: dict[str, Floating] = field(default_factory=dict)  # path -> what the network computed there
    given: dict[str, Floating] = field(default_factory=dict)  # path -> what the layers after it were given
    calls: dict[str, Call] = field(default_factory=dict)

    def consumers(self, path: str) -> list[Call]:
        """Return the calls whose x is the layer of this path."""
        return [call for call in self.calls.values() if call.source == path]


class Witness:
    """The operators of `exact`, noting each call."""

    def __init__(self) -> None:
        self.last: tuple[Call, Array] | None = None  # a call, and what it returned
        self.paths: dict[int, str] = {}  # id of an array -> its path; `kept` holds the arrays, so that no id is used twice
        self.kept: list[Array] = []

    def __getattr__(self, operator: str) -> Callable[..., Array]:
        function = getattr(EXACT.ops, operator)
        signature = inspect.signature(function)

        def call(*args: Any, **kwargs: Any) -> Array:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            arguments = dict(bound.arguments)
            result = function(**arguments)
            self.last = Call(operator, function, arguments, self.paths.get(id(arguments["x"]), "")), result
            return result

        return call

    def take(self, array: Array) -> Call | None:
        """Return the call that made an array, if that was the last call; it is forgotten in any case."""
        last, self.last = self.last, None
        return last[0] if last is not None and last[1] is array else None

    def name(self, array: Array, path: str) -> None:
        """From now on, an operator whose x is this array reads the layer of this path."""
        self.paths[id(array)] = path
        self.kept.append(array)


def replay(run: Run, substitutes: Mapping[str, Floating], rounded: str | None = None) -> Replay:
    """Run a network on its input, and return how each layer came about.

    Where `substitutes` has a layer, the layers after it are computed from that instead: given a port's own layers, every
    operator is judged on what the port fed it, and an earlier error does not blur a later one. What it has not is rounded to
    the format `rounded`, where one is given, before the layers after it read it.
    """
    witness, seen = Witness(), Replay()

    def hook(path: str, array: Array) -> Array:
        call = witness.take(array)
        if call is not None:
            call.path = path
            seen.calls[path] = call
        seen.values[path] = array
        substitute = substitutes.get(path)
        given = array
        if substitute is not None and substitute.shape == array.shape:
            given = np.array(substitute, np.float32, order="C")  # a copy: every layer is an object of its own
        elif rounded is not None:
            given = round_to(array, rounded)
        seen.given[path] = given
        witness.name(given, path)
        return given

    run(Engine("exact, watched", ops=cast(Operators, witness)), hook)
    return seen
