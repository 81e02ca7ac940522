"""The whole backward pass: against torch.autograd in float64, central differences, threads and batches."""

import numba
import numpy as np
import pytest
from support.compare import assert_bit_equal, assert_close
from support.judge import torch, torch_van
from support.networks import images, random_tensors
from tolerances import CENTRAL_DIFFERENCES, FLOAT64_NETWORK, GRADIENT_NETWORK

from minivan import grad
from minivan.van import VAN
from minivan.variants import VARIANTS, Config

SMALL = Config((8, 16, 24, 32), (1, 1, 2, 1), (8, 8, 4, 4), classes=10)


@pytest.fixture(scope="module")
def small():
    return random_tensors(SMALL, seed=1)


def torch_gradients(config, tensors, x, weights, wrt):
    """Return logits and derivatives of sum(weights * logits) by the images and by the outputs of PyTorch modules."""
    net = torch_van.load(config, tensors, torch.float64)
    seen = {}

    def keep(path):
        def hook(module, inputs, output):
            output.retain_grad()
            seen[path] = output

        return hook

    modules = dict(net.named_modules())
    for path in wrt:
        if path in modules:
            modules[path].register_forward_hook(keep(path))
    seen["input"] = torch.from_numpy(x).double().requires_grad_()
    logits = net(seen["input"])
    (logits * torch.from_numpy(np.asarray(weights, np.float64))).sum().backward()
    gradients = {path: y.grad.numpy() for path, y in seen.items()}
    for path, y in gradients.items():  # LayerNorm works on (N, H, W, C) there
        gradients[path] = y.transpose(0, 3, 1, 2) if path.startswith("norm") else y
    return logits.detach().numpy(), gradients


@pytest.mark.parametrize("name", ["b0", *(pytest.param(name, marks=pytest.mark.once) for name in ("b1", "b2"))])
def test_b0_to_b2_against_pytorch(name):
    config, x = VARIANTS[name], images(1, 64, 96)
    tensors = random_tensors(config, seed=7)
    model = VAN(config, tensors)
    weights = (np.arange(config.classes) == 3).astype(np.float32)
    wrt = [path for path in model.paths() if not path.endswith(("layer_scale_1", "pool"))]
    _, expected = torch_gradients(config, tensors, x, weights, wrt)
    got = model.gradients(x, 3, wrt)
    assert list(got) == wrt and set(expected) == set(wrt)
    worst = 0.0
    for path in wrt:
        assert got[path].dtype == np.float32
        assert_close(f"{name} {path}", got[path], expected[path], GRADIENT_NETWORK)
        worst = max(worst, np.abs(got[path] - expected[path]).max() / np.abs(expected[path]).max())
    print(f"{name}: {len(wrt)} derivatives, at most {worst:.1e} of scale from PyTorch float64")


@pytest.mark.parametrize("size", [(32, 32), (33, 61), (50, 97)])
def test_the_numpy_engine_to_the_last_digits(small, size):
    model, x = VAN(SMALL, small, engine="numpy"), images(2, *size)
    weights = np.random.default_rng(0).normal(size=(2, 10))
    wrt = [path for path in model.paths() if not path.endswith(("layer_scale_1", "pool"))]
    logits, expected = torch_gradients(SMALL, small, x, weights, wrt)
    result = model.derive(x, weights, wrt)
    assert_close("logits", result.logits, logits, FLOAT64_NETWORK)
    for path in wrt:
        assert_close(path, result.gradients[path], expected[path], FLOAT64_NETWORK)


@pytest.mark.parametrize("path", ["patch_embed1.proj", "patch_embed2.norm", "block1.0.attn", "block2.0.layer_scale_1", "norm3",
                                  "block4.0.attn.spatial_gating_unit.conv1", "block3.0.mlp.act", "pool"])  # fmt: skip
def test_against_central_differences_through_a_hook(small, path):
    """Push the array at one path a little along a random direction, by replacing it, and watch the logit."""
    model, x, h = VAN(SMALL, small, engine="numpy"), images(1, 32), 1e-4
    gradient = model.gradients(x, 4, [path])[path]
    direction = np.random.default_rng(5).normal(size=gradient.shape)

    def logit(step):
        seen = {}

        def push(at, array):
            seen[at] = array
            return array + step * direction if at == path else None

        model(x, hook=push)
        return seen["head"][0, 4]  # float64, as nothing has rounded it yet

    slope = (logit(h) - logit(-h)) / (2 * h)
    assert abs(slope - (gradient * direction).sum()) < CENTRAL_DIFFERENCES * np.abs(gradient * direction).sum()


