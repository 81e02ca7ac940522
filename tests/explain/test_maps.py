"""Maps as arrays: each method against its formula and against PyTorch hooks, class names, geometry, attention, fields."""

import numpy as np
import pytest
import torch
from support import torch_van
from support.compare import assert_bit_equal, assert_close
from support.networks import images, random_tensors

from minivan import backward, explain, reference
from minivan.card import Label, imagenet1k
from minivan.cli import explain as cli
from minivan.explain import cam, faithfulness, figure, perturb, receptive
from minivan.ops import depthwise_conv2d, dilated_depthwise_conv2d, softmax
from minivan.van import VAN
from minivan.variants import VARIANTS, Config

SMALL = Config((8, 16, 24, 32), (1, 1, 2, 1), (8, 8, 4, 4), classes=10)
HOOKS = 1e-4  # of scale, against Grad-CAM from PyTorch hooks; float32 against float64 stays far below


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


@pytest.mark.parametrize("name", ["b0", "b1", "b2"])
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
        assert_close(name, function(a, g), expected[name], 1e-12)
    weights = rng.normal(size=(2, 3))
    assert_close("cam", cam.cam(a, weights), np.stack([np.tensordot(weights[n], a[n], 1) for n in range(2)]), 1e-12)
    assert (cam.gradcam_plus_plus(a, np.zeros_like(g)) == 0).all()


def test_the_methods_agree_where_theory_says_so(small):
    """At the last LayerNorm the derivative is the head's row over the number of places: one map, three methods."""
    x, places = images(2, 96), 9
    maps = {method: explain.maps(small, x, [1, 4], method).maps["norm4"] for method in ("cam", "gradcam", "hirescam")}
    assert_close("hirescam", maps["hirescam"], maps["cam"] / places, 1e-6)
    assert_close("gradcam", maps["gradcam"], np.maximum(maps["cam"], 0) / places, 1e-6)
    assert maps["cam"].shape == (2, 3, 3) and (maps["cam"] < 0).any()


def test_the_class_activation_maps_mean_and_the_bias_are_the_logit(small):
    x = images(3, 64, 96)
    for target in range(SMALL.classes):
        found = explain.maps(small, x, target, "cam")
        logits = found.maps["norm4"].mean((1, 2)) + small.tensors["head.bias"][target]
        assert_close("logit", logits, small(x)[:, target], 1e-5)


def test_default_is_gradcam_of_the_top_class_at_the_last_stage(small):
    x = images(2, 64)
    found, logits = explain.maps(small, x), small(x)
    assert (found.target == logits.argmax(1)).all() and list(found.maps) == ["norm4"] and found.method == "gradcam"
    assert_bit_equal("probabilities", found.probabilities, softmax(logits))
    assert_bit_equal("map", found.maps["norm4"], explain.maps(small, x, logits.argmax(1)).maps["norm4"])


def test_smoothgrad_without_noise_is_the_gradients_magnitude(small):
    x = images(2, 32)
    target = backward.weights_of(3, small(x))
    plain = np.abs(small.gradients(x, 3)["input"]).sum(1)
    assert_close("no noise", perturb.smoothgrad(small, x, target, samples=2, noise=0.0), plain, 1e-6)
    noisy = perturb.smoothgrad(small, x, target, samples=3)
    assert_bit_equal("same seed", noisy, perturb.smoothgrad(small, x, target, samples=3))
    assert noisy.shape == (2, 32, 32) and not np.allclose(noisy, plain, rtol=0.01)


def test_occlusion_measures_the_fall_square_by_square(small):
    x = images(1, 32, 40)
    found = perturb.occlusion(small, x, backward.weights_of(2, small(x)), patch=16, step=16)
    before = softmax(small(x))[0, 2]
    covered = x.copy()
    covered[:, :, 16:32, 0:16] = 0
    assert abs(found[0, 20, 3] - (before - softmax(small(covered))[0, 2])) < 1e-6
    assert found.shape == (1, 32, 40) and len(np.unique(found)) <= 8  # 2 x 3 squares, the last two columns overlap


@pytest.mark.parametrize("method", explain.METHODS)
def test_every_method_gives_finite_maps_for_every_image(small, method):
    found = explain.maps(small, images(2, 33, 50), method=method)
    (values,) = found.maps.values()
    assert values.shape[0] == 2 and np.isfinite(values).all()
    assert method in explain.SIGNED or (values >= 0).all()


def test_the_commands_methods_are_the_packages():
    assert cli.METHODS == explain.METHODS


