"""Checkpoints of networks that take no photos, or whose logits are no softmax's: read from their tensors and config.json."""

import json
from dataclasses import replace

import pytest
from support import saved
from support.judge import safetensors_torch, torch

from minivan.checkpoint import CheckpointError, facts, opened, read


def huggingface_folder(folder, config=saved.SMALL, **fields):
    folder.mkdir(exist_ok=True)
    state = saved.huggingface(saved.state_dict(config))
    safetensors_torch.save_file({name: tensor.clone() for name, tensor in state.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "van"} | fields))
    return folder


@pytest.mark.parametrize("channels", [1, 13])
def test_the_channels_of_an_image_are_read_from_the_first_convolution(tmp_path, channels):
    config = replace(saved.SMALL, channels=channels)
    mean, std = (0.5, 0.5) if channels == 1 else (0, 1)
    many = "1 channel" if channels == 1 else "13 channels"
    file = saved.save({"state_dict": saved.state_dict(config)}, tmp_path / "net.pth")
    for path in (file, huggingface_folder(tmp_path / "hf", config, num_channels=channels)):
        weights = read(path)
        assert weights.config == config and weights.card.preprocessing.mean == (mean,) * channels
        assert weights.notes[-1:] == (
            f"how its images of {many} were prepared is not known: mean {mean:g} and std {std:g} are taken "
            "(others: convert --mean and --std)",
        )
    assert f"VAN (4, 6, 6, 8) x (1, 2, 1, 1), {channels} input channel" in weights.summary
    with opened(file) as checkpoint:
        assert facts(checkpoint)["channels"] == f"{channels}, of each image"


def test_a_config_that_says_other_channels_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="says num_channels 3, and the network in the file has 13"):
        read(huggingface_folder(tmp_path / "hf", replace(saved.SMALL, channels=13), num_channels=3))


@pytest.mark.parametrize("channels", [0, 1025])
def test_more_or_fewer_channels_than_an_image_has_are_no_network(tmp_path, channels):
    state = saved.state_dict()
    state["patch_embed1.proj.weight"] = torch.zeros(4, channels, 7, 7)
    with pytest.raises(CheckpointError, match=f"images of 1 to 1024 channels; got {channels}"):
        read(saved.save(state, tmp_path / "net.pth"))


@pytest.mark.parametrize("shape", [(4, 4, 7), (4, 3, 7, 5), (4,), ()])
def test_a_first_convolution_of_another_shape_is_named(tmp_path, shape):
    state = saved.state_dict()
    state["patch_embed1.proj.weight"] = torch.zeros(shape)
    with pytest.raises(CheckpointError, match=r"patch_embed1\.proj\.weight has the shape"):
        read(saved.save(state, tmp_path / "net.pth"))


@pytest.mark.parametrize(
    ("said", "classes", "expected"),
    [
        ("multi_label_classification", 5, "sigmoid"),
        ("single_label_classification", 5, "softmax"),
        (3, 5, "softmax"),
        (None, 1, "sigmoid"),
    ],
)
def test_logits_of_several_labels_and_a_single_logit_are_answered_by_sigmoid(tmp_path, said, classes, expected):
    folder = huggingface_folder(tmp_path / "hf", replace(saved.SMALL, classes=classes), problem_type=said)
    assert read(folder).card.activation == expected
    with opened(folder) as checkpoint:
        assert ("activation" in facts(checkpoint)) == (expected == "sigmoid")


@pytest.mark.parametrize("classes", [1, 5])
def test_a_head_that_measures_is_no_classifier(tmp_path, classes):
    folder = huggingface_folder(tmp_path / "hf", replace(saved.SMALL, classes=classes), problem_type="regression")
    with pytest.raises(CheckpointError, match=r"problem_type regression: its head measures, .* gives features"):
        read(folder)
    state = {name: tensor for name, tensor in saved.huggingface(saved.state_dict()).items() if "classifier" not in name}
    safetensors_torch.save_file({name: tensor.clone() for name, tensor in state.items()}, folder / "model.safetensors")
    assert read(folder).config.classes == 0


def test_a_single_logit_is_answered_by_sigmoid_in_every_layout(tmp_path):
    state = saved.state_dict(replace(saved.SMALL, classes=1))
    for names in (dict, saved.huggingface, saved.openmmlab):
        assert read(saved.save(names(state), tmp_path / "net.pth")).card.activation == "sigmoid"
