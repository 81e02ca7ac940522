"""The test vectors' contents: for each operator, inputs that are small, and that ports get wrong.

Whole numbers first: where every partial sum is a whole number below 2^24, any order of summation, with or without fused
multiply-add, in float32 or wider, must give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .. import model, paths, seeded
from ..checks import Floating
from ..engines import Engine
from ..geometry import CONV0, CONV_SPATIAL, DWCONV, PATCH_EMBEDS, POINTWISE, Kernel
from ..hooks import Callback, Hook
from ..operators import Array
from ..splitmix import values
from ..van import VAN
from ..variants import Config, parameter_shapes
from .precision import step
from .replay import Run
from .tolerance import DEFAULTS, Tolerance

TINY = Config((4, 8, 12, 16), (1, 2, 1, 1), (2, 2, 2, 2), classes=10)
BLOCK = paths.block(2, 0)  # of TINY: the test vector of one block
LKA = "lka"  # the test vectors of the gate, and the path of what it gives
DEPTHWISE = ("depthwise_conv2d", "dilated_depthwise_conv2d")  # conv2d with as many groups as channels
CONVOLUTIONS = ("dense_conv2d", *DEPTHWISE, "pointwise_conv2d")
COMPOSITES = (LKA, "block", "network")  # of several layers each
UPSAMPLINGS = ("upsample_nearest", "upsample_bilinear")
OPERATORS = (
    *CONVOLUTIONS, "batch_norm", "layer_norm", "gelu", "relu", "softmax", "linear", "global_average_pool", *UPSAMPLINGS,
    *COMPOSITES,
)  # fmt: skip
ROUNDINGS = 4  # what a single operator may err by in a format shorter than float32
LEAST = 2.0**-149  # the least float32 above zero

CLASSES: dict[str, dict[str, Any]] = {
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


def classes(precision: str) -> dict[str, dict[str, Any]]:
    """Return the classes for a port that computes in `precision`: what is rounded there is allowed what its roundings make."""
    if precision in ("float64", "float32"):
        return CLASSES
    several = DEFAULTS[precision].rtol
    once = several if precision == "int8" else ROUNDINGS * step(precision)
    return {kind: {**about, "rtol": {"rounded": once, "network": several}.get(kind, 0)} for kind, about in CLASSES.items()}


def allowed(kind: str, precision: str = "float32") -> Tolerance:
    """Return what a class allows a port that computes in `precision`."""
    if kind == "exact":
        return Tolerance(bits=True)
    return Tolerance(float(classes(precision)[kind]["rtol"]), least_db=DEFAULTS[precision].least_db)


class Stream(NamedTuple):
    """Where drawn numbers come from: the arguments of `splitmix.values`, but for the shape."""

    name: str
    low: int
    high: int
    shift: int = 0


@dataclass(frozen=True)
class Tensor:
    """An input, parameter or output: its values, float32, and the stream they come from where they are drawn."""

    values: Floating
    stream: Stream | None = None


@dataclass(frozen=True)
class Case:
    """One test vector: `x` and the parameters go in, the layers that `runner` shows to a hook come out."""

    operator: str
    name: str
    tolerance: str  # a key of CLASSES
    x: Tensor
    parameters: dict[str, Tensor] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    dy: Tensor | None = None  # of an operator's way back: see training_cases


def drawn(name: str, shape: tuple[int, ...], low: int, high: int, shift: int = 0) -> Tensor:
    """Return a tensor from the stream of `name`."""
    return Tensor(values(name, shape, low, high, shift), Stream(name, low, high, shift))


def written(*numbers: float, shape: tuple[int, ...] | None = None) -> Tensor:
    """Return a tensor of given numbers, float32."""
    array = np.array(numbers, np.float64).astype(np.float32)
    return Tensor(array.reshape(shape or array.shape))


def all_cases() -> Iterator[Case]:
    """Yield every test vector."""
    yield from convolutions()
    yield from norms()
    yield from activations()
    yield from sums()
    yield from upsamplings()
    yield from composites()


def _convolution(
    operator: str, name: str, x_shape: tuple[int, ...], channels: tuple[int, int], kernel: Kernel,
    note: str = "", real: bool = False, groups: int = 1,
) -> Case:  # fmt: skip
    """A convolution with drawn numbers: whole ones in -4..4, or twelve bits of fraction.

    `channels` are C_out and C_in / groups. Depthwise operators have their groups by their name.
    """
    low, high, shift = (-2048, 2047, 10) if real else (-4, 4, 0)
    key, weight = f"{operator}/{name}", (*channels, kernel.side, kernel.side)
    parameters = {
        "weight": drawn(f"{key}/weight", weight, low, high, shift),
        "bias": drawn(f"{key}/bias", weight[:1], low, high, shift),
    }
    x = drawn(f"{key}/x", x_shape, low, high, shift)
    usual = Kernel._field_defaults  # of all but the side, which the weight's shape says
    attributes = {name: value for name, value in kernel._asdict().items() if value != usual.get(name, value)}
    if groups != 1:
        attributes["groups"] = groups
    return Case(operator, name, "rounded" if real else "exact", x, parameters, attributes, note)


def convolutions() -> Iterator[Case]:
    """Yield the cases of the four kernels of a convolution: strided and grouped, depthwise, dilated, 1x1."""
    dense, strided, three = "dense_conv2d", PATCH_EMBEDS[1], Kernel(3, padding=1)
    yield _convolution(dense, "integers_3x3_stride2", (2, 3, 9, 8), (4, 3), strided)
    yield _convolution(dense, "integers_7x7_stride4", (1, 3, 17, 16), (5, 3), PATCH_EMBEDS[0], "VAN's first layer")
    yield _convolution(dense, "integers_groups", (1, 4, 6, 5), (6, 2), three, groups=2)
    yield _convolution(dense, "one_pixel", (1, 2, 1, 1), (3, 2), three, "only the kernel's middle meets the map")
    yield _convolution(dense, "kernel_larger_than_map", (1, 2, 2, 3), (2, 2), Kernel(7, stride=2, padding=3))
    yield _convolution(dense, "real_3x3_stride2", (1, 16, 7, 6), (8, 16), strided, real=True)

    depthwise = "depthwise_conv2d"
    yield _convolution(depthwise, "integers_5x5", (2, 3, 7, 8), (3, 1), CONV0, "VAN's conv0")
    yield _convolution(depthwise, "integers_3x3", (1, 5, 4, 4), (5, 1), DWCONV, "VAN's dwconv")
    yield _convolution(depthwise, "one_pixel", (1, 3, 1, 1), (3, 1), CONV0)
    yield _convolution(depthwise, "kernel_larger_than_map", (1, 2, 3, 2), (2, 1), CONV0)
    yield _convolution(depthwise, "real_5x5", (1, 4, 9, 9), (4, 1), CONV0, real=True)

    dilated = "dilated_depthwise_conv2d"
    yield _convolution(dilated, "integers_7x7_dilation3", (1, 3, 21, 20), (3, 1), CONV_SPATIAL, "VAN's conv_spatial")
    yield _convolution(dilated, "dilation_past_the_border", (1, 2, 7, 5), (2, 1), CONV_SPATIAL, "most taps miss the map")
    yield _convolution(dilated, "one_pixel", (1, 2, 1, 1), (2, 1), CONV_SPATIAL)
    yield _convolution(dilated, "real_7x7_dilation3", (1, 3, 14, 14), (3, 1), CONV_SPATIAL, real=True)

    pointwise = "pointwise_conv2d"
    yield _convolution(pointwise, "integers", (2, 6, 3, 5), (4, 6), POINTWISE)
    yield _convolution(pointwise, "one_pixel", (1, 7, 1, 1), (3, 7), POINTWISE)
    yield _convolution(pointwise, "real_160_channels", (1, 160, 3, 3), (8, 160), POINTWISE, real=True)
    yield Case(
        pointwise, "signed_zeros", "exact", written(0.0, -0.0, 1.0, -1.0, shape=(1, 1, 2, 2)),
        {"weight": written(0.0, -0.0, 1.0, -1.0, shape=(4, 1, 1, 1)), "bias": written(-0.0, -0.0, -0.0, -0.0)},
        note="a sum starts at its bias: -0 + -0 is -0, every other sum of zeros is 0",
    )  # fmt: skip
    yield Case(
        pointwise, "denormals", "exact", written(*(LEAST * k for k in (1, -3, 1000, 2**22)), shape=(1, 1, 2, 2)),
        {"weight": written(1.0, 2.0, -3.0, shape=(3, 1, 1, 1)), "bias": written(0.0, LEAST, -LEAST)},
        note="a processor that flushes denormals to zero fails here",
    )  # fmt: skip
    yield Case(
        pointwise, "infinities", "exact", written(np.inf, -np.inf, np.nan, 2.0, shape=(1, 1, 2, 2)),
        {"weight": written(1.0, -1.0, 0.0, shape=(3, 1, 1, 1)), "bias": written(0.0, 0.0, 1.0)},
        note="infinity times zero is NaN",
    )  # fmt: skip


def norms() -> Iterator[Case]:
    """Yield the cases of BatchNorm and LayerNorm."""

    def statistics(key: str, channels: int) -> dict[str, Tensor]:
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
    """Yield the cases of GELU, ReLU and softmax."""
    yield Case("gelu", "real", "rounded", drawn("gelu/real/x", (1, 4, 16, 16), -2048, 2047, 8), note="-8 to 8")
    yield Case(
        "gelu", "special", "exact",
        written(0.0, -0.0, np.inf, -np.inf, np.nan, LEAST * 2, -LEAST * 2, 20.0, -40.0, shape=(1, 1, 3, 3)),
        note="gelu(-infinity) is NaN, as in PyTorch; -40 gives -0",
    )  # fmt: skip
    yield Case(
        "relu", "special", "exact",
        written(0.0, -0.0, np.inf, -np.inf, np.nan, LEAST, -LEAST, 2.0, -3.0, shape=(1, 1, 3, 3)),
        note="0 takes the place of what is below 0, and of nothing else: -0 stays, as in PyTorch",
    )  # fmt: skip
    yield Case("softmax", "equal", "exact", written(*[3.0] * 8, shape=(2, 4)))
    yield Case("softmax", "real", "rounded", drawn("softmax/real/x", (3, 10), -2048, 2047, 8))
    large = written(-1000.0, 1000.0, 0.0, -np.inf, shape=(1, 4))
    yield Case("softmax", "large", "exact", large, note="exp of it would overflow")


def sums() -> Iterator[Case]:
    """Yield the cases of the head and of the pooling before it."""
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


def upsamplings() -> Iterator[Case]:
    """Yield the cases of a map brought to another size."""
    nearest, bilinear = UPSAMPLINGS

    def resized(operator: str, name: str, shape: tuple[int, ...], size: tuple[int, int], note: str, real: bool = False) -> Case:
        x = drawn(f"{operator}/{name}/x", shape, *((-2048, 2047, 10) if real else (-4, 4)))
        return Case(operator, name, "rounded" if real else "exact", x, attributes={"size": size}, note=note)

    yield resized(nearest, "doubled", (2, 3, 4, 5), (8, 10), "between the maps of two stages")
    yield resized(nearest, "odd_sides", (1, 2, 4, 5), (7, 9), "between the maps of two stages, of a photo with odd sides")
    yield resized(nearest, "border", (1, 2, 14, 3), (46, 5), "row 23, on a border, falls to the one above: 14 / 46 is rounded")
    yield resized(nearest, "smaller", (1, 2, 9, 7), (4, 1), "any size is taken")
    yield resized(bilinear, "doubled", (2, 3, 4, 5), (8, 10), "shares of 1/4 and 3/4: nothing is rounded")
    yield resized(bilinear, "one_pixel", (1, 2, 1, 1), (3, 4), "its one value everywhere")
    yield resized(bilinear, "odd_sides", (1, 2, 8, 10), (7, 9), "what was doubled too far", real=True)
    yield resized(bilinear, "real", (1, 3, 5, 4), (13, 11), "corners that are not aligned", real=True)
    yield Case(
        bilinear, "infinity", "exact", written(1.0, np.inf, -0.0, 2.0, shape=(1, 1, 2, 2)), attributes={"size": (3, 2)},
        note="a value whose share is 0 is not read: infinity times zero would be NaN",
    )  # fmt: skip


def composites() -> Iterator[Case]:
    """LKA, one block and one whole network, layer by layer: folders that `oracle compare` takes as its TRACE."""

    def gate(key: str, channels: int, low: int, high: int, shift: int) -> Iterator[tuple[str, Tensor]]:
        kernels = {"conv0": (1, CONV0), "conv_spatial": (1, CONV_SPATIAL), "conv1": (channels, POINTWISE)}
        for name, (reads, kernel) in kernels.items():
            shape = channels, reads, kernel.side, kernel.side
            yield f"{name}.weight", drawn(f"{key}/{name}.weight", shape, low, high, shift)
            yield f"{name}.bias", drawn(f"{key}/{name}.bias", shape[:1], low, high, shift)

    x = drawn("lka/integers/x", (1, 4, 12, 11), -3, 3)
    yield Case(LKA, "integers", "exact", x, dict(gate("lka/integers", 4, -2, 2, 0)))
    x = drawn("lka/real/x", (1, 8, 14, 14), -2048, 2047, 10)
    yield Case(LKA, "real", "rounded", x, dict(gate("lka/real", 8, -1024, 1023, 12)))
    weights = {name: drawn(name, shape, *seeded.rule(name, shape)) for name, shape in parameter_shapes(TINY)}
    block = {name.removeprefix(f"{BLOCK}."): tensor for name, tensor in weights.items() if paths.block_of(name) == BLOCK}
    x = drawn("block/real/x", (1, TINY.dims[1], 7, 6), -2048, 2047, 10)
    note = f"the parameters are those of the tiny network's {BLOCK}"
    yield Case("block", "real", "network", x, block, {"eps": TINY.batch_norm_eps}, note)
    yield Case("network", "tiny", "network", drawn("input", (1, 3, 40, 36), -2048, 2047, 10), weights, {
        "dims": TINY.dims, "depths": TINY.depths, "mlp_ratios": TINY.mlp_ratios, "classes": TINY.classes,
        "layer_norm_eps": TINY.layer_norm_eps, "batch_norm_eps": TINY.batch_norm_eps,
    })  # fmt: skip


def runner(operator: str, x: Floating, parameters: Mapping[str, Floating], attributes: Mapping[str, Any]) -> Run:
    """Return `run(engine, hook)`: computes a case and hands every layer of it to hook, the input first under 'input'."""
    paths.nested(parameters)  # whatever is wrong with their names is said before anything runs

    def run(engine: Engine, hook: Callback) -> None:
        tree = paths.nested({name: engine.array(array) for name, array in parameters.items()})
        given = Hook(hook)(paths.INPUT, engine.array(x))
        if operator == LKA:
            model.lka(engine.ops, Hook(lambda path, array: hook(path or LKA, array)), given, **tree)
        elif operator == "block":
            model.block(engine.ops, Hook(hook, BLOCK), given, **tree, **attributes)
        elif operator == "network":
            VAN(Config(**attributes), parameters, engine)(np.asarray(given), hook)
        else:
            hook("y", _compute(engine, operator, given, {**tree, **attributes}))

    return run


def _compute(engine: Engine, operator: str, x: Array, arguments: dict[str, Any]) -> Array:
    """Run one operator, which the test vectors may know by a name of its own for what it does to channels."""
    groups = {"groups": x.shape[1]} if operator in DEPTHWISE else {}
    function: Callable[..., Array] = getattr(engine.ops, "conv2d" if operator in CONVOLUTIONS else operator)
    return function(x, **arguments, **groups)
