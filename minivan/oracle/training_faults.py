"""The mistakes that ports make when they train: in BatchNorm's training form, its running statistics, and on the way back.

Each is committed in the operators of its kind wherever they are called, or in the gradients that are added up between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from ..checks import Floating
from ..engines import EXACT
from ..operators import Array
from ..paths import FACTOR, GATED, LAYER_SCALES, UNIT, block_of, within_block
from .changes import EPSILONS
from .gradients import Loss

Operator: TypeAlias = Callable[..., Any]
Committed: TypeAlias = Callable[..., Any]  # is given the right operator, and its arguments by name
Known: TypeAlias = Mapping[str, Floating]  # arrays by path: those of the layers, and the gradients so far, by the arrays there
Between: TypeAlias = Callable[[str, Array, Known, Known], Array | None]  # a path, its gradient, layers, gradients


@dataclass(frozen=True)
class TrainingFault:
    """What is wrong, in words: operators that compute something else, or what takes the place of a gradient at a path."""

    text: str
    operators: Mapping[str, Committed] = field(default_factory=dict)
    between: Between | None = None


def training_faults(loss: Loss, images: int) -> Iterator[TrainingFault]:
    """Yield all faults; where two give the same numbers, the first is named."""
    yield from _forward()
    yield from _of_the_loss(loss, images)
    yield from _forgotten()
    yield from _of_norms()
    yield from _of_convolutions()
    yield from _of_activations()
    yield from _between()
    if images > 1:
        yield TrainingFault("a mean over the batch instead of a sum", dict.fromkeys(BY_PARAMETERS, partial(_divided, images)))


BATCH, CHANNELS = (0, 2, 3), (1,)  # axes that BatchNorm's and LayerNorm's statistics are taken over
BY_WEIGHT = ("conv2d_weight", "linear_weight")
BY_BIAS = ("conv2d_bias", "linear_bias")
NORMS = ("batch_norm_parameters", "batch_norm_training_parameters", "layer_norm_parameters")
BY_PARAMETERS = (*BY_WEIGHT, *BY_BIAS, *NORMS, "layer_scale_weight")


def _divided(divisor: float, right: Operator, **given: Any) -> Any:
    result = right(**given)
    return tuple(part / divisor for part in result) if isinstance(result, tuple) else result / divisor


def _changed(right: Operator, /, *, changes: Mapping[str, Any], **given: Any) -> Any:
    return right(**{**given, **changes})


def _forward() -> Iterator[TrainingFault]:
    """BatchNorm in training form, and the update of its running statistics."""

    def inference(right: Operator, *, running: tuple[Floating, Floating], x: Floating, **given: Any) -> Any:
        return EXACT.ops.batch_norm(x, *running, **given), *running

    yield TrainingFault(
        "the running statistics instead of this batch's: the network is in inference mode", {"batch_norm_training": inference}
    )
    yield TrainingFault("the unbiased variance instead of the biased one, N - 1 for N", {"batch_norm_training": _unbiased})
    for name, fill, text in (
        ("bias", 0, "missing bias: beta is not added"),
        ("weight", 1, "missing scale: gamma is not applied"),
    ):

        def without(right: Operator, name: str = name, fill: int = fill, running: Any = None, **given: Any) -> Any:
            return right(**{**given, name: np.full_like(given[name], fill)})

        yield TrainingFault(text, {"batch_norm_training": without})
    for eps in EPSILONS:

        def wrong(right: Operator, wrong_eps: float = eps, running: Any = None, **given: Any) -> Any:
            return right(**{**given, "eps": wrong_eps})

        yield TrainingFault(f"wrong eps: {eps:g}", {"batch_norm_training": wrong})
    for text, update in (
        ("the biased variance goes into the running one: the batch's is to be divided by N - 1 there", _biased),
        ("the momentum is the share of what was, not of the batch", _swapped),
        ("the running statistics are not updated", lambda right, **given: (given["running_mean"], given["running_var"])),
        ("the batch's statistics take the place of the running ones", lambda right, **given: (
            given["batch_mean"], given["batch_var"])),
    ):  # fmt: skip
        yield TrainingFault(text, {"batch_norm_update": update})


def _unbiased(right: Operator, *, x: Floating, weight: Floating, bias: Floating, eps: float, running: Any = None) -> Any:
    wide = np.asarray(x, np.float64)
    normal = (wide - wide.mean((0, 2, 3), keepdims=True)) / np.sqrt(wide.var((0, 2, 3), keepdims=True, ddof=1) + eps)
    _, mean, var = right(x=x, weight=weight, bias=bias, eps=eps)
    return (normal * weight[:, None, None] + bias[:, None, None]).astype(np.float32), mean, var


def _biased(right: Operator, **given: Any) -> Any:
    mean, _ = right(**given)
    share = given["momentum"]
    return mean, (1 - share) * given["running_var"] + share * given["batch_var"]


def _swapped(right: Operator, *, momentum: float, **given: Any) -> Any:
    return right(momentum=1 - momentum, **given)


def _of_the_loss(loss: Loss, images: int) -> Iterator[TrainingFault]:
    """The cross-entropy's derivative by the logits."""
    if images > 1 and loss.reduction == "sum":
        yield TrainingFault(
            "a mean over the batch instead of a sum", {"cross_entropy_input": partial(_changed, changes={"reduction": "mean"})}
        )
    elif images > 1:
        yield TrainingFault(
            "a sum over the batch instead of its mean", {"cross_entropy_input": partial(_changed, changes={"reduction": "sum"})}
        )

    def no_target(right: Operator, logits: Floating, target: Floating, reduction: str) -> Floating:
        return np.asarray(EXACT.ops.softmax(logits) / (len(logits) if reduction == "mean" else 1))

    yield TrainingFault(
        "1 is not taken off at the target: these are softmax's probabilities", {"cross_entropy_input": no_target}
    )
    yield TrainingFault("the sign is wrong: it is the loss that falls", {"cross_entropy_input": partial(_divided, -1.0)})


