"""Running a network once more to see how each layer was made: which operator, from which arrays.

The network is written once, in `minivan.model`; here its own code tells what feeds what, through an engine that takes notes.
Nothing is kept of the arrays but what the one who watches keeps: those of a large network take gigabytes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any, Protocol, TypeAlias, cast

import numpy as np

from ..checks import Floating
from ..engines import EXACT, Engine
from ..hooks import Callback
from ..operators import Array, Derivatives, Operators
from ..paths import block_of
from .stored import Layers, OnDemand
from .ulp import round_to

Run: TypeAlias = Callable[[Engine, Callback], None]
"""Runs one network on one input: with the engine's operators, every layer shown to the hook, the input first."""


@dataclass
class Call:
    """One use of an operator: its parameters by name, the path of the layer that its x is, and of the one it made.

    `feed` gives what it read once more; None where it is not to be had any more. With an `image`, the call is looked at as if
    that had been the whole batch.
    """

    operator: str
    function: Callable[..., Array]
    parameters: dict[str, Any]
    source: str
    path: str = ""
    feed: Callable[[], Floating] | None = None
    image: int | None = None

    @cached_property
    def batch(self) -> Floating:
        """What the operator read, all images of it. Raises ValueError where that is not to be had."""
        if self.feed is None:
            raise ValueError(f"what {self.path} read is not kept")
        return self.feed()

    @cached_property
    def x(self) -> Floating:
        """What the operator read, of the call's image alone where it has one. Raises ValueError as `batch` does."""
        return self.batch if self.image is None else self.batch[self.image : self.image + 1]

    @property
    def arguments(self) -> dict[str, Any]:
        """All arguments, x among them."""
        return {"x": self.x, **self.parameters}

    def again(self, **changed: Any) -> Array:
        """Run the operator once more with some arguments changed."""
        return self.function(**{**(self.parameters if "x" in changed else self.arguments), **changed})

    def without_x(self) -> Call:
        """Return the call as it is kept when its arrays are gone."""
        return replace(self, feed=None)


class BatchCall(Call):
    """A use of an operator that reads all images together, BatchNorm's in training form: the first of its results."""

    def again(self, **changed: Any) -> Array:
        """Run the operator once more on the whole batch; with an image, return what it gives for that."""
        given = {"x": changed.pop("x", self.batch), **self.parameters, **changed}
        y = self.function(**given)[0]
        return y if self.image is None or len(y) == 1 else y[self.image : self.image + 1]


@dataclass
class GradientCall(Call):
    """One use of an operator's derivative: all its arguments are parameters. `part` is a place among several results.

    It has no x, and so no faults of layers are tried on it: see `gradient_hints`.
    """

    part: int | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """All arguments by name."""
        return self.parameters

    def again(self, **changed: Any) -> Array:
        """Run the derivative once more with some arguments changed."""
        result = self.function(**{**self.parameters, **changed})
        return result if self.part is None else result[self.part]


class OfImage(OnDemand):
    """One image of each layer that has so many, (1, ...)."""

    def __init__(self, layers: OnDemand, image: int, images: int) -> None:
        self.layers, self.image = layers, image
        super().__init__({path: None for path in layers if layers.shape(path)[:1] == (images,)})

    def __getitem__(self, path: str) -> Floating:
        if path not in self:
            raise KeyError(path)
        if isinstance(self.layers, Layers):
            shape = self.shape(path)
            size = prod(shape)
            return self.layers.piece(path, self.image * size, (self.image + 1) * size).reshape(shape)
        return self.layers[path][self.image : self.image + 1]

    def shape(self, path: str) -> tuple[int, ...]:
        return 1, *self.layers.shape(path)[1:]


class Made(OnDemand):
    """Layers that are made, or read, when they are asked for."""

    def __init__(self) -> None:
        self.ways: dict[str, tuple[tuple[int, ...], Callable[[], Floating]]] = {}
        super().__init__(self.ways)

    def put(self, path: str, shape: tuple[int, ...], way: Callable[[], Floating]) -> None:
        """Say how to come by a layer."""
        self.ways[path] = shape, way

    def __getitem__(self, path: str) -> Floating:
        return self.ways[path][1]()

    def shape(self, path: str) -> tuple[int, ...]:
        return self.ways[path][0]


