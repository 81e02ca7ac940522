"""Random networks whose signal neither dies nor explodes, for tests that need weights but no training."""

import numpy as np

from minivan.variants import parameter_shapes


def random_tensors(config, seed=0):
    """Return float32 tensors for a VAN: fan-in scaled convolutions, BatchNorm statistics and scales away from 0 and 1."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in parameter_shapes(config):
        if name.endswith("running_var"):
            values = rng.uniform(0.5, 2.0, shape)
        elif "layer_scale" in name:
            # The gate squares what it is given: many blocks at full scale would square it again and again.
            depth = config.depths[int(name[len("block")]) - 1]
            values = rng.uniform(0.1, 0.5, shape) * min(1, 3 / depth)
        elif name.endswith("weight") and len(shape) == 1:
            values = rng.uniform(0.5, 1.5, shape)
        elif name.endswith("weight"):
            fan_in = np.prod(shape[1:])
            values = rng.normal(size=shape) / np.sqrt(fan_in)
        else:
            values = rng.normal(size=shape) * 0.1
        tensors[name] = values.astype(np.float32)
    return tensors


def images(n, height, width=None, seed=0):
    """Return float32 (n, 3, height, width), normally distributed as normalised photographs are."""
    return np.random.default_rng(seed).normal(size=(n, 3, height, width or height)).astype(np.float32)
