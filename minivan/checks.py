"""What operators and their derivatives demand of their arguments, checked once for every engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .floating import standard
from .operators import Pair

Floating: TypeAlias = npt.NDArray[np.floating[Any]]
Float32: TypeAlias = npt.NDArray[np.float32]
Float64: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.integer[Any]]
Numeric: TypeAlias = npt.NDArray[Any]  # of any kind of number: what is computed of whole numbers stays exact
Whole: TypeAlias = tuple[int, int]  # rows, columns
REDUCTIONS = ("sum", "mean")  # over the images of a batch, of a loss


def pair(value: Pair, name: str, least: int) -> Whole:
    """Return a stride, padding or dilation as (rows, columns); an int stands for both. ValueError below `least`."""
    both = value if isinstance(value, (tuple, list)) else (value, value)
    if len(both) != 2 or not all(isinstance(v, (int, np.integer)) and v >= least for v in both):
        raise ValueError(f"{name} must be an int, or a pair of them, of at least {least}; got {value!r}")
    return int(both[0]), int(both[1])


def check_floating(**arrays: object) -> None:
    """Raise ValueError for anything but a floating NumPy array; a bias alone may be None."""
    for name, array in arrays.items():
        if array is None and name == "bias":
            continue
        if not isinstance(array, np.ndarray):
            raise ValueError(f"{name} must be a NumPy array, got {type(array).__name__}")
        if not np.issubdtype(array.dtype, np.floating):
            raise ValueError(f"{name} must be floating, got dtype {array.dtype} and shape {array.shape}")


def check_feature_map(x: Floating) -> tuple[int, int, int, int]:
    """Return N, C, H, W of a feature map; ValueError for any other rank."""
    if x.ndim != 4:
        raise ValueError(f"x must have the shape (N, C, H, W), got {x.shape}")
    n, c, h, w = x.shape
    return n, c, h, w


def check_channels(channels: int, x: Floating, **parameters: Floating) -> None:
    """Raise ValueError unless every parameter is a vector of one value per channel of x."""
    for name, vector in parameters.items():
        if np.shape(vector) != (channels,):
            raise ValueError(f"{name} must have the shape ({channels},) for x of shape {x.shape}, got {np.shape(vector)}")


def check_batch_statistics(x: Floating) -> None:
    """Raise ValueError unless a batch has a variance: at least two values of each channel."""
    if x.size // max(x.shape[1], 1) < 2:
        raise ValueError(
            f"in training form BatchNorm takes the batch's own statistics, of two values of each channel at least; x has the "
            f"shape {x.shape}: give it more images, or larger ones"
        )


def check_batch_norm_update(
    running_mean: Floating, running_var: Floating, batch_mean: Floating, batch_var: Floating, count: int
) -> None:
    """Raise ValueError unless all four are floating (C,), and a channel has at least two values."""
    check_floating(running_mean=running_mean, running_var=running_var, batch_mean=batch_mean, batch_var=batch_var)
    shapes = [v.shape for v in (running_mean, running_var, batch_mean, batch_var)]
    if len(shapes[0]) != 1 or len(set(shapes)) != 1:
        raise ValueError(f"running and batch statistics must all have the shape (C,), got {', '.join(map(str, shapes))}")
    if count < 2:
        raise ValueError(f"a batch's variance is one of at least two values of each channel, got {count}")


def check_conv2d(
    x: Floating, weight: Floating, bias: Floating | None, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> tuple[Whole, Whole, Whole, Whole]:
    """Check a convolution's arguments; return stride, padding and dilation as pairs, and the output's (H, W).

    Raises ValueError for a wrong rank or dtype, channels that do not match, and a kernel larger than the padded input.
    """
    check_floating(x=x, weight=weight, bias=bias)
    _, c_in, h, w = check_feature_map(x)
    if weight.ndim != 4:
        raise ValueError(f"weight must have the shape (C_out, C_in / groups, K, K), got {weight.shape} for x {x.shape}")
    c_out, c_group, k_h, k_w = weight.shape
    if not isinstance(groups, (int, np.integer)) or groups < 1:
        raise ValueError(f"groups must be a whole number of at least 1, got {groups!r}")
    if c_in % groups or c_out % groups or c_group * groups != c_in:
        raise ValueError(
            f"channels do not match: x {x.shape} has {c_in}, weight {weight.shape} reads {c_group} in each of {groups} group(s)"
        )
    if bias is not None and bias.shape != (c_out,):
        raise ValueError(f"bias must have the shape ({c_out},) for weight {weight.shape}, got {bias.shape}")
    stride, dilation = pair(stride, "stride", 1), pair(dilation, "dilation", 1)
    padding = pair(padding, "padding", 0)
    extent = dilation[0] * (k_h - 1) + 1, dilation[1] * (k_w - 1) + 1
    padded = h + 2 * padding[0], w + 2 * padding[1]
    if k_h < 1 or k_w < 1 or extent[0] > padded[0] or extent[1] > padded[1]:
        raise ValueError(
            f"the kernel spans {extent[0]} x {extent[1]} (weight {weight.shape}, dilation {dilation}), "
            f"more than the padded input of {padded[0]} x {padded[1]} (x {x.shape}, padding {padding})"
        )
    out = (padded[0] - extent[0]) // stride[0] + 1, (padded[1] - extent[1]) // stride[1] + 1
    return stride, padding, dilation, out


def check_linear(x: Floating, weight: Floating, bias: Floating | None) -> None:
    """Check (N, C) against (classes, C) and (classes,); ValueError where they do not match."""
    check_floating(x=x, weight=weight, bias=bias)
    if x.ndim != 2 or weight.ndim != 2 or x.shape[1] != weight.shape[1]:
        raise ValueError(f"x must be (N, C) and weight (classes, C), got {x.shape} and {weight.shape}")
    if bias is not None and bias.shape != (weight.shape[0],):
        raise ValueError(f"bias must have the shape ({weight.shape[0]},) for weight {weight.shape}, got {bias.shape}")


def check_softmax(x: Floating) -> None:
    """Raise ValueError unless x has a last axis with something on it."""
    check_floating(x=x)
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"softmax needs a last axis with something on it, got the shape {x.shape}")


def float32(array: npt.ArrayLike) -> Float32:
    """Return an array as float32 that is contiguous, aligned and may be written to, without a copy where it is that already.

    Numba knows an array that is read-only, or that lies between two addresses, as one of another type, and would compile
    every kernel once more for it: half a minute, where a copy takes next to nothing.
    """
    if getattr(array, "dtype", None) == np.float32:
        return np.require(array, np.float32, ["C", "A", "W", "E"])
    with standard():  # what is wider is rounded
        return np.require(array, np.float32, ["C", "A", "W", "E"])


def float64(array: npt.ArrayLike) -> Float64:
    """Return an array as float64, without a copy where it is that already."""
    return np.asarray(array, np.float64)


def check_same_shape(dy: Floating, of: Sequence[int], name: str) -> None:
    """Raise ValueError unless dy is floating and has the shape of the operator's output."""
    check_floating(dy=dy)
    if dy.shape != tuple(of):
        raise ValueError(f"dy must have the shape of {name}, {tuple(of)}, got {dy.shape}")


