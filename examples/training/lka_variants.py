"""What takes the place of large kernel attention in the comparison, each a change of what minivan.model computes.

A hook puts another array in the place of one that the network made, and autograd derives that one; "without dilation" is an
operator's change. So the network stays minivan.model.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

sys.path[:0] = [str(Path(__file__).parents[2])]

from comparison import DENSE, SMALL, STACKED  # noqa: E402

from minivan import initial, model, paths  # noqa: E402
from minivan.engines.torch import Operators  # noqa: E402
from minivan.hooks import Hook  # noqa: E402
from minivan.variants import Config  # noqa: E402

BLOCK = paths.block(1, 0)
GATED, UNIT, FACTOR = (f"{BLOCK}.{path}" for path in (paths.GATED, paths.UNIT, paths.FACTOR))
NEAR, FAR = f"{UNIT}.conv0", f"{UNIT}.conv_spatial"
OWN = "own."  # before the names of tensors that a variant has and minivan.model has not

Seen = Mapping[str, torch.Tensor]
Change = Callable[[Seen, Mapping[str, torch.Tensor]], torch.Tensor]  # arrays by path, own tensors -> what takes a place


class Undilated:
    """An engine's operators, the dilated kernel's weights side by side; the map keeps its size."""

    def __init__(self, ops: Operators) -> None:
        self.ops = ops

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ops, name)

    def conv2d(self, x: torch.Tensor, *args: Any, padding: int = 0, dilation: int = 1, **rest: Any) -> torch.Tensor:
        return self.ops.conv2d(x, *args, padding=padding // dilation, **rest)


def dense(seen: Seen, own: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """One standard convolution, every channel from every channel. Weights that lie off the map wherever the kernel stands are
    left out of the sum, to which they add nothing."""
    u = seen[GATED]
    reach = min(DENSE // 2, max(u.shape[2:]) - 1)
    cut = DENSE // 2 - reach
    weight = own["dense.weight"][:, :, cut : DENSE - cut, cut : DENSE - cut]
    return F.conv2d(u, weight, own["dense.bias"], padding=reach)


def stack(seen: Seen, own: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Depthwise 3 x 3 after depthwise 3 x 3, GELU between them."""
    u = seen[GATED]
    for i in range(STACKED):
        u = F.gelu(u) if i else u
        u = F.conv2d(u, own[f"{i}.weight"], own[f"{i}.bias"], padding=SMALL // 2, groups=u.shape[1])
    return u


CHANGES: dict[str, dict[str, Change]] = {  # variant -> path -> what takes the place of the array there
    "LKA": {},
    "near kernel only": {FAR: lambda seen, own: seen[NEAR]},
    "without dilation": {},
    "without the gate": {UNIT: lambda seen, own: seen[FACTOR]},
    "added": {UNIT: lambda seen, own: seen[GATED] + seen[FACTOR]},
    "with a sigmoid": {FACTOR: lambda seen, own: seen[FACTOR].sigmoid()},
    "dense 21 x 21": {FACTOR: dense},
    "3 x 3 stack": {FAR: stack, UNIT: lambda seen, own: seen[FACTOR]},
}


class Classifier:
    """The logits of a one-block VAN with a variant's change: a `forward` of the loop's."""

    def __init__(self, config: Config, variant: str) -> None:
        self.config, self.variant = config, variant

    def __call__(self, ops: Any, x: Any, tensors: Mapping[str, Any], random: torch.Generator | None = None) -> Any:
        """x (N, C, H, W) -> (N, classes)."""
        own = {name.removeprefix(OWN): tensor for name, tensor in tensors.items() if name.startswith(OWN)}
        parameters = paths.nested({name: tensor for name, tensor in tensors.items() if not name.startswith(OWN)})
        seen: dict[str, torch.Tensor] = {}

        def change(path: str, array: torch.Tensor) -> torch.Tensor | None:
            seen[path] = array
            made = CHANGES[self.variant].get(path)
            if made is not None:
                seen[path] = made(seen, own)
            return seen[path]

        ops = Undilated(ops) if self.variant == "without dilation" else ops
        maps = model.features(ops, Hook(change), x, parameters, self.config)
        return model.classifier(ops, Hook(change), maps[-1], head=parameters["head"])


def beginning(config: Config, variant: str, seed: int) -> dict[str, np.ndarray]:
    """Return a variant's tensors before training: the network's from minivan.initial, its own drawn by the same rule.

    Layer scales begin at 1, not at 0.01: that is for deep networks, and this one has a single block.
    """
    tensors = initial.tensors(config, seed)
    tensors |= {name: np.ones_like(tensor) for name, tensor in tensors.items() if name.endswith(paths.LAYER_SCALES)}
    random, C = np.random.default_rng((seed, 1)), config.dims[0]
    own = {"dense 21 x 21": {"dense": (C, C, DENSE, DENSE)}}
    own["3 x 3 stack"] = {str(i): (C, 1, SMALL, SMALL) for i in range(STACKED)}
    for name, shape in own.get(variant, {}).items():
        deviation = math.sqrt(2 / (shape[1] * shape[2] * shape[3]))  # 2 / fan-out, which is K * K * C_out / groups
        tensors[f"{OWN}{name}.weight"] = random.normal(0, deviation, shape).astype(np.float32)
        tensors[f"{OWN}{name}.bias"] = np.zeros(C, np.float32)
    return tensors
