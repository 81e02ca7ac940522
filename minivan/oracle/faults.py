"""The mistakes that ports make, operator by operator, each with the numbers that it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias

import numpy as np

from ..checks import Floating
from ..engines import EXACT
from ..paths import FACTOR, INPUT, UNIT, block_of
from ..variants import COLOURS
from .cases import LKA
from .replay import Call, Replay

EPSILONS = (0.0, 1e-12, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
Fault: TypeAlias = tuple[str, Callable[[], Floating]]  # what is wrong, and a function that computes the layer with that wrong


def faults_of(path: str, right: Floating, seen: Replay) -> Iterator[Fault]:
    """All faults that this layer may suffer from; where two give the same numbers, the first is named."""
    call = seen.calls.get(path)
    if call is None:
        yield from _sum_faults(path, seen)
    elif call.operator in OPERATORS:
        yield from OPERATORS[call.operator](call, seen)
    yield from _order_faults(path, right)
    for other, value in seen.values.items():
        if other != path and value.shape == right.shape:
            yield f"these are the numbers of {other}: a wrong name, or this layer was left out", partial(np.asarray, value)


def _order_faults(path: str, right: Floating) -> Iterator[Fault]:
    """Right numbers in the wrong places."""
    if right.ndim != 4:
        return
    n, c, h, w = right.shape
    yield "transposed layout: rows and columns of the map are swapped", lambda: right.transpose(0, 1, 3, 2)
    yield (
        "transposed layout: channels-last (NHWC) memory was read as if it were NCHW",
        lambda: right.transpose(0, 2, 3, 1).reshape(right.shape),
    )
    yield (
        "transposed layout: NCHW memory was read as if it were channels-last (NHWC)",
        lambda: right.reshape(n, h, w, c).transpose(0, 3, 1, 2),
    )
    yield "the map is upside down", lambda: right[:, :, ::-1]
    yield "the map is mirrored", lambda: right[..., ::-1]
    if path == INPUT:
        said = "colours are in the order BGR instead of RGB" if c == COLOURS else "channels are in the reverse order"
        yield f"the {said}", lambda: right[:, ::-1]


def _convolution_faults(call: Call, seen: Replay) -> Iterator[Fault]:
    x, weight, bias = call.arguments["x"], call.arguments["weight"], call.arguments["bias"]
    kernel: tuple[int, int] = weight.shape[2:]
    if bias is not None:
        yield "missing bias", lambda: call.again(bias=None)
        yield "the bias is added twice", lambda: call.again(bias=2 * bias)
    yield from _folding_faults(call, seen)
    if kernel == (1, 1):
        if weight.shape[0] == weight.shape[1]:
            yield "the weight matrix is transposed (C_in, C_out)", lambda: call.again(weight=weight.transpose(1, 0, 2, 3))
        return
    yield from _dilation_faults(call, kernel)
    yield from _padding_faults(call, x)
    yield "the kernel's rows and columns are swapped", lambda: call.again(weight=weight.transpose(0, 1, 3, 2))
    yield (
        "the kernel is turned by 180 degrees: a convolution, not a cross-correlation",
        lambda: call.again(weight=np.ascontiguousarray(weight[:, :, ::-1, ::-1])),
    )


def _dilation_faults(call: Call, kernel: tuple[int, int]) -> Iterator[Fault]:
    right = call.arguments["dilation"]
    for dilation in (1, 2, 3, 4):
        if dilation == right or kernel[0] == 1:
            continue
        text = f"missing dilation: 1 instead of {right}" if dilation == 1 else f"dilation {dilation} instead of {right}"
        for padding in (dilation * (kernel[0] // 2), call.arguments["padding"]):  # to keep the map's size, or forgotten
            yield text, partial(_valid, call, dilation=dilation, padding=padding)


def _padding_faults(call: Call, x: Floating) -> Iterator[Fault]:
    """One pixel too wide or narrow on both sides changes the map's size; one on one side only shifts it."""
    padding = call.arguments["padding"]
    for wrong in (padding - 1, padding + 1, 0):
        if wrong >= 0 and wrong != padding:
            yield f"padding {wrong} instead of {padding}", partial(_valid, call, padding=wrong)
    for rows, columns in ((1, 1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1), (1, -1), (-1, 1)):
        before = padding + rows, padding + columns
        after = padding - rows, padding - columns
        text = (
            f"padding off by one: {before[0]} above and {after[0]} below, {before[1]} left and {after[1]} right, "
            f"instead of {padding} all round"
        )
        if min(*before, *after) >= 0:
            widths = ((0, 0), (0, 0), (before[0], after[0]), (before[1], after[1]))
            yield text, partial(_padded, call, x, widths)


