"""NaN, infinities, signed zeros and denormals, operator by operator: as in PyTorch, or as IEEE 754 adds in the written order.

PyTorch judges in float64, where its kernels are plain loops: its float32 code overflows earlier, and its vectorised GELU
gives NaN at infinity.
"""

import numpy as np
import pytest
import truth
from support.compare import assert_bit_equal
from support.judge import torch, torch_ops

import minivan.ops as exact
import minivan.reference as reference
from minivan import seeded
from minivan.oracle.cases import TINY
from minivan.van import VAN

SPECIAL = (np.nan, np.inf, -np.inf)
LEAST, SMALLEST_NORMAL = np.float32(2.0**-149), np.float32(2.0**-126)
CONVOLUTIONS = {
    "dense": ((4, 3, 3, 3), dict(padding=1)),
    "strided": ((4, 3, 7, 7), dict(stride=4, padding=3)),
    "depthwise": ((3, 1, 5, 5), dict(padding=2, groups=3)),
    "dilated": ((3, 1, 7, 7), dict(padding=9, dilation=3, groups=3)),
    "pointwise": ((5, 3, 1, 1), dict()),
}


def kinds(array):
    """Each element's kind: 0 finite, 1 NaN, 2 infinity, 3 -infinity."""
    return np.isnan(array) + 2 * np.isposinf(array) + 3 * np.isneginf(array)


def sprinkled(shape, rng, share=0.03):
    x = rng.normal(size=shape).astype(np.float32)
    return np.where(rng.random(shape) < share, rng.choice(SPECIAL, shape), x).astype(np.float32)


def judge(operator, *args, **attributes):
    """Demand of both engines that every element is of the kind PyTorch makes it; return how many were not finite."""
    doubles = [None if a is None else a.astype(np.float64) for a in args]
    expected = kinds(getattr(torch_ops, operator)(*doubles, **attributes))
    with np.errstate(all="ignore"):
        for engine in (exact, reference):
            got = kinds(np.asarray(getattr(engine, operator)(*args, **attributes)))
            np.testing.assert_array_equal(got, expected, f"{engine.__name__} {operator}")
    return np.count_nonzero(expected)


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_conv2d_of_special_inputs(kind):
    shape, attributes = CONVOLUTIONS[kind]
    rng = np.random.default_rng(0)
    for _ in range(5):
        weight = rng.normal(size=shape).astype(np.float32)
        weight[rng.random(shape) < 0.2] = 0  # infinity times zero is NaN
        bias = rng.normal(size=shape[:1]).astype(np.float32)
        assert judge("conv2d", sprinkled((2, 3, 11, 10), rng), weight, bias, **attributes)


