"""The mistakes that ports make, operator by operator, each with the numbers that it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from .. import ops
from .replay import Call, Replay
from .trace import INPUT

EPSILONS = (0.0, 1e-12, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
Fault = tuple[str, Callable[[], np.ndarray]]  # what is wrong, and a function that computes the layer with that wrong


def faults_of(path: str, right, call: Call | None, seen: Replay) -> Iterator[Fault]:
    """All faults that this layer may suffer from; where two give the same numbers, the first is named."""
    if call is not None:
        yield from OPERATORS.get(call.operator, lambda call, seen: iter(()))(call, seen)
    else:
        yield from _sum_faults(path, seen)
    yield from _order_faults(path, right)
    for other, value in seen.values.items():
        if other != path and value.shape == right.shape:
            yield f"these are the numbers of {other}: a wrong name, or this layer was left out", lambda value=value: value


def _order_faults(path, right) -> Iterator[Fault]:
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
        yield "the colours are in the order BGR instead of RGB", lambda: right[:, ::-1]


def _convolution_faults(call: Call, seen: Replay) -> Iterator[Fault]:
    x, weight, bias = call.arguments["x"], call.arguments["weight"], call.arguments["bias"]
    kernel = weight.shape[2:]
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


def _dilation_faults(call: Call, kernel) -> Iterator[Fault]:
    right = call.arguments["dilation"]
    for dilation in (1, 2, 3, 4):
        if dilation == right or kernel[0] == 1:
            continue
        text = f"missing dilation: 1 instead of {right}" if dilation == 1 else f"dilation {dilation} instead of {right}"
        for padding in (dilation * (kernel[0] // 2), call.arguments["padding"]):  # to keep the map's size, or forgotten
            yield text, lambda d=dilation, p=padding: _valid(call, dilation=d, padding=p)


def _padding_faults(call: Call, x) -> Iterator[Fault]:
    """One pixel too wide or narrow on both sides changes the map's size; one on one side only shifts it."""
    padding = call.arguments["padding"]
    for wrong in (padding - 1, padding + 1, 0):
        if wrong >= 0 and wrong != padding:
            yield f"padding {wrong} instead of {padding}", lambda p=wrong: _valid(call, padding=p)
    for rows, columns in ((1, 1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1), (1, -1), (-1, 1)):
        before = padding + rows, padding + columns
        after = padding - rows, padding - columns
        text = (
            f"padding off by one: {before[0]} above and {after[0]} below, {before[1]} left and {after[1]} right, "
            f"instead of {padding} all round"
        )
        if min(*before, *after) >= 0:
            widths = ((0, 0), (0, 0), (before[0], after[0]), (before[1], after[1]))
            yield text, lambda widths=widths: call.again(x=np.pad(x, widths), padding=0)


def _valid(call: Call, **changed) -> np.ndarray:
    """Run a call whose geometry may be impossible: then the result has a shape that fits nothing."""
    try:
        return call.again(**changed)
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
                lambda after=after: after.again(x=call.again()),
            )


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
    yield "mean and variance over channels and positions together, instead of channels alone", lambda: _whole_norm(call)
    if c > 1:
        yield "the variance divides by C - 1 instead of C", lambda: _sample_norm(call)
    yield from _eps_faults(call)


def _whole_norm(call: Call):
    x = np.asarray(call.arguments["x"], np.float64)
    axes = (1, 2, 3)
    normal = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + call.arguments["eps"])
    return normal * call.arguments["weight"][:, None, None] + call.arguments["bias"][:, None, None]


def _sample_norm(call: Call):
    x = np.asarray(call.arguments["x"], np.float64)
    normal = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True, ddof=1) + call.arguments["eps"])
    return normal * call.arguments["weight"][:, None, None] + call.arguments["bias"][:, None, None]


def _eps_faults(call: Call) -> Iterator[Fault]:
    right = call.arguments["eps"]
    for eps in EPSILONS:
        if eps != right:
            yield f"wrong eps: {eps:g} instead of {right:g}", lambda eps=eps: call.again(eps=eps)


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
    yield "softmax is applied already: these are probabilities, not logits", lambda: ops.softmax(call.again())


def _pool_faults(call: Call, seen: Replay) -> Iterator[Fault]:
    x = call.arguments["x"]
    yield "the maximum over positions instead of the mean", lambda: x.max((2, 3))
    yield "the sum over positions instead of the mean", lambda: x.sum((2, 3), dtype=np.float64)


OPERATORS = {
    "conv2d": _convolution_faults,
    "batch_norm": _batch_norm_faults,
    "layer_norm": _layer_norm_faults,
    "gelu": _gelu_faults,
    "linear": _linear_faults,
    "global_average_pool": _pool_faults,
}


def _sum_faults(path: str, seen: Replay) -> Iterator[Fault]:
    """Layers that join two others: the gate, the residual inside attention, the two residuals of a block."""
    given = seen.given
    if path == "lka" or path.endswith(".spatial_gating_unit"):
        prefix = "" if path == "lka" else f"{path}."
        u, weights = _fed(f"{prefix}conv0", seen), given.get(f"{prefix}conv1")
        if weights is not None:
            yield "the attention is not multiplied with its input: these are conv1's numbers", lambda: weights
        if u is not None and weights is not None:
            yield "the attention is added to its input instead of multiplied", lambda: u + weights
            yield "a sigmoid on the attention, which VAN does not have", lambda: u / (1 + np.exp(-weights.astype(np.float64)))
    elif path.endswith(".attn"):
        z, inner = given.get(f"{path.removesuffix('.attn')}.norm1"), given.get(f"{path}.proj_2")
        x = _fed(f"{path.removesuffix('.attn')}.norm1", seen)
        if inner is not None:
            yield "missing inner residual: norm1's output is not added to proj_2's", lambda: inner
        if inner is not None and x is not None:
            yield "wrong inner residual: the block's input is added instead of norm1's output", lambda: x + inner
        if z is not None and inner is not None:
            yield "the inner residual is added twice", lambda: z + z + inner
    elif path.endswith(".layer_scale_1") or path.count(".") == 1:
        block = path.removesuffix(".layer_scale_1")
        first = path.endswith(".layer_scale_1")
        x = _fed(f"{block}.norm1", seen) if first else given.get(f"{block}.layer_scale_1")
        branch = given.get(f"{block}.attn" if first else f"{block}.mlp.fc2")
        name, scale = ("attention", "layer_scale_1") if first else ("the MLP", "layer_scale_2")
        if x is not None and branch is not None:
            right = seen.values[path]
            yield f"missing outer residual: the block's input is not added to {name}'s output", lambda: right - x
            yield f"missing {scale}: {name}'s output is added unscaled", lambda: x + branch


def _fed(path: str, seen: Replay) -> np.ndarray | None:
    """Return what the operator behind a layer read, None where that is not known."""
    call = seen.calls.get(path)
    return None if call is None else call.arguments["x"]