def test_a_target_is_a_class_a_class_per_image_or_weights(small):
    model, x = VAN(SMALL, small), images(2, 40)
    top = model(x).argmax(1)
    assert top[0] != top[1]
    by_default = model.gradients(x)["input"]
    assert_bit_equal("a class per image", model.gradients(x, top)["input"], by_default)
    for k in range(2):
        assert_bit_equal("one class", model.gradients(x[k : k + 1], int(top[k]))["input"][0], by_default[k])
    a, b = (model.gradients(x, k)["input"] for k in (2, 5))
    weights = np.zeros(10)
    weights[[2, 5]] = 1, -2
    assert_close("weights", model.gradients(x, weights)["input"], a - 2 * b, GRADIENT_NETWORK)
    assert_bit_equal("as rows", model.gradients(x, weights)["input"], model.gradients(x, np.stack([weights] * 2))["input"])


@pytest.mark.parametrize(
    "config",
    [Config((4,), (1,), (2,), classes=3), Config((6, 10), (2, 1), (3, 1), classes=4, layer_norm_eps=1e-5)],
    ids=["one stage", "two stages"],
)
def test_networks_with_fewer_stages(config):
    tensors, x = random_tensors(config, seed=2), images(1, 36, 45)
    weights = np.random.default_rng(0).normal(size=(1, config.classes))
    _, expected = torch_gradients(config, tensors, x, weights, ["block1.0"])
    got = VAN(config, tensors).gradients(x, weights, ["input", "block1.0"])
    for path, gradient in got.items():
        assert_close(path, gradient, expected[path], GRADIENT_NETWORK)


def test_bits_depend_on_neither_threads_nor_batch(small):
    model, x = VAN(SMALL, small), images(3, 48)
    wrt = ["input", "block3.0.attn", "norm4"]
    before = numba.get_num_threads()
    runs = []
    try:
        for threads in sorted({1, before}):
            numba.set_num_threads(threads)
            runs.append(model.gradients(x, 1, wrt))
    finally:
        numba.set_num_threads(before)
    one_by_one = [model.gradients(x[k : k + 1], 1, wrt) for k in range(3)]
    for path in wrt:
        assert_bit_equal(path, runs[0][path], runs[-1][path])
        assert_bit_equal(path, runs[0][path], np.concatenate([run[path] for run in one_by_one]))


def test_the_pass_stops_where_nothing_more_is_asked(small, monkeypatch):
    called = []

    def counted(name, function):
        def call(*args, **attributes):
            called.append(name)
            return function(*args, **attributes)

        return call

    for name in grad.__all__:
        monkeypatch.setattr(grad, name, counted(name, getattr(grad, name)))
    model, x = VAN(SMALL, small), images(1, 32)
    model.gradients(x, 0, ["norm4"])
    assert called == ["linear_input", "global_average_pool_input"]
    called.clear()
    model.gradients(x, 0, ["pool"])
    assert called == ["linear_input"]
    called.clear()
    model.gradients(x, 0, ["norm3", "norm4"])
    assert called.count("layer_norm_input") == 1 and called.count("gelu_input") == 2 * SMALL.depths[3]


@pytest.mark.parametrize("wrt", ["input", "norm4", "block4.0.attn.spatial_gating_unit.conv1"])
def test_values_come_with_the_derivatives(small, wrt):
    model, x, seen = VAN(SMALL, small), images(2, 32), {}
    seen["input"] = x
    model(x, hook=seen.__setitem__)
    result = model.derive(x, wrt=wrt)
    assert_bit_equal(wrt, result.values[wrt], seen[wrt])
    assert result.gradients[wrt].shape == seen[wrt].shape
    assert_bit_equal("logits", result.logits, model(x))


def test_an_empty_batch_has_empty_derivatives(small):
    got = VAN(SMALL, small).gradients(images(0, 32), 1, ["input", "norm2"])
    assert [g.shape for g in got.values()] == [(0, 3, 32, 32), (0, 16, 4, 4)]


@pytest.mark.parametrize(
    "target, wrt, said",
    [
        (None, ["block3.7.attn"], "no layer or parameter is called 'block3.7.attn'; near it are block3"),
        (None, ["?"], "no layer or parameter is called '?'; they begin with input"),
        (None, "block1.0.attn.proj_1.wieght", "called 'block1.0.attn.proj_1.wieght'; near it are block1.0.attn.proj_1.weight"),
        (None, ["parameters", "block1.0.layer_scale_1"], "for the scale as block1.0.layer_scale_1.weight"),
        (None, "patch_embed1.norm.running_var", "patch_embed1.norm.running_var has no derivative: training does not learn it"),
        (10, ["input"], "one of 10 classes, 0 to 9; got 10"),
        (-1, ["input"], "one of 10 classes"),
        ([1, 2, 3], ["input"], "got int64 of shape (3,)"),
        (np.ones(4), ["input"], "weights of the logits, (10,) or (2, 10); got float64 of shape (4,)"),
        ("cat", ["input"], "a target is a class"),
    ],
)
def test_unknown_layers_and_classes_are_named(small, target, wrt, said):
    with pytest.raises(ValueError) as error:
        VAN(SMALL, small).gradients(images(2, 32), target, wrt)
    assert said in str(error.value) and "\n" not in str(error.value)
