"""Semantic FPN as every thread of a team runs it, on the maps that `network.run` has left: compare minivan/fpn.py.

BatchNorm is folded into the head's convolutions, and ReLU happens on their way out (winograd.py). What the neck adds from the
next coarser map is laid out where the sum will stand, some rows at a time, and the lateral convolution adds to it while they
are in the cache; likewise the head's sum over the maps and its last convolution.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..jit import carray, inline, njit
from ..registers import restore, standard
from .addresses import Address, floats_at
from .fpn_tables import Level, LevelMaps, PackedPyramid, Pyramid, Smoothing, Worker
from .maps import Grid, Map, Part, map_at, moved
from .matmul import STORED, added_to, matmul
from .network import share_of_positions
from .simd import PAIR, Lanes, Shape, tile_rows, vector_width
from .tables import Member
from .team import meet, share
from .upsample import upsample_bilinear, upsample_nearest
from .winograd import convolve, tiles_of

BAND_TILES = 16  # matrix tiles of positions, or a row: how many are taken from one operator to the next while in the cache
ANY, RELU = -np.inf, 0.0  # the lowest output of a convolution


@inline
def band_rows(lanes: Lanes, width: int) -> int:
    """Rows of a map that are taken through several operators at once."""
    return max(1, BAND_TILES * tile_rows(lanes) // width)


def band_positions(shape: Shape, width: int) -> int:
    """Return how many positions those rows have at most."""
    return max(width, BAND_TILES * shape.rows)


@inline
def lateral(
    lanes: Lanes, me: Member, worker: Worker, pyramid: Pyramid, level: Level, x: Map, coarser: Map, small: Grid, out: Map,
    grid: Grid,
) -> None:  # fmt: skip
    """A map 1x1 to the neck's channels, and the coarser sum added, where there is one: of one image."""
    v = vector_width(lanes)
    start, stop = share(grid.height, me)
    rows = band_rows(lanes, grid.width)
    for first in range(start, stop, rows):
        last = min(first + rows, stop)
        at = first * grid.width * v
        part = Part(0, (last - first) * grid.width, 0, pyramid.pairs)
        ending = STORED
        if coarser.blocks > 0:
            upsample_nearest(lanes, coarser, small, out, grid, first, last)
            ending = added_to(moved(out, at), pyramid.ones)
        matmul(lanes, moved(x, at), level.lateral, moved(out, at), ending, part, worker.own.spare)


@inline
def smoothed(
    lanes: Lanes, me: Member, worker: Worker, smoothing: Smoothing, x: Map, out: Map, grid: Grid, lowest: float
) -> None:
    """A 3x3 convolution on one image's map."""
    first, last = share_of_positions(lanes, tiles_of(grid), me)
    convolve(lanes, x, smoothing, out, grid, lowest, first, last, worker.own)
    meet(me)


@inline
def doubled(lanes: Lanes, me: Member, x: Map, grid: Grid, out: Map) -> None:
    """A map of one image with twice the rows and columns."""
    twice = Grid(1, 2 * grid.height, 2 * grid.width)
    first, last = share(twice.height, me)
    upsample_bilinear(lanes, x, grid, out, twice, first, last, False)
    meet(me)


@inline
def sum_and_classify(
    lanes: Lanes, me: Member, worker: Worker, pyramid: Pyramid, maps: NDArray[np.void], logits: Address
) -> None:
    """All maps brought to the size of the finest and added, and each place's classes: (classes, H, W) at `logits`."""
    v, finest = vector_width(lanes), maps[0]
    grid = Grid(1, finest.height, finest.width)
    total = map_at(lanes, finest.last, PAIR * pyramid.head_pairs, grid)
    places = grid.height * grid.width
    out = carray(floats_at(logits), (pyramid.classes, places))
    start, stop = share(grid.height, me)
    rows = band_rows(lanes, grid.width)
    for first in range(start, stop, rows):
        last = min(first + rows, stop)
        for i in range(1, pyramid.levels):
            here: LevelMaps = maps[i]
            scale = 1 << i if here.apart else 1 << (i - 1)
            small = Grid(1, scale * here.height, scale * here.width)
            source = map_at(lanes, here.doubled if here.apart else here.last, total.blocks, small)
            upsample_bilinear(lanes, source, small, total, grid, first, last, True)
        begin, count = first * grid.width, (last - first) * grid.width
        classes = Map(worker.own.logits, count * v, PAIR * pyramid.class_pairs)
        part = Part(0, count, 0, pyramid.class_pairs)
        matmul(lanes, moved(total, begin * v), pyramid.conv_seg, classes, STORED, part, worker.own.spare)
        for c in range(pyramid.classes):
            values = carray(floats_at(classes.address + c // v * classes.step), (count, v))
            for p in range(count):
                out[c, begin + p] = values[p, c % v]
    meet(me)


@njit(nogil=True)
def run_fpn(
    lanes: Lanes, packed: PackedPyramid, levels_maps: NDArray[np.void], member: NDArray[np.void], worker_: NDArray[np.void],
    images: int, logits: Address,
) -> None:  # fmt: skip
    """One thread's part of neck and head, for images whose maps `run` has left at this member's `features`.

    levels_maps: LevelMaps per map; member: one Member; worker_: one Worker. Logits: (images, classes, H, W).
    """
    was = standard()
    v = vector_width(lanes)
    me: Member = member[0]
    worker: Worker = worker_[0]
    pyramid: Pyramid = packed.pyramid[0]
    levels, steps = packed.levels, packed.steps
    shared, count = worker.shared, pyramid.levels
    for image in range(images):
        features = me.maps.features
        for i in range(count):
            features += PAIR * levels[i].pairs * images * levels_maps[i].height * levels_maps[i].width * v
        coarser, small = Map(0, 0, 0), Grid(1, 0, 0)
        for back in range(count):
            i = count - 1 - back
            level: Level = levels[i]
            here: LevelMaps = levels_maps[i]
            grid = Grid(1, here.height, here.width)
            each = grid.height * grid.width * v
            features -= PAIR * level.pairs * images * each
            x = Map(features + image * each, images * each, PAIR * level.pairs)
            total = map_at(lanes, here.lateral, PAIR * pyramid.pairs, grid)
            lateral(lanes, me, worker, pyramid, level, x, coarser, small, total, grid)
            meet(me)
            coarser, small = total, grid
            y = map_at(lanes, shared.smooth, PAIR * pyramid.pairs, grid)
            smoothed(lanes, me, worker, level.smoothing, total, y, grid, ANY)
            for k in range(level.steps):
                last = k == level.steps - 1
                out = map_at(lanes, here.last if last else shared.step, PAIR * pyramid.head_pairs, grid)
                smoothed(lanes, me, worker, steps[level.first_step + k], y, out, grid, RELU)
                if not last or here.apart:
                    twice = Grid(1, 2 * grid.height, 2 * grid.width)
                    y = map_at(lanes, here.doubled if last else shared.twice, PAIR * pyramid.head_pairs, twice)
                    doubled(lanes, me, out, grid, y)
                    grid = twice
        to = logits + image * pyramid.classes * levels_maps[0].height * levels_maps[0].width
        sum_and_classify(lanes, me, worker, pyramid, levels_maps, to)
    restore(was)