def test_conv2d_of_special_weights_and_biases():
    """Inside the map. On the border see the next test."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(1, 3, 9, 9)).astype(np.float32)
    assert judge("conv2d", x, sprinkled((4, 3, 3, 3), rng, 0.1), None)
    assert judge("conv2d", x, rng.normal(size=(4, 3, 3, 3)).astype(np.float32), np.float32([np.nan, np.inf, -np.inf, 1]))
    assert judge("linear", x[:, :, 0, 0], sprinkled((6, 3), rng, 0.2), sprinkled((6,), rng, 0.5))


@pytest.mark.parametrize("kind", ["dense", "depthwise", "dilated"])
def test_padding_is_never_multiplied(kind):
    """An infinite weight meets no zero of the padding. PyTorch agrees where its kernel skips the padding (depthwise, in
    float32) and gives NaN on the border where it multiplies it out (dense)."""
    shape, attributes = CONVOLUTIONS[kind]
    x, weight = np.ones((1, 3, 8, 8), np.float32), np.full(shape, np.inf, np.float32)
    got = exact.conv2d(x, weight, **attributes)
    assert np.isposinf(got).all()
    pairs = {name: (value, value) if name != "groups" else value for name, value in attributes.items()}
    np.testing.assert_array_equal(got, truth.conv2d(x, weight, **pairs))
    if kind == "depthwise":
        np.testing.assert_array_equal(got, torch_ops.conv2d(x, weight, **attributes))


@pytest.mark.parametrize("operator", ["batch_norm", "layer_norm"])
def test_normalisations_of_special_inputs(operator):
    rng = np.random.default_rng(2)
    affine = [rng.normal(size=6).astype(np.float32) for _ in range(2)]
    statistics = []
    if operator == "batch_norm":
        statistics = [rng.normal(size=6).astype(np.float32), rng.uniform(0.5, 2, 6).astype(np.float32)]
    for _ in range(5):
        assert judge(operator, sprinkled((2, 6, 5, 5), rng), *statistics, *affine)
    x = rng.normal(size=(2, 6, 5, 5)).astype(np.float32)
    special = np.float32([np.nan, np.inf, -np.inf, 0, 1, -2])
    assert judge(operator, x, *statistics, affine[0], special)
    if operator == "layer_norm":
        assert judge(operator, x, special, affine[1])


def test_batch_norms_statistics_may_be_special():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(1, 6, 3, 3)).astype(np.float32)
    one, special = np.ones(6, np.float32), np.float32([np.nan, np.inf, -np.inf, 0, 1, -2])
    assert judge("batch_norm", x, special, one, one, one)
    assert judge("batch_norm", x, one, special, one, one)  # a variance of -2 has no root: NaN


def test_an_infinite_scale_gives_infinity_where_pytorch_gives_nan():
    """PyTorch folds BatchNorm into x * scale + shift, and inf - inf is NaN; (x - mean) / deviation * weight is infinite."""
    x, one, weight = np.float32([[[[3.0, -3.0]]]]), np.ones(1, np.float32), np.float32([np.inf])
    given = (x, one, one, weight, one)
    np.testing.assert_array_equal(exact.batch_norm(*given).ravel(), [np.inf, -np.inf])
    np.testing.assert_array_equal(exact.batch_norm(*given), truth.batch_norm(*given))
    assert np.isnan(torch_ops.batch_norm(*given)).tolist() == [[[[True, False]]]]


@pytest.mark.parametrize("operator", ["gelu", "relu", "softmax", "global_average_pool"])
def test_the_other_operators_of_special_inputs(operator):
    rng = np.random.default_rng(4)
    shape = (2, 9, 4, 4) if operator != "softmax" else (40, 12)
    for _ in range(5):
        assert judge(operator, sprinkled(shape, rng))


def test_upsamplings_of_special_inputs():
    rng = np.random.default_rng(7)
    for size in ((8, 8), (13, 3)):
        assert judge("upsample_nearest", sprinkled((2, 9, 4, 4), rng, 0.1), size=size)
    assert judge("upsample_bilinear", sprinkled((2, 9, 4, 4), rng, 0.1), size=(3, 3))  # no share is 0


def test_a_value_whose_share_is_0_is_not_read_where_pytorch_has_infinity_times_0():
    x = np.float32([[[[1, np.inf, -0.0, LEAST]]]])
    for engine in (exact, reference):
        assert_bit_equal("its own size", np.float32(engine.upsample_bilinear(x, (1, 4))), x)
        assert_bit_equal("its rim", np.float32(engine.upsample_bilinear(x[..., :2], (1, 8)))[..., 0], x[..., 0])
        assert_bit_equal("nearest", np.float32(engine.upsample_nearest(x, (1, 4))), x)
    assert np.isnan(torch_ops.upsample_bilinear(x, (1, 4))).tolist() == [[[[False, True, False, False]]]]


@pytest.mark.parametrize("row, expected", [
    ([np.inf, 0], [np.nan, np.nan]), ([np.inf, np.inf], [np.nan, np.nan]), ([-np.inf, -np.inf], [np.nan, np.nan]),
    ([np.nan, 0], [np.nan, np.nan]), ([-np.inf, 0], [0, 1]), ([3e38, -3e38], [1, 0]),
])  # fmt: skip
def test_softmax_row_by_row(row, expected):
    x = np.float32([row])
    np.testing.assert_array_equal(exact.softmax(x), np.float32([expected]))
    np.testing.assert_array_equal(torch_ops.softmax(x), np.float32([expected]))


def test_sums_that_overflow_float32_do_so_once_at_the_end():
    """2e38 + 2e38 - 2e38: float64 holds it, so the result is right; PyTorch's float32 sum may be infinite on the way."""
    x, weight = np.full((1, 3, 1, 1), 2e38, np.float32), np.float32([[[[1]], [[1]], [[-1]]]])
    assert exact.conv2d(x, weight).item() == np.float32(2e38)
    assert exact.conv2d(x, np.abs(weight)).item() == np.inf
    assert exact.global_average_pool(np.full((1, 1, 2, 2), 3e38, np.float32)).item() == np.float32(3e38)


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_signed_zeros_in_convolutions(kind):
    """A sum starts at its bias: with a bias of -0 and terms of -0 it stays -0; one +0 among them makes it +0."""
    shape, attributes = CONVOLUTIONS[kind]
    weight, bias = np.ones(shape, np.float32), np.full(shape[0], -0.0, np.float32)
    x = np.full((1, 3, 8, 8), -0.0, np.float32)
    assert np.signbit(exact.conv2d(x, weight, bias, **attributes)).all()
    assert not np.signbit(exact.conv2d(x, weight, np.zeros_like(bias), **attributes)).any()
    assert not np.signbit(exact.conv2d(x, weight, **attributes)).any()  # no bias: a sum from +0, as in PyTorch
    assert not np.signbit(torch_ops.conv2d(x, weight, **attributes)).any()
    rng = np.random.default_rng(5)
    x = rng.choice(np.float32([0.0, -0.0]), x.shape)
    pairs = {name: (value, value) if name != "groups" else value for name, value in attributes.items()}
    expected = truth.conv2d(x, weight, bias, **pairs).astype(np.float32)
    assert_bit_equal(kind, exact.conv2d(x, weight, bias, **attributes), expected)