@dataclass
class Replay:
    """What is known of a run: layers' values, what the layers after them were given, and the call behind each.

    `values` and `given` have those of a neighbourhood (see there), and `elsewhere` those of the trace. `calls` has all, without
    their x where they stand elsewhere; `scales` has each layer scale as the sums show it, (C, 1, 1).
    """

    values: OnDemand = field(default_factory=Made)
    given: OnDemand = field(default_factory=Made)
    elsewhere: OnDemand = field(default_factory=lambda: Layers({}))
    calls: dict[str, Call] = field(default_factory=dict)
    scales: dict[str, Floating] = field(default_factory=dict)

    def consumers(self, path: str) -> list[Call]:
        """Return the calls whose x is the layer of this path."""
        return [call for call in self.calls.values() if call.source == path]

    def of_image(self, image: int, images: int) -> Replay:
        """Return what is known of one image of a batch of so many."""
        values, given, elsewhere = (OfImage(layers, image, images) for layers in (self.values, self.given, self.elsewhere))
        calls = {path: replace(call, image=image) for path, call in self.calls.items()}
        return replace(self, values=values, given=given, elsewhere=elsewhere, calls=calls)


class Watcher(Protocol):
    """Is shown every layer: its path, what the network computed there, the call behind it, if one operator made it."""

    def __call__(self, path: str, value: Floating, call: Call | None, given: Floating) -> None: ...


class GradientWitness:
    """Derivatives, those of `exact`, noting each call until the next one."""

    def __init__(self, grad: Derivatives | None = None) -> None:
        self.right = grad or EXACT.grad
        self.last: list[tuple[GradientCall, Array]] = []  # with what it returned, each part by itself

    def __getattr__(self, operator: str) -> Callable[..., Array]:
        function = getattr(self.right, operator)
        signature = inspect.signature(function)

        def call(*args: Any, **kwargs: Any) -> Array:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            result = function(**bound.arguments)
            parts = list(enumerate(result)) if isinstance(result, tuple) else [(None, result)]
            self.last = [
                (GradientCall(operator, function, dict(bound.arguments), "", part=part), array) for part, array in parts
            ]
            return result

        return call

    def take(self, array: Array) -> GradientCall | None:
        """Return the call that made an array, if that was the last one."""
        return next((call for call, made in self.last if made is array), None)


class Witness:
    """The operators of `exact`, noting each call; `grad` are its derivatives likewise."""

    def __init__(self) -> None:
        self.last: tuple[Call, Array] | None = None  # a call, and what it returned
        self.shown: tuple[Array, str] = None, ""  # the last layer, which is what the next operator reads, and its path
        self.grad = GradientWitness()

    def __getattr__(self, operator: str) -> Callable[..., Array]:
        function = getattr(EXACT.ops, operator)
        signature = inspect.signature(function)

        def call(*args: Any, **kwargs: Any) -> Array:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            arguments = dict(bound.arguments)
            result = function(**arguments)
            x = arguments.pop("x", None)
            array, path = self.shown
            source = path if x is array else ""
            kind, made = (BatchCall, result[0]) if isinstance(result, tuple) else (Call, result)
            self.last = kind(operator, function, arguments, source, feed=lambda: x), made
            return result

        return call

    def take(self, array: Array) -> Call | None:
        """Return the call that made an array, if that was the last call; it is forgotten in any case."""
        last, self.last = self.last, None
        return last[0] if last is not None and last[1] is array else self.grad.take(array)

    def name(self, array: Array, path: str) -> None:
        """An operator whose x is this array reads the layer of this path."""
        self.shown = array, path


Giver: TypeAlias = Callable[[str, Floating, Call | None], Floating | None]
"""Is told a layer's path, what the network computed there, and the call behind it: gives what the layers after it are given."""


def watch(run: Run, substitutes: OnDemand, watcher: Watcher, rounded: str | None = None, giver: Giver | None = None) -> None:
    """Run a network on its input, and show the watcher each layer as it is made.

    Where `substitutes` has a layer of the right shape, the layers after it are computed from that instead: given a port's own
    layers, every operator is judged on what the port fed it, and an earlier error does not blur a later one. What it has not is
    rounded to the format `rounded`, where one is given, before the layers after it read it. A `giver` is asked first, and where
    it does not return None, that is what they are given: the very array that the network computed, say, with other numbers.
    """
    witness = Witness()

    def hook(path: str, array: Array) -> Array:
        call = witness.take(array)
        if call is not None:
            call.path = path
        given = None if giver is None else giver(path, np.asarray(array), call)
        if given is None:
            given = _given(path, array, substitutes, rounded)
        watcher(path, array, call, given)
        witness.name(given, path)
        return given

    run(Engine("exact, watched", ops=cast(Operators, witness), grad=cast(Derivatives, witness.grad)), hook)


def _given(path: str, array: Array, substitutes: OnDemand, rounded: str | None) -> Floating:
    """Return what the layers after a layer are given: an array of its own, so that it is known again."""
    if path in substitutes and substitutes.shape(path) == array.shape:
        return np.asarray(substitutes[path], np.float32, order="C")
    return np.asarray(array) if rounded is None else round_to(array, rounded)


def neighbourhood(path: str) -> str:
    """Return what a layer stands in: its block, or the patch embedding; '' for those with a path of one part."""
    return block_of(path) or (path.partition(".")[0] if "." in path else "")
