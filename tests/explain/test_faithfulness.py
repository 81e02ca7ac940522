"""Deletion, insertion and what they are made of."""

import numpy as np
import pytest
from support.compare import assert_bit_equal
from support.networks import images, random_tensors

from minivan.explain import faithfulness
from minivan.van import VAN
from minivan.variants import Config

SMALL = Config((8, 16, 24, 32), (1, 1, 2, 1), (8, 8, 4, 4), classes=10)


@pytest.fixture(scope="module")
def small():
    return VAN(SMALL, random_tensors(SMALL, seed=1))


def test_ranks_curves_and_blur():
    pixels = np.array([[[3.0, 1.0], [2.0, 9.0]]])
    rank = faithfulness.ranks(pixels)
    assert rank.tolist() == [[[1, 3], [2, 0]]]
    x = np.ones((1, 3, 2, 2), np.float32)
    assert faithfulness.occlude(x, rank, 0.5)[0, 0].tolist() == [[0, 1], [1, 0]]
    assert faithfulness.area(np.array([[1.0], [0.5], [0.0]])).tolist() == [0.5]
    assert np.allclose(faithfulness.blur(np.full((1, 3, 9, 9), 2.0, np.float32)), 2)
    x = images(1, 40)
    blurred = faithfulness.blur(x, 3)
    assert blurred.shape == x.shape and blurred.std() < 0.3 * x.std()
    once = np.pad(x, ((0, 0), (0, 0), (6, 6), (6, 6)), mode="edge")
    window = sum(once[0, 0, 20 + i, 20 + j] * (7 - abs(i - 6)) * (7 - abs(j - 6)) for i in range(13) for j in range(13)) / 7**4
    assert abs(blurred[0, 0, 20, 20] - window) < 1e-5


def test_deletion_and_insertion_start_and_end_at_the_whole_image(small):
    x, target = images(2, 32), np.array([1, 2])
    rank = faithfulness.ranks(images(2, 32, seed=9)[:, 0])
    whole = faithfulness.probability(small, x, target)
    gone, back = (curve(small, x, target, rank, steps=4) for curve in (faithfulness.deletion, faithfulness.insertion))
    assert gone.shape == back.shape == (5, 2)
    assert_bit_equal("nothing deleted", gone[0], whole)
    assert_bit_equal("all inserted", back[-1], whole)
    assert_bit_equal("all deleted", gone[-1], faithfulness.probability(small, np.zeros_like(x), target))
