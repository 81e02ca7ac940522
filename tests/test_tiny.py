"""Read this first: the operators on arrays small enough to check by hand."""

import numpy as np
import pytest

import minivan.ops as exact
import minivan.reference as reference
from minivan.hooks import Hook
from minivan.model import lka

pytestmark = pytest.mark.loop

ENGINES = pytest.mark.parametrize("ops", [exact, reference], ids=["exact", "numpy"])


def f32(values, shape):
    return np.array(values, np.float32).reshape(shape)


@ENGINES
def test_a_kernel_of_one_in_the_middle_returns_its_input(ops):
    x = f32(range(9), (1, 1, 3, 3))
    identity = f32([0, 0, 0, 0, 1, 0, 0, 0, 0], (1, 1, 3, 3))
    assert (ops.conv2d(x, identity, padding=1) == x).all()


@ENGINES
def test_a_3x3_kernel_of_ones_counts_the_neighbours(ops):
    ones = np.ones((1, 1, 3, 3), np.float32)
    counts = ops.conv2d(ones, ones, padding=1)  # a corner has 4 pixels in its window, an edge 6, the middle 9
    assert counts.astype(int).tolist() == [[[[4, 6, 4], [6, 9, 6], [4, 6, 4]]]]


@ENGINES
def test_dilation_reads_every_other_pixel(ops):
    x = f32(range(25), (1, 1, 5, 5))
    ones = np.ones((1, 1, 3, 3), np.float32)
    # rows 0, 2, 4 and columns 0, 2, 4: 0 + 2 + 4 + 10 + 12 + 14 + 20 + 22 + 24
    assert ops.conv2d(x, ones, dilation=2).ravel().tolist() == [108]


@ENGINES
def test_stride_keeps_every_other_output(ops):
    x = f32(range(16), (1, 1, 4, 4))
    one = np.ones((1, 1, 1, 1), np.float32)
    assert ops.conv2d(x, one, stride=2).ravel().tolist() == [0, 2, 8, 10]


@ENGINES
def test_depthwise_keeps_channels_apart_and_pointwise_mixes_them(ops):
    x = f32([1, 10], (1, 2, 1, 1))
    assert ops.conv2d(x, f32([2, 3], (2, 1, 1, 1)), groups=2).ravel().tolist() == [2, 30]
    assert ops.conv2d(x, f32([1, 1, 1, -1], (2, 2, 1, 1))).ravel().tolist() == [11, -9]


@ENGINES
def test_bias_is_added_once(ops):
    assert ops.conv2d(f32([5], (1, 1, 1, 1)), f32([2], (1, 1, 1, 1)), f32([7], (1,))).item() == 17


@ENGINES
def test_batch_norm_takes_the_mean_away_and_divides_by_the_deviation(ops):
    x = f32([1, 5], (1, 1, 1, 2))
    y = ops.batch_norm(x, f32([3], 1), f32([4], 1), f32([10], 1), f32([1], 1), eps=0.0)
    assert y.ravel().tolist() == [-9, 11]  # (1 - 3) / 2 * 10 + 1 and (5 - 3) / 2 * 10 + 1


@ENGINES
def test_layer_norm_works_across_channels(ops):
    x = f32([1, 5], (1, 2, 1, 1))  # mean 3, deviation 2
    assert ops.layer_norm(x, f32([1, 1], 2), f32([0, 0], 2), eps=0.0).ravel().tolist() == [-1, 1]


@ENGINES
def test_gelu_is_x_for_large_x_and_nothing_for_small(ops):
    assert ops.gelu(f32([0, 20, -20], 3)).tolist() == pytest.approx([0, 20, 0], abs=1e-30)
    assert ops.gelu(f32([1], 1)).item() == pytest.approx(0.8413447, abs=1e-7)  # 1 * P(Z <= 1)


@ENGINES
def test_softmax_sums_to_one_and_survives_large_logits(ops):
    assert ops.softmax(f32([1000, 1000], 2)).tolist() == [0.5, 0.5]


@ENGINES
def test_a_large_kernel_attention_by_hand(ops):
    """One channel, one pixel lit. conv0 and conv_spatial of ones see how many lit pixels lie in reach; conv1 doubles it.

    The output is u times that: the lit pixel keeps 1 * 2, and every dark pixel stays dark, whatever it sees. That is the
    gate: attention weighs what is there, it does not paint.
    """
    u = np.zeros((1, 1, 5, 5), np.float32)
    u[0, 0, 2, 2] = 1
    ones5, ones7, two = np.ones((1, 1, 5, 5)), np.ones((1, 1, 7, 7)), np.full((1, 1, 1, 1), 2.0)
    seen = {}
    zero = np.zeros(1, np.float32)
    parameters = [dict(weight=w.astype(np.float32), bias=zero) for w in (ones5, ones7, two)]
    y = lka(ops, Hook(seen.__setitem__, "lka"), u, *parameters)
    print("5x5 of ones:", *seen["lka.conv0"][0, 0].astype(int), sep="\n")
    print("then 7x7 of ones, 3 apart:", *seen["lka.conv_spatial"][0, 0].astype(int), sep="\n")
    assert (seen["lka.conv0"] == 1).all()  # every pixel of a 5 x 5 map has the middle within two steps
    # On the row, taps 3 apart stay inside: from column 0 at 0, 3; from 1 at 1, 4; from 2 at 2 alone. The same by rows.
    reach = np.array([2, 2, 1, 2, 2])
    assert (seen["lka.conv_spatial"][0, 0] == np.outer(reach, reach)).all()
    assert y[0, 0, 2, 2] == 2 and y.sum() == 2
