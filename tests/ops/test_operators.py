"""Every operator of every engine against the loops of truth.py and against torch.nn.functional."""

import inspect

import numpy as np
import pytest
import truth
from hypothesis import given
from hypothesis import strategies as st
from support.compare import assert_bit_equal, assert_close, describe, ulp_distance
from support.judge import torch_ops
from support.strategies import arrays, convolutions, feature_maps
from tolerances import EXACT_BIT_EQUAL_SHARE, EXACT_ULP, FLOAT64, ROUNDED_ONCE, TORCH_FLOAT32_OPERATOR

import minivan.ops as exact
import minivan.reference as reference
from minivan.operators import SegmentationOperators, TrainingOperators
from minivan.resampling import nearest_of

# The size of what each operator adds up, which is what float32 rounding is relative to: the operator on absolute values.
# A result may be far smaller, where terms cancel; PyTorch's 1 + erf(x) in GELU does so for x < -2.
MAGNITUDE = {
    "conv2d": lambda x, w, b=None, **a: reference.conv2d(abs(x), abs(w), None if b is None else abs(b), **a),
    "linear": lambda x, w, b=None: reference.linear(abs(x), abs(w), None if b is None else abs(b)),
    "batch_norm": lambda x, mean, var, w, b: reference.batch_norm(abs(x), -abs(mean), var, abs(w), abs(b)),
    "gelu": lambda x: abs(x),
    "relu": lambda x: abs(x),
    "upsample_nearest": lambda x, size: reference.upsample_nearest(abs(x), size),
    "global_average_pool": lambda x: reference.global_average_pool(abs(x)),
    "softmax": lambda x: reference.softmax(x) * (1 + 2 * abs(x).max()),  # x - max is rounded before exp
}


SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)


def judge(name, operator, *args, **attributes):
    """Hold the reference and `exact` against truth, and all three against PyTorch, on one set of arguments."""
    expected = getattr(truth, operator)(*args, **attributes)
    before = [None if a is None else np.asarray(a).tobytes() for a in args]
    defined = getattr(reference, operator)(*args, **attributes)
    assert_close(f"numpy {name}", defined, expected, FLOAT64)
    got = getattr(exact, operator)(*args, **attributes)
    assert got.dtype == np.float32
    assert got.shape == expected.shape
    if got.size:
        distance = ulp_distance(got, expected.astype(np.float32))
        # A float64 sum is good to some 1e-15 of its terms: where these cancel to less, ULP of the result mean nothing.
        cancelled = np.abs(expected) < 1e-7 * MAGNITUDE[operator](*args, **attributes)
        assert distance[~cancelled].max(initial=0) <= EXACT_ULP, describe(f"exact {name}", got, expected.astype(np.float32))
        assert_close(f"exact {name}", got, expected, ROUNDED_ONCE)
        judged = getattr(torch_ops, operator)(*args, **attributes)
        allowed = TORCH_FLOAT32_OPERATOR * MAGNITUDE[operator](*args, **attributes) + SMALLEST_NORMAL
        assert (np.abs(got - judged) <= allowed).all(), describe(f"exact {name} against torch", got, judged)
    assert before == [None if a is None else np.asarray(a).tobytes() for a in args], f"{name} wrote to its input"
    return got


@given(convolutions())
def test_conv2d(case):
    x, weight, bias, attributes = case
    got = judge("conv2d", "conv2d", x, weight, bias, **attributes)
    contiguous = [None if a is None else np.ascontiguousarray(a) for a in (x, weight, bias)]
    assert_bit_equal("conv2d of a contiguous copy", got, exact.conv2d(*contiguous, **attributes))


@given(convolutions(floats=False))
def test_conv2d_of_small_integers_has_no_rounding_at_all(case):
    x, weight, bias, attributes = case
    expected = truth.conv2d(x, weight, bias, **attributes)
    assert_bit_equal("conv2d", exact.conv2d(x, weight, bias, **attributes), expected.astype(np.float32))
    assert (reference.conv2d(x, weight, bias, **attributes) == expected).all()