@pytest.mark.parametrize(
    "arguments, said",
    [
        (dict(method="grad-cam"), "no method is called 'grad-cam'; the methods are gradcam, cam"),
        (dict(layers=["norm5"]), "no layer is called 'norm5'; near it are norm"),
        (dict(layers=["pool"]), "pool has no positions"),
        (dict(method="cam", layers=["norm2"]), "cam is defined at norm4"),
        (dict(method="occlusion", layers=["norm2"]), "occlusion looks at the input"),
        (dict(target=10), "one of 10 classes"),
    ],
)
def test_unknown_methods_layers_and_classes_are_named(small, arguments, said):
    with pytest.raises(ValueError) as error:
        explain.maps(small, images(1, 32), **arguments)
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["281", "n02123045", "tabby", "Tabby  Cat", "tabby, tabby cat"])
def test_a_class_is_an_index_a_wordnet_id_or_a_name(text):
    labels = imagenet1k()
    assert explain.choose(text, labels, 1000) == 281 == [label.wnid for label in labels].index("n02123045")


@pytest.mark.parametrize(
    "text, said",
    [
        ("tabbi", "near it are tabby"),
        ("cat", "Persian cat"),
        ("expresso", "espresso"),
        ("1000", "0 to 999"),
        ("-1", "0 to 999"),
        ("crane", "several classes are called 'crane': n02012849, n03126707"),
        ("zzzz", "no class of these 1000 is called 'zzzz'"),
    ],
)
def test_an_unknown_class_lists_what_comes_near(text, said):
    with pytest.raises(ValueError) as error:
        explain.choose(text, imagenet1k(), 1000)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_without_names_a_class_is_an_index():
    assert explain.choose("3", (), 10) == 3
    with pytest.raises(ValueError, match="carry no class names"):
        explain.choose("tabby", (), 10)
    assert explain.choose("2", (Label("", "one"), Label("", "two"), Label("", "three")), 3) == 2


def test_a_map_is_spread_from_where_its_positions_are_centred():
    values = np.array([[1.0, 2.0], [3.0, 5.0]])
    spread = figure.spread(values, 4, 8, 9)
    assert spread.shape == (8, 9)
    assert spread[0, 0] == 1 and spread[0, 4] == 2 and spread[4, 0] == 3 and spread[4, 4] == 5
    assert spread[2, 0] == 2 and spread[0, 2] == 1.5 and spread[2, 2] == 2.75
    assert spread[7, 8] == 5  # beyond the last position


def test_positions_are_centred_on_multiples_of_the_stride():
    """A symmetric network answers to a mirrored image with the mirrored map, if positions lie where `spread` puts them."""
    tensors = random_tensors(SMALL, seed=1)
    symmetric = {n: (t + t[..., ::-1]) / 2 if t.ndim == 4 else t for n, t in tensors.items()}
    model, x = VAN(SMALL, symmetric), images(1, 65)  # 64 n + 1: the last position is centred on the last pixel
    for straight, mirrored in zip(model.features(x), model.features(x[..., ::-1]), strict=True):
        assert_close("mirrored", mirrored[..., ::-1], straight, 1e-4)


def test_attention_maps_are_what_lka_multiplies_by(small):
    x, seen = images(2, 64), {}
    small(x, hook=seen.__setitem__)
    found = explain.attention_maps(small, x)
    assert list(found) == ["block1.0", "block2.0", "block3.0", "block3.1", "block4.0"]
    for block, factors in found.items():
        unit = f"{block}.attn"
        assert_close(block, factors * seen[f"{unit}.activation"], seen[f"{unit}.spatial_gating_unit"], 1e-6)
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
        ("all", ["block1.0", "block2.0", "block3.0", "block3.1", "block4.0"]),
    ],
)
def test_blocks_by_name(block, expected):
    assert explain.choose_blocks(SMALL, block) == expected


@pytest.mark.parametrize("block, said", [("block3.2", "near it are block3"), ("x", "the stages are block1, block2")])
def test_an_unknown_block_lists_what_comes_near(block, said):
    with pytest.raises(ValueError, match=said):
        explain.choose_blocks(SMALL, block)


