"""The mistakes that ports make, operator by operator, each with the numbers that it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import combinations, islice
from typing import TypeAlias

import numpy as np

from ..card import PRESETS
from ..checks import Floating
from ..engines import EXACT
from ..paths import FACTOR, INPUT, UNIT, block_of, patch_embed
from ..variants import COLOURS
from .cases import LKA
from .changes import EPSILONS, Change, changes_of, commit
from .measure import PIECE
from .replay import Call, Replay
from .ulp import round_to
from .upsampling_faults import bilinear_faults, nearest_faults

IMAGENET = PRESETS["hf"].mean, PRESETS["hf"].std
MULTIPLIED = {"bfloat16": "bfloat16", "tf32": "float16 or tf32", "float16": "float16"}  # alike, but for the range of float16
MOST_PAIRS = 400  # of faults on one layer that are tried together
Fault: TypeAlias = tuple[str, Callable[[], Floating]]  # what is wrong, and a function that computes the layer with that wrong


def faults_of(path: str, right: Floating, seen: Replay) -> Iterator[Fault]:
    """All faults that this layer may suffer from; where two give the same numbers, the first is named."""
    call = seen.calls.get(path)
    if call is None:
        yield from _sum_faults(path, seen)
    else:
        yield from _call_faults(path, call, seen)
        yield from _rounded_faults(call)
    yield from order_faults(path, right)
    for layers in (seen.values, seen.elsewhere):
        for other in layers:
            if other != path and (layers is seen.values or other not in seen.values) and layers.shape(other) == right.shape:
                text = f"these are the numbers of {other}: a wrong name, or this layer was left out"
                yield text, partial(layers.__getitem__, other)


def faults_inside(path: str, seen: Replay) -> Iterator[Fault]:
    """The faults of a layer that the port does not show, where `seen` holds its neighbourhood; that it was left out is one."""
    call = seen.calls.get(path)
    if call is None:
        yield from _sum_faults(path, seen)
        return
    yield from _call_faults(path, call, seen)
    if call.x.shape == seen.values.shape(path):
        yield "it was left out", lambda: call.x


def _call_faults(path: str, call: Call, seen: Replay) -> Iterator[Fault]:
    for change in changes_of(call, seen):
        yield change.text, partial(commit, call, change.arguments)
    if call.operator in OPERATORS:
        yield from OPERATORS[call.operator](call, seen)
    if path == f"{patch_embed(1)}.proj":  # a port need not record its input
        for text, make in order_faults(INPUT, call.x):
            yield f"what it was fed is not the trace's input: {text}", partial(_fed_with, call, make)


def _rounded_faults(call: Call) -> Iterator[Fault]:
    """Weights in a shorter format, or all that is multiplied, while sums and results are not."""
    weight = call.parameters.get("weight")
    if weight is None or call.operator not in ("conv2d", "linear"):
        return
    for form, words in MULTIPLIED.items():
        short = {n: _short(call.parameters[n], form) for n in ("weight", "bias") if call.parameters[n] is not None}
        if any(not np.array_equal(array, call.parameters[name]) for name, array in short.items()):
            yield f"the weights are rounded to {words}", partial(commit, call, short)
        both = {"weight": short["weight"], "x": partial(_short, call.x, form)}
        yield f"what is multiplied is rounded to {words}: the weights, and what the layer reads", partial(commit, call, both)


def _short(array: Floating, form: str) -> Floating:
    return np.asarray(round_to(array, form), np.float32)


def _fed_with(call: Call, make: Callable[[], Floating]) -> Floating:
    return np.asarray(call.again(x=np.asarray(make(), np.float32, order="C")))


def pairs_of(path: str, right: Floating, seen: Replay) -> Iterator[Fault]:
    """Two faults on one layer: wrong arguments that do not concern the same ones, or one and right numbers in wrong places."""
    call = seen.calls.get(path)
    if call is None:
        return
    changes = list(changes_of(call, seen))
    small = [change for change in changes if "x" not in change.arguments]
    wide = [change for change in changes if "x" in change.arguments]
    kinds: tuple[Iterable[tuple[Change, Change]], ...] = combinations(small, 2), ((a, b) for b in wide for a in small)
    for pairs in kinds:
        apart = ((a, b) for a, b in pairs if not set(a.arguments) & set(b.arguments))
        for a, b in islice(apart, MOST_PAIRS // 2):
            yield f"{a.text}; and {b.text}", partial(commit, call, {**a.arguments, **b.arguments})
    for change in changes:
        wrong = commit(call, change.arguments)
        if wrong.shape == right.shape:
            for text, moved in order_faults(path, wrong):
                yield f"{change.text}; and {text}", moved


def order_faults(path: str, right: Floating) -> Iterator[Fault]:
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
    if path == INPUT and c == COLOURS:
        yield from _colour_faults(right)
    elif path == INPUT:
        yield "the channels are in the reverse order", lambda: right[:, ::-1]


def _colour_faults(right: Floating) -> Iterator[Fault]:
    """Pixels that were prepared otherwise: `right` is what they are once ImageNet's mean and deviation are taken off."""
    yield "the colours are in the order BGR instead of RGB", lambda: right[:, ::-1]
    mean, deviation = (np.array(values)[:, None, None] for values in IMAGENET)
    plain = right * deviation + mean
    for text, pixels in (
        ("not normalised: they run from 0 to 1", plain),
        ("not normalised: they run from 0 to 255", 255 * plain),
        ("brought to -1 to 1, instead of by ImageNet's mean and deviation", 2 * plain - 1),
        ("divided by ImageNet's deviation, but its mean was not taken off", plain / deviation),
        ("less ImageNet's mean, but not divided by its deviation", plain - mean),
    ):
        yield f"the pixels are {text}", partial(np.asarray, pixels)
        yield f"the pixels are {text}; and in the order BGR instead of RGB", partial(np.asarray, pixels[:, ::-1])
    wrong = (plain[:, ::-1] - mean) / deviation
    yield "the colours are in the order BGR, normalised as if they were RGB", lambda: wrong