@given(convolutions())
def test_the_dense_kernel_computes_every_convolution_bit_for_bit(case):
    x, weight, bias, attributes = case
    dense = exact.dense_conv2d(x, weight, bias, **attributes)
    assert_bit_equal("specialised kernel", exact.conv2d(x, weight, bias, **attributes), dense)


@given(feature_maps(), st.integers(0, 2**32 - 1))
def test_batch_norm(x, seed):
    rng = np.random.default_rng(seed)
    mean, weight, bias = rng.normal(size=(3, x.shape[1])).astype(np.float32)
    var = rng.uniform(0.01, 4, x.shape[1]).astype(np.float32)
    judge("batch_norm", "batch_norm", x, mean, var, weight, bias)


@given(feature_maps(), st.integers(0, 2**32 - 1), st.sampled_from([1e-6, 1e-5]))
def test_layer_norm(x, seed, eps):
    weight, bias = np.random.default_rng(seed).normal(size=(2, x.shape[1])).astype(np.float32)
    expected = truth.layer_norm(x, weight, bias, eps)
    assert_close("numpy layer_norm", reference.layer_norm(x, weight, bias, eps), expected, FLOAT64)
    got = exact.layer_norm(x, weight, bias, eps)
    assert_close("exact layer_norm", got, expected, ROUNDED_ONCE)
    # Where the two terms of the result cancel, float64 leaves less than float32 holds: judged by scale above.
    kept = np.abs(expected) > 1e-7 * (np.abs(expected - bias[:, None, None]) + np.abs(bias[:, None, None]))
    distance = ulp_distance(got, expected.astype(np.float32))
    assert distance[kept].max(initial=0) <= EXACT_ULP, describe("exact layer_norm", got, expected.astype(np.float32))
    # One channel has no variance: what PyTorch leaves of x - mean is divided by sqrt(eps). Its float32 means and variances
    # are no judge of small maps either; its float64 is.
    if x.shape[1] > 1 and x.size:
        judged = torch_ops.layer_norm(x.astype(np.float64), weight, bias, eps)
        assert_close("exact layer_norm against torch", got, judged, ROUNDED_ONCE)


@given(st.integers(0, 300).flatmap(lambda n: arrays((n,), scale=3.0)))
def test_gelu(x):
    judge("gelu", "gelu", x)


@given(st.integers(0, 300).flatmap(lambda n: arrays((n,))))
def test_relu(x):
    assert_bit_equal("relu", judge("relu", "relu", x), torch_ops.relu(x))


sizes = st.tuples(st.integers(1, 20), st.integers(1, 20))


@given(feature_maps(), sizes)
def test_upsample_nearest(x, size):
    got = judge("upsample_nearest", "upsample_nearest", x, size)
    if x.size:
        assert_bit_equal("upsample_nearest", got, torch_ops.upsample_nearest(x, size))