def test_signed_zeros_elsewhere():
    zeros = np.float32([0.0, -0.0]).reshape(1, 1, 1, 2)
    one, minus_zero = np.ones(1, np.float32), np.float32([-0.0])
    given = (zeros, 0 * one, one, one, minus_zero)
    assert_bit_equal("batch_norm", exact.batch_norm(*given), torch_ops.batch_norm(*given))
    assert np.signbit(exact.batch_norm(*given)).ravel().tolist() == [False, True]
    turned = (zeros, 0 * one, one, -one, minus_zero)
    assert_bit_equal("batch_norm", exact.batch_norm(*turned), truth.batch_norm(*turned).astype(np.float32))
    assert_bit_equal("layer_norm", exact.layer_norm(zeros, one, minus_zero), torch_ops.layer_norm(zeros, one, minus_zero))
    assert np.signbit(exact.gelu(zeros)).ravel().tolist() == [False, True]  # PyTorch on AVX2 loses the sign
    assert_bit_equal("relu", exact.relu(zeros), torch_ops.relu(zeros))
    assert_bit_equal("relu", np.float32(reference.relu(zeros)), zeros)
    assert_bit_equal("pool", exact.global_average_pool(zeros), torch_ops.global_average_pool(zeros))
    x, weight = np.full((1, 4), -0.0, np.float32), np.ones((2, 4), np.float32)
    bias = np.float32([0.0, -0.0])
    assert np.signbit(exact.linear(x, weight, bias)).ravel().tolist() == [False, True]  # PyTorch with AVX-512 may lose it


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_denormals_are_kept_in_convolutions(kind):
    shape, attributes = CONVOLUTIONS[kind]
    rng = np.random.default_rng(6)
    weight = rng.integers(-3, 4, shape).astype(np.float32)
    x = (rng.integers(-9, 10, (1, 3, 8, 8)) * np.float64(LEAST)).astype(np.float32)
    bias = (rng.integers(-9, 10, shape[0]) * np.float64(LEAST)).astype(np.float32)
    pairs = {name: (value, value) if name != "groups" else value for name, value in attributes.items()}
    got = exact.conv2d(x, weight, bias, **attributes)
    assert_bit_equal(kind, got, truth.conv2d(x, weight, bias, **pairs).astype(np.float32))
    assert np.count_nonzero(got) and np.abs(got).max() < SMALLEST_NORMAL


def test_denormals_are_kept_elsewhere():
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    x = (np.float64(LEAST) * np.array([1, -1, 2, -3, 1000, 2**22])).astype(np.float32).reshape(1, 1, 2, 3)
    assert_bit_equal("batch_norm", exact.batch_norm(x, zero, one, one, zero, eps=0.0), x)
    assert_bit_equal("gelu", exact.gelu(2 * x), x)  # gelu(x) is x/2 so near to zero
    assert_bit_equal("relu", exact.relu(np.abs(x)), np.abs(x))
    assert_bit_equal("pool", exact.global_average_pool(x[..., :1, :1]), x[:, :, 0, 0])
    assert_bit_equal("linear", exact.linear(x.reshape(6, 1), np.ones((1, 1), np.float32)), x.reshape(6, 1))
    small = np.float32([[0.0, -103.0]])  # e^-103 is a denormal
    assert 0 < exact.softmax(small)[0, 1] < SMALLEST_NORMAL


def test_the_kernels_leave_the_processors_denormal_mode_alone():
    exact.gelu(np.ones(100_000, np.float32))
    assert np.float32(LEAST) * np.float32(1) == LEAST and torch.tensor([LEAST]).mul(1).item() == LEAST


@pytest.mark.parametrize("value", SPECIAL)
def test_one_bad_pixel_reaches_the_logits_as_nan_and_stays_in_its_image(value):
    images = seeded.images((3, 3, 40, 36))
    images[1, 2, 20, 17] = value
    model = VAN(TINY, seeded.tensors(TINY))
    logits = model(images)
    assert np.isnan(logits[1]).all()
    clean = model(seeded.images((3, 3, 40, 36)))
    assert_bit_equal("the other images", logits[[0, 2]], clean[[0, 2]])
