"""The test vectors of what trains: operators' ways back, and BatchNorm by the statistics of its batch.

A way back, OPERATOR_backward, is given the operator's x and dy, the derivative by what it gave, and gives the derivatives of
all that it read: dx, dweight, dbias. Whole numbers first, as in `cases`: their sums are exact in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeAlias, cast

import numpy as np

from .. import seeded
from ..checks import Floating
from ..engines import Engine
from ..geometry import CONV_SPATIAL, PATCH_EMBEDS, POINTWISE, Kernel, output_side
from ..hooks import Callback, Hook
from ..operators import Array, Derivatives, TrainingOperators
from ..paths import INPUT
from .cases import UPSAMPLINGS, Case, Tensor, drawn, written
from .replay import Run

WHOLE, REAL = (-4, 4, 0), (-2048, 2047, 10)
Arguments: TypeAlias = dict[str, Any]


def training_cases() -> Iterator[Case]:
    """Yield every test vector of what trains."""
    three = Kernel(3, padding=1)
    yield _convolution("integers_3x3_stride2", (2, 3, 7, 6), (4, 3), PATCH_EMBEDS[1])
    yield _convolution("integers_7x7_dilation3", (2, 3, 11, 9), (3, 1), CONV_SPATIAL, "VAN's conv_spatial", groups=3)
    yield _convolution("integers_groups", (1, 4, 6, 5), (6, 2), three, groups=2)
    yield _convolution("integers_1x1", (2, 5, 3, 4), (3, 5), POINTWISE)
    yield _convolution("real_7x7_stride4", (2, 3, 17, 16), (5, 3), PATCH_EMBEDS[0], real=True)
    yield _convolution("real_1x1", (2, 32, 5, 5), (16, 32), POINTWISE, real=True)
    yield from _norms()
    x = drawn("gelu_backward/real/x", (2, 3, 8, 8), -2048, 2047, 9)
    yield Case("gelu_backward", "real", "rounded", x, dy=_dy("gelu_backward/real", (2, 3, 8, 8), REAL))
    x = drawn("relu_backward/integers/x", (2, 3, 4, 4), *WHOLE)
    yield Case("relu_backward", "integers", "exact", x, dy=_dy("relu_backward/integers", (2, 3, 4, 4), WHOLE),
               note="where x is 0, so is dx")  # fmt: skip
    for operator in UPSAMPLINGS:
        yield _upsampling(operator, "doubled", (2, 3, 4, 5), (8, 10), "exact", WHOLE)
        yield _upsampling(operator, "real", (1, 3, 5, 4), (13, 11), "rounded", REAL)
    shape = 2, 4, 3, 3
    for name, kind, numbers in (("integers", "exact", WHOLE), ("real", "rounded", REAL)):
        key = f"layer_scale_backward/{name}"
        scale = {"scale": drawn(f"{key}/scale", shape[1:2], *numbers)}
        yield Case("layer_scale_backward", name, kind, drawn(f"{key}/x", shape, *numbers), scale, dy=_dy(key, shape, numbers))
    key = "linear_backward/integers"
    yield Case("linear_backward", "integers", "exact", drawn(f"{key}/x", (3, 8), *WHOLE), {
        "weight": drawn(f"{key}/weight", (5, 8), *WHOLE)}, dy=_dy(key, (3, 5), WHOLE))  # fmt: skip
    key = "global_average_pool_backward/integers"
    yield Case("global_average_pool_backward", "integers", "exact", drawn(f"{key}/x", (2, 3, 4, 2), *WHOLE),
               dy=_dy(key, (2, 3), (-64, 64, 0)), note="eight positions: every share is exact")  # fmt: skip
    logits = drawn("cross_entropy_backward/real/x", (4, 10), -2048, 2047, 8)
    yield Case("cross_entropy_backward", "real", "rounded", logits, {"target": written(3, 0, 9, 5)}, note="of the sum")
    sure = written(40, 0, -40, 0, 40, 0, shape=(2, 3))
    yield Case("cross_entropy_backward", "sure", "rounded", sure, {"target": written(0, 0)},
               note="p - 1 of a p near 1 is minus the others, whose digits cancel in p - 1")  # fmt: skip


def _dy(key: str, shape: tuple[int, ...], numbers: tuple[int, int, int]) -> Tensor:
    return drawn(f"{key}/dy", shape, *numbers)


def _convolution(
    name: str, x_shape: tuple[int, ...], channels: tuple[int, int], kernel: Kernel, note: str = "", real: bool = False,
    groups: int = 1,
) -> Case:  # fmt: skip
    key, numbers = f"conv2d_backward/{name}", REAL if real else WHOLE
    usual = Kernel._field_defaults
    attributes = {part: value for part, value in kernel._asdict().items() if value != usual.get(part, value)}
    attributes |= {"groups": groups} if groups != 1 else {}
    sides = (output_side(side, kernel) for side in x_shape[2:])
    parameters = {"weight": drawn(f"{key}/weight", (*channels, kernel.side, kernel.side), *numbers)}
    dy = _dy(key, (x_shape[0], channels[0], *sides), numbers)
    x = drawn(f"{key}/x", x_shape, *numbers)
    return Case("conv2d_backward", name, "rounded" if real else "exact", x, parameters, attributes, note, dy)


def _upsampling(
    operator: str, name: str, shape: tuple[int, ...], size: tuple[int, int], kind: str, numbers: tuple[int, int, int]
) -> Case:
    key = f"{operator}_backward/{name}"
    dy = _dy(key, (*shape[:2], *size), numbers)
    return Case(f"{operator}_backward", name, kind, drawn(f"{key}/x", shape, *numbers), attributes={"size": size}, dy=dy)


def _norms() -> Iterator[Case]:
    """Yield the cases of BatchNorm, in both forms, and of LayerNorm."""

    def parameters(key: str, channels: int, *parts: str) -> dict[str, Tensor]:
        return {part: drawn(f"{key}/{part}", (channels,), *seeded.RULES[part]) for part in parts}

    running = "running_mean", "running_var"
    for name, shape, shift in (
        ("real", (2, 5, 4, 3), 9), ("two_values", (2, 3, 1, 1), 9), ("small_variance", (2, 3, 3, 3), 19),
    ):  # fmt: skip
        key = f"batch_norm_training/{name}"
        x, eps = drawn(f"{key}/x", shape, -2048, 2047, shift), {"eps": 1e-5}
        note = "a wrong eps, and the unbiased variance, show at once" if shift == 19 else ""
        yield Case("batch_norm_training", name, "rounded", x, parameters(key, shape[1], "weight", "bias", *running), eps, note)
        weight, back = parameters(key, shape[1], "weight"), "batch_norm_training_backward"
        yield Case(back, name, "rounded", x, weight, eps, note, _dy(f"{back}/{name}", shape, REAL))
    shape, key = (2, 4, 3, 3), "batch_norm_backward/real"
    x = drawn(f"{key}/x", shape, *REAL)
    yield Case("batch_norm_backward", "real", "rounded", x, parameters(key, 4, "weight", *running), {"eps": 1e-5},
               "in inference form", _dy(key, shape, REAL))  # fmt: skip
    shape, key = (2, 16, 3, 3), "layer_norm_backward/real"
    x = drawn(f"{key}/x", shape, *REAL)
    yield Case("layer_norm_backward", "real", "rounded", x, parameters(key, 16, "weight"), {"eps": 1e-6}, "",
               _dy(key, shape, REAL))  # fmt: skip


def _conv2d(grad: Derivatives, dy: Array, x: Array, given: Arguments) -> Iterator[tuple[str, Array]]:
    weight = given.pop("weight")
    yield "dx", grad.conv2d_input(dy, weight, x.shape[2:], **given)
    yield "dweight", grad.conv2d_weight(dy, x, weight.shape[2:], **given)
    yield "dbias", grad.conv2d_bias(dy)


def _batch_norm(grad: Derivatives, dy: Array, x: Array, given: Arguments) -> Iterator[tuple[str, Array]]:
    mean, var, eps = given["running_mean"], given["running_var"], given["eps"]
    yield "dx", grad.batch_norm_input(dy, var, given["weight"], eps)
    yield from zip(("dweight", "dbias"), grad.batch_norm_parameters(dy, x, mean, var, eps), strict=True)


def _norm(name: str, grad: Derivatives, dy: Array, x: Array, given: Arguments) -> Iterator[tuple[str, Array]]:
    yield "dx", getattr(grad, f"{name}_input")(dy, x, given["weight"], given["eps"])
    yield from zip(("dweight", "dbias"), getattr(grad, f"{name}_parameters")(dy, x, given["eps"]), strict=True)


def _linear(grad: Derivatives, dy: Array, x: Array, given: Arguments) -> Iterator[tuple[str, Array]]:
    yield "dx", grad.linear_input(dy, given["weight"])
    yield "dweight", grad.linear_weight(dy, x)
    yield "dbias", grad.linear_bias(dy)


def _layer_scale(grad: Derivatives, dy: Array, x: Array, given: Arguments) -> Iterator[tuple[str, Array]]:
    yield "dx", given["scale"][:, None, None] * dy
    yield "dscale", grad.layer_scale_weight(dy, x)


def _cross_entropy(grad: Derivatives, dy: Array, x: Array, given: Arguments) -> Iterator[tuple[str, Array]]:
    yield "dx", grad.cross_entropy_input(x, np.asarray(given["target"]).astype(np.int64))


BACKWARD: dict[str, Callable[[Derivatives, Array, Array, Arguments], Iterator[tuple[str, Array]]]] = {
    "conv2d_backward": _conv2d,
    "batch_norm_backward": _batch_norm,
    "batch_norm_training_backward": partial(_norm, "batch_norm_training"),
    "layer_norm_backward": partial(_norm, "layer_norm"),
    "layer_scale_backward": _layer_scale,
    "gelu_backward": lambda grad, dy, x, given: iter([("dx", grad.gelu_input(dy, x))]),
    "relu_backward": lambda grad, dy, x, given: iter([("dx", grad.relu_input(dy, x))]),
    "upsample_nearest_backward": lambda grad, dy, x, given: iter([("dx", grad.upsample_nearest_input(dy, x.shape[2:]))]),
    "upsample_bilinear_backward": lambda grad, dy, x, given: iter([("dx", grad.upsample_bilinear_input(dy, x.shape[2:]))]),
    "linear_backward": _linear,
    "global_average_pool_backward": lambda grad, dy, x, given: iter([("dx", grad.global_average_pool_input(dy, x.shape[2:]))]),
    "cross_entropy_backward": _cross_entropy,
}
FORWARD = "batch_norm_training"
TRAINING = (FORWARD, *BACKWARD)


def training_runner(
    operator: str, x: Floating, dy: Floating | None, parameters: Mapping[str, Floating], attributes: Mapping[str, Any]
) -> Run:
    """Return `run(engine, hook)`, as `cases.runner` does, for one of TRAINING."""

    def run(engine: Engine, hook: Callback) -> None:
        shown = Hook(hook)
        given = shown(INPUT, engine.array(x))
        arguments = {name: engine.array(array) for name, array in parameters.items()} | dict(attributes)
        if operator == FORWARD:
            ops = cast(TrainingOperators, engine.ops)
            running = arguments.pop("running_mean"), arguments.pop("running_var")
            made = ops.batch_norm_training(given, arguments["weight"], arguments["bias"], arguments["eps"])
            updated = ops.batch_norm_update(*running, made[1], made[2], given[:, 0].size)
            names = "y", "batch_mean", "batch_var", "running_mean", "running_var"
            for name, array in zip(names, (*made, *updated), strict=True):
                shown(name, array)
            return
        grad = cast(Derivatives, engine.grad)
        for name, array in BACKWARD[operator](grad, None if dy is None else engine.array(dy), given, arguments):
            shown(name, array)

    return run
