"""Receptive fields: what a position could see, what LKA's kernel looks like, and what a position really uses."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .. import backward, lka, paths
from ..geometry import CONV0, CONV_SPATIAL, DWCONV, PATCH_EMBEDS
from ..variants import Config

LKA_REACH = 2 * (CONV0.reach + CONV_SPATIAL.reach)  # a position's own place and 22 more
MLP_REACH = 2 * DWCONV.reach  # the 3x3 between fc1 and fc2
SHARES = (0.2, 0.3, 0.5, 0.99)  # those of Ding et al. 2022 (arXiv 2203.06717)


class Field(NamedTuple):
    """The square of input pixels that can reach a position of the array at `path`."""

    path: str
    stride: int  # input pixels between neighbouring positions; position i is centred on pixel i * stride
    side: int  # pixels


def theoretical(config: Config) -> list[Field]:
    """Return the field after each patch embedding and each block, in order.

    A K-wide kernel with dilation d on maps of stride s widens the field by (K - 1) * d * s. Every kernel is odd and padded by
    half its reach, so fields stay centred: position i of a map looks from pixel i * stride.
    """
    fields, side, stride = [], 1, 1
    for i, depth in enumerate(config.depths, 1):
        embed = PATCH_EMBEDS[i - 1]
        side += (embed.side - 1) * stride
        stride *= embed.stride
        fields.append(Field(paths.patch_embed(i), stride, side))
        for j in range(depth):
            side += (LKA_REACH + MLP_REACH) * stride
            fields.append(Field(paths.block(i, j), stride, side))
    return fields


def impulse_response(model, block: str) -> np.ndarray:
    """Return LKA's response to a single bright position in each channel, from the weights alone: (C, 23, 23) float32.

    An impulse in channel c changes the factor of channel o, at each place around it, by conv1[o, c] times
    response[c] turned by half a turn: the convolutions look, the impulse is seen. Borders, where the map's zero padding
    cuts in between the two steps, differ (see minivan.lka.border_affected).
    """
    unit = f"{block}.{paths.UNIT}"
    conv0, conv_spatial = (model.tensors[f"{unit}.{name}.weight"] for name in ("conv0", "conv_spatial"))
    return lka.equivalent_kernel(conv0, conv_spatial, CONV_SPATIAL.dilation)[:, 0]


def effective(model, x) -> dict[str, np.ndarray]:
    """Return what the centre position of each stage uses of the input: path of the stage's last block -> (H, W) float64.

    Luo et al. 2016, "Understanding the Effective Receptive Field in Deep CNNs" (arXiv 1701.04128): the derivative of the
    centre position, its channels summed, by every pixel; here its magnitude, summed over the colours and averaged over
    the images x (N, 3, H, W). It is taken before the stage's LayerNorm, which ties the channels' sum down. With
    sides of 64 n + 1 pixels the centre position of every stage is centred on the image's centre.
    """
    saved = {paths.INPUT: np.asarray(x)}
    model.features(x, hook=saved.__setitem__)
    fields = {}
    for i, path in enumerate(paths.last_blocks(model.config.depths), 1):
        seed = np.zeros_like(saved[path])
        seed[:, :, seed.shape[2] // 2, seed.shape[3] // 2] = 1
        steps = backward.from_blocks(model.engine.grad, seed, i, saved, model.parameters, model.config)
        by_pixel = backward.take(steps, [paths.INPUT])[paths.INPUT]
        fields[path] = np.abs(by_pixel, dtype=np.float64).sum(axis=1).mean(axis=0)
    return fields


def square(field, share: float) -> int:
    """Return the side of the smallest square around the centre that holds this share of a field (H, W), odd sides each.

    Sides beyond the image are cut off where it ends.
    """
    h, w = field.shape
    total, reach = field.sum(), 0
    while reach < max(h, w) // 2 and _around(field, reach).sum() < share * total:
        reach += 1
    return 2 * reach + 1


def area_ratio(field, share: float) -> float:
    """Return the area of that square over the image's: near 0 for a field that is a point, near 1 for an even one."""
    return _around(field, square(field, share) // 2).size / field.size


def _around(field, reach):
    row, column = field.shape[0] // 2, field.shape[1] // 2
    return field[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]


def noise_images(count: int, side: int, seed: int = 0) -> np.ndarray:
    """Return images (count, 3, side, side) with the spectrum of photographs but nothing on them: amplitude 1 / frequency.

    Field 1987 (JOSA A 4): natural images have it. Each is scaled to mean 0 and deviation 1, as normalised photos are.
    """
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij"))
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((count, 3, side, side))) / frequency
    images = np.fft.irfft2(spectrum, s=(side, side))
    images -= images.mean(axis=(1, 2, 3), keepdims=True)
    return (images / images.std(axis=(1, 2, 3), keepdims=True)).astype(np.float32)
