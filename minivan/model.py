"""The Visual Attention Network, written once. `ops` is any engine: a module with the operators of minivan.reference.

The functions take their parameters under the names they have in the authors' checkpoint, and hand every array they
make to `tap` under its path there. Source: Guo et al. 2022 (arXiv 2202.09741), figure 3 and section 3.2, and the
authors' classification/models/van.py.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable

import numpy as np

from .card import Card
from .variants import PATCH_STRIDES, Config, parameter_shapes

SMALLEST_SIDE = 32  # pixels: the last stage works at 1/32 of the input

ENGINES = {"numpy": "minivan.reference", "exact": "minivan.ops", "fast": "minivan.fast"}


class Tap:
    """Hands each array of a forward pass to `callback(path, array)`; what the callback returns, if anything, replaces it."""

    def __init__(self, callback: Callable | None, path: str = ""):
        self.callback, self.path = callback, path

    def under(self, name) -> Tap:
        return Tap(self.callback, f"{self.path}.{name}" if self.path else str(name))

    def __call__(self, name: str, array):
        if self.callback is None:
            return array
        path = self.under(name).path if name else self.path
        replacement = self.callback(path, array)
        if replacement is None:
            return array
        replacement = np.asarray(replacement, array.dtype)
        if replacement.shape != array.shape:
            raise ValueError(f"what replaces {path} must have its shape {array.shape}, got {replacement.shape}")
        return replacement


def patch_embed(ops, tap, x, stride, proj, norm, eps):
    """Overlapping patches: a strided convolution, then BatchNorm. (N, C_in, H, W) -> (N, C, H / stride, W / stride)"""
    padding = proj["weight"].shape[-1] // 2
    x = tap("proj", ops.conv2d(x, **proj, stride=stride, padding=padding))
    return tap("norm", ops.batch_norm(x, **norm, eps=eps))


def lka(ops, tap, u, conv0, conv_spatial, conv1):
    """Large kernel attention: u times what its 23 x 23 neighbourhood says about it. No softmax, no sigmoid."""
    channels = u.shape[1]
    near = tap("conv0", ops.conv2d(u, **conv0, padding=2, groups=channels))  # 5x5, each channel by itself
    far = tap("conv_spatial", ops.conv2d(near, **conv_spatial, padding=9, dilation=3, groups=channels))  # 7x7, 3 apart
    weights = tap("conv1", ops.conv2d(far, **conv1))  # 1x1: the channels mix
    return tap("", u * weights)


def attention(ops, tap, z, proj_1, spatial_gating_unit, proj_2):
    """1x1, GELU, LKA, 1x1, and z added again: a residual that the paper's figure leaves out."""
    u = tap("proj_1", ops.conv2d(z, **proj_1))
    u = tap("activation", ops.gelu(u))
    u = lka(ops, tap.under("spatial_gating_unit"), u, **spatial_gating_unit)
    u = tap("proj_2", ops.conv2d(u, **proj_2))
    return tap("", z + u)


def mlp(ops, tap, z, fc1, dwconv, fc2):
    """Widen, look at the 3x3 neighbourhood, GELU, narrow."""
    hidden = tap("fc1", ops.conv2d(z, **fc1))  # (N, C, H, W) -> (N, ratio * C, H, W)
    hidden = tap("dwconv.dwconv", ops.conv2d(hidden, **dwconv["dwconv"], padding=1, groups=hidden.shape[1]))
    hidden = tap("act", ops.gelu(hidden))
    return tap("fc2", ops.conv2d(hidden, **fc2))  # (N, ratio * C, H, W) -> (N, C, H, W)


def block(ops, tap, x, norm1, attn, norm2, mlp_parameters, layer_scale_1, layer_scale_2, eps):
    """Attention, then MLP, each behind BatchNorm and added to x with a learned scale per channel. (N, C, H, W), unchanged"""
    z = tap("norm1", ops.batch_norm(x, **norm1, eps=eps))
    z = attention(ops, tap.under("attn"), z, **attn)
    x = tap("layer_scale_1", x + layer_scale_1[:, None, None] * z)
    z = tap("norm2", ops.batch_norm(x, **norm2, eps=eps))
    z = mlp(ops, tap.under("mlp"), z, **mlp_parameters)
    return tap("", x + layer_scale_2[:, None, None] * z)


def stage(ops, tap, x, i, parameters, config):
    """Stage i of 1..4: patch embedding, the blocks, LayerNorm over channels."""
    embed = parameters[f"patch_embed{i}"]
    x = patch_embed(ops, tap.under(f"patch_embed{i}"), x, PATCH_STRIDES[i - 1], **embed, eps=config.batch_norm_eps)
    for j in range(config.depths[i - 1]):
        p = parameters[f"block{i}"][str(j)]
        x = block(
            ops, tap.under(f"block{i}.{j}"), x, p["norm1"], p["attn"], p["norm2"], p["mlp"],
            p["layer_scale_1"], p["layer_scale_2"], config.batch_norm_eps,
        )  # fmt: skip
    return tap(f"norm{i}", ops.layer_norm(x, **parameters[f"norm{i}"], eps=config.layer_norm_eps))


def features(ops, tap, x, parameters, config):
    """The output of each stage: four maps at 1/4, 1/8, 1/16 and 1/32 of the input."""
    outputs = []
    for i in range(1, config.stages + 1):
        x = stage(ops, tap, x, i, parameters, config)
        outputs.append(x)
    return outputs


