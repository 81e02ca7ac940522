"""Receptive fields: what a position could see, what LKA's kernel looks like, and what a position really uses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import backward, lka, paths
from ..checks import Float32, Floating
from ..geometry import CONV0, CONV_SPATIAL, DWCONV, PATCH_EMBEDS
from ..operators import Array
from ..van import VAN, check_images
from ..variants import COLOURS, Config
from .choices import FIELD_SIDE, NOISE_IMAGES

LKA_REACH = 2 * (CONV0.reach + CONV_SPATIAL.reach)  # a position's own place and 22 more
MLP_REACH = 2 * DWCONV.reach  # the 3x3 between fc1 and fc2
SHARES = (0.2, 0.3, 0.5, 0.99)  # those of Ding et al. 2022 (arXiv 2203.06717)


class Field(NamedTuple):
    """The square of input pixels that can reach a position of the array at `path`."""

    path: str
    stride: int  # input pixels between neighbouring positions; position i is centred on pixel i * stride
    side: int  # pixels


@dataclass(frozen=True, eq=False)
class Fields:
    """What each block could see of the input, and what each stage uses of it."""

    model: VAN = field(repr=False)
    theory: list[Field]
    effective: dict[str, npt.NDArray[np.float64]] = field(repr=False)  # path of a stage's last block -> (H, W)
    ratios: dict[str, list[float]]  # that path -> the share of the area that holds each of SHARES
    averaged: str  # over what: '8 images of 1/f noise'
    images: int
    side: int  # pixels of each

    def as_dict(self) -> dict[str, Any]:
        """Return what `python -m minivan receptive-field --json` prints."""
        return {
            "model": self.model.card.name,
            "images": self.images,
            "size": self.side,
            "theoretical": [each._asdict() for each in self.theory],
            "effective": {
                path: {
                    f"{share:.0%}": {"side": square(used, share), "area_ratio": round(ratio, 6)}
                    for share, ratio in zip(SHARES, self.ratios[path], strict=True)
                }
                for path, used in self.effective.items()
            },
        }

    def sentence(self) -> str:
        """Say how a figure of them is read."""
        *others, last = (f"{100 * share:.0f}" for share in SHARES)
        return (
            "Above: how strongly LKA weighs each place around its own, from the weights alone. Below: what the middle position "
            f"uses of the image, bright for much; the white squares hold {', '.join(others)} and {last} % of it."
        )

    def footnote(self) -> str:
        """Say what was averaged over, and whose fields these are."""
        return f"averaged over {self.averaged} of {self.side} x {self.side} pixels · {self.model}"


def fields(model: VAN, photos: npt.ArrayLike | None = None, side: int = FIELD_SIDE) -> Fields:
    """Measure the fields of a model, averaged over photos (N, C, side, side) or, without any, over images of noise.

    minivan.explain.batch makes photos from files; `side` is that of the noise. Raises ValueError for images that are not
    square, and as `effective` does.
    """
    channels = model.config.channels
    images = noise_images(NOISE_IMAGES, side, channels=channels) if photos is None else check_images(photos, channels)
    count, _, height, width = images.shape
    if height != width or not count:
        raise ValueError(f"fields are averaged over square images, one at least; got the shape {images.shape}")
    averaged = f"{count} images of 1/f noise" if photos is None else f"{count} photo{'s' if count > 1 else ''}"
    used = effective(model, images)
    ratios = {path: [area_ratio(each, share) for share in SHARES] for path, each in used.items()}
    return Fields(model, theoretical(model.config), used, ratios, averaged, count, width)


def theoretical(config: Config) -> list[Field]:
    """Return the field after each patch embedding and each block, in order.

    A K-wide kernel with dilation d on maps of stride s widens the field by (K - 1) * d * s. Every kernel is odd and padded by
    half its reach, so fields stay centred: position i of a map looks from pixel i * stride.
    """
    found, side, stride = [], 1, 1
    for i, depth in enumerate(config.depths, 1):
        embed = PATCH_EMBEDS[i - 1]
        side += (embed.side - 1) * stride
        stride *= embed.stride
        found.append(Field(paths.patch_embed(i), stride, side))
        for j in range(depth):
            side += (LKA_REACH + MLP_REACH) * stride
            found.append(Field(paths.block(i, j), stride, side))
    return found


def impulse_response(model: VAN, block: str) -> Floating:
    """Return LKA's response to a single bright position in each channel, from the weights alone: (C, 23, 23) float32.

    An impulse in channel c changes the factor of channel o, at each place around it, by conv1[o, c] times
    response[c] turned by half a turn: the convolutions look, the impulse is seen. Borders, where the map's zero padding
    cuts in between the two steps, differ (see minivan.lka.border_affected). Raises ValueError for a block that is not there.
    """
    paths.check_known([block], [path for inside in paths.blocks(model.config.depths) for path in inside])
    unit = f"{block}.{paths.UNIT}"
    conv0, conv_spatial = (model.tensors[f"{unit}.{name}.weight"] for name in ("conv0", "conv_spatial"))
    return lka.equivalent_kernel(conv0, conv_spatial, CONV_SPATIAL.dilation)[:, 0]


def effective(model: VAN, x: npt.ArrayLike) -> dict[str, npt.NDArray[np.float64]]:
    """Return what the centre position of each stage uses of the input: path of the stage's last block -> (H, W) float64.

    Luo et al. 2016, "Understanding the Effective Receptive Field in Deep CNNs" (arXiv 1701.04128): the derivative of the
    centre position, its channels summed, by every pixel; here its magnitude, summed over the channels and averaged over
    the images x (N, C, H, W). It is taken before the stage's LayerNorm, which ties the channels' sum down. With
    sides of 64 n + 1 pixels the centre position of every stage is centred on the image's centre. Raises ValueError for
    images that the model cannot take, and for an engine without derivatives.
    """
    grad, images = model.derivatives(), check_images(x, model.config.channels)
    saved: dict[str, Array] = {paths.INPUT: images}
    model.features(images, hook=saved.__setitem__)
    found = {}
    for i, path in enumerate(paths.last_blocks(model.config.depths), 1):
        seed = np.zeros(saved[path].shape, np.float32)
        seed[:, :, seed.shape[2] // 2, seed.shape[3] // 2] = 1
        steps = backward.from_blocks(grad, model.engine.array(seed), i, saved, model.parameters, model.config)
        by_pixel = np.asarray(backward.take(steps, [paths.INPUT])[paths.INPUT], np.float64)
        found[path] = np.abs(by_pixel).sum(axis=1).mean(axis=0)
    return found


def square(used: Floating, share: float) -> int:
    """Return the side of the smallest square around the centre that holds this share of a field (H, W), odd sides each.

    Sides beyond the image are cut off where it ends.
    """
    h, w = used.shape
    total, reach = used.sum(), 0
    while reach < max(h, w) // 2 and _around(used, reach).sum() < share * total:
        reach += 1
    return 2 * reach + 1


def area_ratio(used: Floating, share: float) -> float:
    """Return the area of that square over the image's: near 0 for a field that is a point, near 1 for an even one."""
    return _around(used, square(used, share) // 2).size / used.size


def _around(used: Floating, reach: int) -> Floating:
    row, column = used.shape[0] // 2, used.shape[1] // 2
    return used[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]


def noise_images(count: int, side: int, seed: int = 0, channels: int = COLOURS) -> Float32:
    """Return images (count, channels, side, side) with the spectrum of photographs but nothing on them, 1 / frequency.

    Field 1987 (JOSA A 4): natural images have it. Each is scaled to mean 0 and deviation 1, as normalised photos are.
    """
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij"))
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((count, channels, side, side))) / frequency
    images = np.fft.irfft2(spectrum, s=(side, side))
    images -= images.mean(axis=(1, 2, 3), keepdims=True)
    return np.asarray(images / images.std(axis=(1, 2, 3), keepdims=True), np.float32)