def _forgotten() -> Iterator[TrainingFault]:
    """Gradients that are zero, since nobody computed them."""

    def zeros(*parts: int) -> Committed:
        def committed(right: Operator, **given: Any) -> Any:
            result = right(**given)
            if isinstance(result, tuple):
                return tuple(np.zeros_like(part) if place in parts else part for place, part in enumerate(result))
            return np.zeros_like(result)

        return committed

    for text, operators, part in (
        ("the bias's gradient is forgotten: it is zero", BY_BIAS, 1),
        ("the weight's gradient is forgotten: it is zero", BY_WEIGHT, 0),
    ):
        yield TrainingFault(text, {**dict.fromkeys(operators, zeros()), **dict.fromkeys(NORMS, zeros(part))})
    yield TrainingFault("the layer scale's gradient is forgotten: it is zero", {"layer_scale_weight": zeros()})


def _of_norms() -> Iterator[TrainingFault]:
    """BatchNorm's and LayerNorm's derivatives, whose statistics are derived, too."""
    for operator, axes, name in (
        ("batch_norm_training_input", BATCH, "BatchNorm"),
        ("layer_norm_input", CHANNELS, "LayerNorm"),
    ):
        of = partial(_norm_input, axes)
        constant = f"{name}'s statistics are taken for constants on the way back"
        yield TrainingFault(constant, {operator: partial(of, through_mean=False, through_var=False)})
        yield TrainingFault(
            f"{name}'s backward pass takes the unbiased variance instead of the biased one", {operator: partial(of, ddof=1)}
        )
        yield TrainingFault(
            f"{name}'s mean is taken for a constant on the way back", {operator: partial(of, through_mean=False)}
        )
        yield TrainingFault(
            f"{name}'s variance is taken for a constant on the way back", {operator: partial(of, through_var=False)}
        )
        yield TrainingFault(f"{name}'s weight is left out on the way back", {operator: partial(of, weighted=False)})
    inference = partial(_norm_input, None, weighted=False)
    yield TrainingFault("BatchNorm's weight is left out on the way back", {"batch_norm_input": inference})
    text = "the weight's gradient sums dy * x, x not being normalised"
    yield TrainingFault(text, dict.fromkeys(NORMS, partial(_norm_weight, axes=None)))
    by_axes = {operator: partial(_norm_weight, axes=axes) for operator, axes in zip(NORMS[1:], (BATCH, CHANNELS), strict=True)}
    yield TrainingFault("the weight's gradient takes the unbiased variance instead of the biased one", by_axes)


