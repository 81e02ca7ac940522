"""The Visual Attention Network's backward pass, written once. `grad` are the derivatives of any engine: see minivan.operators.

Each function is the counterpart of the one of the same name in minivan.model and runs its lines from last to first. `dy` is
the derivative by its output. It yields (path, derivative) for every array that the forward pass shows to a hook, in reverse
order, and returns the derivative by its input: whoever reads along stops at the deepest array of interest, and
nothing below is ever computed. After an array come the parameters of the operator that made it: (name, Later), computed only
where somebody asks. `saved` holds the forward pass's arrays under the same paths.

BatchNorm whose parameters have no running statistics is in training form: its statistics are the batch's, and are derived, too.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from . import paths
from .geometry import CONV0, CONV_SPATIAL, DWCONV, PATCH_EMBEDS, POINTWISE, Kernel
from .model import Parameters
from .operators import Array, Derivatives
from .variants import Config, is_learned, parameter_shapes

PARAMETERS = "parameters"  # all that training learns, in the place of a path


@dataclass(frozen=True)
class Later:
    """A derivative by a parameter that is computed when it is asked for, and while the pass stands where it was shown."""

    make: Callable[[], Array]


Saved: TypeAlias = Mapping[str, Array]
Steps: TypeAlias = Generator[tuple[str, Array | Later], Array | None, Array]


class Gradients(NamedTuple):
    """What one forward and one backward pass found."""

    logits: npt.NDArray[np.floating]  # (N, classes)
    target: npt.NDArray[np.floating]  # (N, classes): what the derivative is of is the sum of target * logits
    values: dict[str, Array]  # path or parameter's name -> the array there
    gradients: dict[str, Array]  # path or parameter's name -> its derivative, of the same shape


def shown(path: str, dy: Array) -> Steps:
    """Show the derivative by the array at a path. What is sent in answer, if anything, takes its place: see `Hook`."""
    replacement = yield path, dy
    return dy if replacement is None else replacement


def convolution(
    grad: Derivatives, path: str, dy: Array, saved: Saved, source: str, conv: Parameters, kernel: Kernel = POINTWISE
) -> Steps:
    """y = conv2d(x, weight, bias), of the x at the path `source`, in as many groups as the weight's shape says."""
    dy = yield from shown(path, dy)
    x, weight = saved[source], conv["weight"]
    groups = x.shape[1] // weight.shape[1]
    laid = dict(stride=kernel.stride, padding=kernel.padding, dilation=kernel.dilation, groups=groups)
    yield f"{path}.weight", Later(lambda: grad.conv2d_weight(dy, x, weight.shape[2:], **laid))
    yield f"{path}.bias", Later(lambda: grad.conv2d_bias(dy))
    return grad.conv2d_input(dy, weight, x.shape[2:], **laid)


def batch_norm(grad: Derivatives, path: str, dy: Array, saved: Saved, source: str, norm: Parameters, eps: float) -> Steps:
    """y = (x - mean) / sqrt(var + eps) * weight + bias, by the running statistics, or by those of x where there are none."""
    dy = yield from shown(path, dy)

    @cache
    def by_parameters() -> tuple[Array, Array]:
        if "running_var" in norm:
            return grad.batch_norm_parameters(dy, saved[source], norm["running_mean"], norm["running_var"], eps)
        return grad.batch_norm_training_parameters(dy, saved[source], eps)

    yield f"{path}.weight", Later(lambda: by_parameters()[0])
    yield f"{path}.bias", Later(lambda: by_parameters()[1])
    if "running_var" in norm:
        return grad.batch_norm_input(dy, norm["running_var"], norm["weight"], eps)
    return grad.batch_norm_training_input(dy, saved[source], norm["weight"], eps)


def layer_norm(grad: Derivatives, path: str, dy: Array, saved: Saved, source: str, norm: Parameters, eps: float) -> Steps:
    """y = (x - mean) / sqrt(var + eps) * weight + bias, at each position over its channels."""
    dy = yield from shown(path, dy)
    x = saved[source]
    by_parameters = cache(lambda: grad.layer_norm_parameters(dy, x, eps))
    yield f"{path}.weight", Later(lambda: by_parameters()[0])
    yield f"{path}.bias", Later(lambda: by_parameters()[1])
    return grad.layer_norm_input(dy, x, norm["weight"], eps)


