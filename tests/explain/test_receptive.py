"""Receptive fields: in theory, of LKA's kernel, and in fact; against brute force and PyTorch's derivatives."""

import numpy as np
import pytest
from support import EXAMPLES
from support.compare import assert_bit_equal, assert_close
from support.engines import REFUSING
from support.judge import torch, torch_van
from support.networks import images, random_tensors
from tolerances import MAPS

from minivan import backward
from minivan.engines import Engine
from minivan.explain import batch, receptive, scaled
from minivan.image import prepare
from minivan.ops import depthwise_conv2d, dilated_depthwise_conv2d
from minivan.reference import derivatives
from minivan.van import VAN
from minivan.variants import VARIANTS, Config

SMALL = Config((8, 16, 24, 32), (1, 1, 2, 1), (8, 8, 4, 4), classes=10)


@pytest.fixture(scope="module")
def small():
    return VAN(SMALL, random_tensors(SMALL, seed=1))


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
        steps = backward.from_blocks(derivatives, seed, stage, saved, model.parameters, config)
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
    assert_close("response", far[0, :, 11:34, 11:34][:, ::-1, ::-1], kernel, MAPS)


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


def test_fields_are_all_that_the_command_prints(small):
    x = images(2, 65)
    found = receptive.fields(small, x)
    assert found.theory == receptive.theoretical(SMALL)
    for path, field in receptive.effective(small, x).items():
        assert_bit_equal(path, found.effective[path], field)
        assert found.ratios[path] == [receptive.area_ratio(field, share) for share in receptive.SHARES]
    assert found.footnote() == "averaged over 2 photos of 65 x 65 pixels · unnamed (VAN, 10 classes)"
    said = found.as_dict()
    assert (said["model"], said["images"], said["size"]) == ("unnamed", 2, 65)
    assert list(said["effective"]) == ["block1.0", "block2.0", "block3.1", "block4.0"]
    half = said["effective"]["block4.0"]["50%"]
    assert half["side"] == receptive.square(found.effective["block4.0"], 0.5)
    assert half["area_ratio"] == round(found.ratios["block4.0"][2], 6)


def test_without_photos_fields_are_averaged_over_noise(small):
    found = receptive.fields(small, side=65)
    expected = receptive.effective(small, receptive.noise_images(8, 65))
    assert_bit_equal("field", found.effective["block4.0"], expected["block4.0"])
    assert found.footnote().startswith("averaged over 8 images of 1/f noise of 65 x 65 pixels")


def test_a_batch_of_photos_shows_what_a_look_at_each_shows(small):
    files = [EXAMPLES / "cat.jpg", EXAMPLES / "coffee.jpg"]
    preprocessing = small.card.preprocessing
    x = batch(preprocessing, files, 65)
    assert x.shape == (2, 3, 65, 65)
    for one, file in zip(x, files, strict=True):
        assert_bit_equal(file.name, one, prepare(file, scaled(preprocessing, 65)))
    with pytest.raises(ValueError, match=r"lies in 32\.\.2048"):
        batch(preprocessing, files, 31)


def test_what_cannot_be_measured_is_said_before_anything_is_computed(small):
    refusing = VAN(SMALL, small.tensors, REFUSING)
    for x in (images(1, 64, 65), images(0, 64)):
        with pytest.raises(ValueError, match="square images, one at least"):
            receptive.fields(refusing, x)
    with pytest.raises(ValueError, match="the engine plain has no derivatives"):
        receptive.effective(VAN(SMALL, small.tensors, Engine("plain", ops=REFUSING.ops)), images(1, 64))
    with pytest.raises(ValueError, match="near it are block"):
        receptive.impulse_response(refusing, "block5.0")
