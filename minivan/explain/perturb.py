"""Maps at the input's own resolution: what the network does when the image is changed a little, or in part.

x is float32 (N, C, H, W). `targets` are (K, N, classes), K questions about the same images, each in weights of the logits:
the changed images go through the network once for all of them. The maps are float32 (K, N, H, W).
"""

from __future__ import annotations

import numpy as np

from ..checks import Float32, Floating
from ..paths import INPUT
from ..van import VAN
from .probability import probabilities

BATCH = 8  # images a forward pass takes at once


def smoothgrad(model: VAN, x: Float32, targets: Floating, samples: int = 16, noise: float = 0.15, seed: int = 0) -> Float32:
    """Smilkov et al. 2017, "SmoothGrad: removing noise by adding noise" (arXiv 1706.03825): never negative.

    The logit's derivative by the pixels, averaged over `samples` copies of each image with normal noise of `noise` times the
    image's range of values; then its magnitude, summed over the channels.
    """
    rng = np.random.default_rng(seed)
    spread = noise * (x.max(axis=(1, 2, 3), keepdims=True) - x.min(axis=(1, 2, 3), keepdims=True))
    totals = np.zeros((len(targets), *x.shape), np.float64)
    for _ in range(samples):
        noisy = (x + spread * rng.standard_normal(x.shape)).astype(np.float32)
        saved = model.arrays(noisy, [INPUT])
        for total, weights in zip(totals, targets, strict=True):
            total += np.asarray(model.derive_from(saved, weights, [INPUT]).gradients[INPUT])
    return np.asarray(np.abs(totals / samples).sum(axis=2), np.float32)


def occlusion(model: VAN, x: Float32, targets: Floating, patch: int | None = None, step: int | None = None) -> Float32:
    """Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks" (ECCV), section 4.2.

    A square of `patch` pixels is greyed out (0, the mean colour once normalised) at every `step` pixels; a pixel's value
    is how much the target's probability falls, averaged over the squares that cover it. Negative where it rises. By default a
    square is a quarter of the shorter side and moves by a third of itself.
    """
    activation = model.card.activation
    _, _, h, w = x.shape
    patch = patch or max(1, min(h, w) // 4)
    step = step or max(1, patch // 3)
    corners = [(top, left) for top in _places(h, patch, step) for left in _places(w, patch, step)]
    maps = np.zeros((len(targets), len(x), h, w))
    for image, picture in enumerate(x):
        weights = targets[:, image, None]  # (K, 1, classes)
        before = (probabilities(model(picture[None]), activation) * weights).sum(axis=2)  # (K, 1)
        covered = np.zeros((h, w))
        for start in range(0, len(corners), BATCH):
            squares = corners[start : start + BATCH]
            occluded = np.repeat(picture[None], len(squares), axis=0)
            for copy, (top, left) in zip(occluded, squares, strict=True):
                copy[:, top : top + patch, left : left + patch] = 0
            falls = before - (probabilities(model(occluded), activation) * weights).sum(axis=2)  # (K, squares)
            for (top, left), fall in zip(squares, falls.T, strict=True):
                maps[:, image, top : top + patch, left : left + patch] += fall[:, None, None]
                covered[top : top + patch, left : left + patch] += 1
        maps[:, image] /= covered
    return maps.astype(np.float32)


def _places(length: int, patch: int, step: int) -> list[int]:
    """Return where squares begin along a side; the last one ends with it."""
    return [*range(0, max(length - patch, 0), step), max(length - patch, 0)]
