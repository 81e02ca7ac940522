"""The memory that compiled code works in, laid out for each call, and kept alive while addresses point into it.

An Address keeps nothing alive and nobody is warned when its array is gone: compiled code would read and write whatever lies
there by then. So for as long as threads run, these must be held, and a Place holds them all:

    packed     the weights, which the tables of the network point into
    room       maps and scratch, which the members point into
    members    one record per thread, of which `run` is given a view; its thread writes to it
    counter    the team's barrier, which the members point at
    x, logits  the caller's images and their logits, handed to `run` as plain numbers
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..geometry import DWCONV, stage_sizes
from ..variants import Config
from .addresses import ALIGNMENT, FLOAT_BYTES, Address, address_of, aligned, begin_of, records
from .lanes import FLOATS, PAIR, Lanes, Shape, pairs_for
from .maps import Grid
from .rounds import Portion
from .tables import Maps, Member, Packed, Scratch, Tiling
from .team import GIVE_WAY, RELEASED
from .windows import EMBED, EMBED_TILES, STEM_ROW, STEM_TILES, stem_rows

# Bytes of the wide map that a band of rows may take, both before and after its 3x3 convolution. Bands of 1, 3, 4 and 6 rows
# of VAN-B2's first stage: 2333, 2227, 2151 and 2186 microseconds; no bands, by channels: 2190. On an Intel Xeon, times those
# with 1200 KiB: 600 KiB 1.00 for B0, but 1.04 for B1 and 1.06 for B2 at 384 x 384; 900 and 1600 within 1 % for all.
CACHE = 1200 << 10
# Bytes of a whole wide map that is computed at once, by channels. One thread on an Intel Xeon, times those with 4 MiB: VAN-B0
# 0.995, B1 0.99 at 224 x 224 and 0.98 at 384, B2 0.99 and 0.98; with 1 MiB the same. Before bands kept their last
# rows in a ring, on an AMD EPYC with half the second-level cache, VAN-B0's first stage, of 3 MiB, took 633 microseconds at once
# and 653 by rows; since then it was not measured there. A team passes half of the map from core to core: 6.8 against 6.0
# milliseconds for the network on the EPYC; on the Xeon 1 and 2 MiB come to the same.
SMALL_MAP, SMALL_SHARED_MAP = 2 << 20, 1 << 20
# Positions of a stage that are worked on at once: small maps of several images together. Eight images at 224 x 224 on an Intel
# Xeon, times those with 784, whose wide maps do not stay in the second-level cache: VAN-B1 0.975, B2 0.97, B0 1.00; 392 within
# 1 % of that; B0 and B1 at 64 to 160 within 1 %, where 196 leaves many a matrix tile half idle.
CHUNK = 294
SEEN = 2 * DWCONV.reach  # rows of the wide map that a band sees beyond its own
COUNTER_INTS = 16  # a barrier's counter has two cache lines to itself


class Sizes(NamedTuple):
    """How many floats each buffer of one team has, in the tuples that will hold their addresses; how its stages are tiled."""

    maps: Maps  # shared by the team
    scratch: Scratch  # of each thread
    tilings: NDArray[np.void]

    def total(self, threads: int) -> int:
        """Floats that a team of so many threads needs."""
        return sum(self.maps) + threads * sum(self.scratch)


@dataclass(frozen=True)
class Place:
    """One team's place in a workspace: what it computes on, and everything that addresses in it point to."""

    packed: Packed
    room: NDArray[np.float32]
    members: list[NDArray[np.void]]
    counter: NDArray[np.int64]
    tilings: NDArray[np.void]
    x: NDArray[np.float32]
    logits: NDArray[np.float32]

    def jobs(self, lanes: Lanes) -> list[tuple[Any, ...]]:
        """Return the arguments of `network.run` for each thread."""
        images, _, height, width = self.x.shape
        where = address_of(self.x), Grid(images, height, width), address_of(self.logits)
        return [(lanes, self.packed, self.tilings, member, *where) for member in self.members]

    def features(self, v: int) -> Iterator[NDArray[np.float32]]:
        """Yield each stage's output (images, C filled up, H, W), read where `run` left it in blocks of V channels."""
        images = len(self.x)
        at = int(self.members[0]["maps"]["features"][0]) - address_of(self.room)
        for stage, tiling in zip(self.packed.stages, self.tilings, strict=True):
            blocks, height, width = PAIR * int(stage["pairs"]), int(tiling["height"]), int(tiling["width"])
            size = blocks * images * height * width * v
            outputs = self.room[at : at + size].reshape(blocks, images, height, width, v)
            yield outputs.transpose(1, 0, 4, 2, 3).reshape(images, blocks * v, height, width)
            at += size


