"""The Visual Attention Network's backward pass, written once. `grad` is minivan.grad or minivan.grad.reference.

Each function is the counterpart of the one of the same name in minivan.model and runs its lines from last to first. `dy` is
the derivative by its output. It yields (path, derivative) for every array that the forward pass shows to a tap, in reverse
order, and returns the derivative by its input: whoever reads along stops at the deepest array of interest, and
nothing below is ever computed. `saved` holds the forward pass's arrays under the same paths.
"""

from __future__ import annotations

import difflib
import re
from typing import NamedTuple

import numpy as np

from ..model import Tap
from ..model import head as head_of_model
from ..variants import PATCH_STRIDES

INPUT = "input"  # the path of the images themselves


class Gradients(NamedTuple):
    """What one forward and one backward pass found."""

    logits: np.ndarray  # (N, classes)
    target: np.ndarray  # (N, classes): what the derivative is of is the sum of target * logits
    values: dict  # path -> the array there
    gradients: dict  # path -> its derivative, of the same shape


def patch_embed(grad, path, dy, saved, below, stride, proj, norm, eps):
    """`below` is the path of patch_embed's input. (N, C, H / stride, W / stride) -> (N, C_in, H, W)"""
    yield f"{path}.norm", dy
    dy = grad.batch_norm_input(dy, norm["running_var"], norm["weight"], eps)
    yield f"{path}.proj", dy
    size = saved[below].shape[2:]
    return grad.conv2d_input(dy, proj["weight"], size, stride=stride, padding=proj["weight"].shape[-1] // 2)


def lka(grad, path, dy, saved, u_path, conv0, conv_spatial, conv1):
    """y = u * weights(u): the product rule."""
    u, weights = saved[u_path], saved[f"{path}.conv1"]
    channels, size = u.shape[1], u.shape[2:]
    yield path, dy
    d = dy * u
    yield f"{path}.conv1", d
    d = grad.conv2d_input(d, conv1["weight"], size)
    yield f"{path}.conv_spatial", d
    d = grad.conv2d_input(d, conv_spatial["weight"], size, padding=9, dilation=3, groups=channels)
    yield f"{path}.conv0", d
    return dy * weights + grad.conv2d_input(d, conv0["weight"], size, padding=2, groups=channels)


def attention(grad, path, dy, saved, proj_1, spatial_gating_unit, proj_2):
    """y = z + proj_2(lka(gelu(proj_1(z))))"""
    size = dy.shape[2:]
    yield path, dy
    yield f"{path}.proj_2", dy
    d = grad.conv2d_input(dy, proj_2["weight"], size)
    d = yield from lka(grad, f"{path}.spatial_gating_unit", d, saved, f"{path}.activation", **spatial_gating_unit)
    yield f"{path}.activation", d
    d = grad.gelu_input(d, saved[f"{path}.proj_1"])
    yield f"{path}.proj_1", d
    return dy + grad.conv2d_input(d, proj_1["weight"], size)


def mlp(grad, path, dy, saved, fc1, dwconv, fc2):
    """y = fc2(gelu(dwconv(fc1(z))))"""
    size = dy.shape[2:]
    yield f"{path}.fc2", dy
    d = grad.conv2d_input(dy, fc2["weight"], size)  # (N, C, H, W) -> (N, ratio * C, H, W)
    yield f"{path}.act", d
    d = grad.gelu_input(d, saved[f"{path}.dwconv.dwconv"])
    yield f"{path}.dwconv.dwconv", d
    d = grad.conv2d_input(d, dwconv["dwconv"]["weight"], size, padding=1, groups=d.shape[1])
    yield f"{path}.fc1", d
    return grad.conv2d_input(d, fc1["weight"], size)  # (N, ratio * C, H, W) -> (N, C, H, W)


def block(grad, path, dy, saved, norm1, attn, norm2, mlp_parameters, layer_scale_1, layer_scale_2, eps):
    """y = a + layer_scale_2 * mlp(norm2(a)) with a = x + layer_scale_1 * attention(norm1(x))"""
    yield path, dy
    d = yield from mlp(grad, f"{path}.mlp", layer_scale_2[:, None, None] * dy, saved, **mlp_parameters)
    yield f"{path}.norm2", d
    dy = dy + grad.batch_norm_input(d, norm2["running_var"], norm2["weight"], eps)
    yield f"{path}.layer_scale_1", dy
    d = yield from attention(grad, f"{path}.attn", layer_scale_1[:, None, None] * dy, saved, **attn)
    yield f"{path}.norm1", d
    return dy + grad.batch_norm_input(d, norm1["running_var"], norm1["weight"], eps)


def blocks(grad, dy, i, saved, parameters, config):
    """Stage i without its LayerNorm."""
    for j in reversed(range(config.depths[i - 1])):
        p = parameters[f"block{i}"][str(j)]
        dy = yield from block(
            grad, f"block{i}.{j}", dy, saved, p["norm1"], p["attn"], p["norm2"], p["mlp"],
            p["layer_scale_1"], p["layer_scale_2"], config.batch_norm_eps,
        )  # fmt: skip
    embed = parameters[f"patch_embed{i}"]
    below = INPUT if i == 1 else f"norm{i - 1}"
    steps = patch_embed(
        grad, f"patch_embed{i}", dy, saved, below, PATCH_STRIDES[i - 1], **embed, eps=config.batch_norm_eps
    )
    return (yield from steps)


def stage(grad, dy, i, saved, parameters, config):
    """LayerNorm, the blocks, patch embedding."""
    yield f"norm{i}", dy
    x = saved[f"block{i}.{config.depths[i - 1] - 1}"]
    dy = grad.layer_norm_input(dy, x, parameters[f"norm{i}"]["weight"], config.layer_norm_eps)
    return (yield from blocks(grad, dy, i, saved, parameters, config))


def features(grad, dy, last, saved, parameters, config):
    """From the derivative by the output of stage `last` down to the images."""
    for i in range(last, 0, -1):
        dy = yield from stage(grad, dy, i, saved, parameters, config)
    yield INPUT, dy


def from_blocks(grad, dy, i, saved, parameters, config):
    """From the derivative by stage i's last block, before the LayerNorm, down to the images."""
    dy = yield from blocks(grad, dy, i, saved, parameters, config)
    yield from features(grad, dy, i - 1, saved, parameters, config)


def head(grad, dy, saved, config, head):
    """(N, classes) -> (N, C) -> (N, C, H, W)"""
    yield "head", dy
    dy = grad.linear_input(dy, head["weight"])
    yield "pool", dy
    return grad.global_average_pool_input(dy, saved[f"norm{config.stages}"].shape[2:])


def network(grad, dy, saved, parameters, config):
    """From the derivative by the logits down to the images."""
    dy = yield from head(grad, dy, saved, config, parameters["head"])
    yield from features(grad, dy, config.stages, saved, parameters, config)


def take(steps, wrt) -> dict:
    """Read a backward pass until every path of `wrt` has gone by; return path -> derivative."""
    missing, found = set(wrt), {}
    for path, dy in steps:
        if path in missing:
            found[path] = dy
            missing.remove(path)
        if not missing:
            break
    return found


def gradients(model, x, target=None, wrt=(INPUT,)) -> Gradients:
    """Run the network on images x forward and as far backward as `wrt` needs; see VAN.gradients for the arguments."""
    from .. import grad

    if model.engine == "numpy":
        from . import reference as grad
    wrt = [wrt] if isinstance(wrt, str) else list(wrt)
    saved = forward(model, x, wrt)
    target = weights_of(target, saved["head"])
    found = take(network(grad, target, saved, model.parameters, model.config), wrt)
    return Gradients(saved["head"], target, {path: saved[path] for path in wrt}, {path: found[path] for path in wrt})


def forward(model, x, wrt) -> dict:
    """Run the network on images x; return path -> array for what the backward pass to `wrt` needs, 'head' in any case."""
    last = f"norm{model.config.stages}"
    known, saved = {INPUT: None}, {INPUT: np.asarray(x)}
    first = min((lowest_stage(path) for path in wrt), default=1)

    def keep(path, array):
        known[path] = None
        if lowest_stage(path) >= first:
            saved[path] = array

    if model.engine == "fast" and set(wrt) <= {last, "pool", "head"}:  # it has the stages' outputs, nothing between
        saved[last] = model.features(x)[-1]
        head_of_model(model.ops, Tap(keep), saved[last], model.parameters)
    else:
        model(x, tap=keep)
        check_paths(wrt, known)
    return saved


def lowest_stage(path) -> int:
    """Return the lowest stage whose arrays the backward pass needs to reach `path`: what lies below is not kept."""
    numbered = re.match(r"(patch_embed|block|norm)([1-4])", path)
    if numbered:
        return int(numbered[2]) + (numbered[1] == "norm")  # norm1 is what stage 2 reads
    return 1 if path == INPUT else 5


def check_paths(wrt, known) -> None:
    """Raise ValueError for a path that no tap sees, with those that come near it."""
    for path in wrt:
        if path not in known:
            near = difflib.get_close_matches(str(path), list(known), n=4, cutoff=0.5)
            hint = f"near it are {', '.join(near)}" if near else f"they begin with {', '.join(list(known)[:3])}"
            raise ValueError(f"no layer is called {path!r}; {hint}")


def weights_of(target, logits) -> np.ndarray:
    """Return the (N, classes) weights of the logits that `target` stands for; ValueError for what stands for none."""
    n, classes = logits.shape
    target = logits.argmax(axis=1) if target is None else np.asarray(target)
    if np.issubdtype(target.dtype, np.integer) and target.shape in ((), (n,)):
        if target.size and (target.min() < 0 or target.max() >= classes):
            raise ValueError(f"the target is one of {classes} classes, 0 to {classes - 1}; got {target.tolist()}")
        return (target.reshape(-1, 1) == np.arange(classes)).astype(logits.dtype) * np.ones((n, 1), logits.dtype)
    if np.issubdtype(target.dtype, np.floating) and target.shape in ((classes,), (n, classes)):
        return np.broadcast_to(target, (n, classes)).astype(logits.dtype)
    raise ValueError(
        f"a target is a class, one class for each of the {n} images, or weights of the logits, ({classes},) or "
        f"({n}, {classes}); got {target.dtype} of shape {target.shape}"
    )