def patch_embedding(
    grad: Derivatives, path: str, dy: Array, saved: Saved, kernel: Kernel, *, below: str, proj: Parameters, norm: Parameters,
    eps: float,
) -> Steps:  # fmt: skip
    """`below` is the path of its input. (N, C, H / stride, W / stride) -> (N, C_in, H, W)"""
    dy = yield from batch_norm(grad, f"{path}.norm", dy, saved, f"{path}.proj", norm, eps)
    return (yield from convolution(grad, f"{path}.proj", dy, saved, below, proj, kernel))


def lka(
    grad: Derivatives, path: str, dy: Array, saved: Saved, *, u_path: str, conv0: Parameters, conv_spatial: Parameters,
    conv1: Parameters,
) -> Steps:  # fmt: skip
    """y = u * weights(u): the product rule. `u_path` is the path of u."""
    u, weights = saved[u_path], saved[f"{path}.conv1"]
    dy = yield from shown(path, dy)
    d = dy * u
    d = yield from convolution(grad, f"{path}.conv1", d, saved, f"{path}.conv_spatial", conv1)
    d = yield from convolution(grad, f"{path}.conv_spatial", d, saved, f"{path}.conv0", conv_spatial, CONV_SPATIAL)
    return dy * weights + (yield from convolution(grad, f"{path}.conv0", d, saved, u_path, conv0, CONV0))


def attention(
    grad: Derivatives, path: str, dy: Array, saved: Saved, *, below: str, proj_1: Parameters, spatial_gating_unit: Parameters,
    proj_2: Parameters,
) -> Steps:  # fmt: skip
    """y = z + proj_2(lka(gelu(proj_1(z)))), of the z at the path `below`"""
    unit, gelu = f"{path}.spatial_gating_unit", f"{path}.activation"
    dy = yield from shown(path, dy)
    d = yield from convolution(grad, f"{path}.proj_2", dy, saved, unit, proj_2)
    d = yield from lka(grad, unit, d, saved, u_path=gelu, **spatial_gating_unit)
    d = yield from shown(gelu, d)
    d = grad.gelu_input(d, saved[f"{path}.proj_1"])
    return dy + (yield from convolution(grad, f"{path}.proj_1", d, saved, below, proj_1))


def feed_forward(
    grad: Derivatives, path: str, dy: Array, saved: Saved, *, below: str, fc1: Parameters, dwconv: Parameters, fc2: Parameters
) -> Steps:
    """y = fc2(gelu(dwconv(fc1(z)))), of the z at the path `below`"""
    inner = f"{path}.dwconv.dwconv"
    d = yield from convolution(grad, f"{path}.fc2", dy, saved, f"{path}.act", fc2)  # (N, C, H, W) -> (N, ratio * C, H, W)
    d = yield from shown(f"{path}.act", d)
    d = grad.gelu_input(d, saved[inner])
    d = yield from convolution(grad, inner, d, saved, f"{path}.fc1", dwconv["dwconv"], DWCONV)
    return (yield from convolution(grad, f"{path}.fc1", d, saved, below, fc1))  # (N, ratio * C, H, W) -> (N, C, H, W)


def block(
    grad: Derivatives,
    path: str,
    dy: Array,
    saved: Saved,
    *,
    below: str,
    norm1: Parameters,
    attn: Parameters,
    norm2: Parameters,
    mlp: Parameters,
    layer_scale_1: Array,
    layer_scale_2: Array,
    eps: float,
) -> Steps:
    """y = a + layer_scale_2 * mlp(norm2(a)) with a = x + layer_scale_1 * attention(norm1(x)), of the x at the path `below`"""
    first, second = (f"{path}.{name}" for name in paths.LAYER_SCALES)
    dy = yield from shown(path, dy)
    yield f"{second}.weight", Later(lambda: grad.layer_scale_weight(dy, saved[f"{path}.mlp.fc2"]))
    d = layer_scale_2[:, None, None] * dy
    d = yield from feed_forward(grad, f"{path}.mlp", d, saved, below=f"{path}.norm2", **mlp)
    d = yield from batch_norm(grad, f"{path}.norm2", d, saved, first, norm2, eps)
    da = yield from shown(first, dy + d)
    yield f"{first}.weight", Later(lambda: grad.layer_scale_weight(da, saved[f"{path}.attn"]))
    d = layer_scale_1[:, None, None] * da
    d = yield from attention(grad, f"{path}.attn", d, saved, below=f"{path}.norm1", **attn)
    return da + (yield from batch_norm(grad, f"{path}.norm1", d, saved, below, norm1, eps))


