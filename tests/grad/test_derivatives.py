"""Every operator's derivatives: against torch.autograd in float64, against central differences, and on bad arguments."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.compare import assert_bit_equal, assert_close
from support.judge import F, torch
from support.strategies import arrays, convolutions, feature_maps
from tolerances import CENTRAL_DIFFERENCES, FLOAT64, GRADIENT_OPERATOR

import minivan.grad as exact
import minivan.ops as exact_operators
import minivan.reference as operators
from minivan.reference import derivatives as reference

ENGINES = {"exact": (exact, GRADIENT_OPERATOR), "numpy": (reference, FLOAT64)}


def autograd(operator, dy, *args):
    """Return PyTorch's float64 derivatives by each argument of sum(dy * operator(*args)).

    From contiguous copies: F.batch_norm of PyTorch 2.13 mixes up the derivatives of a transposed float64 x.
    """
    leaves = [torch.from_numpy(np.array(a, np.float64, order="C")).requires_grad_() for a in args]
    y = operator(*leaves)
    return [g.numpy() for g in torch.autograd.grad(y, leaves, torch.from_numpy(np.array(dy, np.float64, order="C")))]


def judge(expected, function, *args, **attributes):
    """Hold both engines' `function` against what PyTorch found; inputs stay untouched and may lie anyhow in memory."""
    before = [a.tobytes() for a in args]
    for engine, (module, tolerance) in ENGINES.items():
        got = getattr(module, function)(*args, **attributes)
        assert np.isfinite(got).all() and got.dtype == (np.float32 if engine == "exact" else np.float64)
        assert_close(f"{engine} {function}", got, expected, tolerance)
    got, contiguous = exact.__dict__[function], [np.ascontiguousarray(a) for a in args]
    assert_bit_equal(f"{function} of a copy", got(*args, **attributes), got(*contiguous, **attributes))
    assert before == [a.tobytes() for a in args], f"{function} wrote to its input"


def normal(shape, seed, scale=1.0):
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32)


@settings(max_examples=25)  # an example is three derivatives
@given(convolutions(), st.data())
def test_conv2d(case, data):
    x, weight, _, attributes = case
    bias = np.zeros(weight.shape[0], np.float32)
    shape = operators.conv2d(x, weight, **attributes).shape
    dy = data.draw(arrays(shape))
    dx, dweight, dbias = autograd(lambda x, w, b: F.conv2d(x, w, b, **attributes), dy, x, weight, bias)
    judge(dx, "conv2d_input", dy, weight, size=x.shape[2:], **attributes)
    judge(dweight, "conv2d_weight", dy, x, kernel=weight.shape[2:], **attributes)
    judge(dbias, "conv2d_bias", dy)


@given(convolutions(floats=False), st.data())
def test_conv2d_of_small_integers_has_no_rounding_at_all(case, data):
    x, weight, _, attributes = case
    dy = data.draw(arrays(operators.conv2d(x, weight, **attributes).shape, floats=False))
    dx, dweight = autograd(lambda x, w: F.conv2d(x, w, **attributes), dy, x, weight)
    assert (exact.conv2d_input(dy, weight, x.shape[2:], **attributes) == dx).all()
    assert (exact.conv2d_weight(dy, x, weight.shape[2:], **attributes) == dweight).all()


@pytest.mark.parametrize("kernel, padding, dilation", [(5, 2, 1), (7, 9, 3), (3, 1, 1)])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (7, 5), (30, 23)])
def test_vans_depthwise_convolutions(kernel, padding, dilation, size):
    x, dy = normal((2, 6, *size), 1), normal((2, 6, *size), 2)
    weight = normal((6, 1, kernel, kernel), 3)
    attributes = dict(padding=padding, dilation=dilation, groups=6)
    dx, dweight = autograd(lambda x, w: F.conv2d(x, w, **attributes), dy, x, weight)
    judge(dx, "conv2d_input", dy, weight, size=size, **attributes)
    judge(dweight, "conv2d_weight", dy, x, kernel=(kernel, kernel), **attributes)


