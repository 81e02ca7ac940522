"""Maps as arrays: each method against its formula and against PyTorch hooks, at the layers that may be asked for."""

import dataclasses

import numpy as np
import pytest
from support.compare import assert_bit_equal, assert_close
from support.engines import REFUSING, counting
from support.judge import torch, torch_van
from support.networks import images, random_tensors
from tolerances import FLOAT64, HOOKS, LOGIT_OF_MAP, MAPS

from minivan import backward, cli, explain, ops
from minivan.engines import Engine
from minivan.explain import cam, choices, methods, perturb
from minivan.van import VAN
from minivan.variants import VARIANTS, Config

SMALL = Config((8, 16, 24, 32), (1, 1, 2, 1), (8, 8, 4, 4), classes=10)


DEAR = [pytest.param(m, marks=pytest.mark.slow) if m in ("occlusion", "smoothgrad") else m for m in explain.METHODS]


@pytest.fixture(scope="module")
def small():
    return VAN(SMALL, random_tensors(SMALL, seed=1))


def torch_gradcam(config, tensors, x, classes):
    """Grad-CAM at each stage's output from PyTorch hooks, float64, as pytorch-grad-cam computes it before scaling."""
    net = torch_van.load(config, tensors, torch.float64)
    outputs = {}

    def hook(name):
        def keep(module, inputs, output):
            output.retain_grad()
            outputs[name] = output

        return keep

    for i in range(1, 5):
        getattr(net, f"norm{i}").register_forward_hook(hook(f"norm{i}"))
    logits = net(torch.from_numpy(x).double())
    logits[torch.arange(len(x)), torch.as_tensor(classes)].sum().backward()
    maps = {}
    for name, y in outputs.items():  # (N, H, W, C)
        weights = y.grad.mean((1, 2), keepdim=True)
        maps[name] = torch.relu((weights * y).sum(3)).detach().numpy()
    return maps


@pytest.mark.parametrize("name", ["b0", *(pytest.param(name, marks=pytest.mark.once) for name in ("b1", "b2"))])
def test_gradcam_is_that_of_pytorch_hooks_at_each_stage(name):
    config, x = VARIANTS[name], images(2, 96, 64, seed=3)
    tensors = random_tensors(config, seed=7)
    classes = np.array([5, 700])
    expected = torch_gradcam(config, tensors, x, classes)
    model = VAN(config, tensors)
    found = explain.maps(model, x, classes, layers=explain.stages(model))
    assert list(found.maps) == ["norm1", "norm2", "norm3", "norm4"]
    for path, values in found.maps.items():
        assert values.max() > 0
        assert_close(f"{name} {path}", values, expected[path], HOOKS)


def test_each_method_is_its_papers_formula():
    rng = np.random.default_rng(0)
    a, g = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 3, 4, 5))
    expected = {name: np.zeros((2, 4, 5)) for name in ("gradcam", "hirescam", "layercam", "gradcam++")}
    for n in range(2):
        for c in range(3):
            plain, plus = g[n, c].mean(), 0.0
            for i in range(4):
                for j in range(5):
                    d = g[n, c, i, j]
                    plus += d**2 / (2 * d**2 + a[n, c].sum() * d**3) * max(d, 0)
            for i in range(4):
                for j in range(5):
                    expected["gradcam"][n, i, j] += plain * a[n, c, i, j]
                    expected["gradcam++"][n, i, j] += plus * a[n, c, i, j]
                    expected["hirescam"][n, i, j] += g[n, c, i, j] * a[n, c, i, j]
                    expected["layercam"][n, i, j] += max(g[n, c, i, j], 0) * a[n, c, i, j]
    for name in ("gradcam", "gradcam++", "layercam"):
        expected[name] = np.maximum(expected[name], 0)
    for name, function in [("gradcam", cam.gradcam), ("gradcam++", cam.gradcam_plus_plus), ("hirescam", cam.hirescam),
                           ("layercam", cam.layercam)]:  # fmt: skip
        assert_close(name, function(a, g), expected[name], FLOAT64)
    weights = rng.normal(size=(2, 3))
    assert_close("cam", cam.cam(a, weights), np.stack([np.tensordot(weights[n], a[n], 1) for n in range(2)]), FLOAT64)
    assert (cam.gradcam_plus_plus(a, np.zeros_like(g)) == 0).all()