def check_conv2d_derivative(
    dy: Floating, x_shape: Sequence[int], weight: Floating, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> tuple[Whole, Whole, Whole]:
    """Check dy against the convolution it comes from; return stride, padding and dilation as pairs.

    One of x and weight is known by its shape alone: a stand-in without memory of its own takes its place.
    """
    if len(x_shape) != 4 or min(x_shape) < 0:
        raise ValueError(f"x must have the shape (N, C, H, W), got {tuple(x_shape)}")
    x = stand_in(x_shape)
    stride, padding, dilation, size = check_conv2d(x, weight, None, stride, padding, dilation, groups)
    check_same_shape(dy, (x.shape[0], weight.shape[0], *size), "the convolution's output")
    return stride, padding, dilation


def check_upsample(x: Floating, size: Sequence[int], name: str = "x") -> tuple[int, int]:
    """Return the (H', W') that a map is brought to; ValueError unless both are at least 1 and x has something on it."""
    check_floating(**{name: x})
    if x.ndim != 4 or min(x.shape[2:]) < 1:
        raise ValueError(f"{name} must be a map (N, C, H, W) of at least one place, got the shape {x.shape}")
    if np.ndim(size) != 1 or len(size) != 2 or not all(isinstance(side, (int, np.integer)) and side >= 1 for side in size):
        raise ValueError(f"size must be (H, W), whole numbers of at least 1, got {size}")
    return int(size[0]), int(size[1])


def check_upsample_derivative(dy: Floating, size: Sequence[int]) -> None:
    """Raise ValueError unless dy is a map with something on it, floating, and size the (H, W) of a map."""
    check_upsample(dy, size, "dy")


def check_pool_derivative(dy: Floating, size: Sequence[int]) -> None:
    """Raise ValueError unless dy is (N, C), floating, and size the (H, W) of a map."""
    check_floating(dy=dy)
    if dy.ndim != 2 or len(size) != 2 or min(size) < 1:
        raise ValueError(f"dy must be (N, C) and size (H, W) of at least 1, got {dy.shape} and {tuple(size)}")


def stand_in(shape: Sequence[int]) -> Floating:
    """Return zeros of any shape in four bytes."""
    return np.broadcast_to(np.float32(0), tuple(int(side) for side in shape))


def check_cross_entropy(logits: Floating, target: npt.ArrayLike, reduction: str) -> Integers:
    """Return the targets as whole numbers (N,); ValueError unless logits are (N, classes) and each target is one of these."""
    check_floating(logits=logits)
    if logits.ndim != 2 or not logits.shape[1]:
        raise ValueError(f"logits must have the shape (N, classes), got {logits.shape}")
    classes = np.asarray(target)
    if not np.issubdtype(classes.dtype, np.integer) or classes.shape != (len(logits),):
        raise ValueError(f"target must be a class for each of the {len(logits)} images, got {classes.dtype} {classes.shape}")
    if classes.size and (classes.min() < 0 or classes.max() >= logits.shape[1]):
        raise ValueError(f"the target is one of {logits.shape[1]} classes, 0 to {logits.shape[1] - 1}; got {classes.tolist()}")
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be {' or '.join(REDUCTIONS)}, got {reduction!r}")
    return classes
