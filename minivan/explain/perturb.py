"""Maps at the input's own resolution: what the network does when the image is changed a little, or in part."""

from __future__ import annotations

import numpy as np

from ..ops import softmax
from ..paths import INPUT

BATCH = 8  # images a forward pass takes at once


def smoothgrad(model, x, target, samples: int = 16, noise: float = 0.15, seed: int = 0) -> np.ndarray:
    """Smilkov et al. 2017, "SmoothGrad: removing noise by adding noise" (arXiv 1706.03825): (N, H, W), never negative.

    The logit's derivative by the pixels, averaged over `samples` copies of each image with normal noise of `noise` times the
    image's range of values; then its magnitude, summed over the colours. `target` is (N, classes), weights of the logits.
    """
    rng = np.random.default_rng(seed)
    spread = noise * (x.max(axis=(1, 2, 3), keepdims=True) - x.min(axis=(1, 2, 3), keepdims=True))
    total = np.zeros(x.shape, np.float64)
    for _ in range(samples):
        noisy = (x + spread * rng.standard_normal(x.shape)).astype(np.float32)
        total += model.gradients(noisy, target)[INPUT]
    return np.abs(total / samples).sum(axis=1).astype(np.float32)


def occlusion(model, x, target, patch: int | None = None, step: int | None = None) -> np.ndarray:
    """Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks" (ECCV), section 4.2: (N, H, W).

    A square of `patch` pixels is greyed out (0, the mean colour once normalised) at every `step` pixels; a pixel's value
    is how much the target's probability falls, averaged over the squares that cover it. Negative where it rises. By default a
    square is a quarter of the shorter side and moves by a third of itself. `target` is (N, classes).
    """
    _, _, h, w = x.shape
    patch = patch or max(1, min(h, w) // 4)
    step = step or max(1, patch // 3)
    corners = [(top, left) for top in _places(h, patch, step) for left in _places(w, patch, step)]
    maps = np.zeros((len(x), h, w))
    for image, (picture, weights) in enumerate(zip(x, target, strict=True)):
        before = (softmax(model(picture[None]))[0] * weights).sum()
        covered = np.zeros((h, w))
        for start in range(0, len(corners), BATCH):
            batch = corners[start : start + BATCH]
            occluded = np.repeat(picture[None], len(batch), axis=0)
            for copy, (top, left) in zip(occluded, batch, strict=True):
                copy[:, top : top + patch, left : left + patch] = 0
            falls = before - (softmax(model(occluded)) * weights).sum(axis=1)
            for (top, left), fall in zip(batch, falls, strict=True):
                maps[image, top : top + patch, left : left + patch] += fall
                covered[top : top + patch, left : left + patch] += 1
        maps[image] /= covered
    return maps.astype(np.float32)


def _places(length, patch, step):
    """Return where squares begin along a side; the last one ends with it."""
    return [*range(0, max(length - patch, 0), step), max(length - patch, 0)]