def head(ops, tap, x, parameters):
    """(N, C, H, W) -> (N, C) -> (N, classes)"""
    x = tap("pool", ops.global_average_pool(x))
    return tap("head", ops.linear(x, **parameters["head"]))


def tree(tensors: dict) -> dict:
    """Turn {'block1.0.attn.proj_1.weight': w} into {'block1': {'0': {'attn': {'proj_1': {'weight': w}}}}}."""
    root: dict = {}
    for path, tensor in tensors.items():
        *branches, leaf = path.split(".")
        node = root
        for branch in branches:
            node = node.setdefault(branch, {})
        node[leaf] = tensor
    return root


class VAN:
    """A VAN with its weights, on one engine.

    `tensors` maps the names of `variants.parameter_shapes(config)` to floating arrays of those shapes, which are rounded to
    float32; ValueError names what is missing, unknown, misshapen or not floating. `engine` is 'exact', 'numpy', 'fast', or
    any module that supplies the operators. 'fast' compiles the network as a whole: what needs the arrays between its
    operators, a tap or a gradient, is computed by the operators of 'exact'.
    """

    def __init__(self, config: Config, tensors: dict, engine="exact", card: Card | None = None):
        if engine not in ENGINES and not hasattr(engine, "conv2d"):
            raise ValueError(f"no engine is called {engine!r}; the engines are {', '.join(ENGINES)}")
        self.config, self.card = config, card or Card("unnamed")
        self.engine = engine if isinstance(engine, str) else engine.__name__
        self.tensors = {name: np.asarray(tensors[name], np.float32) for name in check_tensors(config, tensors)}
        self.parameters = tree(self.tensors)
        self.plan = None
        if engine == "fast":
            self.plan = importlib.import_module(ENGINES[engine]).Plan(config, self.tensors)
        elif not isinstance(engine, str):
            self.ops = engine

    @functools.cached_property
    def ops(self):
        """The module of operators that this model calls, imported when it is first needed."""
        return importlib.import_module(ENGINES["exact" if self.engine == "fast" else self.engine])

    def __call__(self, x: np.ndarray, tap: Callable | None = None) -> np.ndarray:
        """Return float32 logits (N, classes) for float32 images (N, 3, H, W) with H, W >= 32, already normalised.

        `tap(path, array)` is shown every operator's output under its path in the checkpoint, 'block1.0.attn.proj_1' say,
        in order; an array that it returns takes the place of the one it was shown. Raises ValueError for another shape
        or dtype, and for a bare backbone, which has features but no classes.
        """
        if not self.config.classes:
            raise ValueError("these weights are a backbone without a head: they give features, not classes")
        if self.plan and tap is None:
            return self.plan(check_images(x))
        tap = Tap(tap)
        maps = features(self.ops, tap, check_images(x), self.parameters, self.config)
        return np.asarray(head(self.ops, tap, maps[-1], self.parameters), np.float32)

    def features(self, x: np.ndarray, tap: Callable | None = None) -> list[np.ndarray]:
        """Return each stage's output after its LayerNorm, (N, C, H / 4, W / 4) first; arguments as for a call."""
        if self.plan and tap is None:
            return self.plan.features(check_images(x))
        maps = features(self.ops, Tap(tap), check_images(x), self.parameters, self.config)
        return [np.asarray(y, np.float32) for y in maps]

    def gradients(self, x: np.ndarray, target=None, wrt=("input",)) -> dict[str, np.ndarray]:
        """Return the derivative of a logit by the images ('input') and by any array that a tap sees: path -> array.

        x is as for a call. `target` is a class, one class per image (N,), or floating weights of the logits, (classes,)
        or (N, classes), whose weighted sum is then derived; without it, each image's top class. Every derivative has the
        shape of the array it belongs to. The backward pass stops at the deepest of `wrt`. Raises ValueError for an
        unknown path or class.
        """
        from .grad import backward

        return backward.gradients(self, x, target, wrt).gradients


def check_images(x) -> np.ndarray:
    """Return x as float32 (N, 3, H, W); ValueError for another shape, a dtype that is not floating, or a side below 32."""
    x = np.asarray(x)
    if x.ndim != 4 or x.shape[1] != 3:
        raise ValueError(f"images must have the shape (N, 3, H, W), got {x.shape}")
    if not np.issubdtype(x.dtype, np.floating):
        raise ValueError(f"images must be floating and normalised (see minivan.image.prepare), got dtype {x.dtype}")
    if min(x.shape[2:]) < SMALLEST_SIDE:
        raise ValueError(f"images must be at least {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels, got {x.shape[2]} x {x.shape[3]}")
    return x.astype(np.float32, copy=False)


def check_tensors(config: Config, tensors: dict) -> list[str]:
    """Return the names of a network's tensors in order; ValueError where `tensors` does not hold exactly these."""
    shapes = dict(parameter_shapes(config))
    faults = [f"{name} is missing" for name in shapes if name not in tensors]
    for name, tensor in tensors.items():
        if name not in shapes:
            faults.append(f"{name} is unknown")
        elif np.shape(tensor) != shapes[name]:
            faults.append(f"{name} has the shape {np.shape(tensor)}, not {shapes[name]}")
        elif not np.issubdtype(np.asarray(tensor).dtype, np.floating):
            faults.append(f"{name} has the dtype {np.asarray(tensor).dtype}, which is not floating")
    if faults:
        more = f" (and {len(faults) - 5} more)" if len(faults) > 5 else ""
        raise ValueError(f"these tensors are not a VAN of {config}: {'; '.join(faults[:5])}{more}")
    return list(shapes)