def test_the_nearest_of_every_size_is_pytorchs():
    """Along one axis: a place whose quotient is not exact falls where float32's rounding puts it, 14 to 46 first of all."""
    rounded = 0
    for of in range(1, 65):
        x = np.arange(of, dtype=np.float32)[None, None, None]
        for places in range(1, 201):
            expected = torch_ops.upsample_nearest(x, (1, places))[0, 0, 0]
            assert (nearest_of(places, of) == expected).all(), (of, places)
            if (np.arange(places) * of // places != expected).any():
                rounded += 1
                assert (exact.upsample_nearest(x, (1, places)) == expected).all(), (of, places)
    assert rounded > 100


@given(feature_maps(), sizes)
def test_upsample_bilinear(x, size):
    """PyTorch judges in float64: its float32 code rounds the shares, too, and those by more that lie farther out."""
    expected = truth.upsample_bilinear(x, size)
    assert_close("numpy upsample_bilinear", reference.upsample_bilinear(x, size), expected, FLOAT64)
    before, got = x.tobytes(), exact.upsample_bilinear(x, size)
    assert got.dtype == np.float32 and x.tobytes() == before
    assert_bit_equal("exact upsample_bilinear", got, expected.astype(np.float32))
    assert_bit_equal("of a copy", got, exact.upsample_bilinear(np.ascontiguousarray(x), size))
    if x.size:
        assert_close("against torch", got, torch_ops.upsample_bilinear(x.astype(np.float64), size), ROUNDED_ONCE)
    if size == x.shape[2:]:
        assert_bit_equal("its own size", got, np.ascontiguousarray(x))


@given(st.data(), st.integers(0, 3), st.integers(1, 30), st.integers(1, 20), st.booleans())
def test_linear(data, n, c, classes, with_bias):
    bias = data.draw(arrays((classes,))) if with_bias else None
    judge("linear", "linear", data.draw(arrays((n, c))), data.draw(arrays((classes, c))), bias)


@given(feature_maps())
def test_global_average_pool(x):
    judge("global_average_pool", "global_average_pool", x)


@given(st.tuples(st.integers(1, 3), st.integers(1, 30)).flatmap(lambda s: arrays(s, scale=10.0)))
def test_softmax(x):
    judge("softmax", "softmax", x)


def _big(operator):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(2, 64, 28, 28)).astype(np.float32)
    channel = rng.uniform(0.5, 1.5, (4, 64)).astype(np.float32)
    depthwise = rng.normal(size=(64, 1, 7, 7)).astype(np.float32)
    dense = rng.normal(size=(16, 64, 3, 3)).astype(np.float32)
    return {
        "dense": ("conv2d", (x, dense, channel[0, :16]), dict(stride=2, padding=1)),
        "depthwise": ("conv2d", (x, depthwise[..., :5, :5], channel[0]), dict(padding=2, groups=64)),
        "dilated": ("conv2d", (x, depthwise, channel[0]), dict(padding=9, dilation=3, groups=64)),
        "pointwise": ("conv2d", (x, rng.normal(size=(96, 64, 1, 1)).astype(np.float32), None), {}),
        "batch_norm": ("batch_norm", (x, *channel), {}),
        "layer_norm": ("layer_norm", (x, *channel[:2]), {}),
        "gelu": ("gelu", (x * 3,), {}),
        "relu": ("relu", (x,), {}),
        "nearest": ("upsample_nearest", (x,), dict(size=(55, 57))),
        "bilinear": ("upsample_bilinear", (x,), dict(size=(55, 57))),
        "linear": ("linear", (x[..., 0, 0], rng.normal(size=(200, 64)).astype(np.float32), None), {}),
        "pool": ("global_average_pool", (x,), {}),
        "softmax": ("softmax", (x,), {}),
    }[operator]


OPERATORS = ["dense", "depthwise", "dilated", "pointwise", "batch_norm", "layer_norm", "gelu", "relu", "nearest", "bilinear"]
OPERATORS += ["linear", "pool", "softmax"]


@pytest.mark.parametrize("operator", OPERATORS)
def test_exact_is_the_rounded_float64_reference_on_large_arrays(operator):
    name, args, attributes = _big(operator)
    got = getattr(exact, name)(*args, **attributes)
    rounded = getattr(reference, name)(*args, **attributes).astype(np.float32)
    share = (got.view(np.int32) == rounded.view(np.int32)).mean()
    print(f"{operator}: {share:.5%} bit-equal to the rounded reference, at most {ulp_distance(got, rounded).max()} ULP apart")
    assert share >= EXACT_BIT_EQUAL_SHARE, describe(operator, got, rounded)
    assert ulp_distance(got, rounded).max() <= EXACT_ULP, describe(operator, got, rounded)


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_any_floating_dtype_is_taken(operator, dtype):
    name, args, attributes = _big(operator)
    args = [None if a is None else a[:1].astype(dtype) if a.ndim == 4 and a.shape[0] == 2 else a.astype(dtype) for a in args]
    rounded = [None if a is None else a.astype(np.float32) for a in args]
    got, expected = getattr(exact, name)(*args, **attributes), getattr(exact, name)(*rounded, **attributes)
    assert_bit_equal(f"{operator} of {np.dtype(dtype)}", got, expected)


