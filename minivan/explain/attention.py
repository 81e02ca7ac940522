"""Attention maps: what large kernel attention multiplies its input by.

LKA is u * conv1(conv_spatial(conv0(u))). The second factor is learned without a softmax or a sigmoid, so its values
are signed and unbounded: they weigh, they are no share of anything. Below zero they turn a feature's sign.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .. import paths
from ..checks import Floating, Integers
from ..errors import suggestion
from ..hooks import Callback
from ..operators import Array
from ..van import VAN
from ..variants import Config

SELECTIVE = 4  # channels shown beside the mean


def attention_maps(model: VAN, x: npt.ArrayLike) -> dict[str, Floating]:
    """Return, for each block ('block1.0' first), the factors (N, C, H, W) that LKA multiplies its input by.

    x is as for a call of the model, which raises ValueError for what it cannot take; a backbone without a head will do.
    """
    found: dict[str, Floating] = {}

    def keep(path: str, array: Array) -> None:
        block = paths.block_of(path)
        if block is not None and paths.is_factor(path):
            found[block] = np.asarray(array)

    model.features(x, hook=keep)
    return found


def most_selective(factors: Floating, count: int) -> Integers:
    """Return the `count` channels of one image's factors (C, H, W) that differ most from place to place, most first.

    Selectivity is the standard deviation over places: a channel that weighs every place alike only rescales.
    """
    return np.argsort(-factors.std(axis=(1, 2)), kind="stable")[:count]


class Variance(NamedTuple):
    """Why a block's attention values differ, as mean squared distances: the last three add up to the first."""

    total: float  # of every value from the mean of all
    channels: float  # of the channels' own means from that mean: which channel it is, whatever the image
    images: float  # of a channel's mean in one image from its mean in all: which channel, as the image decides
    places: float  # of a value from its channel's mean in its image: where in the image

    @property
    def between_channels(self) -> float:
        """The share of the variance that lies between the maps of an image, not within them; 0 where there is none."""
        return (self.channels + self.images) / self.total if self.total else 0.0


def attention_variance(factors: npt.ArrayLike) -> Variance:
    """Split the variance of a block's attention, (N, C, H, W) or of one image (C, H, W), as the law of total variance does.

    Raises ValueError for another number of axes, and for arrays without a value.
    """
    values = np.asarray(factors, np.float64)
    if values.ndim not in (3, 4) or not values.size:
        raise ValueError(f"attention is (N, C, H, W) or (C, H, W), with a value at least; got the shape {values.shape}")
    return split_variance(np.atleast_2d(values.mean(axis=(-2, -1))), np.atleast_2d(values.var(axis=(-2, -1))))


def split_variance(means: Floating, within: Floating) -> Variance:
    """Return the same from each map's mean and variance over its places, float64 (N, C) each, where all maps are too many."""
    of_channels = means.mean(axis=0)
    parts = of_channels.var(), (means - of_channels).var(), within.mean()
    return Variance(float(sum(parts)), *(float(part) for part in parts))


WHICH, WHERE = (2, 3), (1,)  # the axes over which a mean leaves only: which channel; where


def averaged(axes: tuple[int, ...]) -> Callback:
    """Return a hook that replaces every block's attention by its mean over some axes of (N, C, H, W): WHICH or WHERE."""

    def hook(path: str, array: Array) -> Array | None:
        if not paths.is_factor(path):
            return None
        mean: Array = np.asarray(array, np.float64).mean(axis=axes, keepdims=True)
        return np.ascontiguousarray(np.broadcast_to(mean, array.shape), array.dtype)

    return hook


def choose_blocks(config: Config, block: str | Iterable[str] | None = None) -> list[str]:
    """Return the paths of the blocks to show: the last of each stage, or what `block` names.

    That is one block ('block3.2'), a stage's blocks ('block3') or 'all', or several of these. ValueError for any other, with
    what comes near.
    """
    if block is None:
        return paths.last_blocks(config.depths)
    stages = {paths.stage_blocks(i): inside for i, inside in enumerate(paths.blocks(config.depths), start=1)}
    every = [path for inside in stages.values() for path in inside]
    named = {"all": every, **stages, **{path: [path] for path in every}}
    chosen: dict[str, None] = {}  # in order, each once
    for name in [block] if isinstance(block, str) else block:
        path = (paths.block_of(name) or name) if paths.is_factor(name) else name
        if path not in named:
            near = difflib.get_close_matches(name, list(named), n=4, cutoff=0.4)
            known = f"the stages are {', '.join(stages)}"
            raise ValueError(f"no block is called {name!r}; {suggestion(near, known)}")
        chosen.update(dict.fromkeys(named[path]))
    return list(chosen)