def _padded(call: Call, x: Floating, widths: tuple[tuple[int, int], ...]) -> Floating:
    return np.asarray(call.again(x=np.pad(x, widths), padding=0))


def _valid(call: Call, **changed: int) -> Floating:
    """Run a call whose geometry may be impossible: then the result has a shape that fits nothing."""
    try:
        return np.asarray(call.again(**changed))
    except ValueError:
        return np.empty(0)


def _folding_faults(call: Call, seen: Replay) -> Iterator[Fault]:
    """BatchNorm belongs before a convolution or after it; folded into the weights it must not be applied as well."""
    before = seen.calls.get(call.source)
    if before is not None and before.operator == "batch_norm":
        yield (
            f"BatchNorm unfolded twice: {before.path} is folded into this layer's weights and applied to its input as well",
            lambda: call.again(x=before.again(x=call.arguments["x"])),
        )
        yield f"{before.path} was left out", lambda: call.again(x=before.arguments["x"])
    for after in seen.consumers(call.path):
        if after.operator == "batch_norm":
            yield (
                f"BatchNorm unfolded twice: {after.path} is folded into this layer's weights already; "
                f"do not apply it again, or fold it back",
                partial(_twice_normalised, call, after),
            )


def _twice_normalised(call: Call, after: Call) -> Floating:
    return np.asarray(after.again(x=call.again()))


def _batch_norm_faults(call: Call, seen: Replay) -> Iterator[Fault]:
    x = call.arguments["x"]
    yield "BatchNorm unfolded twice: it is applied to its own output", lambda: call.again(x=call.again())
    yield "missing bias: beta is not added", lambda: call.again(bias=np.zeros_like(call.arguments["bias"]))
    yield "missing scale: gamma is not applied", lambda: call.again(weight=np.ones_like(call.arguments["weight"]))
    yield "the running mean is not subtracted", lambda: call.again(running_mean=np.zeros_like(call.arguments["running_mean"]))
    yield (
        "statistics of this batch instead of the stored ones: the network is in training mode",
        lambda: call.again(running_mean=x.mean((0, 2, 3)), running_var=x.var((0, 2, 3))),
    )
    yield (
        "the running variance is taken for the deviation: the square root is missing",
        lambda: call.again(running_var=call.arguments["running_var"] ** 2, eps=0.0),
    )
    yield from _eps_faults(call)


def _layer_norm_faults(call: Call, seen: Replay) -> Iterator[Fault]:
    x, bias, weight = call.arguments["x"], call.arguments["bias"], call.arguments["weight"]
    c = x.shape[1]
    yield "missing bias", lambda: call.again(bias=np.zeros_like(bias))
    yield "missing scale: gamma is not applied", lambda: call.again(weight=np.ones_like(weight))
    yield (
        "mean and variance over channels and positions together, instead of channels alone",
        lambda: _normalised(call, (1, 2, 3)),
    )
    if c > 1:
        yield "the variance divides by C - 1 instead of C", lambda: _normalised(call, (1,), ddof=1)
    yield from _eps_faults(call)


def _normalised(call: Call, axes: tuple[int, ...], ddof: int = 0) -> Floating:
    """A LayerNorm with statistics of other axes than the channels', or with a divisor that is `ddof` less than their number."""
    x = np.asarray(call.arguments["x"], np.float64)
    normal = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True, ddof=ddof) + call.arguments["eps"])
    return np.asarray(normal * call.arguments["weight"][:, None, None] + call.arguments["bias"][:, None, None])


def _eps_faults(call: Call) -> Iterator[Fault]:
    right = call.arguments["eps"]
    for eps in EPSILONS:
        if eps != right:
            yield f"wrong eps: {eps:g} instead of {right:g}", partial(call.again, eps=eps)


