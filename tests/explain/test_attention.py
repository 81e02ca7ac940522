"""Attention maps: the factors, the channels that vary most, blocks by name."""

import numpy as np
import pytest
from support.compare import assert_bit_equal
from support.networks import images, random_tensors

from minivan import explain
from minivan.van import VAN
from minivan.variants import Config

SMALL = Config((8, 16, 24, 32), (1, 1, 2, 1), (8, 8, 4, 4), classes=10)


@pytest.fixture(scope="module")
def small():
    return VAN(SMALL, random_tensors(SMALL, seed=1))


def test_attention_maps_are_what_lka_multiplies_by(small):
    x, seen = images(2, 64), {}
    small(x, hook=seen.__setitem__)
    found = explain.attention_maps(small, x)
    assert list(found) == ["block1.0", "block2.0", "block3.0", "block3.1", "block4.0"]
    for block, factors in found.items():
        unit = f"{block}.attn"
        assert_bit_equal(block, factors * seen[f"{unit}.activation"], seen[f"{unit}.spatial_gating_unit"])
        assert factors.min() < 0 < factors.max()


def test_the_most_selective_channels_vary_most():
    factors = np.zeros((4, 3, 3), np.float32)
    factors[1, 0, 0], factors[3], factors[2, 1] = 2, 9, 1
    assert explain.most_selective(factors, 2).tolist() == [1, 2]


@pytest.mark.parametrize(
    "block, expected",
    [
        (None, ["block1.0", "block2.0", "block3.1", "block4.0"]),
        ("block3", ["block3.0", "block3.1"]),
        ("block3.0", ["block3.0"]),
        ("block3.0.attn.spatial_gating_unit.conv1", ["block3.0"]),
        (["block4", "block1.0", "block4.0"], ["block4.0", "block1.0"]),
        ("all", ["block1.0", "block2.0", "block3.0", "block3.1", "block4.0"]),
    ],
)
def test_blocks_by_name(block, expected):
    assert explain.choose_blocks(SMALL, block) == expected


@pytest.mark.parametrize("block, said", [("block3.2", "near it are block3"), ("x", "the stages are block1, block2")])
def test_an_unknown_block_lists_what_comes_near(block, said):
    with pytest.raises(ValueError, match=said):
        explain.choose_blocks(SMALL, block)
