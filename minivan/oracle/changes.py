"""Wrong arguments: how a port may call an operator otherwise than the network does, argument by argument.

Each change is committed by calling the operator once more; two that concern different arguments can be committed together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..checks import Floating
from ..geometry import Kernel
from .replay import Call, Replay

EPSILONS = (0.0, 1e-12, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
MOST_OTHERS = 64  # layers whose parameters are tried in the place of a layer's own
STATISTICS = ("running_mean", "running_var", "weight", "bias")


class Change(NamedTuple):
    """What is wrong, in words, and the arguments that make it so; a function stands for what it returns, if that is large."""

    text: str
    arguments: Mapping[str, Any]


def changes_of(call: Call, seen: Replay) -> Iterator[Change]:
    """Yield all changes of a call; where two give the same numbers, the first is named."""
    if call.operator in CHANGES:
        yield from CHANGES[call.operator](call)
    yield from _others(call, seen)


def commit(call: Call, arguments: Mapping[str, Any]) -> Floating:
    """Run a call with some arguments changed; what is impossible has a shape that fits nothing."""
    try:
        return np.asarray(call.again(**{name: value() if callable(value) else value for name, value in arguments.items()}))
    except ValueError:
        return np.empty(0)


def _others(call: Call, seen: Replay) -> Iterator[Change]:
    """The parameters of another layer of the same kind: norm2's in norm1, or those of another block."""
    mine = call.parameters
    names = [name for name in (*STATISTICS[:2], "weight", "bias") if mine.get(name) is not None]
    alike = [
        other
        for other in seen.calls.values()
        if other.path != call.path
        and other.operator == call.operator
        and "weight" in mine
        and all(_shape(other.parameters.get(name)) == _shape(mine[name]) for name in names)
    ]
    for other in alike[:MOST_OTHERS]:
        yield Change(f"the parameters of {other.path} are used here", {name: other.parameters[name] for name in names})


def _shape(array: Floating | None) -> tuple[int, ...] | None:
    return None if array is None else array.shape


def _convolution(call: Call) -> Iterator[Change]:
    x, weight, bias = call.x, call.parameters["weight"], call.parameters["bias"]
    kernel: tuple[int, int] = weight.shape[2:]
    if bias is not None:
        yield Change("missing bias", {"bias": None})
        yield Change("the bias is added twice", {"bias": 2 * bias})
    if kernel == (1, 1):
        yield Change(
            "the weight matrix is transposed (C_in, C_out)", {"weight": weight.transpose(1, 0, 2, 3).reshape(weight.shape)}
        )
        return
    yield from _dilations(call, kernel)
    yield from _paddings(call, x, kernel[0])
    yield Change("the kernel's rows and columns are swapped", {"weight": weight.transpose(0, 1, 3, 2)})
    turned = weight[:, :, ::-1, ::-1]
    yield Change("the kernel is turned by 180 degrees: a convolution, not a cross-correlation", {"weight": turned})
    yield Change("the kernel is turned by 90 degrees, counter-clockwise", {"weight": np.rot90(weight, 1, (2, 3))})
    yield Change("the kernel is turned by 90 degrees, clockwise", {"weight": np.rot90(weight, -1, (2, 3))})
    yield Change("the kernel is mirrored", {"weight": weight[:, :, :, ::-1]})
    yield Change("the kernel is upside down", {"weight": weight[:, :, ::-1]})
    for axes, words in (((2, 3, 1, 0), "(K, K, C_in, C_out)"), ((0, 2, 3, 1), "(C_out, K, K, C_in)")):
        stored = np.ascontiguousarray(weight.transpose(axes))
        yield Change(
            f"the weights lie in memory as {words}, and are read as (C_out, C_in, K, K)",
            {"weight": stored.reshape(weight.shape)},
        )
        if axes == (2, 3, 1, 0) and weight.shape[1] == 1:
            back = weight.reshape(*kernel, weight.shape[0]).transpose(2, 0, 1)[:, None]
            yield Change("the weights lie in memory as (C, K, K), and are read as (K, K, C)", {"weight": back})


