"""The Visual Attention Network, written once. `ops` are the operators of any engine: see minivan.operators.

The functions take their parameters under the names they have in the authors' checkpoint, and hand every array they
make to `hook` under its path there. Source: Guo et al. 2022 (arXiv 2202.09741), figure 3 and section 3.2, and the
authors' classification/models/van.py. The way back is minivan.backward, function by function.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from . import paths
from .geometry import CONV0, CONV_SPATIAL, DWCONV, PATCH_EMBEDS, Kernel
from .hooks import Hook
from .operators import Array, Operators
from .variants import Config

Parameters: TypeAlias = Mapping[str, Any]  # a module's tensors by name, and its modules' likewise: see paths.nested


def patch_embedding(
    ops: Operators, hook: Hook, x: Array, kernel: Kernel, *, proj: Parameters, norm: Parameters, eps: float
) -> Array:
    """Overlapping patches: a strided convolution, then BatchNorm. (N, C_in, H, W) -> (N, C, H / stride, W / stride)"""
    x = hook("proj", ops.conv2d(x, **proj, stride=kernel.stride, padding=kernel.padding))
    return hook("norm", ops.batch_norm(x, **norm, eps=eps))


def lka(ops: Operators, hook: Hook, u: Array, conv0: Parameters, conv_spatial: Parameters, conv1: Parameters) -> Array:
    """Large kernel attention: u times what its 23 x 23 neighbourhood says about it. No softmax, no sigmoid."""
    each, near, far = u.shape[1], CONV0, CONV_SPATIAL  # depthwise: a group a channel
    v = hook("conv0", ops.conv2d(u, **conv0, padding=near.padding, groups=each))  # 5x5
    v = ops.conv2d(v, **conv_spatial, padding=far.padding, dilation=far.dilation, groups=each)  # 7x7, 3 apart
    v = hook("conv_spatial", v)
    weights = hook("conv1", ops.conv2d(v, **conv1))  # 1x1: the channels mix
    return hook("", u * weights)


def attention(
    ops: Operators, hook: Hook, z: Array, proj_1: Parameters, spatial_gating_unit: Parameters, proj_2: Parameters
) -> Array:
    """1x1, GELU, LKA, 1x1, and z added again: a residual that the paper's figure leaves out."""
    u = hook("proj_1", ops.conv2d(z, **proj_1))
    u = hook("activation", ops.gelu(u))
    u = lka(ops, hook.under("spatial_gating_unit"), u, **spatial_gating_unit)
    u = hook("proj_2", ops.conv2d(u, **proj_2))
    return hook("", z + u)


def feed_forward(ops: Operators, hook: Hook, z: Array, fc1: Parameters, dwconv: Parameters, fc2: Parameters) -> Array:
    """The authors' Mlp: widen, look at the 3x3 neighbourhood, GELU, narrow."""
    h = hook("fc1", ops.conv2d(z, **fc1))  # (N, C, H, W) -> (N, ratio * C, H, W)
    h = hook("dwconv.dwconv", ops.conv2d(h, **dwconv["dwconv"], padding=DWCONV.padding, groups=h.shape[1]))
    h = hook("act", ops.gelu(h))
    return hook("fc2", ops.conv2d(h, **fc2))  # (N, ratio * C, H, W) -> (N, C, H, W)


def block(
    ops: Operators,
    hook: Hook,
    x: Array,
    *,
    norm1: Parameters,
    attn: Parameters,
    norm2: Parameters,
    mlp: Parameters,
    layer_scale_1: Array,
    layer_scale_2: Array,
    eps: float,
) -> Array:
    """Attention, then MLP, each behind BatchNorm and added to x with a learned scale per channel. (N, C, H, W), unchanged"""
    z = hook("norm1", ops.batch_norm(x, **norm1, eps=eps))
    z = attention(ops, hook.under("attn"), z, **attn)
    x = hook("layer_scale_1", x + layer_scale_1[:, None, None] * z)
    z = hook("norm2", ops.batch_norm(x, **norm2, eps=eps))
    z = feed_forward(ops, hook.under("mlp"), z, **mlp)
    return hook("", x + layer_scale_2[:, None, None] * z)


def stage(ops: Operators, hook: Hook, x: Array, i: int, parameters: Parameters, config: Config) -> Array:
    """Stage i of 1..4: patch embedding, the blocks, LayerNorm over channels."""
    eps, embed, norm = config.batch_norm_eps, paths.patch_embed(i), paths.norm(i)
    x = patch_embedding(ops, hook.under(embed), x, PATCH_EMBEDS[i - 1], **parameters[embed], eps=eps)
    for j in range(config.depths[i - 1]):
        path = paths.block(i, j)
        x = block(ops, hook.under(path), x, **paths.branch(parameters, path), eps=eps)
    return hook(norm, ops.layer_norm(x, **parameters[norm], eps=config.layer_norm_eps))


def features(ops: Operators, hook: Hook, x: Array, parameters: Parameters, config: Config) -> list[Array]:
    """The output of each stage: four maps at 1/4, 1/8, 1/16 and 1/32 of the input."""
    outputs = []
    for i in range(1, config.stages + 1):
        x = stage(ops, hook, x, i, parameters, config)
        outputs.append(x)
    return outputs


def classifier(ops: Operators, hook: Hook, x: Array, *, head: Parameters) -> Array:
    """(N, C, H, W) -> (N, C) -> (N, classes)"""
    x = hook("pool", ops.global_average_pool(x))
    return hook("head", ops.linear(x, **head))
