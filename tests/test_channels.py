"""Networks of other input channels than a photo's three, from the tensors to the answers, on every engine."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image
from support import EXAMPLES
from support.compare import assert_bit_equal, assert_close
from support.judge import torch, torch_van
from support.networks import images, random_tensors
from support.tiffs import bands_tiff
from tolerances import FAST, GRADIENT_NETWORK, LOGITS

from minivan import explain, oracle, seeded
from minivan.card import Card, Label, Preprocessing
from minivan.checkpoint import Weights, load, read, write
from minivan.engines import EXACT, Engine
from minivan.explain import perturb, receptive
from minivan.oracle import trace
from minivan.predict import Answer, classify, find_images, make_ready
from minivan.summary import summarise, totals
from minivan.van import VAN, check_images
from minivan.variants import COLOURS, VARIANTS, Config, parameter_shapes

CHANNELS = [1, 2, 4, 13]
SMALL = Config((8, 16, 24, 32), (1, 1, 2, 1), (8, 8, 4, 4), classes=10)


def network(channels, engine="exact", classes=10, crop=40):
    config = replace(SMALL, channels=channels, classes=classes)
    settings = Preprocessing(crop, crop + 8, (0.25,) * channels, (2.0,) * channels)
    return VAN(config, random_tensors(config, seed=3), engine, Card("net", settings))


def array(folder, channels, name="image.npy", seed=0, size=(50, 60)):
    values = np.random.default_rng(seed).normal(size=(*size, channels)).astype(np.float32)
    np.save(folder / name, values)
    return values


@pytest.mark.parametrize("engine", ["exact", "numpy", "fast"])
@pytest.mark.parametrize("channels", [*CHANNELS, 97])
def test_features_and_logits_are_those_of_pytorch(engine, channels):
    model, x = network(channels, engine), images(2, 70, 93, seed=5, channels=channels)
    net = torch_van.load(model.config, model.tensors, torch.float64)
    with torch.no_grad():
        expected = [y.numpy() for y in net.features(torch.from_numpy(x).double())]
        logits = net(torch.from_numpy(x).double()).numpy()
    for i, (got, stage) in enumerate(zip(model.features(x), expected, strict=True), 1):
        assert_close(f"stage {i}", got, stage, LOGITS)
    assert_close("logits", model(x), logits, LOGITS)


@pytest.mark.parametrize("channels", [1, 13])
def test_derivatives_are_those_of_pytorch(channels):
    model, x = network(channels), images(2, 40, 33, seed=5, channels=channels)
    net, pixels = torch_van.load(model.config, model.tensors, torch.float64), torch.from_numpy(x).double().requires_grad_()
    net(pixels)[:, 3].sum().backward()
    for engine in ("exact", "numpy"):
        found = VAN(model.config, model.tensors, engine).gradients(x, 3)["input"]
        assert_close(engine, found, pixels.grad.numpy(), GRADIENT_NETWORK)


def test_fast_is_exact_on_more_images_and_larger_ones_than_its_tiles():
    model, x = network(5, "fast"), images(3, 161, 150, seed=2, channels=5)
    assert_close("logits", model(x), VAN(model.config, model.tensors)(x), FAST)
    assert_bit_equal("one by one", np.concatenate([model(x[i : i + 1]) for i in range(3)]), model(x))


@pytest.mark.parametrize("engine", ["exact", "fast", "numpy"])
def test_images_of_other_channels_are_refused_with_the_network_s_own_number(engine):
    model = network(4, engine)
    for call in (model, model.features, model.gradients):
        with pytest.raises(ValueError, match=r"images must have the shape \(N, 4, H, W\), got \(1, 3, 40, 40\)"):
            call(images(1, 40))
    for call in (explain.maps, receptive.effective, receptive.fields):
        with pytest.raises(ValueError, match=r"\(N, 4, H, W\)"):
            call(network(4), images(1, 65))
    with pytest.raises(ValueError, match=r"\(N, 3, H, W\), got \(1, 4, 40, 40\)"):
        check_images(images(1, 40, channels=4))


@pytest.mark.parametrize("channels", [0, -1, 1025])
def test_channels_lie_in_a_sane_range(channels):
    with pytest.raises(ValueError, match=f"images of 1 to 1024 channels; got {channels}"):
        replace(SMALL, channels=channels)


def test_a_card_belongs_to_a_network_of_its_channels():
    config = replace(SMALL, channels=4)
    with pytest.raises(ValueError, match="mean and std are 3 numbers each, and the network takes 4 channels"):
        VAN(config, random_tensors(config), card=Card("photos"))
    assert VAN(config, random_tensors(config)).card.preprocessing.channels == 4
    assert str(network(4)) == "net (VAN, 4 input channels, 10 classes)" and str(network(COLOURS)) == "net (VAN, 10 classes)"


@pytest.mark.parametrize("channels", CHANNELS)
def test_parameters_and_multiply_adds_are_counted(channels):
    """The first convolution has 49 weights for each pair of channels, and each is used at every position of stage 1."""
    config, photos = replace(VARIANTS["b0"], channels=channels), VARIANTS["b0"]
    more = 49 * config.dims[0] * (channels - COLOURS)
    assert dict(parameter_shapes(config))["patch_embed1.proj.weight"] == (32, channels, 7, 7)
    counted, usual = totals(summarise(config)), totals(summarise(photos))
    assert counted == (usual[0] + more, usual[1] + more * 56 * 56)


def test_seeded_weights_of_other_channels_leave_the_other_tensors_as_they_are():
    photos, four = seeded.tensors(SMALL), seeded.tensors(replace(SMALL, channels=4))
    assert [name for name in photos if not np.array_equal(photos[name], four[name])] == ["patch_embed1.proj.weight"]


# files


@pytest.mark.parametrize("channels", [1, 4])
def test_a_file_of_minivan_s_own_keeps_channels_and_activation(tmp_path, channels):
    model = network(channels)
    card = replace(model.card, activation="sigmoid")
    write(Weights(model.config, model.tensors, card), tmp_path / "net.safetensors")
    again = load(tmp_path / "net.safetensors", "exact")
    assert again.config == model.config and again.card == card
    x = images(1, 40, channels=channels)
    assert_bit_equal("logits", again(x), model(x))


def test_convert_takes_as_many_numbers_as_channels_or_one_for_all(run, tmp_path):
    model = network(4)
    write(Weights(model.config, model.tensors, model.card), tmp_path / "net", to="authors")
    (tmp_path / "net.json").unlink()
    out = tmp_path / "out.safetensors"
    status, said, err = run("convert", tmp_path / "net", out, "--mean", 1, 2, 3, 4, "--std", 5, "--activation", "sigmoid")
    assert status == 0 and "4 input channels" in said and "prepared" not in err
    card = read(out).card
    assert (card.preprocessing.mean, card.preprocessing.std) == ((1, 2, 3, 4), (5,) * 4) and card.activation == "sigmoid"
    status, _, err = run("convert", tmp_path / "net", out)
    assert status == 0 and "note: how its images of 4 channels were prepared is not known: mean 0 and std 1" in err
    for flags, words in (
        (["--mean", 1, 2, 3], "std positive; got mean (1.0, 2.0, 3.0)"),
        (["--mean", 1, 2, 3, "--std", 1, 2, 3], "mean and std are 3 numbers each, and the network takes 4 channels"),
        (["--preset", "hf"], "the preset hf is for photos, and the network takes 4 channels: say --mean"),
    ):
        status, _, err = run("convert", tmp_path / "net", out, *flags)
        assert status == 2 and words in err and len(err.splitlines()) == 1
    status, _, err = run("convert", "--mean", 1, tmp_path / "net", out)
    assert status == 2 and "is not a number; name IN and OUT before --mean and --std" in err


# answers


@pytest.mark.parametrize("engine", ["numpy", "fast"])
def test_arrays_and_tiffs_are_classified_and_photos_are_refused(tmp_path, engine):
    values = array(tmp_path, 4)
    (tmp_path / "image.tif").write_bytes(bands_tiff(values))
    Image.new("RGB", (50, 40)).save(tmp_path / "photo.png")
    (tmp_path / "three.tif").write_bytes(bands_tiff(values[..., :3]))
    model = network(4, engine)
    make_ready(model)
    found = {answer.image.rpartition("/")[2]: answer for answer in classify(model, tmp_path)}
    assert list(found) == ["image.npy", "image.tif", "photo.png", "three.tif"]
    assert found["image.npy"].top == found["image.tif"].top and isinstance(found["image.npy"], Answer)
    assert found["photo.png"].fault.startswith("a photo has 3 colours, and the network takes 4 channels: give them as an .npy")
    assert found["three.tif"].fault == "a TIFF file of 3 bands, and the network takes 4 channels"


def test_arrays_of_four_channels_are_none_for_a_network_of_three(tmp_path):
    array(tmp_path, 4)
    model = network(3, "numpy")
    (answer,) = classify(model, tmp_path / "image.npy")
    assert answer.fault == "an array of the shape (50, 60, 4), and the network takes 3 channels: (H, W, 3) or (3, H, W)"
    (answer,) = classify(model, tmp_path)
    assert answer.fault.startswith("no images in this folder") and ".npy" not in answer.fault
    assert [image.fault for image in find_images([tmp_path], channels=4)] == [""]


def test_classify_explain_and_receptive_field_take_arrays_as_users_type_it(run, tmp_path):
    array(tmp_path, 4)
    model = network(4)
    labels = tuple(Label("", f"name {index}") for index in range(model.config.classes))
    model.card = replace(model.card, labels=labels)
    write(Weights(model.config, model.tensors, model.card), tmp_path / "net.safetensors")
    weights = "--weights", tmp_path / "net.safetensors"
    status, out, err = run("classify", tmp_path / "image.npy", "--json", "--engine", "numpy", *weights)
    assert (status, err) == (0, "")
    answer = json.loads(out)
    (expected,) = classify(VAN(model.config, model.tensors, "numpy", model.card), tmp_path / "image.npy")
    assert answer["top"] == expected.as_dict()["top"] and answer["activation"] == "softmax"
    flags = "--json", "--engine", "numpy", *weights
    status, out, err = run("explain", tmp_path / "image.npy", "--size", "64", "-o", tmp_path / "figure.png", *flags)
    assert (status, err) == (0, "") and json.loads(out)["input"] == [64, 64]
    assert Image.open(tmp_path / "figure.png").width > 100
    status, out, err = run("receptive-field", tmp_path / "image.npy", "--size", "65", "--json", *weights)
    assert (status, err) == (0, "") and json.loads(out)["size"] == 65


def test_a_single_logit_is_shown_with_the_probability_of_its_sigmoid(run, tmp_path):
    model = network(COLOURS, classes=1)
    card = replace(model.card, labels=(Label("", "tumour"),), activation="sigmoid")
    write(Weights(model.config, model.tensors, card), tmp_path / "net.safetensors")
    flags = "--engine", "numpy", "--weights", tmp_path / "net.safetensors"
    status, out, _ = run("classify", EXAMPLES / "cat.jpg", "--json", *flags)
    answer = json.loads(out)
    x = explain.batch(card.preprocessing, [EXAMPLES / "cat.jpg"], card.preprocessing.crop)
    expected = 1 / (1 + np.exp(-float(model(x)[0, 0])))
    (top,) = answer["top"]
    assert status == 0 and answer["activation"] == "sigmoid" and (top["index"], top["label"]) == (0, "tumour")
    assert top["probability"] == pytest.approx(expected, abs=1e-6)
    status, out, _ = run("classify", EXAMPLES / "cat.jpg", *flags)
    assert status == 0 and out.splitlines()[1].split()[:3] == ["1", "tumour", f"{expected:.1%}"]
    assert "each class for itself (sigmoid)" in out
    status, out, _ = run("classify", EXAMPLES / "cat.jpg", "--json", "--activation", "softmax", *flags)
    assert json.loads(out)["top"][0]["probability"] == 1.0 and json.loads(out)["activation"] == "softmax"
    status, out, _ = run("explain", EXAMPLES / "cat.jpg", "--json", *flags)
    (shown,) = json.loads(out)["classes"]
    assert shown["probability"] == top["probability"] and shown["rank"] == 1


# maps, traces


def test_maps_are_of_the_card_s_activation():
    model, x = network(4, "numpy"), images(1, 64, channels=4)
    soft = explain.maps(model, x)
    model.card = replace(model.card, activation="sigmoid")
    own = explain.maps(model, x)
    assert own.target == soft.target and np.array_equal(own.maps["norm4"], soft.maps["norm4"])
    np.testing.assert_allclose(own.probabilities, 1 / (1 + np.exp(-soft.logits.astype(float))), rtol=1e-6)
    weights = np.eye(10)[None, own.target]
    fall = perturb.occlusion(model, x, weights, patch=64, step=64)  # one square, over the whole image
    black = 1 / (1 + np.exp(-model(np.zeros_like(x)).astype(float)))
    np.testing.assert_allclose(fall[0, 0], (own.probabilities - black)[0, own.target[0]], rtol=1e-5)


def test_ranks_are_told_apart_where_every_probability_is_one(tmp_path):
    array(tmp_path, 4)
    model = network(4, "numpy")
    tensors = model.tensors | {"head.bias": model.tensors["head.bias"] + 90}
    model = VAN(model.config, tensors, "numpy", replace(model.card, activation="sigmoid"))
    seen = explain.look(model, tmp_path / "image.npy", 64)
    assert seen.photo.shape[2] == 3 and seen.x.shape == (1, 4, 64, 64)
    order = np.argsort(-model(seen.as_trained)[0])
    found = explain.photo_maps(model, seen, order[:3].tolist())
    assert [each.rank for each in found.classes] == [1, 2, 3]
    assert {each.probability for each in found.classes} == {1.0}


def test_noise_of_three_channels_is_what_it_was():
    assert receptive.noise_images(2, 33).tobytes() == receptive.noise_images(2, 33, channels=3).tobytes()
    assert receptive.noise_images(2, 33, channels=5).shape == (2, 5, 33, 33)


def test_traces_are_recorded_compared_and_hinted_at(tmp_path, run):
    model, x = network(4, EXACT), images(1, 40, channels=4)
    write(Weights(model.config, model.tensors, model.card), tmp_path / "net.safetensors")
    np.save(tmp_path / "x.npy", x)
    weights = "--model", tmp_path / "net.safetensors"
    assert run("oracle", "record", tmp_path / "x.npy", "-o", tmp_path / "trace", *weights)[0] == 0
    made = oracle.read_trace(tmp_path / "trace")
    assert json.loads(made.metadata["config"])["channels"] == 4
    assert_bit_equal("head", made.layers["head"], model(x))
    assert run("oracle", "compare", tmp_path / "trace", tmp_path / "trace", *weights)[0] == 0
    wrong = trace.record(model, np.ascontiguousarray(x[:, ::-1]))
    np.savez(tmp_path / "wrong.npz", **wrong.arrays)
    status, out, _ = run("oracle", "compare", tmp_path / "trace", tmp_path / "wrong.npz", *weights)
    assert status == 1 and "hint: the channels are in the reverse order" in out
    status, _, err = run("oracle", "record", EXAMPLES / "cat.jpg", "--hashes", *weights)
    assert status == 2 and "a photo has 3 colours, and the network takes 4 channels" in err


def test_a_trace_of_three_channels_says_of_its_shape_what_it_said_before():
    model = network(COLOURS, Engine("exact", ops=EXACT.ops))
    said = json.loads(trace.record(model, images(1, 32), ["head"]).metadata["config"])
    assert list(said) == [name for name in asdict(model.config) if name != "channels"]


def test_summary_counts_other_channels(run):
    status, out, _ = run("summary", "b0", "--channels", 13, "--json")
    assert status == 0 and json.loads(out)["input"] == [13, 224, 224]
    assert "input 13 x 224 x 224" in run("summary", "b0", "--channels", 13)[1]
    status, _, err = run("summary", "b0", "--channels", 2000)
    assert status == 2 and err == "minivan: a network takes images of 1 to 1024 channels; got 2000\n"
