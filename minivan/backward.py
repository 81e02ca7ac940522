"""The Visual Attention Network's backward pass, written once. `grad` are the derivatives of any engine: see minivan.operators.

Each function is the counterpart of the one of the same name in minivan.model and runs its lines from last to first. `dy` is
the derivative by its output. It yields (path, derivative) for every array that the forward pass shows to a hook, in reverse
order, and returns the derivative by its input: whoever reads along stops at the deepest array of interest, and
nothing below is ever computed. `saved` holds the forward pass's arrays under the same paths.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from . import paths
from .geometry import CONV0, CONV_SPATIAL, DWCONV, PATCH_EMBEDS, Kernel
from .model import Parameters
from .operators import Array, Derivatives
from .variants import Config

Saved: TypeAlias = Mapping[str, Array]
Steps: TypeAlias = Generator[tuple[str, Array], None, Array]


class Gradients(NamedTuple):
    """What one forward and one backward pass found."""

    logits: npt.NDArray[np.floating]  # (N, classes)
    target: npt.NDArray[np.floating]  # (N, classes): what the derivative is of is the sum of target * logits
    values: dict[str, Array]  # path -> the array there
    gradients: dict[str, Array]  # path -> its derivative, of the same shape


def patch_embedding(
    grad: Derivatives, path: str, dy: Array, saved: Saved, kernel: Kernel, *, below: str, proj: Parameters, norm: Parameters,
    eps: float,
) -> Steps:  # fmt: skip
    """`below` is the path of its input. (N, C, H / stride, W / stride) -> (N, C_in, H, W)"""
    yield f"{path}.norm", dy
    dy = grad.batch_norm_input(dy, norm["running_var"], norm["weight"], eps)
    yield f"{path}.proj", dy
    size = saved[below].shape[2:]
    return grad.conv2d_input(dy, proj["weight"], size, stride=kernel.stride, padding=kernel.padding)


def lka(
    grad: Derivatives, path: str, dy: Array, saved: Saved, *, u_path: str, conv0: Parameters, conv_spatial: Parameters,
    conv1: Parameters,
) -> Steps:  # fmt: skip
    """y = u * weights(u): the product rule. `u_path` is the path of u."""
    u, weights = saved[u_path], saved[f"{path}.conv1"]
    each, size, near, far = u.shape[1], u.shape[2:], CONV0, CONV_SPATIAL
    yield path, dy
    d = dy * u
    yield f"{path}.conv1", d
    d = grad.conv2d_input(d, conv1["weight"], size)
    yield f"{path}.conv_spatial", d
    d = grad.conv2d_input(d, conv_spatial["weight"], size, padding=far.padding, dilation=far.dilation, groups=each)
    yield f"{path}.conv0", d
    return dy * weights + grad.conv2d_input(d, conv0["weight"], size, padding=near.padding, groups=each)


def attention(
    grad: Derivatives, path: str, dy: Array, saved: Saved, *, proj_1: Parameters, spatial_gating_unit: Parameters,
    proj_2: Parameters,
) -> Steps:  # fmt: skip
    """y = z + proj_2(lka(gelu(proj_1(z))))"""
    size, gelu = dy.shape[2:], f"{path}.activation"
    yield path, dy
    yield f"{path}.proj_2", dy
    d = grad.conv2d_input(dy, proj_2["weight"], size)
    d = yield from lka(grad, f"{path}.spatial_gating_unit", d, saved, u_path=gelu, **spatial_gating_unit)
    yield gelu, d
    d = grad.gelu_input(d, saved[f"{path}.proj_1"])
    yield f"{path}.proj_1", d
    return dy + grad.conv2d_input(d, proj_1["weight"], size)


def feed_forward(
    grad: Derivatives, path: str, dy: Array, saved: Saved, *, fc1: Parameters, dwconv: Parameters, fc2: Parameters
) -> Steps:
    """y = fc2(gelu(dwconv(fc1(z))))"""
    size = dy.shape[2:]
    yield f"{path}.fc2", dy
    d = grad.conv2d_input(dy, fc2["weight"], size)  # (N, C, H, W) -> (N, ratio * C, H, W)
    yield f"{path}.act", d
    d = grad.gelu_input(d, saved[f"{path}.dwconv.dwconv"])
    yield f"{path}.dwconv.dwconv", d
    d = grad.conv2d_input(d, dwconv["dwconv"]["weight"], size, padding=DWCONV.padding, groups=d.shape[1])
    yield f"{path}.fc1", d
    return grad.conv2d_input(d, fc1["weight"], size)  # (N, ratio * C, H, W) -> (N, C, H, W)


def block(
    grad: Derivatives,
    path: str,
    dy: Array,
    saved: Saved,
    *,
    norm1: Parameters,
    attn: Parameters,
    norm2: Parameters,
    mlp: Parameters,
    layer_scale_1: Array,
    layer_scale_2: Array,
    eps: float,
) -> Steps:
    """y = a + layer_scale_2 * mlp(norm2(a)) with a = x + layer_scale_1 * attention(norm1(x))"""
    yield path, dy
    d = yield from feed_forward(grad, f"{path}.mlp", layer_scale_2[:, None, None] * dy, saved, **mlp)
    yield f"{path}.norm2", d
    dy = dy + grad.batch_norm_input(d, norm2["running_var"], norm2["weight"], eps)
    yield f"{path}.layer_scale_1", dy
    d = yield from attention(grad, f"{path}.attn", layer_scale_1[:, None, None] * dy, saved, **attn)
    yield f"{path}.norm1", d
    return dy + grad.batch_norm_input(d, norm1["running_var"], norm1["weight"], eps)


def blocks(grad: Derivatives, dy: Array, i: int, saved: Saved, parameters: Parameters, config: Config) -> Steps:
    """Stage i without its LayerNorm."""
    eps, embed = config.batch_norm_eps, paths.patch_embed(i)
    for j in reversed(range(config.depths[i - 1])):
        path = paths.block(i, j)
        dy = yield from block(grad, path, dy, saved, **paths.branch(parameters, path), eps=eps)
    below = paths.INPUT if i == 1 else paths.norm(i - 1)
    kernel = PATCH_EMBEDS[i - 1]
    return (yield from patch_embedding(grad, embed, dy, saved, kernel, below=below, **parameters[embed], eps=eps))


def stage(grad: Derivatives, dy: Array, i: int, saved: Saved, parameters: Parameters, config: Config) -> Steps:
    """LayerNorm, the blocks, patch embedding."""
    norm = paths.norm(i)
    yield norm, dy
    x = saved[paths.last_blocks(config.depths)[i - 1]]
    dy = grad.layer_norm_input(dy, x, parameters[norm]["weight"], config.layer_norm_eps)
    return (yield from blocks(grad, dy, i, saved, parameters, config))


def features(grad: Derivatives, dy: Array, last: int, saved: Saved, parameters: Parameters, config: Config) -> Steps:
    """From the derivative by the output of stage `last` down to the images."""
    for i in range(last, 0, -1):
        dy = yield from stage(grad, dy, i, saved, parameters, config)
    yield paths.INPUT, dy
    return dy


def from_blocks(grad: Derivatives, dy: Array, i: int, saved: Saved, parameters: Parameters, config: Config) -> Steps:
    """From the derivative by stage i's last block, before the LayerNorm, down to the images."""
    dy = yield from blocks(grad, dy, i, saved, parameters, config)
    return (yield from features(grad, dy, i - 1, saved, parameters, config))


