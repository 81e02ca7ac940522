"""What compiled code knows of a network and of a thread's place in it: tables, each number declared by what it is.

A block is V channels, a pair two blocks. To hand compiled code one more number, add a field here; whether it is relocated
with the weights follows from its kind (addresses.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .addresses import Address, Count, Pointer, Real
from .maps import Parameters


@dataclass(frozen=True)
class Network:
    """One record: what belongs to no stage."""

    stages: Count
    classes: Count
    colours: Count  # of an image
    stem_rows: Count  # of the first patch embedding's matrix
    head: Parameters
    eps: Real  # LayerNorm's


@dataclass(frozen=True)
class Stage:
    """One record per stage. The operators' weights are those of its patch embedding and of its last LayerNorm."""

    channels: Count
    pairs: Count  # of a map, channels filled up to whole pairs
    hidden_pairs: Count  # of the MLP's wide map
    depth: Count
    first_block: Count  # of all blocks of the network
    embed: Parameters
    norm: Parameters
    zeros: Address  # as many as the widest map has channels: no bias
    ones: Address  # likewise: no layer scale


@dataclass(frozen=True)
class Block:
    """One record per block of the network. BatchNorm and the layer scales are folded into these: see pack.py."""

    proj_1: Parameters
    conv0: Parameters
    conv_spatial: Parameters
    conv1: Parameters
    proj_2: Parameters
    scale: Address  # the block's residual and the one inside attention, one factor per channel
    fc1: Parameters
    dwconv: Parameters
    fc2: Parameters


class Packed(NamedTuple):
    """A network's weights and the tables whose addresses point into them: they stay together."""

    weights: NDArray[np.float32]
    network: NDArray[np.void]
    stages: NDArray[np.void]
    blocks: NDArray[np.void]


@dataclass(frozen=True)
class Tiling:
    """One record per stage and size of image: the stage's grid, and how much of it is worked on at once."""

    height: Count
    width: Count
    chunk: Count  # images
    band: Count  # at most so many rows of the MLP's wide map at a time; 0: all of them, some channels at a time


class Maps(NamedTuple):
    """The maps that a team shares, each large enough for every stage."""

    x: Address  # what a stage's blocks pass on, in turn with y
    y: Address
    x_operands: Address  # x and y as matrix products read them, unless that is what they are
    y_operands: Address
    u: Address  # attention's gelu(proj_1 x)
    near: Address  # conv0, later the gated map
    far: Address  # conv_spatial
    hidden: Address  # the MLP's wide map after its GELU
    features: Address  # the stages' outputs, one behind the other


class Scratch(NamedTuple):
    """What each thread has of its own."""

    columns: Address  # windows of a patch embedding, laid out as rows
    wide: Address  # a part of fc1's output
    active: Address  # and of gelu(dwconv)
    spare: Address  # one matrix tile; behind it, with halves, the weights of a pair of outputs as floats, or tiles in software
    pooled: Address  # the mean of the last map
    sums: Address  # the logits as float64


@dataclass
class Member:
    """One record per thread: its place in its team. The thread itself counts its barriers in `arrived`."""

    rank: Count
    size: Count
    counter: Pointer  # the team's barrier, an int64
    give_way: Pointer  # the C function that gives a time slice away
    arrived: Count  # arrivals that the next barrier waits for
    maps: Maps
    scratch: Scratch
