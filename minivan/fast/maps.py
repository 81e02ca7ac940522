"""How a feature map lies in memory, and the small named tuples in which compiled code speaks of maps, weights and shares.

A map is stored in blocks of V channels (V the lanes of a vector): [C / V][positions][V], its positions those of all images,
one image behind the other. So the V channels of one position are one vector, and the next position is V floats further in
every map of every width: inside a micro-kernel all offsets are constants, which x86 addressing gets for nothing. With plain
NHWC (position stride C, known only at run time) 14 row pointers do not fit into the 16 integer registers.

Numba passes a named tuple by value, as so many integers: it costs nothing at run time.
"""

from __future__ import annotations

from typing import NamedTuple

from .addresses import Address, Count


class Map(NamedTuple):
    """A feature map, or one from some position on."""

    address: Address  # of its first block
    step: int  # floats from one block to the next
    blocks: int


class Grid(NamedTuple):
    """How many images a map holds, and how many rows and columns of positions each has."""

    images: int
    height: int
    width: int


class Parameters(NamedTuple):
    """Weights as pack.py lays them out for an operator; as a table, or moved to one block of channels."""

    weight: Address
    bias: Address


class Part(NamedTuple):
    """A thread's share of a matrix product: positions first..last of the output pairs pair..end; a pair is 2 V channels."""

    first: Count
    last: Count
    pair: Count
    end: Count
