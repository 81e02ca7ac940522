"""The engine `fast`'s tables say which of their numbers are addresses, and all of these follow the array they point into."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest

from minivan.fast.addresses import (
    ALIGNMENT,
    Address,
    Count,
    Pointer,
    Real,
    address_of,
    aligned,
    dtype_of,
    kinds,
    records,
    relocate,
)
from minivan.fast.lanes import SHAPES
from minivan.fast.pack import pack
from minivan.fast.tables import Block, Network, Stage
from minivan.variants import Config, parameter_shapes


class Pair(NamedTuple):
    weight: Address
    bias: Address


@dataclass
class Example:
    channels: Count
    conv: Pair
    scale: Address
    function: Pointer
    eps: Real


def test_a_table_becomes_a_record_of_its_kinds():
    assert dtype_of(Example) == np.dtype([
        ("channels", np.int64), ("conv", [("weight", np.int64), ("bias", np.int64)]), ("scale", np.int64),
        ("function", np.int64), ("eps", np.float64),
    ])  # fmt: skip
    array = records([Example(3, Pair(10, 20), 30, 40, 0.5), Example(4, Pair(11, 21), 31, 41, 0.25)], Example)
    assert array.tolist() == [(3, (10, 20), 30, 40, 0.5), (4, (11, 21), 31, 41, 0.25)]


def test_addresses_move_and_nothing_else_does():
    array = records([Example(3, Pair(10, 20), 30, 40, 0.5), Example(4, Pair(11, 21), 31, 41, 0.25)], Example)
    relocate(array, Example, 1000)
    assert array.tolist() == [(3, (1010, 1020), 1030, 40, 0.5), (4, (1011, 1021), 1031, 41, 0.25)]


def test_a_number_that_says_not_what_it_is_is_refused():
    @dataclass
    class Unclear:
        channels: Count
        place: int

    with pytest.raises(TypeError, match=r"Unclear\.place says not what it is"):
        dtype_of(Unclear)


def addresses(array, table):
    """Every number that a table declares an address, however deep."""
    for name, kind in kinds(table):
        if kind == "address":
            yield from array[name].tolist()
        elif isinstance(kind, type):
            yield from addresses(array[name], kind)


@pytest.mark.parametrize("lanes", SHAPES)
def test_every_address_of_a_packed_network_lies_in_its_weights(lanes):
    config = Config((8, 40), (1, 2), (2, 1), classes=3)
    packed = pack(config, {name: np.ones(shape, np.float32) for name, shape in parameter_shapes(config)}, SHAPES[lanes])
    first = address_of(packed.weights)
    tables = ((packed.network, Network), (packed.stages, Stage), (packed.blocks, Block))
    found = [address for array, table in tables for address in addresses(array, table)]
    assert len(found) == 2 + 2 * 6 + 3 * 17
    assert len(set(found)) == len(found)
    assert all(first <= address < first + packed.weights.size and address % ALIGNMENT == 0 for address in found)
    assert packed.stages["channels"].tolist() == [8, 40]
    assert packed.stages["first_block"].tolist() == [0, 1]


def test_an_array_between_two_floats_has_no_address():
    array = aligned(8)
    assert address_of(array[3:]) == address_of(array) + 3
    with pytest.raises(ValueError, match="aligned to 4 bytes"):
        address_of(array.view(np.uint8)[2:])
