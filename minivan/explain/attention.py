"""Attention maps: what large kernel attention multiplies its input by.

LKA is u * conv1(conv_spatial(conv0(u))). The second factor is learned without a softmax or a sigmoid, so its values
are signed and unbounded: they weigh, they are no share of anything. Below zero they turn a feature's sign.
"""

from __future__ import annotations

import difflib

import numpy as np

FACTOR = ".attn.spatial_gating_unit.conv1"  # under a block's path


def attention_maps(model, x) -> dict[str, np.ndarray]:
    """Return, for each block ('block1.0' first), the factors (N, C, H, W) that LKA multiplies its input by."""
    found = {}

    def keep(path, array):
        if path.endswith(FACTOR):
            found[path.removesuffix(FACTOR)] = array

    model.features(x, hook=keep)
    return found


def most_selective(factors, count: int) -> np.ndarray:
    """Return the `count` channels of one image's factors (C, H, W) that differ most from place to place, most first.

    Selectivity is the standard deviation over places: a channel that weighs every place alike only rescales.
    """
    return np.argsort(-factors.std(axis=(1, 2)), kind="stable")[:count]


def choose_blocks(config, block: str | None) -> list[str]:
    """Return the paths of the blocks to show: the last of each stage, or what `block` names.

    That is one block ('block3.2'), a stage's blocks ('block3') or 'all'. ValueError for any other, with what comes near.
    """
    stages = {f"block{i}": [f"block{i}.{j}" for j in range(depth)] for i, depth in enumerate(config.depths, 1)}
    if block is None:
        return [blocks[-1] for blocks in stages.values()]
    every = [path for blocks in stages.values() for path in blocks]
    named = {"all": every, **stages, **{path: [path] for path in every}}
    path = block.removesuffix(FACTOR)
    if path not in named:
        near = difflib.get_close_matches(block, list(named), n=4, cutoff=0.4)
        hint = f"near it are {', '.join(near)}" if near else f"the stages are {', '.join(stages)}"
        raise ValueError(f"no block is called {block!r}; {hint}")
    return named[path]
