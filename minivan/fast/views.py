"""Maps made from addresses, and parts of maps, as compiled code takes them: nothing is copied but by `copy`."""

from __future__ import annotations

from ..jit import carray, inline
from .addresses import Address
from .lanes import PAIR, Lanes
from .maps import Grid, Map
from .pointers import floats_at
from .simd import vector_width


@inline
def map_at(lanes: Lanes, address: Address, blocks: int, grid: Grid) -> Map:
    """The map of a grid's positions at an address, its blocks one right behind the other."""
    return Map(address, grid.images * grid.height * grid.width * vector_width(lanes), blocks)


@inline
def moved(x: Map, floats: int) -> Map:
    """A map from a later position on: V floats are one."""
    return Map(x.address + floats, x.step, x.blocks)


@inline
def pair_of(x: Map, pair: int) -> Map:
    """Two blocks of a map."""
    return Map(x.address + pair * PAIR * x.step, x.step, PAIR)


@inline
def plane(lanes: Lanes, x: Map, block: int, image: int, grid: Grid) -> Address:
    """Where the positions of one image begin in one block of a map."""
    return x.address + block * x.step + image * grid.height * grid.width * vector_width(lanes)


@inline
def copy(to: Address, source: Address, count: int) -> None:
    """Copy `count` floats."""
    y, x = carray(floats_at(to), (count,)), carray(floats_at(source), (count,))
    for i in range(count):
        y[i] = x[i]