@given(feature_maps(), st.integers(0, 2**32 - 1))
def test_batch_norm(x, seed):
    c, eps = x.shape[1], 1e-5
    mean, weight, bias, dy = (normal(shape, seed + k) for k, shape in enumerate([c, c, c, x.shape]))
    var = normal(c, seed + 4) ** 2
    dx, dweight, dbias = autograd(
        lambda x, w, b: F.batch_norm(x, torch.from_numpy(mean).double(), torch.from_numpy(var).double(), w, b, eps=eps),
        dy, x, weight, bias,
    )  # fmt: skip
    judge(dx, "batch_norm_input", dy, var, weight, eps=eps)
    for engine, (module, tolerance) in ENGINES.items():
        got = module.batch_norm_parameters(dy, x, mean, var, eps=eps)
        assert_close(f"{engine} batch_norm weight", got[0], dweight, tolerance)
        assert_close(f"{engine} batch_norm bias", got[1], dbias, tolerance)


@st.composite
def batches(draw):
    """Draw (x, dy, weight, bias) of a BatchNorm in training form: two values of each channel at least, some far from zero."""
    n, c, h, w = draw(st.tuples(st.integers(1, 3), st.integers(1, 20), st.integers(1, 7), st.integers(1, 7)))
    shape = (n + (n * h * w == 1), c, h, w)
    x, dy = draw(arrays(shape, scale=draw(st.sampled_from([0.1, 1.0, 30.0])))), draw(arrays(shape))
    return x + np.float32(draw(st.sampled_from([0, 5]))), dy, draw(arrays((c,))), draw(arrays((c,)))


@given(batches())
def test_batch_norm_in_training_form(case):
    """The statistics, their update and y beside PyTorch's; its derivatives in the size of what cancels in them."""
    x, dy, weight, bias = case
    running, count = np.abs(np.stack([weight, bias])), x[:, 0].size
    mean, var = (torch.from_numpy(v.astype(np.float64)) for v in running)
    wide = [torch.from_numpy(np.array(a, np.float64, order="C")).requires_grad_() for a in (x, weight, bias)]
    y = F.batch_norm(wide[0], mean, var, *wide[1:], training=True)
    dx, dweight, dbias = (
        g.numpy() for g in torch.autograd.grad(y, wide, torch.from_numpy(np.array(dy, np.float64, order="C")))
    )
    z = np.abs(F.batch_norm(wide[0], None, None, training=True).detach().numpy())
    deviation = np.sqrt(x.var((0, 2, 3), dtype=np.float64) + 1e-5)
    terms = np.abs(weight[:, None, None] * dy).max((0, 2, 3)) * (1 + z.max((0, 2, 3)) ** 2) / deviation  # of dx
    for engine, (module, tolerance) in ENGINES.items():
        ops = exact_operators if engine == "exact" else operators
        got, *statistics = ops.batch_norm_training(x, weight, bias)
        assert_close(f"{engine} y", got, y.detach().numpy(), 4 * tolerance)
        updated = ops.batch_norm_update(*running, *statistics, count)
        for name, ours, theirs in zip(("mean", "var"), updated, (mean, var), strict=True):
            assert_close(f"{engine} running {name}", ours, theirs.numpy(), 4 * tolerance)
        got = module.batch_norm_training_input(dy, x, weight)
        assert (np.abs(got - dx) <= 4 * tolerance * terms[:, None, None]).all(), engine
        got = module.batch_norm_training_parameters(dy, x)
        assert (np.abs(got[0] - dweight) <= 4 * tolerance * np.abs(dy).sum((0, 2, 3)) * z.max()).all(), engine
        assert (np.abs(got[1] - dbias) <= 4 * tolerance * np.abs(dy).sum((0, 2, 3))).all(), engine
    contiguous = exact.batch_norm_training_input(*(np.ascontiguousarray(a) for a in (dy, x, weight)))
    assert_bit_equal("dx of a copy", exact.batch_norm_training_input(dy, x, weight), contiguous)


