"""Semantic FPN as every thread of a team runs it, on the maps that `network.run` has left: compare minivan/fpn.py.

BatchNorm is folded into the head's convolutions, and ReLU happens on their way out (smoothing.py). What the neck adds from the
next coarser map is laid out where the sum will stand, some rows at a time, and the lateral convolution adds to it while they
are in the cache; likewise the head's sum over the maps and its last convolution.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..jit import carray, inline, njit
from ..registers import restore, standard
from .addresses import Address
from .barrier import meet, share
from .fpn_tables import BAND_TILES, Level, LevelMaps, PackedPyramid, Pyramid, Smoothing, Worker
from .lanes import PAIR, Lanes
from .maps import Grid, Map, Part
from .matmul import NO_MAP, STORED, added_to, matmul
from .network import share_of_positions
from .pointers import floats_at
from .simd import tile_rows, vector_width
from .smoothing import convolve, tiles_of
from .tables import Member
from .upsample import upsample_bilinear, upsample_nearest
from .views import map_at, moved

ANY, RELU = -np.inf, 0.0  # the lowest output of a convolution


@inline
def band_rows(lanes: Lanes, width: int) -> int:
    """Rows of a map that are taken through several operators at once."""
    return max(1, BAND_TILES * tile_rows(lanes) // width)


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
            ending = added_to(moved(out, at), pyramid.ones, NO_MAP)
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


@inline
def scale_head(
    lanes: Lanes, me: Member, worker: Worker, steps: NDArray[np.void], pairs: int, here: LevelMaps, x: Map, grid: Grid
) -> None:
    """A map of the neck brought to the size of the finest, or half of it, which `sum_and_classify` doubles."""
    y = x
    for k in range(len(steps)):
        last = k == len(steps) - 1
        out = map_at(lanes, here.last if last else worker.shared.step, PAIR * pairs, grid)
        smoothed(lanes, me, worker, steps[k], y, out, grid, RELU)
        if not last or here.apart:
            twice = Grid(1, 2 * grid.height, 2 * grid.width)
            y = map_at(lanes, here.doubled if last else worker.shared.twice, PAIR * pairs, twice)
            first, end = share(twice.height, me)
            upsample_bilinear(lanes, out, grid, y, twice, first, end, False)
            meet(me)
            grid = twice


@njit(nogil=True, cache=False)  # the only one that is called from outside, and kept: by fpn_plan.py, as object code
def run_fpn(
    lanes: Lanes, packed: PackedPyramid, maps: NDArray[np.void], member: NDArray[np.void], mine: NDArray[np.void],
    images: int, logits: Address,
) -> None:  # fmt: skip
    """One thread's part of neck and head, for images whose maps `run` has left, to logits (images, classes, H, W).

    maps: LevelMaps per level; member: one Member, the one that `run` was given; mine: one Worker.
    """
    was = standard()
    me: Member = member[0]
    worker: Worker = mine[0]
    pyramid: Pyramid = packed.pyramid[0]
    levels, steps = packed.levels, packed.steps
    finest: LevelMaps = maps[0]
    for image in range(images):
        coarser, small = NO_MAP, Grid(1, 0, 0)
        for i in range(pyramid.levels - 1, -1, -1):
            level: Level = levels[i]
            here: LevelMaps = maps[i]
            grid = Grid(1, here.height, here.width)
            each = grid.height * grid.width * vector_width(lanes)
            x = Map(here.features + image * each, images * each, PAIR * level.pairs)
            total = map_at(lanes, here.lateral, PAIR * pyramid.pairs, grid)
            lateral(lanes, me, worker, pyramid, level, x, coarser, small, total, grid)
            meet(me)
            smooth = map_at(lanes, worker.shared.smooth, PAIR * pyramid.pairs, grid)
            smoothed(lanes, me, worker, level.smoothing, total, smooth, grid, ANY)
            own = steps[level.first_step : level.first_step + level.steps]
            scale_head(lanes, me, worker, own, pyramid.head_pairs, here, smooth, grid)
            coarser, small = total, grid
        to = logits + image * pyramid.classes * finest.height * finest.width
        sum_and_classify(lanes, me, worker, pyramid, maps, to)
    restore(was)