def test_theoretical_fields_are_the_pixels_that_reach_the_centre():
    """With nothing that cancels, the centre position's derivative is zero at every pixel outside, and at none inside."""
    config = Config((2, 3), (1, 1), (1, 1), classes=2)
    rng = np.random.default_rng(0)
    tensors = {n: np.abs(t) + 0.5 for n, t in random_tensors(config, seed=0).items()}
    model, side = VAN(config, tensors, engine="numpy"), 641
    x = np.abs(rng.normal(size=(1, 3, side, 32)).astype(np.float32))
    saved = {"input": x}
    model.features(x, hook=saved.__setitem__)
    for field, stage in ((103, 1), (103 + 2 * 4 + 24 * 8, 2)):  # 7 + 24 * 4; the 3x3 embedding; LKA and MLP at stride 8
        path = f"block{stage}.0"
        assert {f.path: f.side for f in receptive.theoretical(config)}[path] == field
        seed = np.zeros_like(saved[path])
        middle = side // 2
        seed[:, :, middle // (4 * stage)] = 1
        steps = backward.from_blocks(reference, seed, stage, saved, model.parameters, config)
        rows = np.flatnonzero(np.abs(backward.take(steps, ["input"])["input"]).sum((0, 1, 3)))
        assert (rows[0], rows[-1]) == (middle - field // 2, middle + field // 2)


def test_b0s_fields():
    fields = {field.path: (field.stride, field.side) for field in receptive.theoretical(VARIANTS["b0"])}
    assert fields["patch_embed1"] == (4, 7) and fields["block1.0"] == (4, 7 + 24 * 4)
    assert fields["patch_embed2"] == (8, 303) and fields["block4.1"] == (32, 4383)


def test_the_impulse_response_is_what_an_impulse_does(small):
    unit = "block2.0.attn.spatial_gating_unit"
    kernel = receptive.impulse_response(small, "block2.0")
    assert kernel.shape == (16, 23, 23) and (kernel != 0).any(0).all()
    impulse = np.zeros((1, 16, 45, 45), np.float32)
    impulse[:, :, 22, 22] = 1
    near = depthwise_conv2d(impulse, small.tensors[f"{unit}.conv0.weight"], padding=2)
    far = dilated_depthwise_conv2d(near, small.tensors[f"{unit}.conv_spatial.weight"], padding=9, dilation=3)
    assert_close("response", far[0, :, 11:34, 11:34][:, ::-1, ::-1], kernel, 1e-6)


def test_effective_fields_are_pytorchs_derivatives(small):
    x = images(2, 65)
    net = torch_van.load(SMALL, small.tensors, torch.float64)
    for i, (path, field) in enumerate(receptive.effective(small, x).items(), 1):
        y, block = {}, net.get_submodule(path)
        handle = block.register_forward_hook(lambda m, a, out, y=y: y.update(out=out))
        pixels = torch.from_numpy(x).double().requires_grad_()
        net(pixels)
        handle.remove()
        middle = 64 // (2 * 2 ** (i + 1))
        y["out"][:, :, middle, middle].sum().backward()
        expected = pixels.grad.abs().sum(1).mean(0).numpy()
        assert field.shape == (65, 65)
        assert_close(path, field, expected, 1e-5)


def test_area_ratios_of_fields_known_by_hand():
    even = np.ones((21, 21))
    assert receptive.square(even, 0.2) == 11 and receptive.area_ratio(even, 0.2) == 121 / 441
    point = np.zeros((21, 33))
    point[10, 16] = 1
    assert [receptive.area_ratio(point, share) for share in receptive.SHARES] == [1 / (21 * 33)] * 4
    corner = np.zeros((21, 33))
    corner[0, 0] = 1
    assert receptive.square(corner, 0.5) == 33 and receptive.area_ratio(corner, 0.5) == 1


def test_noise_images_have_the_spectrum_they_promise():
    x = receptive.noise_images(4, 129)
    assert x.shape == (4, 3, 129, 129) and x.dtype == np.float32
    assert np.abs(x.mean((1, 2, 3))).max() < 1e-5 and np.abs(x.std((1, 2, 3)) - 1).max() < 1e-5
    amplitude = np.sqrt((np.abs(np.fft.rfft(x, axis=3)) ** 2).mean((0, 1, 2)))
    slope = np.polyfit(np.log(np.arange(2, 30)), np.log(amplitude[2:30]), 1)[0]
    assert -1.1 < slope < -0.4  # 1 / f in two dimensions falls off like 1 / sqrt(f) in one
    assert_bit_equal("same seed", x, receptive.noise_images(4, 129))


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


@pytest.mark.parametrize("method", ["gradcam", "cam", "layercam"])
def test_a_fast_model_is_explained_from_its_own_stages(small, method):
    fast, x = VAN(SMALL, small.tensors, engine="fast"), images(2, 64)
    got, expected = (explain.maps(model, x, [1, 4], method) for model in (fast, small))
    assert_close("map", got.maps["norm4"], expected.maps["norm4"], HOOKS)
    assert_close("probabilities", got.probabilities, expected.probabilities, HOOKS)
    assert_bit_equal("features", backward.forward(fast, x, ["norm4"])["norm4"], fast.features(x)[-1])
    deeper = [explain.maps(model, x, [1, 4], "layercam", ["norm2"]).maps["norm2"] for model in (fast, small)]
    assert_bit_equal("what lies deeper is exact's", *deeper)