def _folding_faults(call: Call, seen: Replay) -> Iterator[Fault]:
    """BatchNorm belongs before a convolution or after it; folded into the weights it must not be applied as well."""
    before = seen.calls.get(call.source)
    if before is not None and before.operator == "batch_norm":
        yield (
            f"BatchNorm unfolded twice: {before.path} is folded into this layer's weights and applied to its input as well",
            lambda: call.again(x=before.again(x=call.x)),
        )
        yield f"{before.path} was left out", lambda: call.again(x=before.x)
        right = before.parameters["eps"]
        for eps in (eps for eps in EPSILONS if eps != right):
            text = f"{before.path} was folded into this layer with the wrong eps: {eps:g} instead of {right:g}"
            yield text, partial(_folded, call, before, eps)
    for after in seen.consumers(call.path):
        if after.operator == "batch_norm":
            yield (
                f"BatchNorm unfolded twice: {after.path} is folded into this layer's weights already; "
                f"do not apply it again, or fold it back",
                partial(_twice_normalised, call, after),
            )


def _folded(call: Call, before: Call, eps: float) -> Floating:
    return np.asarray(call.again(x=before.again(eps=eps)))


def _twice_normalised(call: Call, after: Call) -> Floating:
    return np.asarray(after.again(x=call.again()))


def _batch_norm_faults(call: Call, seen: Replay) -> Iterator[Fault]:
    yield "BatchNorm unfolded twice: it is applied to its own output", lambda: call.again(x=call.again())
    own = "instead of the stored ones"
    yield f"InstanceNorm: statistics of each image's own map, {own}", lambda: _normalised(call, (2, 3))
    yield f"LayerNorm: statistics over the channels of each position, {own}", lambda: _normalised(call, (1,))


def _layer_norm_faults(call: Call, seen: Replay) -> Iterator[Fault]:
    yield (
        "mean and variance over channels and positions together, instead of channels alone",
        lambda: _normalised(call, (1, 2, 3)),
    )
    yield "InstanceNorm: statistics over the positions of each channel", lambda: _normalised(call, (2, 3))
    if call.x.shape[1] > 1:
        yield "the variance divides by C - 1 instead of C", lambda: _normalised(call, (1,), ddof=1)


def _normalised(call: Call, axes: tuple[int, ...], ddof: int = 0) -> Floating:
    """A norm with statistics of other axes than its own, or with a divisor that is `ddof` less than their number."""
    x = np.asarray(call.x, np.float64)
    normal = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True, ddof=ddof) + call.parameters["eps"])
    return np.asarray(normal * call.parameters["weight"][:, None, None] + call.parameters["bias"][:, None, None])


Formula: TypeAlias = Callable[[Floating], Floating]  # of each number by itself
ACTIVATIONS: dict[str, Formula] = {  # instead of GELU by erf
    "tanh GELU instead of erf": lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "GELU as x * sigmoid(1.702 x) instead of erf": lambda x: x / (1 + np.exp(-1.702 * x)),
    "SiLU instead of GELU": lambda x: x / (1 + np.exp(-x)),
    "ReLU instead of GELU": lambda x: np.maximum(x, 0),
}


def _each(x: Floating, formula: Formula) -> Floating:
    """Return float32 numbers that a formula makes of each number, in float64; a piece at a time, since hidden maps are wide."""
    given = np.ascontiguousarray(x).reshape(-1)
    made = np.empty(given.shape, np.float32)
    for begin in range(0, given.size, PIECE):
        piece = slice(begin, begin + PIECE)
        made[piece] = formula(np.asarray(given[piece], np.float64))
    return made.reshape(x.shape)


def _gelu_faults(call: Call, seen: Replay) -> Iterator[Fault]:
    for text, formula in ACTIVATIONS.items():
        yield text, partial(_each, call.x, formula)
    yield "GELU is applied twice", lambda: call.again(x=call.again())