def test_the_methods_agree_where_theory_says_so(small):
    """At the last LayerNorm the derivative is the head's row over the number of places: one map, three methods."""
    x, places = images(2, 96), 9
    maps = {method: explain.maps(small, x, [1, 4], method).maps["norm4"] for method in ("cam", "gradcam", "hirescam")}
    assert_close("hirescam", maps["hirescam"], maps["cam"] / places, MAPS)
    assert_close("gradcam", maps["gradcam"], np.maximum(maps["cam"], 0) / places, MAPS)
    assert maps["cam"].shape == (2, 3, 3) and (maps["cam"] < 0).any()


def test_the_class_activation_maps_mean_and_the_bias_are_the_logit(small):
    x = images(3, 64, 96)
    for target in range(SMALL.classes):
        found = explain.maps(small, x, target, "cam")
        logits = found.maps["norm4"].mean((1, 2)) + small.tensors["head.bias"][target]
        assert_close("logit", logits, small(x)[:, target], LOGIT_OF_MAP)


def test_default_is_gradcam_of_the_top_class_at_the_last_stage(small):
    x = images(2, 64)
    found, logits = explain.maps(small, x), small(x)
    assert (found.target == logits.argmax(1)).all() and list(found.maps) == ["norm4"] and found.method == "gradcam"
    assert_bit_equal("probabilities", found.probabilities, ops.softmax(logits))
    assert_bit_equal("map", found.maps["norm4"], explain.maps(small, x, logits.argmax(1)).maps["norm4"])


def test_smoothgrad_without_noise_is_the_gradients_magnitude(small):
    x = images(2, 32)
    target = backward.logit_weights(3, small(x))[None]
    plain = np.abs(small.gradients(x, 3)["input"]).sum(1)
    assert_close("no noise", perturb.smoothgrad(small, x, target, samples=2, noise=0.0)[0], plain, MAPS)
    (noisy,) = perturb.smoothgrad(small, x, target, samples=3)
    assert_bit_equal("same seed", noisy, perturb.smoothgrad(small, x, target, samples=3)[0])
    assert noisy.shape == (2, 32, 32) and not np.allclose(noisy, plain, rtol=0.01)


def test_occlusion_measures_the_fall_square_by_square(small):
    x = images(1, 32, 40)
    (found,) = perturb.occlusion(small, x, backward.logit_weights(2, small(x))[None], patch=16, step=16)
    before = ops.softmax(small(x))[0, 2]
    covered = x.copy()
    covered[:, :, 16:32, 0:16] = 0
    assert abs(found[0, 20, 3] - (before - ops.softmax(small(covered))[0, 2])) < MAPS
    assert found.shape == (1, 32, 40) and len(np.unique(found)) <= 8  # 2 x 3 squares, the last two columns overlap


@pytest.mark.parametrize("method", DEAR)
def test_every_method_gives_finite_maps_for_every_image(small, method):
    found = explain.maps(small, images(2, 33, 50), method=method)
    (values,) = found.maps.values()
    assert values.shape[0] == 2 and np.isfinite(values).all()
    assert method in explain.SIGNED or (values >= 0).all()


def test_every_method_that_may_be_chosen_has_a_function_and_the_command_offers_it():
    functions = {
        choices.ANY_LAYER: set(methods.OF_A_LAYER),
        choices.LAST_LAYER: {"cam"},
        choices.PIXELS: set(methods.OF_THE_PIXELS),
    }
    for place, expected in functions.items():
        assert {each.name for each in choices.TABLE if each.place == place} == expected
    for method in explain.METHODS:
        assert cli.parser("explain").parse_args(["explain", "photo", "--method", method]).method == method


@pytest.mark.parametrize("method", DEAR)
def test_several_classes_share_the_forward_passes_of_one(small, method):
    x, passes = images(2, 32), {}
    for targets in ([4], [4, [7, 1], None]):
        engine, passes[len(targets)] = counting()
        found = explain.maps_of_classes(VAN(SMALL, small.tensors, engine), x, targets, method)
    assert passes[1] == passes[3]
    assert passes[1] == [2] or choices.find(method).place == choices.PIXELS
    for one, target in zip(found, targets, strict=True):
        alone = explain.maps(small, x, target, method)
        assert one.method == method and (one.target == alone.target).all()
        assert_bit_equal("probabilities", one.probabilities, alone.probabilities)
        for path, values in alone.maps.items():
            assert_bit_equal(f"{method} at {path}", one.maps[path], values)


