"""What a derivative is a sum of: how many terms, and how large they are together, whatever is left of them.

A gradient by a parameter sums over all images and positions, and of large terms of both signs little may be left: of the bias
before a BatchNorm in training form, nothing but rounding. What an error means there is told by the terms, not by the sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from ..checks import Float64, Floating
from .replay import GradientCall

Sizes: TypeAlias = Callable[[dict[str, Any]], tuple[int, Floating | None]]  # of the call's arguments: see `summed`


def summed(call: GradientCall) -> tuple[int, float]:
    """Return how many terms a derivative's numbers are sums of, and the root mean square of the sums of absolute terms.

    (0, 0.0) where it is no sum.
    """
    sizes = SIZES.get(call.operator)
    if sizes is None:
        return 0, 0.0
    count, terms = sizes(call.parameters)
    if terms is None:  # a product of the arguments: of absolute arguments, it is that of the terms
        positive = {name: np.abs(value) for name, value in call.parameters.items() if isinstance(value, np.ndarray)}
        terms = np.asarray(call.again(**positive))
    elif call.part == 1:  # of a norm's parameters, the bias
        terms = np.abs(call.parameters["dy"]).sum((0, 2, 3), dtype=np.float64)
    return count, math.sqrt(float(np.square(terms, dtype=np.float64).mean())) if terms.size else 0.0


def _positions(given: dict[str, Any]) -> tuple[int, None]:
    return given["dy"][:, 0].size, None


def _taps(given: dict[str, Any]) -> tuple[int, None]:
    weight = given["weight"]
    groups = given.get("groups", 1)
    return weight.size // (weight.shape[1] * groups) if weight.ndim == 4 else len(weight), None


def _over(x: Floating, axes: tuple[int, ...], eps: float) -> tuple[Float64, Float64]:
    """Return (|x| + |mean|) / deviation over some axes, what is subtracted to normalise, and the deviation."""
    mean, var = (v(axes, keepdims=True, dtype=np.float64) for v in (x.mean, x.var))
    deviation = np.sqrt(var + eps)
    return (np.abs(x) + np.abs(mean)) / deviation, deviation


def _by_parameters(axes: tuple[int, ...] | None) -> Sizes:
    """Of a norm's weight: dy * (x - mean) / deviation over images and positions, the statistics over `axes`, or given."""

    def sizes(given: dict[str, Any]) -> tuple[int, Floating]:
        x, dy = given["x"], given["dy"]
        if axes is None:
            deviation = np.sqrt(given["running_var"].astype(np.float64) + given["eps"])[:, None, None]
            z = (np.abs(x) + np.abs(given["running_mean"])[:, None, None]) / deviation
        else:
            z, _ = _over(x, axes, given["eps"])
        return dy[:, 0].size, (np.abs(dy) * z).sum((0, 2, 3))

    return sizes


def _by_input(axes: tuple[int, ...]) -> Sizes:
    """Of a norm's x: |g| + mean |g| + |z| mean |g z| over the deviation, with g = weight * dy."""

    def sizes(given: dict[str, Any]) -> tuple[int, Floating]:
        x = given["x"]
        z, deviation = _over(x, axes, given["eps"])
        g = np.abs(given["dy"] * given["weight"].astype(np.float64)[:, None, None])
        terms = (g + g.mean(axes, keepdims=True) + z * (g * z).mean(axes, keepdims=True)) / deviation
        return math.prod(x.shape[axis] for axis in axes), terms

    return sizes


def _by_logits(given: dict[str, Any]) -> tuple[int, Floating]:
    """Of the cross-entropy: p - 1 at the target, where p is an exponential whose error is that of its exponent."""
    logits = given["logits"]
    divisor = len(logits) if given["reduction"] == "mean" else 1
    return 1, np.ones(logits.shape) * (1 + float(np.abs(logits).max(initial=0.0))) / divisor


BATCH, CHANNELS = (0, 2, 3), (1,)
SIZES: dict[str, Sizes] = {
    "conv2d_weight": _positions,
    "conv2d_bias": _positions,
    "conv2d_input": _taps,
    "linear_weight": _positions,
    "linear_bias": _positions,
    "linear_input": _taps,
    "layer_scale_weight": _positions,
    "batch_norm_parameters": _by_parameters(None),
    "batch_norm_training_parameters": _by_parameters(BATCH),
    "layer_norm_parameters": _by_parameters(CHANNELS),
    "batch_norm_training_input": _by_input(BATCH),
    "layer_norm_input": _by_input(CHANNELS),
    "cross_entropy_input": _by_logits,
}
