"""An engine: who computes a network's operators, and what else it can do."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from sys import is_finalizing
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import TOO_LATE, CannotCompute
from ..fpn import FPNConfig
from ..operators import Array, Derivatives, Operators
from ..variants import Config


class Plan(Protocol):
    """A network compiled as a whole, for one set of weights."""

    def __call__(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return logits (N, classes) for normalised images (N, 3, H, W)."""
        ...

    def features(self, x: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """Return each stage's output, (N, C, H / 4, W / 4) first."""
        ...


class MapPlan(Protocol):
    """A backbone with the neck and head of a Semantic FPN, compiled as a whole, for one set of weights."""

    def __call__(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return logits (N, classes, H / 4, W / 4), rounded up, for normalised images (N, 3, H, W)."""
        ...


CompileFPN = Callable[
    [Config, Mapping[str, npt.NDArray[np.float32]], FPNConfig, Mapping[str, npt.NDArray[np.float32]]], MapPlan
]


@dataclass(frozen=True)
class Engine:
    """Who computes. The name is for people: nothing is decided by it.

    `ops` are the operators that minivan.model calls and `grad`, where there are any, their derivatives: modules, or anything
    with these functions (see minivan.operators). Where an engine has `compile(config, tensors)`, the plan that it returns
    gives logits and features; what needs the arrays between operators, a hook or a derivative, is computed by `ops`. So does
    that of `compile_fpn(config, tensors, fpn_config, fpn_tensors)` for a network with the neck and head of a Semantic FPN. One
    that has `choose(config, images, H, W)` leaves logits and features to the engine that this returns for so many images (None:
    not known) of a size.
    """

    name: str
    ops: Operators
    grad: Derivatives | None = None
    compile: Callable[[Config, Mapping[str, npt.NDArray[np.float32]]], Plan] | None = None
    array: Callable[[npt.NDArray[np.floating[Any]]], Array] = np.asarray  # from NumPy to the engine's own kind of array
    size: tuple[int, int] | None = None  # the one (H, W) that it takes, where it takes only one
    choose: Callable[[Config, int | None, int, int], Engine] | None = None
    compile_fpn: CompileFPN | None = None
    choose_fpn: Callable[[Config, FPNConfig, int | None, int, int], Engine] | None = None  # as `choose`, for such a network
    bfloat16: Callable[[], Engine] | None = None  # gives the engine that computes in that in its place, if one does
    one_by_one: bool = False  # whether its plan, too, takes as long for images at once as for each alone

    def __str__(self) -> str:
        return self.name

    @property
    def hooks(self) -> bool:
        """Whether its answers come from operators that a hook sees; a compiled network's are computed beside it."""
        return self.compile is None and self.choose is None

    @property
    def batches(self) -> bool:
        """Whether several images at once are worth waiting for: operators, which fill memory, take as long for each alone."""
        return self.compile is not None and not self.one_by_one

    @property
    def halved(self) -> bool:
        """Whether it computes in bfloat16: it is then what it gives in its own place."""
        return self.bfloat16 is not None and self.bfloat16().compile is self.compile

    @property
    def gradients(self) -> bool:
        """Whether it has derivatives."""
        return self.grad is not None

    @property
    def trains(self) -> bool:
        """Whether it has a training form: BatchNorm by the statistics of the batch, and derivatives by the parameters."""
        return hasattr(self.grad, "batch_norm_training_input") and hasattr(self.ops, "batch_norm_training")

    @property
    def segments(self) -> bool:
        """Whether it has what the neck and the head of a Semantic FPN call besides: ReLU and two upsamplings."""
        return all(hasattr(self.ops, operator) for operator in ("relu", "upsample_nearest", "upsample_bilinear"))

    @property
    def any_size(self) -> bool:
        """Whether it takes images of any height and width from 32 pixels on."""
        return self.size is None


class Deferred:
    """A module that is imported when the first of its functions is asked for: a table of engines costs nothing to make."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._loaded: ModuleType | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copying and pickling ask for what a module need not have
            raise AttributeError(name)
        if self._loaded is None:  # kept: when the interpreter ends, nothing is imported any more
            if is_finalizing():
                raise CannotCompute(TOO_LATE)
            self._loaded = importlib.import_module(self._module)
        return getattr(self._loaded, name)

    def __getstate__(self) -> dict[str, Any]:
        return {"_module": self._module, "_loaded": None}

    def __repr__(self) -> str:
        return f"<{self._module}>"
