"""Random networks whose signal neither dies nor explodes, for tests that need weights but no training."""

import numpy as np

from minivan import fpn
from minivan.seeded import rule
from minivan.splitmix import values
from minivan.variants import Config, parameter_shapes


def random_tensors(config: Config, seed: int = 0) -> dict[str, np.ndarray]:
    """Return float32 tensors for a VAN, by the rules of `minivan.seeded`: other numbers for every seed."""
    return {name: values(f"{name}, seed {seed}", shape, *rule(name, shape)) for name, shape in parameter_shapes(config)}


def random_fpn_tensors(config: fpn.FPNConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """Return the same for the neck and head of a Semantic FPN."""
    return {name: values(f"{name}, seed {seed}", shape, *rule(name, shape)) for name, shape in fpn.parameter_shapes(config)}


def images(n: int, height: int, width: int | None = None, seed: int = 0, channels: int = 3) -> np.ndarray:
    """Return float32 (n, channels, height, width), normally distributed as normalised photographs are."""
    return np.random.default_rng(seed).normal(size=(n, channels, height, width or height)).astype(np.float32)
