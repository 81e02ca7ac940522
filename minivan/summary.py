"""What a VAN costs, stage by stage: shapes, parameters and multiply-adds, counted from its tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass

from . import paths
from .geometry import stage_sizes
from .variants import Config, is_learned, parameter_shapes


@dataclass(frozen=True)
class Row:
    """One stage, or the head: `output` is (C, H, W), or (classes,)."""

    name: str
    output: tuple[int, ...]
    blocks: int
    parameters: int
    multiply_adds: int


def summarise(config: Config, height: int = 224, width: int = 224) -> list[Row]:
    """Return a row per stage and one for the head.

    Parameters are what training learns: running means and variances are not counted. Multiply-adds are those of the
    convolutions and the head for one image, zero padding included, as the paper counts them; normalisation, GELU and the
    gate are left out.
    """
    sizes = stage_sizes(config.stages, height, width)
    parameters, multiply_adds = [0] * (config.stages + 1), [0] * (config.stages + 1)
    for name, shape in parameter_shapes(config):
        stage = paths.stage_of(name)
        place = config.stages if stage is None else stage - 1
        if is_learned(name):
            parameters[place] += math.prod(shape)
        if len(shape) == 4:  # (C_out, C_in / groups, K, K): as many products at each output position
            multiply_adds[place] += math.prod(shape) * math.prod(sizes[place])
        elif len(shape) == 2:
            multiply_adds[place] += math.prod(shape)
    outputs: list[tuple[int, ...]] = [(dim, *size) for dim, size in zip(config.dims, sizes, strict=True)]
    outputs.append((config.classes,))
    names = [f"stage {i}" for i in range(1, config.stages + 1)] + ["head"]
    return [Row(*row) for row in zip(names, outputs, [*config.depths, 0], parameters, multiply_adds, strict=True)]


def totals(rows: list[Row]) -> tuple[int, int]:
    """Return the parameters and the multiply-adds of all rows together."""
    return sum(row.parameters for row in rows), sum(row.multiply_adds for row in rows)