@given(feature_maps(), st.integers(0, 2**32 - 1))
def test_layer_scale(x, seed):
    dy, scale = normal(x.shape, seed), normal(x.shape[1], seed + 1)
    judge(autograd(lambda x, s: x * s[:, None, None], dy, x, scale)[1], "layer_scale_weight", dy, x)


@given(st.integers(0, 4), st.integers(1, 30), st.sampled_from(["sum", "mean"]), st.data())
def test_cross_entropy(n, classes, reduction, data):
    logits = data.draw(arrays((n, classes), scale=data.draw(st.sampled_from([1.0, 10.0]))))
    target = np.array(data.draw(st.lists(st.integers(0, classes - 1), min_size=n, max_size=n)), np.int64)
    wide = torch.from_numpy(logits.astype(np.float64)).requires_grad_()
    expected = np.zeros((n, classes))
    if n:
        F.cross_entropy(wide, torch.from_numpy(target), reduction=reduction).backward()
        expected = wide.grad.numpy()
    # Where the target is all but certain, PyTorch's p - 1 has cancelled: 1 is what its digits are those of.
    for engine, (module, tolerance) in ENGINES.items():
        got = module.cross_entropy_input(logits, target, reduction)
        assert (np.abs(got - expected) <= tolerance * np.abs(expected) + 1e-15).all(), engine


@given(feature_maps(), st.integers(0, 2**32 - 1))
def test_layer_norm(x, seed):
    c, eps = x.shape[1], 1e-6
    weight, bias, dy = (normal(shape, seed + k) for k, shape in enumerate([c, c, x.shape]))

    def layer_norm(x, weight, bias):
        return F.layer_norm(x.permute(0, 2, 3, 1), weight.shape, weight, bias, eps).permute(0, 3, 1, 2)

    dx, dweight, dbias = autograd(layer_norm, dy, x, weight, bias)
    # With one or two channels next to nothing is left of dx: it is judged by the size of what cancelled.
    deviation = np.sqrt(x.var(1, dtype=np.float64, keepdims=True) + eps)
    terms = (np.abs(weight[:, None, None] * dy).max(1, keepdims=True)) / deviation
    for module, tolerance in ENGINES.values():
        got = module.layer_norm_input(dy, x, weight, eps)
        assert (np.abs(got - dx) <= 4 * tolerance * terms).all()
        if c > 2:
            assert_close("layer_norm_input", got, dx, 4 * tolerance)
    for engine, (module, tolerance) in ENGINES.items():
        got = module.layer_norm_parameters(dy, x, eps=eps)
        assert_close(f"{engine} layer_norm weight", got[0], dweight, 2 * tolerance)  # exact's normalised x is float32
        assert_close(f"{engine} layer_norm bias", got[1], dbias, tolerance)


@given(feature_maps(), st.integers(0, 2**32 - 1))
def test_gelu(x, seed):
    dy = normal(x.shape, seed)
    judge(autograd(F.gelu, dy, x)[0], "gelu_input", dy, x)


@given(feature_maps(), st.integers(0, 2**32 - 1), st.tuples(st.integers(1, 20), st.integers(1, 20)))
def test_relu_and_the_upsamplings(x, seed, size):
    x = np.where(np.abs(x) < 0.2, 0, x)  # some zeros, whose slope is 0
    dy = normal(x.shape, seed)
    judge(autograd(F.relu, dy, x)[0], "relu_input", dy, x)
    dy = normal((*x.shape[:2], *size), seed)
    for mode in ("nearest", "bilinear"):
        expected = autograd(lambda x, mode=mode: F.interpolate(x, size, mode=mode), dy, x)[0]
        judge(expected, f"upsample_{mode}_input", dy, size=x.shape[2:])


def test_special_values_on_the_way_back_of_relu_and_the_upsamplings():
    x, dy = np.float32([np.nan, 0, -0.0, 1, -1]), np.float32([1, np.inf, np.inf, np.inf, np.nan])
    row = np.float32([[[[np.inf, 1, 2, 3]]]])
    for module, _ in ENGINES.values():
        np.testing.assert_array_equal(module.relu_input(dy, x), autograd(F.relu, dy, x)[0])
        assert module.upsample_bilinear_input(row, (1, 4)).tolist() == row.tolist()  # a share of 0 is not handed back
        assert module.upsample_nearest_input(row, (1, 2)).tolist() == [[[[np.inf, 5]]]]


