"""What compiled code knows of a Semantic FPN: its tables, as tables.py has those of the backbone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .addresses import Address, Count
from .lanes import Shape
from .maps import Parameters

BAND_TILES = 16  # matrix tiles of positions, or a row: how many are taken from one operator to the next while in the cache


@dataclass(frozen=True)
class Pyramid:
    """One record: what belongs to no map."""

    levels: Count
    pairs: Count  # of the neck's maps
    head_pairs: Count
    class_pairs: Count
    classes: Count
    conv_seg: Parameters
    ones: Address  # as many as the neck's maps have channels


class Smoothing(NamedTuple):
    """A 3x3 convolution in Winograd's form: weight [pairs][16][C][2][V], bias [pairs][16][2][V]."""

    weight: Address
    bias: Address
    tiles: Count  # that are computed at once


@dataclass(frozen=True)
class Level:
    """One record per map of the backbone, the finest first."""

    pairs: Count  # of the backbone's map
    lateral: Parameters
    smoothing: Smoothing  # of the neck
    first_step: Count  # of all the head's convolutions
    steps: Count


class PackedPyramid(NamedTuple):
    """A neck's and a head's weights and the tables whose addresses point into them: they stay together."""

    weights: NDArray[np.float32]
    pyramid: NDArray[np.void]
    levels: NDArray[np.void]
    steps: NDArray[np.void]  # Smoothing, one for each convolution of the head


@dataclass(frozen=True)
class LevelMaps:
    """One record per level and size of image: its grid, and where its maps lie; the team shares them."""

    height: Count
    width: Count
    features: Address  # the backbone's map, of all images
    lateral: Address  # the neck's sum
    last: Address  # the head's last convolution; of the finest map, the sum of all
    doubled: Address  # that doubled, where that is not yet the size of the finest map
    apart: Count  # whether it is not


class SharedMaps(NamedTuple):
    """The maps that a team shares, each large enough for every level."""

    smooth: Address  # the neck's outputs
    step: Address  # the head's convolutions but for each map's last
    twice: Address  # those doubled


class Workplace(NamedTuple):
    """What each thread has of its own."""

    inputs: Address  # of some tiles, transformed
    products: Address  # of a pair of their outputs' blocks
    patch: Address  # the inputs of one tile
    spare: Address  # one matrix tile
    logits: Address  # of some rows, in blocks of V classes


@dataclass(frozen=True)
class Worker:
    """One record per thread: where its maps lie."""

    shared: SharedMaps
    own: Workplace


def band_positions(shape: Shape, width: int) -> int:
    """Return how many positions the rows have at most that are taken through several operators at once."""
    return max(width, BAND_TILES * shape.rows)