def _relu_faults(call: Call, seen: Replay) -> Iterator[Fault]:
    yield "GELU instead of ReLU", lambda: EXACT.ops.gelu(call.x)
    yield "ReLU6 instead of ReLU: what is above 6 becomes 6", lambda: np.minimum(call.again(), 6)
    yield "a leaky ReLU instead of ReLU, with a slope of 0.01 below 0", lambda: np.where(call.x < 0, 0.01 * call.x, call.x)


def _linear_faults(call: Call, seen: Replay) -> Iterator[Fault]:
    yield "softmax is applied already: these are probabilities, not logits", lambda: EXACT.ops.softmax(call.again())
    yield "log-softmax is applied already: these are no logits", lambda: np.log(EXACT.ops.softmax(call.again()))


def _pool_faults(call: Call, seen: Replay) -> Iterator[Fault]:
    x = call.x
    yield "the maximum over positions instead of the mean", lambda: x.max((2, 3))
    yield "the sum over positions instead of the mean", lambda: x.sum((2, 3), dtype=np.float64)


OPERATORS: dict[str, Callable[[Call, Replay], Iterator[Fault]]] = {
    "conv2d": _folding_faults,
    "batch_norm": _batch_norm_faults,
    "layer_norm": _layer_norm_faults,
    "gelu": _gelu_faults,
    "relu": _relu_faults,
    "upsample_nearest": nearest_faults,
    "upsample_bilinear": bilinear_faults,
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
        yield from _scale_faults(path, x, branch, seen)
    elif path == block:
        x, branch = given.get(f"{block}.layer_scale_1"), given.get(f"{block}.mlp.fc2")
        yield from _residual_faults(x, branch, seen.values[path], "the MLP", "layer_scale_2")
        yield from _scale_faults(path, x, branch, seen)


def _gate_faults(u: Floating | None, weights: Floating | None) -> Iterator[Fault]:
    """u * weights"""
    if weights is None:
        return
    yield "the attention is not multiplied with its input: these are conv1's numbers", lambda: weights
    if u is not None:
        yield "the attention is added to its input instead of multiplied", lambda: u + weights
        yield "a sigmoid on the attention, which VAN does not have", lambda: u / (1 + np.exp(-weights.astype(np.float64)))
        gelu = EXACT.ops.gelu
        yield "GELU after the gate", lambda: gelu(u * weights)
        yield "GELU before the gate once more, on its input", lambda: gelu(u) * weights
        yield "GELU on the attention, which VAN does not have", lambda: u * gelu(weights)
        yield "tanh on the attention, which VAN does not have", lambda: u * np.tanh(weights)
        yield "the gate is applied twice", lambda: u * weights * weights


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
        yield f"{scale} is applied to the block's input, not to {name}'s output", lambda: _scale(right, x, branch) * x + branch
        yield f"{scale} is applied to the sum", lambda: _scale(right, x, branch) * (x + branch)


def _scale_faults(path: str, x: Floating | None, branch: Floating | None, seen: Replay) -> Iterator[Fault]:
    """Another layer scale: the block's other one, or another block's."""
    if x is None or branch is None:
        return
    for other, scale in seen.scales.items():
        block = block_of(other)
        if other != path and len(scale) == x.shape[1]:
            name = "layer_scale_2" if other == block else "layer_scale_1"
            yield f"{block}'s {name} is used here", partial(_scaled, x, scale, branch)


def _scaled(x: Floating, scale: Floating, branch: Floating) -> Floating:
    return np.asarray(x + scale * branch)


def scale_at(path: str, total: Floating, given: Mapping[str, Floating]) -> Floating | None:
    """Return the layer scale that a sum shows, (C, 1, 1), None where the layer is no such sum.

    `given` holds what the block was given under BLOCK.begin, and what its layers give that are added to it.
    """
    block = block_of(path)
    if path == f"{block}.layer_scale_1":
        x, branch = given.get(f"{block}.begin"), given.get(f"{block}.attn")
    elif path == block:
        x, branch = given.get(f"{block}.layer_scale_1"), given.get(f"{block}.mlp.fc2")
    else:
        return None
    return None if x is None or branch is None else _scale(total, x, branch)


def _scale(total: Floating, x: Floating, branch: Floating) -> Floating:
    """Return the layer scale of total = x + scale * branch, (C, 1, 1): of each channel, the one that fits best."""
    wide, moved = branch.astype(np.float64), total.astype(np.float64) - x
    size = (wide * wide).sum((0, 2, 3))
    scale = (wide * moved).sum((0, 2, 3)) / np.where(size > 0, size, 1)
    return np.asarray(scale[:, None, None])


def _fed(path: str, seen: Replay) -> Floating | None:
    """Return what the operator behind a layer read, None where that is not known."""
    call = seen.calls.get(path)
    return None if call is None else np.asarray(call.x)