def test_gelus_slope_far_out():
    x = np.float32([-1e30, -40, -10, -5, 0, 5, 10, 40, 1e30])
    for module, _ in ENGINES.values():
        slope = module.gelu_input(np.ones_like(x), x)
        assert slope[[0, 4, 8]].tolist() == [0, 0.5, 1] and np.isfinite(slope).all()
        assert abs(slope[3] - (-7.1e-6)) < 1e-7


@given(st.integers(0, 4), st.integers(1, 30), st.integers(1, 30), st.data())
def test_linear(n, c, classes, data):
    x, weight = data.draw(arrays((n, c))), data.draw(arrays((classes, c)))
    dy, bias = data.draw(arrays((n, classes))), np.zeros(classes, np.float32)
    dx, dweight, dbias = autograd(F.linear, dy, x, weight, bias)
    judge(dx, "linear_input", dy, weight)
    judge(dweight, "linear_weight", dy, x)
    judge(dbias, "linear_bias", dy)


@given(feature_maps(), st.integers(0, 2**32 - 1))
def test_global_average_pool(x, seed):
    dy = normal(x.shape[:2], seed)
    judge(autograd(lambda x: x.mean((2, 3)), dy, x)[0], "global_average_pool_input", dy, size=x.shape[2:])


@given(st.integers(0, 4), st.integers(1, 30), st.data())
def test_softmax(n, classes, data):
    x, dy = data.draw(arrays((n, classes))), data.draw(arrays((n, classes)))
    y = operators.softmax(x)
    dx = autograd(lambda x: torch.softmax(x, -1), dy, x)[0]
    assert_close("numpy softmax", reference.softmax_input(dy, y), dx, 1e-11)  # one class: what is left is rounding
    got = exact.softmax_input(dy, y.astype(np.float32))
    scale = np.abs(dy).max(initial=0)
    assert np.abs(got - dx).max(initial=0) <= 2.0**-22 * scale


def central_differences(f, dy, x, h=1e-5):
    """Return the derivative of sum(dy * f(x)) by each element of x, one at a time, in float64."""
    slope = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[index] = h
        slope[index] = (dy * (f(x + step) - f(x - step))).sum() / (2 * h)
    return slope


