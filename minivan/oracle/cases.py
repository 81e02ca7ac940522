"""The test vectors' contents: for each operator, inputs that are small, and that ports get wrong.

Whole numbers first: where every partial sum is a whole number below 2^24, any order of summation, with or without fused
multiply-add, in float32 or wider, must give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from .. import model, seeded
from ..hooks import Hook
from ..paths import INPUT, nested
from ..splitmix import values
from ..van import VAN
from ..variants import Config, parameter_shapes

TINY = Config((4, 8, 12, 16), (1, 2, 1, 1), (2, 2, 2, 2), classes=10)
BLOCK = "block2.0"  # of TINY: the test vector of one block
DEPTHWISE = ("depthwise_conv2d", "dilated_depthwise_conv2d")  # conv2d with as many groups as channels
CONVOLUTIONS = ("dense_conv2d", *DEPTHWISE, "pointwise_conv2d")
SMALLEST = 2.0**-149  # the least float32 above zero

CLASSES = {
    "exact": {
        "meaning": "the same bits are required, the sign of zero included; which NaN is free",
        "why": "every partial sum is exact in float32, or there is nothing to round",
        "rtol": 0, "atol": 0,
    },
    "rounded": {
        "meaning": "|port - y| <= atol + rtol * max(|y|, root mean square of y)",
        "why": "float32 sums depend on their order; float64 sums in the written order, rounded once, give the same bits",
        "rtol": 1e-5, "atol": 0,
    },
    "network": {
        "meaning": "as 'rounded', for each layer",
        "why": "rounding errors pass through several operators",
        "rtol": 1e-4, "atol": 0,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Array:
    """An input or parameter: its values, and the stream they come from where they are not written out."""

    values: np.ndarray
    stream: dict | None = None


@dataclass(frozen=True)
class Case:
    """One test vector: `x` and the parameters go in, the layers that `runner` shows to a hook come out."""

    operator: str
    name: str
    tolerance: str  # a key of CLASSES
    x: Array
    parameters: dict[str, Array] = field(default_factory=dict)
    attributes: dict = field(default_factory=dict)
    note: str = ""


def drawn(name: str, shape: tuple[int, ...], low: int, high: int, shift: int = 0) -> Array:
    """Return an array from the stream of `name`."""
    return Array(values(name, shape, low, high, shift), {"name": name, "low": low, "high": high, "shift": shift})


def written(*numbers, shape=None) -> Array:
    """Return an array of given numbers, float32."""
    array = np.array(numbers, np.float64).astype(np.float32)
    return Array(array.reshape(shape or array.shape))


def all_cases() -> Iterator[Case]:
    """Yield every test vector."""
    yield from convolutions()
    yield from norms()
    yield from activations()
    yield from sums()
    yield from composites()


def _convolution(operator, name, shape, weight, note="", real=False, **attributes) -> Case:
    """A convolution with drawn numbers: whole ones in -4..4, or twelve bits of fraction."""
    low, high, shift = (-2048, 2047, 10) if real else (-4, 4, 0)
    key = f"{operator}/{name}"
    parameters = {
        "weight": drawn(f"{key}/weight", weight, low, high, shift),
        "bias": drawn(f"{key}/bias", weight[:1], low, high, shift),
    }
    x = drawn(f"{key}/x", shape, low, high, shift)
    return Case(operator, name, "rounded" if real else "exact", x, parameters, attributes, note)


def convolutions() -> Iterator[Case]:
    dense = "dense_conv2d"
    yield _convolution(dense, "integers_3x3_stride2", (2, 3, 9, 8), (4, 3, 3, 3), stride=2, padding=1)
    yield _convolution(dense, "integers_7x7_stride4", (1, 3, 17, 16), (5, 3, 7, 7), "VAN's first layer", stride=4, padding=3)
    yield _convolution(dense, "integers_groups", (1, 4, 6, 5), (6, 2, 3, 3), padding=1, groups=2)
    yield _convolution(dense, "one_pixel", (1, 2, 1, 1), (3, 2, 3, 3), "only the kernel's middle meets the map", padding=1)
    yield _convolution(dense, "kernel_larger_than_map", (1, 2, 2, 3), (2, 2, 7, 7), stride=2, padding=3)
    yield _convolution(dense, "real_3x3_stride2", (1, 16, 7, 6), (8, 16, 3, 3), real=True, stride=2, padding=1)

    depthwise = "depthwise_conv2d"
    yield _convolution(depthwise, "integers_5x5", (2, 3, 7, 8), (3, 1, 5, 5), "VAN's conv0", padding=2)
    yield _convolution(depthwise, "integers_3x3", (1, 5, 4, 4), (5, 1, 3, 3), "VAN's dwconv", padding=1)
    yield _convolution(depthwise, "one_pixel", (1, 3, 1, 1), (3, 1, 5, 5), padding=2)
    yield _convolution(depthwise, "kernel_larger_than_map", (1, 2, 3, 2), (2, 1, 5, 5), padding=2)
    yield _convolution(depthwise, "real_5x5", (1, 4, 9, 9), (4, 1, 5, 5), real=True, padding=2)

    dilated, geometry = "dilated_depthwise_conv2d", dict(padding=9, dilation=3)
    yield _convolution(dilated, "integers_7x7_dilation3", (1, 3, 21, 20), (3, 1, 7, 7), "VAN's conv_spatial", **geometry)
    yield _convolution(dilated, "dilation_past_the_border", (1, 2, 7, 5), (2, 1, 7, 7), "most taps miss the map", **geometry)
    yield _convolution(dilated, "one_pixel", (1, 2, 1, 1), (2, 1, 7, 7), **geometry)
    yield _convolution(dilated, "real_7x7_dilation3", (1, 3, 14, 14), (3, 1, 7, 7), real=True, **geometry)

    pointwise = "pointwise_conv2d"
    yield _convolution(pointwise, "integers", (2, 6, 3, 5), (4, 6, 1, 1))
    yield _convolution(pointwise, "one_pixel", (1, 7, 1, 1), (3, 7, 1, 1))
    yield _convolution(pointwise, "real_160_channels", (1, 160, 3, 3), (8, 160, 1, 1), real=True)
    yield Case(
        pointwise, "signed_zeros", "exact", written(0.0, -0.0, 1.0, -1.0, shape=(1, 1, 2, 2)),
        {"weight": written(0.0, -0.0, 1.0, -1.0, shape=(4, 1, 1, 1)), "bias": written(-0.0, -0.0, -0.0, -0.0)},
        note="a sum starts at its bias: -0 + -0 is -0, every other sum of zeros is 0",
    )  # fmt: skip
    yield Case(
        pointwise, "denormals", "exact", written(*(SMALLEST * k for k in (1, -3, 1000, 2**22)), shape=(1, 1, 2, 2)),
        {"weight": written(1.0, 2.0, -3.0, shape=(3, 1, 1, 1)), "bias": written(0.0, SMALLEST, -SMALLEST)},
        note="a processor that flushes denormals to zero fails here",
    )  # fmt: skip
    yield Case(
        pointwise, "infinities", "exact", written(np.inf, -np.inf, np.nan, 2.0, shape=(1, 1, 2, 2)),
        {"weight": written(1.0, -1.0, 0.0, shape=(3, 1, 1, 1)), "bias": written(0.0, 0.0, 1.0)},
        note="infinity times zero is NaN",
    )  # fmt: skip


def norms() -> Iterator[Case]:
    def statistics(key, channels):
        parts = ("running_mean", "running_var", "weight", "bias")
        return {part: drawn(f"{key}/{part}", (channels,), *seeded.RULES[part]) for part in parts}

    yield Case(
        "batch_norm", "integers", "exact", drawn("batch_norm/integers/x", (2, 4, 3, 3), -8, 8),
        {
            "running_mean": written(1, -2, 0, 3), "running_var": written(4, 16, 1, 0.25),
            "weight": written(4, -8, 3, 1), "bias": written(-1, 0, 2, 5),
        },
        {"eps": 0.0}, "every deviation is a power of two",
    )  # fmt: skip
    x = drawn("batch_norm/real/x", (1, 6, 5, 4), -2048, 2047, 9)
    yield Case("batch_norm", "real", "rounded", x, statistics("batch_norm/real", 6), {"eps": 1e-5})
    yield Case(
        "batch_norm", "small_variance", "rounded", drawn("batch_norm/small_variance/x", (1, 3, 2, 2), -8, 8, 10),
        statistics("batch_norm/small_variance", 3) | {"running_var": written(0.0, 1e-6, 1e-5)}, {"eps": 1e-5},
        "a wrong eps shows at once",
    )  # fmt: skip
    yield Case(
        "batch_norm", "special", "exact", written(np.inf, -np.inf, np.nan, 0.0, shape=(1, 1, 2, 2)),
        {"running_mean": written(0), "running_var": written(1), "weight": written(2), "bias": written(-0.0)}, {"eps": 0.0},
    )  # fmt: skip
    half = np.array([5, 1, 3, 8], np.float64)  # at each position; channels carry it with alternating signs
    yield Case(
        "layer_norm", "integers", "exact", written(*half, *-half, *-half, *half, shape=(1, 4, 2, 2)),
        {"weight": written(1, 2, 3, 4), "bias": written(0, -1, 2, 5)}, {"eps": 0.0}, "mean 0 and deviation 5, 1, 3 or 8",
    )  # fmt: skip
    yield Case(
        "layer_norm", "constant", "exact", written(*[7.0] * 12, shape=(1, 3, 2, 2)),
        {"weight": written(1, 2, 3), "bias": written(0.5, -1, 2)}, {"eps": 1e-6}, "no variance: the bias remains",
    )  # fmt: skip
    affine = {part: drawn(f"layer_norm/real/{part}", (32,), *seeded.RULES[part]) for part in ("weight", "bias")}
    x = drawn("layer_norm/real/x", (2, 32, 3, 3), -2048, 2047, 9)
    yield Case("layer_norm", "real", "rounded", x, affine, {"eps": 1e-6})
    yield Case(
        "layer_norm", "small_variance", "rounded", drawn("layer_norm/small_variance/x", (1, 32, 2, 2), -8, 8, 12), affine,
        {"eps": 1e-6}, "1e-5 instead of 1e-6 shows at once",
    )  # fmt: skip


def activations() -> Iterator[Case]:
    yield Case("gelu", "real", "rounded", drawn("gelu/real/x", (1, 4, 16, 16), -2048, 2047, 8), note="-8 to 8")
    yield Case(
        "gelu", "special", "exact",
        written(0.0, -0.0, np.inf, -np.inf, np.nan, SMALLEST * 2, -SMALLEST * 2, 20.0, -40.0, shape=(1, 1, 3, 3)),
        note="gelu(-infinity) is NaN, as in PyTorch; -40 gives -0",
    )  # fmt: skip
    yield Case("softmax", "equal", "exact", written(*[3.0] * 8, shape=(2, 4)))
    yield Case("softmax", "real", "rounded", drawn("softmax/real/x", (3, 10), -2048, 2047, 8))
    large = written(-1000.0, 1000.0, 0.0, -np.inf, shape=(1, 4))
    yield Case("softmax", "large", "exact", large, note="exp of it would overflow")


def sums() -> Iterator[Case]:
    yield Case(
        "linear", "integers", "exact", drawn("linear/integers/x", (2, 8), -4, 4),
        {"weight": drawn("linear/integers/weight", (5, 8), -4, 4), "bias": drawn("linear/integers/bias", (5,), -4, 4)},
    )  # fmt: skip
    yield Case(
        "linear", "real", "rounded", drawn("linear/real/x", (1, 256), -2048, 2047, 10),
        {
            "weight": drawn("linear/real/weight", (10, 256), -1024, 1023, 13),
            "bias": drawn("linear/real/bias", (10,), -128, 127, 10),
        },
    )  # fmt: skip
    pool = "global_average_pool"
    yield Case(pool, "integers", "exact", drawn(f"{pool}/integers/x", (2, 3, 4, 4), -8, 8))
    yield Case(pool, "one_pixel", "exact", drawn(f"{pool}/one_pixel/x", (1, 4, 1, 1), -8, 8))
    yield Case(pool, "real", "rounded", drawn(f"{pool}/real/x", (1, 5, 7, 7), -2048, 2047, 10))


def composites() -> Iterator[Case]:
    """LKA, one block and one whole network, layer by layer: folders that `oracle compare` takes as its TRACE."""

    def gate(key, channels, low, high, shift):
        shapes = {"conv0": (channels, 1, 5, 5), "conv_spatial": (channels, 1, 7, 7), "conv1": (channels, channels, 1, 1)}
        for name, shape in shapes.items():
            yield f"{name}.weight", drawn(f"{key}/{name}.weight", shape, low, high, shift)
            yield f"{name}.bias", drawn(f"{key}/{name}.bias", shape[:1], low, high, shift)

    x = drawn("lka/integers/x", (1, 4, 12, 11), -3, 3)
    yield Case("lka", "integers", "exact", x, dict(gate("lka/integers", 4, -2, 2, 0)))
    x = drawn("lka/real/x", (1, 8, 14, 14), -2048, 2047, 10)
    yield Case("lka", "real", "rounded", x, dict(gate("lka/real", 8, -1024, 1023, 12)))
    weights = {name: drawn(name, shape, *seeded.rule(name, shape)) for name, shape in parameter_shapes(TINY)}
    block = {name.removeprefix(f"{BLOCK}."): array for name, array in weights.items() if name.startswith(f"{BLOCK}.")}
    x = drawn("block/real/x", (1, TINY.dims[1], 7, 6), -2048, 2047, 10)
    note = f"the parameters are those of the tiny network's {BLOCK}"
    yield Case("block", "real", "network", x, block, {"eps": TINY.batch_norm_eps}, note)
    yield Case("network", "tiny", "network", drawn("input", (1, 3, 40, 36), -2048, 2047, 10), weights, {
        "dims": TINY.dims, "depths": TINY.depths, "mlp_ratios": TINY.mlp_ratios, "classes": TINY.classes,
        "layer_norm_eps": TINY.layer_norm_eps, "batch_norm_eps": TINY.batch_norm_eps,
    })  # fmt: skip


def runner(operator: str, x: np.ndarray, parameters: dict[str, np.ndarray], attributes: dict) -> Callable:
    """Return `run(engine, hook)`: computes a case and hands every layer of it to hook, the input first under 'input'."""
    tree = nested(parameters)

    def run(engine, hook):
        given = hook(INPUT, x)
        given = x if given is None else given
        if operator == "lka":
            model.lka(engine.ops, Hook(lambda path, array: hook(path or "lka", array)), given, **tree)
        elif operator == "block":
            model.block(engine.ops, Hook(hook, BLOCK), given, **tree, **attributes)
        elif operator == "network":
            VAN(Config(**attributes), parameters, engine)(given, hook)
        else:
            name = "conv2d" if operator in CONVOLUTIONS else operator
            groups = {"groups": x.shape[1]} if operator in DEPTHWISE else {}
            hook("y", getattr(engine.ops, name)(given, **tree, **attributes, **groups))

    return run
