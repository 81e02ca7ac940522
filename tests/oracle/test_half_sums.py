"""Sums in float16: a sample of a layer, which is the layer's own where nothing is rounded."""

import numpy as np
import pytest

from minivan.engines import NUMPY
from minivan.oracle.half_sums import CHANNELS, SIDE, float16_sample
from minivan.oracle.replay import Call

RNG = np.random.default_rng(0)


def whole(*shape):
    """Small whole numbers, whose sums are exact in float16."""
    return RNG.integers(-3, 4, shape).astype(np.float32)


def sample(operator, x, **parameters):
    function = getattr(NUMPY.ops, operator)
    return float16_sample(Call(operator, function, parameters, "", "a", lambda: x), np.asarray(function(x, **parameters)))


@pytest.mark.parametrize("x, weight, geometry", [
    ((2, 6, 23, 9), (40, 6, 1, 1), (1, 0, 1, 1)),
    ((2, 40, 25, 30), (40, 1, 7, 7), (1, 9, 3, 40)),
    ((1, 3, 45, 64), (20, 3, 7, 7), (4, 3, 1, 1)),
    ((1, 4, 2, 3), (6, 2, 3, 3), (2, 1, 1, 2)),
])  # fmt: skip
def test_a_convolutions_sample_is_a_part_of_it(x, weight, geometry):
    parameters = dict(zip(("stride", "padding", "dilation", "groups"), geometry, strict=True))
    made, right = sample("conv2d", whole(*x), weight=whole(*weight), bias=whole(weight[0]), **parameters)
    assert made.dtype == np.float16 and np.array_equal(made, right)
    assert len(made) == 1 and made.shape[1] <= CHANNELS and max(made.shape[2:]) <= SIDE


def test_a_linear_layers_and_a_means_are_too():
    for made, right in (
        sample("linear", whole(2, 30), weight=whole(50, 30), bias=whole(50)),
        sample("global_average_pool", whole(2, 30, 4, 4)),
    ):
        assert made.dtype == np.float16 and made.shape[1] <= CHANNELS and np.array_equal(made, right)
    assert float16_sample(Call("gelu", NUMPY.ops.gelu, {}, "", "a", None), whole(1, 4, 2, 2)) is None


def test_what_is_rounded_is_off_by_what_float16_is():
    x, weight = RNG.normal(size=(1, 512)).astype(np.float32), RNG.normal(size=(40, 512)).astype(np.float32)
    made, right = sample("linear", x, weight=weight, bias=None)
    error = np.sqrt(np.mean((made.astype(np.float64) - right) ** 2)) / np.sqrt(np.mean(right.astype(np.float64) ** 2))
    assert 2.0**-11 < error < 2.0**-5
