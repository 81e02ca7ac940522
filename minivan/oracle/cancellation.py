"""What a sound layer may add that sums up many numbers, or large ones that cancel: more than the usual line.

A sum in float32, one number after the other, rounds each partial sum. With K numbers, and parts as large as the sum of their
absolute values, that adds up to about 0.3 sqrt(K) roundings of that sum; where little is left of it, to as many more of what
is left. BatchNorm folded into x * scale + shift rounds both parts and their sum, however little is left of them. LayerNorm
in one pass takes the square of the mean off the mean of the squares: of a mean far larger than the deviation little is left.
"""

from __future__ import annotations

import math

import numpy as np

from ..checks import Floating
from .measure import PIECE, rms
from .replay import Call, GradientCall
from .summands import summed

SUMMED = 0.5  # sqrt(K) roundings of the sum of absolute values: some more than the 0.3 that were measured
FOLDED = 4.0  # roundings of |x * scale| + |shift|
ONE_PASS = 2.0  # sqrt(C) roundings of the mean square, over the variance: some more than the 1.4 that were measured


def allowed(call: Call, right: Floating, form: str) -> float:
    """Return how many roundings to `form` a sound layer may add at most, by what it reads; 0 where that tells nothing.

    `right` is what the call gives. Sums are kept in float32 at least, so that in shorter formats they add nothing.
    """
    size = rms(right)
    if not 0 < size < math.inf:
        return 0.0
    if isinstance(call, GradientCall):
        count, terms = summed(call)
        return SUMMED * math.sqrt(count) * terms / size if form == "float32" else 0.0
    if call.operator == "batch_norm":
        return FOLDED * _folded(call) / size
    if call.operator == "layer_norm" and form == "float32":
        return ONE_PASS * math.sqrt(call.x.shape[1]) * _in_one_pass(call) / size
    if form != "float32" or call.operator not in ("conv2d", "linear", "global_average_pool"):
        return 0.0
    given = {name: np.abs(array) for name, array in call.parameters.items() if isinstance(array, np.ndarray)}
    count = math.prod(given["weight"].shape[1:]) if "weight" in given else math.prod(call.x.shape[2:])
    return SUMMED * math.sqrt(count) * rms(np.asarray(call.again(x=np.abs(call.x), **given))) / size


def _folded(call: Call) -> float:
    """Return the root mean square of |x * scale| + |shift|, channel by channel."""
    mean, var, gamma, beta = (
        np.asarray(call.parameters[name], np.float64) for name in ("running_mean", "running_var", "weight", "bias")
    )
    scale = gamma / np.sqrt(var + call.parameters["eps"])
    shift, total = beta - mean * scale, 0.0
    for channel in range(len(scale)):
        part = np.abs(call.x[:, channel].astype(np.float64) * scale[channel]) + abs(shift[channel])
        total += float(np.square(part).sum())
    return math.sqrt(total / call.x.size)


def _in_one_pass(call: Call) -> float:
    """Return the root mean square of what an error of one in the mean square over the variance, position by position, makes.

    The variance is the mean square less the square of the mean, and half of its relative error goes into each number.
    """
    gamma, total = np.asarray(call.parameters["weight"], np.float64)[:, None], 0.0
    for image in call.x:
        flat = image.reshape(len(image), -1)
        for begin in range(0, flat.shape[1], step := max(1, PIECE // len(flat))):
            x = flat[:, begin : begin + step].astype(np.float64)
            mean, var = x.mean(0), x.var(0) + call.parameters["eps"]
            part = gamma * (x - mean) / np.sqrt(var) * (1 + mean * mean / var) / 2
            total += float(np.square(part).sum())
    return math.sqrt(total / call.x.size)