X, W = np.ones((1, 4, 5, 5), np.float32), np.ones((4, 4, 3, 3), np.float32)
WRONG_CONVOLUTIONS = {
    "rank of x": (X[0], W, {}, "(4, 5, 5)"),
    "rank of weight": (X, W[0], {}, "(4, 3, 3)"),
    "channels": (X, W[:, :3], {}, "(4, 3, 3, 3)"),
    "groups": (X, W[:, :1], dict(groups=3), "3 group"),
    "kernel larger than the map": (X[..., :2, :2], W, {}, "2 x 2"),
    "dilated kernel larger than the padded map": (X, W, dict(dilation=4, padding=1), "9 x 9"),
    "integers": (X.astype(np.int32), W, {}, "int32"),
    "stride 0": (X, W, dict(stride=0), "stride"),
    "negative padding": (X, W, dict(padding=-1), "padding"),
    "three strides": (X, W, dict(stride=(1, 1, 1)), "stride"),
}


@pytest.mark.parametrize("ops", [exact, reference], ids=["exact", "numpy"])
@pytest.mark.parametrize("case", WRONG_CONVOLUTIONS)
def test_conv2d_says_what_does_not_fit(ops, case):
    x, weight, attributes, said = WRONG_CONVOLUTIONS[case]
    with pytest.raises(ValueError) as error:
        ops.conv2d(x, weight, **attributes)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("ops", [exact, reference], ids=["exact", "numpy"])
def test_other_operators_say_what_does_not_fit(ops):
    three = np.ones(3, np.float32)
    four = np.ones(4, np.float32)
    for call in [
        lambda: ops.conv2d(X, W, three),
        lambda: ops.batch_norm(X, four, four, three, four),
        lambda: ops.batch_norm(X[0], four, four, four, four),
        lambda: ops.batch_norm_training(X, four, three),
        lambda: ops.batch_norm_training(X[:1, :, :1, :1], four, four),
        lambda: ops.batch_norm_update(four, four, four, three, 9),
        lambda: ops.batch_norm_update(four, four, four, four, 1),
        lambda: ops.layer_norm(X, three, four),
        lambda: ops.layer_norm(X.astype(np.int64), four, four),
        lambda: ops.linear(X[..., 0, 0], np.ones((2, 3), np.float32)),
        lambda: ops.linear(X[..., 0, 0], np.ones((2, 4), np.float32), three),
        lambda: ops.global_average_pool(X[0]),
        lambda: ops.gelu(np.arange(3)),
        lambda: ops.gelu([1.0]),
        lambda: ops.relu(np.arange(3)),
        lambda: ops.upsample_nearest(X[0], (3, 3)),
        lambda: ops.upsample_nearest(X, (3, 0)),
        lambda: ops.upsample_bilinear(X, (3,)),
        lambda: ops.upsample_bilinear(X, (3.0, 3)),
        lambda: ops.upsample_nearest(X, 3),
        lambda: ops.upsample_bilinear(X[:, :, :0], (3, 3)),
        lambda: ops.softmax(np.ones((2, 0), np.float32)),
        lambda: ops.softmax(np.float32(1).reshape(())),
        lambda: ops.batch_norm(X, four, four, None, None),
        lambda: ops.layer_norm(X, None, four),
        lambda: ops.conv2d(X, W, stride=2.0),
        lambda: ops.conv2d(X, W, groups=1.0),
    ]:
        with pytest.raises(ValueError, match=r"must|do not match|needs|at least"):
            call()


def test_every_engine_has_the_same_names_and_signatures():
    names = ["conv2d", "batch_norm", "layer_norm", "gelu", "linear", "global_average_pool", "softmax"]
    training, segmentation = ["batch_norm_training", "batch_norm_update"], ["relu", "upsample_nearest", "upsample_bilinear"]
    for name in [*names, *training, *segmentation]:
        signatures = set()
        for ops in (exact, reference, SegmentationOperators if name in segmentation else TrainingOperators):
            parameters = inspect.signature(getattr(ops, name)).parameters.values()
            signatures.add(tuple((p.name, p.default, p.kind) for p in parameters if p.name != "self"))
        assert len(signatures) == 1, f"{name}: {signatures}"


def test_a_call_may_come_from_many_threads_at_once():
    from concurrent.futures import ThreadPoolExecutor

    name, args, attributes = _big("pointwise")
    expected = getattr(exact, name)(*args, **attributes)
    with ThreadPoolExecutor(8) as pool:
        for got in pool.map(lambda _: getattr(exact, name)(*args, **attributes), range(32)):
            assert_bit_equal("pointwise in a thread", got, expected)