def _norm_input(
    axes: tuple[int, ...] | None,
    right: Operator,
    *,
    through_mean: bool = True,
    through_var: bool = True,
    weighted: bool = True,
    ddof: int = 0,
    **given: Any,
) -> Floating:
    """A norm's derivative by its input with something left out; without axes, that of the running statistics."""
    if axes is None:
        return np.asarray(right(**{**given, "weight": np.ones_like(given["weight"])}))
    x, dy = (np.asarray(given[name], np.float64) for name in ("x", "dy"))
    count = np.prod([x.shape[axis] for axis in axes])
    centred = x - x.mean(axes, keepdims=True)
    deviation = np.sqrt((centred * centred).sum(axes, keepdims=True) / max(count - ddof, 1) + given["eps"])
    z, g = centred / deviation, dy * given["weight"][:, None, None] if weighted else dy
    through = g - (g.mean(axes, keepdims=True) if through_mean else 0)
    through = through - (z * (g * z).mean(axes, keepdims=True) if through_var else 0)
    return np.asarray(through / deviation, np.float32)


def _norm_weight(right: Operator, *, axes: tuple[int, ...] | None, **given: Any) -> tuple[Floating, Floating]:
    """A norm's derivative by its weight, of x as it is, or normalised over some axes by the unbiased variance."""
    dy, z = (np.asarray(given[name], np.float64) for name in ("dy", "x"))
    if axes is not None:
        z = (z - z.mean(axes, keepdims=True)) / np.sqrt(z.var(axes, keepdims=True, ddof=1) + given["eps"])
    return (dy * z).sum((0, 2, 3)), right(**given)[1]


