"""Upsampling of blocked maps: nearest, and bilinear with align_corners False. See minivan.reference for their definitions."""

from __future__ import annotations

import numpy as np

from ..jit import carray, inline
from .lanes import Lanes
from .maps import Grid, Map
from .pointers import floats_at
from .simd import vector_width
from .views import copy


@inline
def nearest(place: int, places: int, of: int) -> int:
    """Which of `of` a place along an axis lies in, in float32 as PyTorch has it."""
    return min(int(np.float32(place) * (np.float32(of) / np.float32(places))), of - 1)


@inline
def upsample_nearest(lanes: Lanes, x: Map, small: Grid, out: Map, grid: Grid, first: int, last: int) -> None:
    """Rows first..last of one image's map."""
    v = vector_width(lanes)
    for block in range(x.blocks):
        for row in range(first, last):
            source = x.address + block * x.step + nearest(row, grid.height, small.height) * small.width * v
            to = out.address + block * out.step + row * grid.width * v
            for column in range(grid.width):
                copy(to + column * v, source + nearest(column, grid.width, small.width) * v, v)


@inline
def between(place: int, places: int, of: int) -> tuple[int, int, np.float32]:
    """The neighbours of a place along an axis, the one before and the one after, and how near the second is, 0..1."""
    at = max((place + 0.5) * (of / places) - 0.5, 0.0)
    before = min(int(at), of - 1)
    return before, min(before + 1, of - 1), np.float32(at - before)


@inline
def upsample_bilinear(lanes: Lanes, x: Map, small: Grid, out: Map, grid: Grid, first: int, last: int, added: bool) -> None:
    """Rows first..last of one image's map, added to what is there or in its place."""
    v, one = vector_width(lanes), np.float32(1)
    for row in range(first, last):
        above, below, near = between(row, grid.height, small.height)
        for column in range(grid.width):
            left, right, close = between(column, grid.width, small.width)
            weights = (one - near) * (one - close), (one - near) * close, near * (one - close), near * close
            for block in range(x.blocks):
                source = x.address + block * x.step
                a = carray(floats_at(source + (above * small.width + left) * v), (v,))
                b = carray(floats_at(source + (above * small.width + right) * v), (v,))
                c = carray(floats_at(source + (below * small.width + left) * v), (v,))
                d = carray(floats_at(source + (below * small.width + right) * v), (v,))
                y = carray(floats_at(out.address + block * out.step + (row * grid.width + column) * v), (v,))
                if added:
                    for i in range(v):
                        y[i] += (weights[0] * a[i] + weights[1] * b[i]) + (weights[2] * c[i] + weights[3] * d[i])
                else:
                    for i in range(v):
                        y[i] = (weights[0] * a[i] + weights[1] * b[i]) + (weights[2] * c[i] + weights[3] * d[i])
