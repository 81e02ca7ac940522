"""Does a map show what the network uses? Take away what it marks, or bring it back, and watch the class's probability.

Petsiuk et al. 2018, "RISE" (arXiv 1806.07421): deletion and insertion. A map at the input's resolution
orders the pixels; a good one makes the probability fall fast on deletion and rise fast on insertion.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..checks import Float32, Floating, Integers
from ..van import VAN
from .probability import probabilities

BLUR = 11  # pixels: radius of the box blur that insertion starts from


def ranks(pixels: Floating) -> Integers:
    """Return each pixel's rank in its own map, 0 the highest: (N, H, W) -> integers of the same shape."""
    flat = pixels.reshape(len(pixels), -1)
    order = np.argsort(-flat, axis=1, kind="stable")
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.arange(flat.shape[1])[None], axis=1)
    return places.reshape(pixels.shape)


def probability(model: VAN, x: Float32, target: npt.ArrayLike) -> Float32:
    """Return the probability of each image's class: x (N, C, H, W), target (N,) -> (N,)."""
    chosen: Float32 = probabilities(model(x), model.card.activation)[np.arange(len(x)), np.asarray(target)]
    return chosen


def occlude(x: Float32, rank: Integers, share: float, filler: float | Float32 = 0.0) -> Float32:
    """Return the images with the first share of their pixels, by rank, replaced.

    By 0, the mean colour once normalised, or by the pixels of other images, such as blurred copies: those leave no edge.
    """
    return np.where((rank < round(share * rank[0].size))[:, None], np.float32(filler), x)


def deletion(model: VAN, x: Float32, target: npt.ArrayLike, rank: Integers, steps: int = 10) -> Float32:
    """Return the probability as pixels are taken away, the highest first, in equal parts: (steps + 1, N)."""
    return np.stack([probability(model, occlude(x, rank, k / steps), target) for k in range(steps + 1)])


def insertion(model: VAN, x: Float32, target: npt.ArrayLike, rank: Integers, steps: int = 10) -> Float32:
    """Return the probability as pixels come back into a blurred copy, the highest first: (steps + 1, N)."""
    blurred = blur(x)
    return np.stack([probability(model, occlude(blurred, rank, k / steps, x), target) for k in range(steps + 1)])


def area(curve: Floating) -> Floating:
    """Return the area under curves (steps + 1, N), by trapezoids, of a base of length 1: (N,)."""
    means: Floating = (curve[:-1] + curve[1:]).mean(axis=0) / 2
    return means


def blur(x: Float32, radius: int = BLUR) -> Float32:
    """Return images with each pixel the mean of the (2 radius + 1)^2 around it, edges repeated; twice, which is smoother."""
    for _ in range(2):
        for axis in (2, 3):
            ends = [(0, 0)] * 4
            ends[axis] = (radius + 1, radius)
            sums = np.pad(x, ends, mode="edge").astype(np.float64).cumsum(axis=axis)
            width = 2 * radius + 1
            high, low = (np.take(sums, np.arange(k, k + x.shape[axis]), axis=axis) for k in (width, 0))
            x = ((high - low) / width).astype(np.float32)
    return x
