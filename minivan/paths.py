"""The grammar of paths: how the authors' checkpoint names a network's tensors, and every array between its operators.

input                                      the images
patch_embed{i}.proj, .norm                 stage i = 1..4
block{i}.{j}.norm1, .norm2                 block j = 0.. of stage i; `block{i}.{j}` itself is its output
block{i}.{j}.attn.proj_1, .activation, .proj_2
block{i}.{j}.attn.spatial_gating_unit.conv0, .conv_spatial, .conv1
block{i}.{j}.mlp.fc1, .dwconv.dwconv, .act, .fc2
block{i}.{j}.layer_scale_1, .layer_scale_2
norm{i}                                    the stage's output
pool, head
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .errors import suggestion
from .geometry import PATCH_STRIDES, stage_stride

INPUT, POOL, HEAD = "input", "pool", "head"
UNIT = "attn.spatial_gating_unit"  # LKA, under a block's path
FACTOR = f"{UNIT}.conv1"  # what LKA multiplies its input by
GATED = "attn.activation"  # what LKA is given, u: the gate multiplies it by the factor
HIDDEN = ("mlp.fc1", "mlp.dwconv.dwconv")  # under a block's path, the MLP's layers with as many channels as are hidden
LAYER_SCALES = ("layer_scale_1", "layer_scale_2")

BEYOND = len(PATCH_STRIDES) + 1  # the stage after the last: pooling and head

_STAGED = re.compile(r"(patch_embed|block|norm)([1-9])(?:\.|$)")
_BLOCK = re.compile(r"(block([1-9])\.([0-9]+))(?:\.|$)")


def patch_embed(stage: int) -> str:
    """Return the path of a stage's patch embedding, stage from 1."""
    return f"patch_embed{stage}"


def block(stage: int, index: int) -> str:
    """Return the path of a block: stage from 1, index from 0."""
    return f"{stage_blocks(stage)}.{index}"


def stage_blocks(stage: int) -> str:
    """Return the path that all blocks of a stage lie under, stage from 1."""
    return f"block{stage}"


def norm(stage: int) -> str:
    """Return the path of a stage's LayerNorm, whose output is the stage's."""
    return f"norm{stage}"


def norms(stages: int) -> list[str]:
    """Return the paths of the stages' outputs: norm1 first."""
    return [norm(i) for i in range(1, stages + 1)]


def blocks(depths: Iterable[int]) -> list[list[str]]:
    """Return the paths of every stage's blocks, a list a stage."""
    return [[block(i, j) for j in range(depth)] for i, depth in enumerate(depths, start=1)]


def last_blocks(depths: Iterable[int]) -> list[str]:
    """Return the path of each stage's last block, what its LayerNorm reads."""
    return [paths[-1] for paths in blocks(depths)]


def stage_of(path: str) -> int | None:
    """Return the stage, from 1, that a path belongs to; None for the input, the pooling and the head."""
    match = _STAGED.match(path)
    return int(match[2]) if match else None


def block_of(path: str) -> str | None:
    """Return the path of the block that a path lies in, or is; None outside the blocks."""
    match = _BLOCK.match(path)
    return match[1] if match else None


def block_place(path: str) -> tuple[int, int] | None:
    """Return the stage, from 1, and the index, from 0, of the block that a path lies in, or is; None outside the blocks."""
    match = _BLOCK.match(path)
    return (int(match[2]), int(match[3])) if match else None


def within_block(path: str) -> str:
    """Return what a path is called under its block: 'attn.proj_1' for 'block1.0.attn.proj_1', '' for the block itself.

    Raises ValueError for a path outside the blocks.
    """
    of = block_of(path)
    if of is None:
        raise ValueError(f"{path} lies in no block")
    return path[len(of) + 1 :]


def _in_block(path: str, name: str) -> bool:
    return block_of(path) is not None and within_block(path) == name


