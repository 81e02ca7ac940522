"""A forward pass in training form, and the backward pass from it: BatchNorm by the statistics of the batch that it sees.

The network is that of minivan.model and minivan.backward: BatchNorm's parameters come without running statistics, and the
operators are an engine's, whose `batch_norm` is then `batch_norm_training`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from . import backward, model, paths
from .checks import Float32, check_floating
from .engines import Engine
from .floating import undisturbed
from .hooks import Callback, Hook
from .model import Parameters
from .operators import Array, Derivatives, Operators, TrainingOperators
from .variants import Config

STATISTICS = ("batch_mean", "batch_var")  # of a BatchNorm in training form, under its path


class BatchStatistics:
    """An engine's operators with BatchNorm by the statistics of the batch, which are kept in the order of the calls."""

    def __init__(self, ops: Any) -> None:
        self.ops = ops
        self.kept: list[tuple[Array, Array]] = []

    def __getattr__(self, operator: str) -> Any:
        return getattr(self.ops, operator)

    def batch_norm(self, x: Array, weight: Array, bias: Array, eps: float = 1e-5) -> Array:
        """x (N, C, H, W), weight and bias (C,) -> (N, C, H, W)."""
        y, *statistics = self.ops.batch_norm_training(x, weight, bias, eps)
        self.kept.append((statistics[0], statistics[1]))
        return y


@dataclass(frozen=True)
class TrainingPass:
    """What a forward pass in training form leaves behind: `VAN.training_pass` runs one.

    `arrays` has every array that a hook sees by its path, the images under 'input', and the statistics of each BatchNorm's
    batch, (C,), under PATH.batch_mean and PATH.batch_var, biased. Arrays are of the engine's own kind.
    """

    engine: Engine
    config: Config
    parameters: Parameters  # without running statistics
    arrays: dict[str, Array]

    def __repr__(self) -> str:
        """How much it holds, and not the arrays themselves, which are large."""
        return f"<TrainingPass of {len(self.arrays[paths.INPUT])} images, {len(self.arrays)} arrays, engine {self.engine}>"

    @property
    def logits(self) -> npt.NDArray[np.floating]:
        """The logits, (N, classes): float32 on `exact`, float64 on `numpy`."""
        return np.asarray(self.arrays[paths.HEAD])

    def gradients(self, dlogits: npt.ArrayLike, wrt: str | Iterable[str] = backward.PARAMETERS) -> dict[str, Array]:
        """Return the derivatives of a loss whose own by the logits is `dlogits` (N, classes): name -> array.

        `wrt` is 'parameters' for all that training learns, a parameter's name, a path, or several, as for `VAN.gradients`.
        The derivatives are summed over the batch: for the mean of a loss, `dlogits` has the divisor in it. May be called
        more than once. Raises ValueError for another shape or dtype, and for an unknown name.
        """
        slopes = np.asarray(dlogits)
        check_floating(dlogits=slopes)
        if slopes.shape != self.logits.shape:
            raise ValueError(f"dlogits must have the shape of the logits, {self.logits.shape}, got {slopes.shape}")
        names = backward.names_of(wrt, self.config)
        with undisturbed():
            found = backward.take(self.steps(slopes.astype(self.logits.dtype)), names.values())
        return {name: found[step] for name, step in names.items()}

    def steps(self, dlogits: npt.NDArray[np.floating]) -> backward.Steps:
        """Return the backward pass itself, to be read as far as somebody wants to: see minivan.backward."""
        grad = cast(Derivatives, self.engine.grad)
        return backward.network(grad, self.engine.array(dlogits), self.arrays, self.parameters, self.config)

    def running_statistics(self, tensors: Mapping[str, npt.ArrayLike], momentum: float = 0.1) -> dict[str, Float32]:
        """Return BatchNorm's running statistics after this batch, by their names in a checkpoint: (C,) each, float32.

        `tensors` has those before it under the same names. `momentum` is the share of this batch's: PyTorch's is 0.1. The
        running variance takes the batch's unbiased one.
        """
        found: dict[str, Float32] = {}
        ops = cast(TrainingOperators, self.engine.ops)
        for path in (name.removesuffix(".batch_mean") for name in self.arrays if name.endswith(".batch_mean")):
            names = f"{path}.running_mean", f"{path}.running_var"
            mean, var = (np.asarray(tensors[name], np.float32) for name in names)
            batch_mean, batch_var = (np.asarray(self.arrays[f"{path}.{part}"]) for part in STATISTICS)
            n, _, h, w = self.arrays[path].shape
            with undisturbed():
                new = ops.batch_norm_update(mean, var, batch_mean, batch_var, n * h * w, momentum)
                found |= {name: np.asarray(value, np.float32) for name, value in zip(names, new, strict=True)}
        return found


def forward(
    engine: Engine, images: Float32, parameters: Parameters, config: Config, hook: Callback | None = None
) -> TrainingPass:
    """Run a network in training form on images (N, C, H, W); `parameters` are its learned tensors, see paths.nested.

    Raises ValueError for a batch of which some BatchNorm sees a single value of each channel.
    """
    ops = BatchStatistics(engine.ops)
    x = engine.array(images)
    arrays: dict[str, Array] = {paths.INPUT: x}

    def keep(path: str, array: Array) -> Array:
        changed = None if hook is None else hook(path, array)
        arrays[path] = array if changed is None else changed
        if ops.kept:  # this is what BatchNorm has just given
            for part, values in zip(STATISTICS, ops.kept.pop(), strict=True):
                arrays[f"{path}.{part}"] = values
        return arrays[path]

    maps = model.features(cast(Operators, ops), Hook(keep), x, parameters, config)
    model.classifier(cast(Operators, ops), Hook(keep), maps[-1], head=parameters["head"])
    return TrainingPass(engine, config, parameters, arrays)