def blocks(grad: Derivatives, dy: Array, i: int, saved: Saved, parameters: Parameters, config: Config) -> Steps:
    """Stage i without its LayerNorm."""
    eps, embed = config.batch_norm_eps, paths.patch_embed(i)
    for j in reversed(range(config.depths[i - 1])):
        path, below = paths.block(i, j), paths.block(i, j - 1) if j else f"{embed}.norm"
        dy = yield from block(grad, path, dy, saved, below=below, **paths.branch(parameters, path), eps=eps)
    below = paths.INPUT if i == 1 else paths.norm(i - 1)
    kernel = PATCH_EMBEDS[i - 1]
    return (yield from patch_embedding(grad, embed, dy, saved, kernel, below=below, **parameters[embed], eps=eps))


def stage(grad: Derivatives, dy: Array, i: int, saved: Saved, parameters: Parameters, config: Config) -> Steps:
    """LayerNorm, the blocks, patch embedding."""
    norm, last = paths.norm(i), paths.last_blocks(config.depths)[i - 1]
    dy = yield from layer_norm(grad, norm, dy, saved, last, parameters[norm], config.layer_norm_eps)
    return (yield from blocks(grad, dy, i, saved, parameters, config))


def features(grad: Derivatives, dy: Array, last: int, saved: Saved, parameters: Parameters, config: Config) -> Steps:
    """From the derivative by the output of stage `last` down to the images."""
    for i in range(last, 0, -1):
        dy = yield from stage(grad, dy, i, saved, parameters, config)
    return (yield from shown(paths.INPUT, dy))


def from_blocks(grad: Derivatives, dy: Array, i: int, saved: Saved, parameters: Parameters, config: Config) -> Steps:
    """From the derivative by stage i's last block, before the LayerNorm, down to the images."""
    dy = yield from blocks(grad, dy, i, saved, parameters, config)
    return (yield from features(grad, dy, i - 1, saved, parameters, config))


def classifier(grad: Derivatives, dy: Array, saved: Saved, config: Config, *, head: Parameters) -> Steps:
    """(N, classes) -> (N, C) -> (N, C, H, W)"""
    dy = yield from shown(paths.HEAD, dy)
    yield f"{paths.HEAD}.weight", Later(lambda: grad.linear_weight(dy, saved[paths.POOL]))
    yield f"{paths.HEAD}.bias", Later(lambda: grad.linear_bias(dy))
    d = yield from shown(paths.POOL, grad.linear_input(dy, head["weight"]))
    return grad.global_average_pool_input(d, saved[paths.norm(config.stages)].shape[2:])


def network(grad: Derivatives, dy: Array, saved: Saved, parameters: Parameters, config: Config) -> Steps:
    """From the derivative by the logits down to the images."""
    dy = yield from classifier(grad, dy, saved, config, head=parameters["head"])
    return (yield from features(grad, dy, config.stages, saved, parameters, config))


def take(steps: Iterable[tuple[str, Array | Later]], wanted: Iterable[str]) -> dict[str, Array]:
    """Read a backward pass until everything that is wanted, paths and parameters, has gone by; return name -> derivative."""
    missing, found = set(wanted), {}
    for path, dy in steps:
        if path in missing:
            found[path] = dy.make() if isinstance(dy, Later) else dy
            missing.remove(path)
        if not missing:
            break
    return found


def names_of(wrt: str | Iterable[str], config: Config) -> dict[str, str]:
    """Return what somebody may want derivatives by, a path, a parameter's name, several, or 'parameters': name -> step.

    The step is what the backward pass shows it as. ValueError for a name that is none, with those that are near it, and where
    a layer scale and the array after it, which have one name in a checkpoint, are both asked for by it.
    """
    tensors = [name for name, _ in parameter_shapes(config)]
    learned = {name: paths.parameter(name) for name in tensors if is_learned(name)}
    known = [*paths.all_paths(config.depths, bool(config.classes)), *learned.values()]
    found: dict[str, str] = {}
    for name in [wrt] if isinstance(wrt, str) else wrt:
        steps = learned if name == PARAMETERS else {name: name}
        twice = next((n for n, step in steps.items() if found.get(n, step) != step), None)
        if twice:
            both = f"a layer scale and the array after it are both called {twice}"
            raise ValueError(f"{both}: ask for the array in a call of its own, or for the scale as {paths.parameter(twice)}")
        if name in tensors and not is_learned(name):
            raise ValueError(f"{name} has no derivative: training does not learn it, but gathers it from the batches")
        if name != PARAMETERS:
            paths.check_known([name], known, "layer or parameter")
        found |= steps
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
