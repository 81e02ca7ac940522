"""Semantic FPN, written once: a feature pyramid's neck on a backbone's four maps, and a head that gives each place a class.

`ops` are the operators of an engine: see minivan.operators. The functions take their parameters under the names they have in
the checkpoints of the authors' VAN-Segmentation, which are mmsegmentation's, and hand every array they make to `hook` under
its path there. Source: Kirillov et al. 2019 (arXiv 1901.02446), figure 3; mmsegmentation's FPN and FPNHead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .geometry import POINTWISE, Kernel, stage_sizes
from .hooks import Hook
from .model import Parameters
from .operators import Array, SegmentationOperators
from .variants import RUNNING, listed

NECK, HEAD = "neck", "decode_head"
CONV_SEG = f"{HEAD}.conv_seg"  # the path of the logits
SMOOTHING = Kernel(3, padding=1)  # of the neck's outputs, and of every step of the head
MAPS = 4


@dataclass(frozen=True)
class FPNConfig:
    """The shape of a neck and head: everything the forward pass needs to know besides the tensors."""

    dims: tuple[int, ...]  # channels of the backbone's maps
    channels: int = 256  # of the neck's maps
    head_channels: int = 128
    classes: int = 150  # ADE20K's
    batch_norm_eps: float = 1e-5


def step_count(i: int) -> int:
    """Return how often map i of 0..3 is convolved on its way to the finest one: once, or at every doubling of its sides."""
    return max(1, i)


def step_of(i: int, k: int) -> str:
    """Return the path of map i's convolution k in the head: between two of them stands an upsampling, which has no tensors."""
    return f"{HEAD}.scale_heads.{i}.{2 * k}"