def _gelu_faults(call: Call, seen: Replay) -> Iterator[Fault]:
    x = np.asarray(call.arguments["x"], np.float64)
    yield (
        "tanh GELU instead of erf",
        lambda: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    )
    yield "GELU as x * sigmoid(1.702 x) instead of erf", lambda: x / (1 + np.exp(-1.702 * x))
    yield "SiLU instead of GELU", lambda: x / (1 + np.exp(-x))
    yield "ReLU instead of GELU", lambda: np.maximum(x, 0)


def _linear_faults(call: Call, seen: Replay) -> Iterator[Fault]:
    weight, bias = call.arguments["weight"], call.arguments["bias"]
    if bias is not None:
        yield "missing bias", lambda: call.again(bias=None)
    if weight.shape[0] == weight.shape[1]:
        yield "the weight matrix is transposed", lambda: call.again(weight=np.ascontiguousarray(weight.T))
    yield "softmax is applied already: these are probabilities, not logits", lambda: EXACT.ops.softmax(call.again())


def _pool_faults(call: Call, seen: Replay) -> Iterator[Fault]:
    x = call.arguments["x"]
    yield "the maximum over positions instead of the mean", lambda: x.max((2, 3))
    yield "the sum over positions instead of the mean", lambda: x.sum((2, 3), dtype=np.float64)


OPERATORS: dict[str, Callable[[Call, Replay], Iterator[Fault]]] = {
    "conv2d": _convolution_faults,
    "batch_norm": _batch_norm_faults,
    "layer_norm": _layer_norm_faults,
    "gelu": _gelu_faults,
    "linear": _linear_faults,
    "global_average_pool": _pool_faults,
}


def _sum_faults(path: str, seen: Replay) -> Iterator[Fault]:
    """Layers that join two others: the gate, the residual inside attention, the two residuals of a block."""
    block, given = block_of(path), seen.given
    if path == LKA:
        yield from _gate_faults(_fed("conv0", seen), given.get("conv1"))
    elif path == f"{block}.{UNIT}":
        yield from _gate_faults(_fed(f"{path}.conv0", seen), given.get(f"{block}.{FACTOR}"))
    elif path == f"{block}.attn":
        x, z = _fed(f"{block}.norm1", seen), given.get(f"{block}.norm1")
        yield from _attention_faults(x, z, given.get(f"{path}.proj_2"))
    elif path == f"{block}.layer_scale_1":
        x, branch = _fed(f"{block}.norm1", seen), given.get(f"{block}.attn")
        yield from _residual_faults(x, branch, seen.values[path], "attention", "layer_scale_1")
    elif path == block:
        x, branch = given.get(f"{block}.layer_scale_1"), given.get(f"{block}.mlp.fc2")
        yield from _residual_faults(x, branch, seen.values[path], "the MLP", "layer_scale_2")


def _gate_faults(u: Floating | None, weights: Floating | None) -> Iterator[Fault]:
    """u * weights"""
    if weights is None:
        return
    yield "the attention is not multiplied with its input: these are conv1's numbers", lambda: weights
    if u is not None:
        yield "the attention is added to its input instead of multiplied", lambda: u + weights
        yield "a sigmoid on the attention, which VAN does not have", lambda: u / (1 + np.exp(-weights.astype(np.float64)))


def _attention_faults(x: Floating | None, z: Floating | None, inner: Floating | None) -> Iterator[Fault]:
    """z + inner, where z is the block's input x normalised."""
    if inner is None:
        return
    yield "missing inner residual: norm1's output is not added to proj_2's", lambda: inner
    if x is not None:
        yield "wrong inner residual: the block's input is added instead of norm1's output", lambda: x + inner
    if z is not None:
        yield "the inner residual is added twice", lambda: z + z + inner


def _residual_faults(x: Floating | None, branch: Floating | None, right: Floating, name: str, scale: str) -> Iterator[Fault]:
    """right = x + scale * branch"""
    if x is not None and branch is not None:
        yield f"missing outer residual: the block's input is not added to {name}'s output", lambda: right - x
        yield f"missing {scale}: {name}'s output is added unscaled", lambda: x + branch


def _fed(path: str, seen: Replay) -> Floating | None:
    """Return what the operator behind a layer read, None where that is not known."""
    call = seen.calls.get(path)
    return None if call is None else np.asarray(call.arguments["x"])
