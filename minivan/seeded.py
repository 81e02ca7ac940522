"""Networks whose weights come from a rule instead of a file, so that anyone has them, in any language.

Each tensor is made from its own name in the checkpoint by `minivan.splitmix`, in ranges under which the signal neither
dies out nor explodes through b3's 38 blocks: every layer has its say in the logits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from .splitmix import values
from .variants import Config, parameter_shapes

RULES = {  # the last part of a tensor's name -> (low, high, shift); `weight` of convolutions and of the head: see `rule`
    "bias": (-128, 127, 10),
    "weight": (768, 1279, 10),  # of a normalisation: 0.75 to 1.25
    "running_mean": (-128, 127, 10),
    "running_var": (512, 1535, 10),  # 0.5 to 1.5
    "layer_scale_1": (-128, 127, 9),
    "layer_scale_2": (-128, 127, 9),
}


def rule(name: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return (low, high, shift) of one parameter. A weight with fan-in F (the product of all axes but the first) is a whole
    number in -1024..1023 times 2^-(9 + b), b the smallest whole number with 4^b >= F: a standard deviation near 1 / sqrt(F).
    """
    if len(shape) == 1:
        return RULES[name.rpartition(".")[2]]
    b = 0
    while 4**b < math.prod(shape[1:]):
        b += 1
    return -1024, 1023, 9 + b


def tensors(config: Config) -> dict[str, npt.NDArray[np.float32]]:
    """Return every parameter of a network of this shape, float32, under its name in the authors' checkpoint."""
    return filled(parameter_shapes(config))


def filled(shapes: Iterable[tuple[str, tuple[int, ...]]]) -> dict[str, npt.NDArray[np.float32]]:
    """Return a tensor for each name and shape, of what stands on a network too: `fpn.parameter_shapes` has such."""
    return {name: values(name, shape, *rule(name, shape)) for name, shape in shapes}


def images(shape: tuple[int, int, int, int]) -> npt.NDArray[np.float32]:
    """Return the input that goes with the seeded networks: float32 in -2..2."""
    return values("input", shape, -2048, 2047, 10)