def is_unit(path: str) -> bool:
    """Return whether a path is that of a block's LKA: the map that its gate let through."""
    return _in_block(path, UNIT)


def is_factor(path: str) -> bool:
    """Return whether a path is that of what a block's LKA multiplies its input by."""
    return _in_block(path, FACTOR)


def is_gated(path: str) -> bool:
    """Return whether a path is that of what a block's LKA is given."""
    return _in_block(path, GATED)


def is_layer_scale(path: str) -> bool:
    """Return whether a path is that of a block's layer scale, or of what is scaled by it."""
    return block_of(path) is not None and within_block(path) in LAYER_SCALES


def lies_under(path: str, above: str) -> bool:
    """Return whether a path is `above` or one of those below it: 'attn.proj_1' lies under 'attn', 'attn2' does not."""
    return path == above or path.startswith(f"{above}.")


def stride_of(path: str) -> int:
    """Return how many input pixels lie between neighbouring positions of the array at a path: 1 for the input.

    Raises ValueError for a path without positions.
    """
    if path == INPUT:
        return 1
    stage = stage_of(path)
    if stage is None:
        raise ValueError(f"{path} has no positions")
    return stage_stride(stage)


def needed_from(path: str) -> int:
    """Return the lowest stage, from 1, whose arrays a backward pass needs to reach `path`; BEYOND where it needs none.

    A stage's LayerNorm is read by the next stage: below that, nothing is needed. Its parameters need what it reads itself.
    """
    stage = stage_of(path)
    if stage is not None:
        return stage + (path == norm(stage))
    return 1 if path == INPUT else BEYOND


def parameter(name: str) -> str:
    """Return what the derivative by a tensor of the checkpoint is called: its name, but for layer scales.

    'block1.0.layer_scale_1' is the path of an array too, the sum after the scale: the scale is 'block1.0.layer_scale_1.weight'.
    """
    return f"{name}.weight" if is_layer_scale(name) else name


def branch(tree: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return what lies at a path of a nested dictionary, as `nested` makes it; KeyError where there is none."""
    below: Any = tree
    for name in path.split("."):
        below = below[name]
    found: dict[str, Any] = below
    return found


def nested(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Turn {'block1.0.attn.proj_1.weight': w} into {'block1': {'0': {'attn': {'proj_1': {'weight': w}}}}}."""
    root: dict[str, Any] = {}
    for path, tensor in tensors.items():
        *branches, leaf = path.split(".")
        node = root
        for branch in branches:
            node = node.setdefault(branch, {})
        node[leaf] = tensor
    return root


_IN_BLOCK = (
    "norm1", "attn.proj_1", "attn.activation", f"{UNIT}.conv0", f"{UNIT}.conv_spatial", f"{UNIT}.conv1", UNIT, "attn.proj_2",
    "attn", "layer_scale_1", "norm2", "mlp.fc1", "mlp.dwconv.dwconv", "mlp.act", "mlp.fc2",
)  # fmt: skip


def all_paths(depths: Iterable[int], head: bool = True) -> list[str]:
    """Return the path of every array that a hook sees, in the order in which they are made, the input first."""
    found = [INPUT]
    for i, inside in enumerate(blocks(depths), start=1):
        found += [f"{patch_embed(i)}.proj", f"{patch_embed(i)}.norm"]
        for path in inside:
            found += [*(f"{path}.{name}" for name in _IN_BLOCK), path]
        found.append(norm(i))
    return [*found, POOL, HEAD] if head else found


def check_known(wanted: Iterable[str], known: Iterable[str], kind: str = "layer") -> None:
    """Raise ValueError for a wanted path that is not among the known ones, with those that come near it."""
    paths = list(known)
    for path in wanted:
        if path not in paths:
            import difflib

            near = difflib.get_close_matches(str(path), paths, n=4, cutoff=0.5)
            begin = f"they begin with {', '.join(paths[:3])}"
            raise ValueError(f"no {kind} is called {path!r}; {suggestion(near, begin)}")