def parameter_shapes(config: FPNConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield every tensor of neck and head in order: its name in the checkpoint, and its shape. 53 for four maps."""
    side, c = SMOOTHING.side, config.channels
    for i, dim in enumerate(config.dims):
        yield f"{NECK}.lateral_convs.{i}.conv.weight", (c, dim, POINTWISE.side, POINTWISE.side)
        yield f"{NECK}.lateral_convs.{i}.conv.bias", (c,)
    for i in range(len(config.dims)):
        yield f"{NECK}.fpn_convs.{i}.conv.weight", (c, c, side, side)
        yield f"{NECK}.fpn_convs.{i}.conv.bias", (c,)
    for i in range(len(config.dims)):
        for k in range(step_count(i)):
            yield f"{step_of(i, k)}.conv.weight", (config.head_channels, config.head_channels if k else c, side, side)
            for part in ("weight", "bias", *RUNNING):
                yield f"{step_of(i, k)}.bn.{part}", (config.head_channels,)
    yield f"{CONV_SEG}.weight", (config.classes, config.head_channels, POINTWISE.side, POINTWISE.side)
    yield f"{CONV_SEG}.bias", (config.classes,)


def config_of(tensors: Mapping[str, Any]) -> FPNConfig:
    """Return the shape that a neck's and a head's tensors have. ValueError where they are not exactly those of one."""
    shapes = {name: tuple(np.shape(tensor)) for name, tensor in tensors.items()}
    lateral = [shapes.get(f"{NECK}.lateral_convs.{i}.conv.weight", ()) for i in range(MAPS)]
    last = shapes.get(f"{CONV_SEG}.weight", ())
    if len(last) != 4 or any(len(shape) != 4 for shape in lateral):
        raise ValueError(f"no Semantic FPN: it has {NECK}.lateral_convs.0 to {MAPS - 1} and {CONV_SEG}, convolutions 1x1")
    config = FPNConfig(tuple(shape[1] for shape in lateral), lateral[0][0], last[1], last[0])
    expected = dict(parameter_shapes(config))
    faults = [f"{name} is unknown" for name in shapes if name not in expected]
    for name, shape in expected.items():
        if shapes.get(name) != shape:
            faults.append(f"{name} has the shape {shapes[name]}, not {shape}" if name in shapes else f"{name} is missing")
    faults += [f"{name} is empty: its shape is {shape}" for name, shape in shapes.items() if 0 in shape]
    if faults:
        raise ValueError(f"these tensors are no Semantic FPN: {listed(faults)}")
    return config


def multiply_adds(config: FPNConfig, height: int, width: int) -> int:
    """Return those of the convolutions of neck and head for one image of so many pixels, zero padding included."""
    shapes, grids = dict(parameter_shapes(config)), stage_sizes(len(config.dims), height, width)
    found = math.prod(shapes[f"{CONV_SEG}.weight"]) * math.prod(grids[0])
    for i, grid in enumerate(grids):
        once = [f"{NECK}.{part}.{i}.conv.weight" for part in ("lateral_convs", "fpn_convs")]
        found += sum(math.prod(shapes[name]) for name in once) * math.prod(grid)
        for k in range(step_count(i)):  # the map's sides have been doubled k times
            found += math.prod(shapes[f"{step_of(i, k)}.conv.weight"]) * math.prod(grid) * 4**k
    return found


def neck(
    ops: SegmentationOperators, hook: Hook, features: Sequence[Array], *, lateral_convs: Parameters, fpn_convs: Parameters
) -> list[Array]:
    """Each map 1x1 to the same channels; from the coarsest down, each added to the next finer one; 3x3 over the sums.

    (N, C_i, H_i, W_i) each -> (N, C, H_i, W_i) each
    """
    maps = [hook(f"lateral_convs.{i}.conv", ops.conv2d(x, **lateral_convs[str(i)]["conv"])) for i, x in enumerate(features)]
    for i in reversed(range(len(maps) - 1)):
        maps[i] = hook(f"laterals.{i}", maps[i] + ops.upsample_nearest(maps[i + 1], maps[i].shape[2:]))
    return [
        hook(f"fpn_convs.{i}.conv", ops.conv2d(x, **fpn_convs[str(i)]["conv"], padding=SMOOTHING.padding))
        for i, x in enumerate(maps)
    ]


def conv_module(ops: SegmentationOperators, hook: Hook, x: Array, *, conv: Parameters, bn: Parameters, eps: float) -> Array:
    """3x3, BatchNorm, ReLU."""
    x = hook("conv", ops.conv2d(x, **conv, padding=SMOOTHING.padding))
    x = hook("bn", ops.batch_norm(x, **bn, eps=eps))
    return hook("activate", ops.relu(x))


def scale_head(ops: SegmentationOperators, hook: Hook, x: Array, i: int, parameters: Parameters, eps: float) -> Array:
    """Bring map i, 1/2^i the size of the finest, to that size: a convolution before each doubling. Map 0 is convolved once."""
    for k in range(step_count(i)):
        x = conv_module(ops, hook.under(str(2 * k)), x, **parameters[str(2 * k)], eps=eps)
        if i:
            x = hook(str(2 * k + 1), ops.upsample_bilinear(x, (2 * x.shape[2], 2 * x.shape[3])))
    return x


def head(
    ops: SegmentationOperators, hook: Hook, maps: Sequence[Array], *, scale_heads: Parameters, conv_seg: Parameters, eps: float
) -> Array:
    """All maps brought to the size of the finest and added; 1x1. (N, C, H_i, W_i) each -> logits (N, classes, H_0, W_0)"""
    total = scale_head(ops, hook.under("scale_heads.0"), maps[0], 0, scale_heads["0"], eps)
    for i, x in enumerate(maps[1:], start=1):
        x = scale_head(ops, hook.under(f"scale_heads.{i}"), x, i, scale_heads[str(i)], eps)
        total = hook(f"sums.{i}", total + ops.upsample_bilinear(x, total.shape[2:]))  # odd sides: halved up, doubled too far
    return hook("conv_seg", ops.conv2d(total, **conv_seg))


def segment(
    ops: SegmentationOperators, hook: Hook, features: Sequence[Array], parameters: Parameters, config: FPNConfig
) -> Array:
    """A backbone's maps at 1/4, 1/8, 1/16 and 1/32 of the input -> logits (N, classes, H / 4, W / 4)."""
    maps = neck(ops, hook.under(NECK), features, **parameters[NECK])
    return head(ops, hook.under(HEAD), maps, **parameters[HEAD], eps=config.batch_norm_eps)