def _of_convolutions() -> Iterator[TrainingFault]:
    """Convolutions' derivatives with another geometry than the forward pass had, or with turned or transposed kernels."""

    def undilated(right: Operator, *, dilation: int, padding: int, **given: Any) -> Floating:
        return np.asarray(right(dilation=1, padding=padding // dilation if dilation > 1 else padding, **given))

    both = ("conv2d_input", "conv2d_weight")
    yield TrainingFault("missing dilation on the way back: 1 instead of 3", dict.fromkeys(both, undilated))

    def turned(right: Operator, *, weight: Floating, **given: Any) -> Floating:
        return np.asarray(right(weight=np.ascontiguousarray(weight[:, :, ::-1, ::-1]), **given))

    yield TrainingFault("the kernel is turned by 180 degrees on the way back", {"conv2d_input": turned})

    def turned_result(right: Operator, **given: Any) -> Floating:
        return np.asarray(right(**given)[:, :, ::-1, ::-1])

    yield TrainingFault("the weight's gradient is turned by 180 degrees", {"conv2d_weight": turned_result})

    def transposed(right: Operator, **given: Any) -> Floating:
        result = right(**given)
        swapped = result.swapaxes(0, 1) if result.ndim == 2 or result.shape[2:] == (1, 1) else result.swapaxes(2, 3)
        return np.ascontiguousarray(swapped).reshape(result.shape)

    text = "the weight's gradient is transposed: (C_in, C_out), or a kernel's rows and columns"
    yield TrainingFault(text, dict.fromkeys(BY_WEIGHT, transposed))

    def untransposed(right: Operator, *, weight: Floating, **given: Any) -> Floating:
        if weight.shape[0] != weight.shape[1]:
            return np.asarray(right(weight=weight, **given))
        return np.asarray(right(weight=np.ascontiguousarray(weight.swapaxes(0, 1)), **given))

    yield TrainingFault(
        "the weight matrix is not transposed on the way back", dict.fromkeys(("conv2d_input", "linear_input"), untransposed)
    )

    def spread(right: Operator, **given: Any) -> Floating:
        result = right(**given)
        return np.asarray(result * (result.shape[2] * result.shape[3]))

    yield TrainingFault(
        "the pooling's gradient is not divided by the number of positions", {"global_average_pool_input": spread}
    )


def _of_activations() -> Iterator[TrainingFault]:
    """GELU's derivative, or that of another activation."""

    def slope(of: Callable[[Floating], Floating]) -> Committed:
        return lambda right, dy, x: np.asarray(dy * of(np.asarray(x, np.float64)), np.float32)

    def tanh(x: Floating) -> Floating:
        inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
        t = np.tanh(inner)
        return np.asarray((1 + t) / 2 + x / 2 * (1 - t * t) * np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x * x))

    def quick(x: Floating) -> Floating:
        s = 1 / (1 + np.exp(-1.702 * x))
        return np.asarray(s * (1 + 1.702 * x * (1 - s)))

    for text, of in (
        ("the slope of tanh GELU instead of GELU's by erf", tanh),
        ("the slope of x * sigmoid(1.702 x) instead of GELU's by erf", quick),
        ("the slope of ReLU instead of GELU's", lambda x: np.asarray(x > 0, np.float64)),
        ("GELU is passed through on the way back, as if its slope were 1", np.ones_like),
    ):
        yield TrainingFault(text, {"gelu_input": slope(of)})


def _between() -> Iterator[TrainingFault]:
    """The sums and products between operators: residuals, the gate, layer scales. Each path is that of the array derived by."""

    def at(*insides: str) -> Callable[[str], bool]:
        return lambda path: block_of(path) is not None and within_block(path) in insides

    def less(of: Callable[[str], bool], taken: Callable[[str], str]) -> Between:
        """At such a path, the gradient without the one at another path."""

        def between(path: str, dy: Array, layers: Known, found: Known) -> Array | None:
            return dy - found[taken(path)] if of(path) and taken(path) in found else None

        return between

    block = str.removesuffix
    yield TrainingFault(
        "the inner residual is forgotten on the way back", between=less(at("norm1"), lambda p: f"{block(p, '.norm1')}.attn")
    )
    first = LAYER_SCALES[0]
    yield TrainingFault(
        "the block's residual is forgotten on the way back", between=less(at(first), lambda p: block(p, f".{first}"))
    )

    def gate(product: bool) -> Between:
        def between(path: str, dy: Array, layers: Known, found: Known) -> Array | None:
            if not at(GATED)(path):
                return None
            unit, factor = (f"{block_of(path)}.{name}" for name in (UNIT, FACTOR))
            if unit not in found or factor not in layers:
                return None
            direct = found[unit] * layers[factor]
            return direct if product else dy - direct

        return between

    yield TrainingFault("the gate's factor is taken for a constant on the way back", between=gate(True))
    yield TrainingFault("the gate's input is taken for a constant on the way back", between=gate(False))

    def unscaled(path: str, dy: Array, layers: Known, found: Known) -> Array | None:
        above = {"mlp.fc2": "", "attn": f".{first}"}.get(within_block(path) if block_of(path) else "")
        return None if above is None else found.get(f"{block_of(path)}{above}")

    yield TrainingFault("the layer scale is left out on the way back", between=unscaled)