def test_no_targets_no_maps(small):
    assert explain.maps_of_classes(VAN(SMALL, small.tensors, REFUSING), images(1, 32), []) == []


def test_an_engine_without_derivatives_says_so_before_it_computes(small):
    model = VAN(SMALL, small.tensors, Engine("plain", ops=REFUSING.ops))
    for method in ("gradcam", "smoothgrad"):
        with pytest.raises(ValueError, match="the engine plain has no derivatives"):
            explain.maps(model, images(1, 32), method=method)
    model = VAN(SMALL, small.tensors, Engine("plain", ops=ops))
    for method in ("cam", "occlusion"):
        expected = explain.maps(small, images(1, 32), 3, method).maps
        for path, values in explain.maps(model, images(1, 32), 3, method).maps.items():
            assert_bit_equal(method, values, expected[path])


@pytest.mark.slow
def test_the_numpy_engine_gives_the_same_maps(small):
    x, model = images(2, 40), VAN(SMALL, small.tensors, "numpy")
    for method in explain.METHODS:
        expected = explain.maps(small, x, [1, 4], method).maps
        for path, values in explain.maps(model, x, [1, 4], method).maps.items():
            assert_close(f"{method} at {path}", values, expected[path], HOOKS)


@pytest.mark.parametrize(
    "arguments, said",
    [
        (dict(method="grad-cam"), "no method is called 'grad-cam'; the methods are gradcam, cam"),
        (dict(layers=["norm5"]), "no layer is called 'norm5'; near it are norm"),
        (dict(layers=["pool"]), "pool has no positions"),
        (dict(layers=[]), "no layer to look at: give one at least, such as norm4"),
        (dict(layers="head"), "head has no positions, so there is no map of it: choose a layer such as norm4"),
        (dict(method="cam", layers=["norm2"]), "cam is defined at norm4"),
        (dict(method="occlusion", layers=["norm2"]), "occlusion looks at the input"),
        (dict(method="smoothgrad", layers="all"), "smoothgrad looks at the input"),
        (dict(target=10), "one of 10 classes"),
        (dict(target=[1, 2]), "one class for each of the 1 images"),
    ],
)
def test_unknown_methods_layers_and_classes_are_named_before_anything_is_computed(small, arguments, said):
    with pytest.raises(ValueError) as error:
        explain.maps(VAN(SMALL, small.tensors, REFUSING), images(1, 32), **arguments)
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("method", ["gradcam", "cam", "layercam"])
def test_a_fast_model_is_explained_from_its_own_stages(small, method):
    fast, x = VAN(SMALL, small.tensors, engine="fast"), images(2, 64)
    got, expected = (explain.maps(model, x, [1, 4], method) for model in (fast, small))
    assert_close("map", got.maps["norm4"], expected.maps["norm4"], HOOKS)
    assert_close("probabilities", got.probabilities, expected.probabilities, HOOKS)
    assert_bit_equal("features", fast.arrays(x, ["norm4"])["norm4"], fast.features(x)[-1])
    deeper = [explain.maps(model, x, [1, 4], "layercam", ["norm2"]).maps["norm2"] for model in (fast, small)]
    assert_bit_equal("what lies deeper is exact's", *deeper)


@pytest.mark.parametrize(
    "layers, expected",
    [
        (None, ["norm4"]),
        ("all", ["norm1", "norm2", "norm3", "norm4"]),
        ("block3.1.mlp.act", ["block3.1.mlp.act"]),
        (["input", "norm1"], ["input", "norm1"]),
    ],
)
def test_layers_by_name(layers, expected):
    assert explain.choose_layers(SMALL, "gradcam", layers) == expected


def test_a_backbone_without_a_head_has_no_class_to_look_for():
    with pytest.raises(ValueError, match="a backbone without a head"):
        explain.choose_layers(dataclasses.replace(SMALL, classes=0))


def test_each_method_of_the_table_is_computed_by_exactly_one_part():
    parts = [
        (choices.ANY_LAYER, list(methods.OF_A_LAYER)),
        (choices.LAST_LAYER, ["cam"]),
        (choices.PIXELS, list(methods.OF_THE_PIXELS)),
    ]
    computed = [(name, place) for place, names in parts for name in names]
    assert sorted(computed) == sorted((method.name, method.place) for method in choices.TABLE)
    assert len({method.name for method in choices.TABLE}) == len(choices.TABLE)