def release(places: Iterable[Place]) -> None:
    """Let every thread of these teams pass all barriers that are still to come: one of them will not arrive."""
    for place in places:
        place.counter[0] = RELEASED


class Workspace:
    """A plan's memory: one room, as large as the largest call so far needed, used again by every call."""

    def __init__(self, config: Config, packed: Packed, shape: Shape) -> None:
        self.config, self.packed, self.shape = config, packed, shape
        self._room = aligned(0)

    def places(self, portions: Sequence[Portion], x: NDArray[np.float32], logits: NDArray[np.float32]) -> list[Place]:
        """Lay out the room for teams that run side by side, one per portion of the images x; drop every place before.

        x: (N, colours, H, W), C-contiguous and aligned, as is logits (N, classes).
        """
        height, width = x.shape[2:]
        sizes = [sizes_of(self.config, self.shape, portion._replace(first=0), height, width) for portion in portions]
        needed = sum(size.total(portion.threads) for size, portion in zip(sizes, portions, strict=True))
        if self._room.size < needed:
            self._room = aligned(0)  # the old one goes before the new one comes
            self._room = aligned(needed)
        at = address_of(self._room)
        places = []
        for size, portion in zip(sizes, portions, strict=True):
            images = slice(portion.first, portion.first + portion.images)
            counter = np.zeros(COUNTER_INTS, np.int64)
            maps, at = Maps(*addresses(size.maps, at)), at + sum(size.maps)
            members = []
            for rank in range(portion.threads):
                scratch, at = Scratch(*addresses(size.scratch, at)), at + sum(size.scratch)
                member = Member(rank, portion.threads, begin_of(counter), GIVE_WAY, 0, maps, scratch)
                members.append(records([member], Member))
            places.append(Place(self.packed, self._room, members, counter, size.tilings, x[images], logits[images]))
        return places


@lru_cache(maxsize=64)
def sizes_of(config: Config, shape: Shape, portion: Portion, height: int, width: int) -> Sizes:
    """The buffers of a portion's team, each as large as the stage that needs most of it, and every stage's tiling."""
    v, rows = shape.lanes, shape.rows
    before, features = 0, 0
    tilings, maps, scratch = [], [], []
    for s, (h, w) in enumerate(stage_sizes(config.stages, height, width)):
        positions, dim = h * w, config.dims[s]
        channels, hidden = (pairs_for(c, v) * PAIR * v for c in (dim, config.mlp_ratios[s] * dim))
        chunk, band = max(1, min(portion.images, CHUNK // positions)), 0
        if FLOAT_BYTES * hidden * positions > (SMALL_MAP if portion.threads == 1 else SMALL_SHARED_MAP):
            chunk, band = 1, min(h, max(1, (CACHE // (FLOAT_BYTES * hidden * w) - SEEN) // 2))
        whole, some = channels * portion.images * positions, channels * chunk * positions
        wide = 0 if band else hidden * chunk * positions
        inputs = EMBED.side * before if s else stem_rows(config.channels, shape) * STEM_ROW  # of the patch embedding's matrix
        tilings.append(Tiling(h, w, chunk, band))
        both = 0 if shape.operands == FLOATS else whole
        maps.append(Maps(whole, whole, x_operands=both, y_operands=both, u=some, near=some, far=some, hidden=wide, features=0))
        scratch.append(Scratch(
            columns=(EMBED_TILES if s else STEM_TILES) * rows * inputs,
            wide=hidden * (band + SEEN) * w if band else PAIR * v * chunk * positions,
            active=hidden * band * w,
            spare=shape.spare(max(inputs, hidden)),
            pooled=max(config.dims),
            sums=2 * config.classes,  # of float64
        ))  # fmt: skip
        features += whole
        before = channels

    def filled(floats: int) -> int:
        """As many as keep the next buffer aligned; a matrix tile may read that far beyond the last position."""
        return -(-(floats + shape.overread * v) // ALIGNMENT) * ALIGNMENT

    largest = Maps(*map(max, zip(*maps, strict=True)))._replace(features=features)
    own = Scratch(*map(max, zip(*scratch, strict=True)))
    return Sizes(Maps(*map(filled, largest)), Scratch(*map(filled, own)), records(tilings, Tiling))


def addresses(sizes: Sequence[int], at: Address) -> list[Address]:
    """Where buffers of these sizes begin that lie one behind the other."""
    return [at + before for before in accumulate(sizes[:-1], initial=0)]
