"""A network's weights before it is trained, as the authors draw them.

Source: `_init_weights` of VAN-Classification's models/van.py, and torch's defaults for what that leaves alone; for a Semantic
FPN, the `init_cfg` of mmsegmentation's FPN and FPNHead, and mmcv's ConvModule.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from . import fpn, paths
from .variants import Config, parameter_shapes

DEPTHWISE = ("conv0", "conv_spatial", "dwconv")  # the last names of convolutions with a group a channel
LAYER_SCALE = 1e-2  # of every channel: at first, a block adds little to what passes through it
FPN_HEAD_DEVIATION = 0.01  # of a Semantic FPN's last convolution
HEAD_DEVIATION = 0.02  # theirs is cut at -2 and 2, a hundred deviations out: nothing is cut


def tensors(config: Config, seed: int = 0) -> dict[str, npt.NDArray[np.float32]]:
    """Return every tensor of a network to be trained, float32, by its name in the authors' checkpoint.

    A convolution's weights are normal with variance 2 / fan-out, its fan-out being K * K * C_out / groups; the head's have
    a standard deviation of 0.02. Biases are 0, normalisations' weights 1, layer scales 0.01. The same seed gives the same
    numbers with the same version of NumPy.
    """
    random = np.random.default_rng(seed)
    made = {}
    for name, shape in parameter_shapes(config):
        leaf = name.rpartition(".")[2]
        if len(shape) > 1:
            deviation = HEAD_DEVIATION if name.startswith(paths.HEAD) else math.sqrt(2 / fan_out(name, shape))
            values = random.normal(0, deviation, shape)
        elif leaf in paths.LAYER_SCALES:
            values = np.full(shape, LAYER_SCALE)
        else:
            values = np.full(shape, float(leaf in ("weight", "running_var")))
        made[name] = values.astype(np.float32)
    return made


def fpn_tensors(config: fpn.FPNConfig, seed: int = 0) -> dict[str, npt.NDArray[np.float32]]:
    """Return every tensor of a Semantic FPN to be trained, float32, by its name in mmsegmentation's checkpoint.

    The neck's convolutions are uniform with variance 2 / (fan-in + fan-out) (Xavier), the head's normal with variance
    2 / fan-out, the last one's have a standard deviation of 0.01. Biases are 0, normalisations' weights 1.
    """
    random = np.random.default_rng(seed)
    made = {}
    for name, shape in fpn.parameter_shapes(config):
        if len(shape) == 1:
            values = np.full(shape, float(name.endswith((".bn.weight", ".running_var"))))
        elif name.startswith(fpn.NECK):
            bound = math.sqrt(6 / (math.prod(shape[1:]) + fan_out(name, shape)))
            values = random.uniform(-bound, bound, shape)
        else:
            deviation = FPN_HEAD_DEVIATION if name.startswith(fpn.CONV_SEG) else math.sqrt(2 / fan_out(name, shape))
            values = random.normal(0, deviation, shape)
        made[name] = values.astype(np.float32)
    return made


def fan_out(name: str, shape: tuple[int, ...]) -> int:
    """Return how many outputs one input of a convolution reaches: K * K * C_out / groups, of weights (C_out, _, K, K)."""
    channels, _, *kernel = shape
    depthwise = name.split(".")[-2] in DEPTHWISE
    return math.prod(kernel) * (1 if depthwise else channels)