@pytest.mark.parametrize(
    "c_in, c_out, kernel, attributes",
    [
        (2, 3, 3, dict(stride=2, padding=1)),
        (4, 6, 3, dict(stride=(2, 3), padding=(0, 2), groups=2)),
        (3, 3, 7, dict(padding=9, dilation=3, groups=3)),
        (3, 3, 5, dict(padding=2, groups=3)),
        (2, 4, 1, {}),
    ],
    ids=["patches", "grouped", "far", "near", "pointwise"],
)
def test_conv2d_against_central_differences(c_in, c_out, kernel, attributes):
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(2, c_in, 6, 7)), rng.normal(size=(c_out, c_in // attributes.get("groups", 1), kernel, kernel))
    dy = rng.normal(size=operators.conv2d(x, weight, **attributes).shape)
    dx = central_differences(lambda x: operators.conv2d(x, weight, **attributes), dy, x)
    dweight = central_differences(lambda w: operators.conv2d(x, w, **attributes), dy, weight)
    got = reference.conv2d_input(dy, weight, x.shape[2:], **attributes)
    assert_close("dx", got, dx, CENTRAL_DIFFERENCES)
    assert_close("dweight", reference.conv2d_weight(dy, x, weight.shape[2:], **attributes), dweight, CENTRAL_DIFFERENCES)


def test_the_other_operators_against_central_differences():
    rng = np.random.default_rng(1)
    x, dy = rng.normal(size=(2, 5, 2, 3)), rng.normal(size=(2, 5, 2, 3))
    mean, weight, bias = rng.normal(size=(3, 5))
    var = rng.uniform(0.5, 2, 5)
    flat, flat_dy, matrix = rng.normal(size=(2, 5)), rng.normal(size=(2, 4)), rng.normal(size=(4, 5))
    pairs = {
        "batch_norm x": (lambda v: operators.batch_norm(v, mean, var, weight, bias), dy, x,
                         reference.batch_norm_input(dy, var, weight)),
        "batch_norm weight": (lambda v: operators.batch_norm(x, mean, var, v, bias), dy, weight,
                              reference.batch_norm_parameters(dy, x, mean, var)[0]),
        "batch_norm_training x": (lambda v: operators.batch_norm_training(v, weight, bias)[0], dy, x,
                                  reference.batch_norm_training_input(dy, x, weight)),
        "batch_norm_training weight": (lambda v: operators.batch_norm_training(x, v, bias)[0], dy, weight,
                                       reference.batch_norm_training_parameters(dy, x)[0]),
        "layer_scale": (lambda v: v[:, None, None] * x, dy, weight, reference.layer_scale_weight(dy, x)),
        "layer_norm x": (lambda v: operators.layer_norm(v, weight, bias), dy, x, reference.layer_norm_input(dy, x, weight)),
        "layer_norm weight": (lambda v: operators.layer_norm(x, v, bias), dy, weight,
                              reference.layer_norm_parameters(dy, x)[0]),
        "layer_norm bias": (lambda v: operators.layer_norm(x, weight, v), dy, bias,
                            reference.layer_norm_parameters(dy, x)[1]),
        "gelu x": (operators.gelu, dy, x, reference.gelu_input(dy, x)),
        "relu x": (operators.relu, dy, x, reference.relu_input(dy, x)),
        "upsample_nearest x": (lambda v: operators.upsample_nearest(v, (2, 3)), dy, x[:, :, :1, :2],
                               reference.upsample_nearest_input(dy, (1, 2))),
        "upsample_bilinear x": (lambda v: operators.upsample_bilinear(v, (2, 3)), dy, x[:, :, :1, :2],
                                reference.upsample_bilinear_input(dy, (1, 2))),
        "linear x": (lambda v: operators.linear(v, matrix), flat_dy, flat, reference.linear_input(flat_dy, matrix)),
        "linear weight": (lambda v: operators.linear(flat, v), flat_dy, matrix, reference.linear_weight(flat_dy, flat)),
        "pool x": (operators.global_average_pool, flat, x, reference.global_average_pool_input(flat, (2, 3))),
        "softmax x": (operators.softmax, flat_dy, matrix[:2, :4], reference.softmax_input(
            flat_dy, operators.softmax(matrix[:2, :4]))),
    }  # fmt: skip
    for name, (f, dy, at, got) in pairs.items():
        assert_close(name, got, central_differences(f, dy, at), CENTRAL_DIFFERENCES)


@pytest.mark.parametrize("module", [exact, reference], ids=list(ENGINES))
@pytest.mark.parametrize(
    "call, said",
    [
        (lambda m: m.conv2d_input(np.ones((1, 2, 5, 5)), np.ones((2, 3, 3, 3)), (5, 5)), r"\(1, 2, 3, 3\), got \(1, 2, 5, 5\)"),
        (lambda m: m.conv2d_input(np.ones((1, 2, 5)), np.ones((2, 3, 3, 3)), (5, 5)), r"\(N, C, H, W\)"),
        (lambda m: m.conv2d_input(np.ones((1, 2, 3, 3), int), np.ones((2, 3, 3, 3)), (5, 5)), "floating, got dtype int64"),
        (lambda m: m.conv2d_input(np.ones((1, 2, 3, 3)), np.ones((2, 3, 3, 3)), (5, 5), groups=0), "groups must be"),
        (lambda m: m.conv2d_weight(np.ones((1, 2, 3, 3)), np.ones((1, 3, 5, 5)), (2, 2)), r"\(1, 2, 4, 4\), got"),
        (lambda m: m.conv2d_weight(np.ones((1, 2, 3, 3)), np.ones((1, 3, 5, 5)), (3, 3), groups=2), "channels do not match"),
        (lambda m: m.conv2d_bias(np.ones((2, 3))), r"\(N, C, H, W\), got \(2, 3\)"),
        (lambda m: m.batch_norm_input(np.ones((1, 2, 3, 3)), np.ones(3), np.ones(2)), r"running_var .* \(2,\)"),
        (lambda m: m.batch_norm_parameters(np.ones((1, 2, 3, 3)), np.ones((1, 2, 3, 4)), np.ones(2), np.ones(2)), "shape of x"),
        (lambda m: m.layer_norm_input(np.ones((1, 2, 3, 3)), np.ones((1, 2, 3, 4)), np.ones(2)), r"\(1, 2, 3, 4\), got"),
        (lambda m: m.layer_norm_parameters(np.ones((1, 2, 3, 3)), np.ones((1, 2, 3, 4))), "shape of x"),
        (lambda m: m.gelu_input(np.ones(3), np.ones(4)), r"\(4,\), got \(3,\)"),
        (lambda m: m.relu_input(np.ones(3), np.ones(4)), r"\(4,\), got \(3,\)"),
        (lambda m: m.relu_input(np.ones(3), np.arange(3)), "floating, got dtype int64"),
        (lambda m: m.upsample_nearest_input(np.ones((2, 3)), (4, 4)), r"dy must be .*got the shape \(2, 3\)"),
        (lambda m: m.upsample_nearest_input(np.ones((1, 2, 0, 3)), (4, 4)), r"dy must be .*got the shape \(1, 2, 0, 3\)"),
        (lambda m: m.upsample_nearest_input(np.ones((1, 2, 3, 3), int), (4, 4)), "dy must be floating"),
        (lambda m: m.upsample_bilinear_input(np.ones((1, 2, 3, 3)), 4), "whole numbers of at least 1, got 4"),
        (lambda m: m.upsample_bilinear_input(np.ones((1, 2, 3, 3)), (4, 0)), r"whole numbers of at least 1, got \(4, 0\)"),
        (lambda m: m.linear_input(np.ones((2, 3)), np.ones((4, 5))), r"\(2, 3\)"),
        (lambda m: m.linear_weight(np.ones((2, 3)), np.ones((4, 5))), r"\(3, 2\)"),
        (lambda m: m.global_average_pool_input(np.ones((2, 3)), (0, 1)), "at least 1"),
        (lambda m: m.softmax_input(np.ones((2, 3)), np.ones((2, 4))), "shape of y"),
        (lambda m: m.batch_norm_training_input(*[np.ones((1, 2, 1, 1))] * 2, np.ones(2)), "two values of each channel"),
        (lambda m: m.batch_norm_training_input(*[np.ones((1, 2, 3, 3))] * 2, np.ones(3)), r"weight .* \(2,\)"),
        (lambda m: m.batch_norm_training_parameters(np.ones((1, 2, 3, 3)), np.ones((1, 2, 3, 4))), "shape of x"),
        (lambda m: m.layer_scale_weight(np.ones((1, 2, 3, 3)), np.ones((1, 2, 3, 4))), "shape of x"),
        (lambda m: m.cross_entropy_input(np.ones(3), [1]), r"\(N, classes\), got \(3,\)"),
        (lambda m: m.cross_entropy_input(np.ones((2, 3)), [1]), "a class for each of the 2 images"),
        (lambda m: m.cross_entropy_input(np.ones((2, 3)), [1, 3]), "one of 3 classes, 0 to 2; got"),
        (lambda m: m.cross_entropy_input(np.ones((2, 3)), [1, 2], "none"), "reduction must be sum or mean"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(module, call, said):
    with pytest.raises(ValueError, match=said):
        call(module)


def test_the_two_engines_have_the_same_functions():
    public = {name for name in vars(reference) if name.endswith(("_input", "_weight", "_bias", "_parameters"))}
    assert public == set(exact.__all__)