def classifier(grad: Derivatives, dy: Array, saved: Saved, config: Config, *, head: Parameters) -> Steps:
    """(N, classes) -> (N, C) -> (N, C, H, W)"""
    yield paths.HEAD, dy
    dy = grad.linear_input(dy, head["weight"])
    yield paths.POOL, dy
    return grad.global_average_pool_input(dy, saved[paths.norm(config.stages)].shape[2:])


def network(grad: Derivatives, dy: Array, saved: Saved, parameters: Parameters, config: Config) -> Steps:
    """From the derivative by the logits down to the images."""
    dy = yield from classifier(grad, dy, saved, config, head=parameters["head"])
    return (yield from features(grad, dy, config.stages, saved, parameters, config))


def take(steps: Iterable[tuple[str, Array]], wanted: Iterable[str]) -> dict[str, Array]:
    """Read a backward pass until every wanted path has gone by; return path -> derivative."""
    missing, found = set(wanted), {}
    for path, dy in steps:
        if path in missing:
            found[path] = dy
            missing.remove(path)
        if not missing:
            break
    return found


def logit_weights(target: npt.ArrayLike | None, logits: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Return the (N, classes) weights of the logits that `target` stands for; ValueError for what stands for none.

    `target` is a class, one class per image (N,), floating weights (classes,) or (N, classes), or None for the top classes.
    """
    n, classes = logits.shape
    target = logits.argmax(axis=1) if target is None else np.asarray(target)
    if np.issubdtype(target.dtype, np.integer) and target.shape in ((), (n,)):
        if target.size and (target.min() < 0 or target.max() >= classes):
            raise ValueError(f"the target is one of {classes} classes, 0 to {classes - 1}; got {target.tolist()}")
        chosen = target.reshape(-1, 1) == np.arange(classes)
        return np.asarray(chosen * np.ones((n, 1), logits.dtype), logits.dtype)
    if np.issubdtype(target.dtype, np.floating) and target.shape in ((classes,), (n, classes)):
        return np.broadcast_to(target, (n, classes)).astype(logits.dtype)
    raise ValueError(
        f"a target is a class, one class for each of the {n} images, or weights of the logits, ({classes},) or "
        f"({n}, {classes}); got {target.dtype} of shape {target.shape}"
    )