def _dilations(call: Call, kernel: tuple[int, int]) -> Iterator[Change]:
    right = call.parameters["dilation"]
    for dilation in (1, 2, 3, 4):
        if dilation == right or kernel[0] == 1:
            continue
        text = f"missing dilation: 1 instead of {right}" if dilation == 1 else f"dilation {dilation} instead of {right}"
        for padding in (dilation * (kernel[0] // 2), call.parameters["padding"]):  # to keep the map's size, or forgotten
            yield Change(text, {"dilation": dilation, "padding": padding})


def _paddings(call: Call, x: Floating, side: int) -> Iterator[Change]:
    """One pixel too wide or narrow on both sides changes the map's size; one on one side only shifts it."""
    padding = call.parameters["padding"]
    for wrong in (padding - 1, padding + 1, 0):
        if wrong >= 0 and wrong != padding:
            yield Change(f"padding {wrong} instead of {padding}", {"padding": wrong})
    for rows, columns in ((1, 1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1), (1, -1), (-1, 1)):
        before = padding + rows, padding + columns
        after = padding - rows, padding - columns
        text = (
            f"padding off by one: {before[0]} above and {after[0]} below, {before[1]} left and {after[1]} right, "
            f"instead of {padding} all round"
        )
        if min(*before, *after) >= 0:
            yield Change(text, _padded(x, (before[0], after[0]), (before[1], after[1])))
    around = (padding, padding), (padding, padding)
    for mode, words in (("edge", "the border's pixels"), ("wrap", "the opposite side"), ("reflect", "the map mirrored"),
                        ("symmetric", "the map mirrored, its border twice")):  # fmt: skip
        if mode not in ("reflect", "wrap") or padding < min(x.shape[2:]):
            yield Change(f"padding with {words} ({mode}) instead of zeros", _padded(x, *around, mode=mode))
    kernel = Kernel(side, call.parameters["stride"], padding, call.parameters["dilation"])
    same = [_same(kernel, size) for size in x.shape[2:]]
    if any(pads != (padding, padding) for pads in same):
        (above, below), (left, right) = same
        text = f"SAME padding, as TensorFlow has it: {above} above and {below} below, {left} left and {right} right"
        yield Change(f"{text}, instead of {padding} all round", _padded(x, *same))


def _same(kernel: Kernel, size: int) -> tuple[int, int]:
    """Return the padding before and after that TensorFlow calls SAME."""
    stride = kernel.stride
    total = max((-(-size // stride) - 1) * stride + (kernel.side - 1) * kernel.dilation + 1 - size, 0)
    return total // 2, total - total // 2


def _padded(x: Floating, rows: tuple[int, int], columns: tuple[int, int], mode: Any = "constant") -> dict[str, Any]:
    return {"x": partial(np.pad, x, ((0, 0), (0, 0), rows, columns), mode=mode), "padding": 0}


def _batch_norm(call: Call) -> Iterator[Change]:
    mean, var, gamma, beta = (call.parameters[name] for name in STATISTICS)
    yield Change("missing bias: beta is not added", {"bias": np.zeros_like(beta)})
    yield Change("missing scale: gamma is not applied", {"weight": np.ones_like(gamma)})
    yield Change("gamma and beta are swapped", {"weight": beta, "bias": gamma})
    yield Change("the running mean is not subtracted", {"running_mean": np.zeros_like(mean)})
    yield Change("the running mean and the running variance are swapped", {"running_mean": var, "running_var": mean})
    yield Change(
        "statistics of this batch instead of the stored ones: the network is in training mode",
        {"running_mean": lambda: call.batch.mean((0, 2, 3)), "running_var": lambda: call.batch.var((0, 2, 3))},
    )
    yield Change(
        "the running variance is taken for the deviation: the square root is missing", {"running_var": var**2, "eps": 0.0}
    )
    deviation = (np.sqrt(var.astype(np.float64)) + call.parameters["eps"]) ** 2
    yield Change(
        "eps is added to the deviation, not to the variance", {"running_var": deviation.astype(np.float32), "eps": 0.0}
    )
    yield from _eps(call)


def _layer_norm(call: Call) -> Iterator[Change]:
    weight, bias = call.parameters["weight"], call.parameters["bias"]
    yield Change("missing bias", {"bias": np.zeros_like(bias)})
    yield Change("missing scale: gamma is not applied", {"weight": np.ones_like(weight)})
    yield Change("gamma and beta are swapped", {"weight": bias, "bias": weight})
    yield from _eps(call)


def _eps(call: Call) -> Iterator[Change]:
    right = call.parameters["eps"]
    for eps in EPSILONS:
        if eps != right:
            yield Change(f"wrong eps: {eps:g} instead of {right:g}", {"eps": eps})


def _linear(call: Call) -> Iterator[Change]:
    weight, bias = call.parameters["weight"], call.parameters["bias"]
    if bias is not None:
        yield Change("missing bias", {"bias": None})
        yield Change("the bias is added twice", {"bias": 2 * bias})
    yield Change("the weight matrix is transposed", {"weight": np.ascontiguousarray(weight.T).reshape(weight.shape)})


CHANGES: dict[str, Callable[[Call], Iterator[Change]]] = {
    "conv2d": _convolution,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "linear": _linear,
}
