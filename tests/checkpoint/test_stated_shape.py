"""The shape of the network as config.json, a script's arguments and OpenMMLab's configuration state it, beside the tensors'."""

import argparse
import json
from dataclasses import replace

import pytest
from support import saved
from support.judge import safetensors_torch, torch

from minivan.card import PRESETS
from minivan.checkpoint import CheckpointError, facts, opened, read
from minivan.variants import VARIANTS, Config, parameter_shapes

RIGHT = dict(depths=[1, 2, 1, 1], embed_dims=(4, 6, 6, 8), mlp_ratios=[3, 2.0, 2, 1], num_classes=5, in_chans=3)
GUESS = "are no published variant's"


def configuration(**fields):
    """The text of a configuration whose backbone has these fields and whose head so many classes."""
    classes = fields.pop("classes", 5)
    return f"model = dict(backbone=dict({', '.join(f'{name}={value!r}' for name, value in fields.items())}), neck=dict(), \
head=dict(type='LinearClsHead', num_classes={classes}, in_channels=8))"


def with_args(tmp_path, args):
    return saved.save({"state_dict": saved.state_dict(), "args": args}, tmp_path / "net.pth")


def with_configuration(tmp_path, **fields):
    contents = {"meta": {"cfg": configuration(**fields)}, "state_dict": saved.openmmlab(saved.state_dict())}
    return saved.save(contents, tmp_path / "net.pth")


def folder_of(tmp_path, config, processor=None, state=None, name="config.json"):
    state = state or saved.state_dict()
    safetensors_torch.save_file({name: tensor.clone() for name, tensor in state.items()}, tmp_path / "model.safetensors")
    (tmp_path / name).write_text(config if isinstance(config, str) else json.dumps(config))
    if processor:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    return tmp_path


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (dict(depths=[1, 2, 2, 1]), r"args says depths \[1, 2, 2, 1\], and the network in the file has \[1, 2, 1, 1\]"),
        (dict(embed_dims=(4, 6, 6)), r"embed_dims \[4, 6, 6\], and .* \[4, 6, 6, 8\]"),
        (dict(mlp_ratios=[8, 8, 4, 4]), "mlp_ratios"),
        (dict(num_classes=1000), "num_classes 1000, and the network in the file has 5"),
        (dict(nb_classes=6), "nb_classes 6"),
        (dict(in_chans=4), "in_chans 4, and the network in the file has 3"),
        (dict(model="van_b2", num_classes=1000), "num_classes 1000"),
    ],
    ids=str,
)
@pytest.mark.parametrize("made", [dict, argparse.Namespace])
def test_arguments_of_another_network_are_refused(tmp_path, fields, words, made):
    with pytest.raises(CheckpointError, match=words):
        read(with_args(tmp_path, made(**(RIGHT | fields if len(fields) == 1 else fields))))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (dict(type="VAN", arch=dict(embed_dims=[4, 6, 6, 8], depths=[1, 3, 1, 1])), r"meta.cfg says depths \[1, 3, 1, 1\]"),
        (dict(type="mmpretrain.VAN", arch=dict(ffn_ratios=[8, 8, 4, 4])), "ffn_ratios"),
        (dict(type="VAN", arch="b0", classes=1000), "num_classes 1000, and the network in the file has 5"),
        (dict(type="VAN", in_channels=4), "in_channels 4"),
        (dict(type="VAN", patch_sizes=[7, 5, 3, 3]), "patch_sizes"),
        (dict(type="van_b0", depths=[9, 2, 1, 1]), r"depths \[9, 2, 1, 1\]"),
    ],
    ids=str,
)
def test_a_configuration_of_another_network_is_refused(tmp_path, fields, words):
    with pytest.raises(CheckpointError, match=words):
        read(with_configuration(tmp_path, **fields))


def test_a_shape_that_is_stated_and_agrees_is_no_guess(tmp_path):
    arch = dict(embed_dims=[4, 6, 6, 8], depths=[1, 2, 1, 1], ffn_ratios=[3, 2, 2, 1])
    four = RIGHT | dict(depths=[1, 2, 1, 1, 7], num_stages=4)
    bare = with_args(tmp_path, {"model": "van_custom"})
    assert any(GUESS in note for note in read(bare).notes)
    for make in (
        lambda: with_args(tmp_path, argparse.Namespace(**RIGHT)),
        lambda: with_args(tmp_path, four),
        lambda: with_configuration(tmp_path, type="VAN", arch=arch),
        lambda: folder_of(tmp_path, RIGHT),
        lambda: folder_of(tmp_path, {"model_type": "my_lka", "depths": [1, 2, 1, 1]}),
    ):
        weights = read(make())
        assert weights.config.depths == (1, 2, 1, 1) and weights.notes == ()


@pytest.mark.parametrize("value", ["1,2,1,1", [1, "2"], {"a": 1}, [[1]], 3, True, [], -1, 1 << 70, float("nan"), [1] * 99])
def test_a_strange_value_is_not_compared_and_said(tmp_path, value):
    notes = read(with_args(tmp_path, {"depths": value, "num_classes": None, "in_chans": "3"})).notes
    assert sum("args says depths" in note and note.endswith("it was not compared") for note in notes) == 1
    assert "args says in_chans '3': it was not compared" in notes and any(GUESS in note for note in notes)


@pytest.mark.parametrize(
    "args", [{"model": "resnet50"}, {"model": None, "num_classes": None}, {"model": "tiny"}, {"model": ["van_b0"]}, {}, 3, None]
)
def test_what_names_no_van_states_nothing(tmp_path, args):
    (note,) = read(with_args(tmp_path, args)).notes
    assert GUESS in note


def test_another_model_under_a_published_name_is_said(tmp_path):
    for path in (with_args(tmp_path, {"model": "van_tiny"}), with_configuration(tmp_path, arch="t")):
        notes = "; ".join(read(path).notes)
        assert "names the model " in notes and "its shape is not VAN-B0's" in notes


def test_all_of_the_network_that_is_named_with_other_ratios_is_said(tmp_path):
    small = replace(VARIANTS["b1"], mlp_ratios=(4, 4, 4, 4), classes=3)
    state = {name: torch.zeros(shape) for name, shape in parameter_shapes(small)}
    path = saved.save({"state_dict": state, "args": {"model": "van_b1"}}, tmp_path / "net.pth")
    with opened(path) as checkpoint:
        assert "its shape is not VAN-B1's" in "; ".join(checkpoint.notes)


def test_arguments_of_what_is_beside_the_network_are_not_compared(tmp_path):
    args = {"strides": [8, 16, 32], "in_channels": 1, "patch_sizes": [4], "num_channels": 256}
    assert read(with_args(tmp_path, args)).config.classes == 5


@pytest.mark.parametrize("stages", [3, 4])
def test_a_part_of_the_network_that_is_named_is_refused(tmp_path, stages):
    whole = VARIANTS["b0"]
    cut = Config(whole.dims[:stages], (3, 3, 4, 2)[:stages], whole.mlp_ratios[:stages], 3)
    state = {name: torch.zeros(shape) for name, shape in parameter_shapes(cut)}
    path = saved.save({"state_dict": state, "args": {"model": "van_b0"}}, tmp_path / "net.pth")
    words = "args names the model 'van_b0', whose depths are 3 3 5 2, and the network in the file has 3 3 4"
    with pytest.raises(CheckpointError, match=words), opened(path):
        pass


def test_classes_of_a_backbone_are_not_compared(tmp_path):
    contents = {"state_dict": saved.without_head(saved.state_dict()), "args": RIGHT}
    assert read(saved.save(contents, tmp_path / "net.pth")).config.classes == 0


# folders, whatever the layout


def test_a_folder_s_files_are_asked_whatever_the_layout(tmp_path):
    """PyTorchModelHubMixin writes the arguments of a class of one's own, remote code a config.json like Hugging Face's."""
    processor = dict(image_processor_type="ConvNextImageProcessor", size={"shortest_edge": 192}, crop_pct=1.0, resample=2)
    remote = {"model_type": "van", "depths": [1, 2, 1, 1], "hidden_sizes": [4, 6, 6, 8], "layer_norm_eps": 1e-4}
    named = {"id2label": {str(i): f"k{i}" for i in range(5)}, "problem_type": "multi_label_classification"}
    path = folder_of(tmp_path, remote | named, processor)
    for place in (path, path / "model.safetensors"):
        weights = read(place)
        assert weights.card.layout == "authors" and weights.notes == () and weights.config.layer_norm_eps == 1e-4
        assert weights.card.activation == "sigmoid" and [label.name for label in weights.card.labels][:2] == ["k0", "k1"]
        assert weights.card.preprocessing == replace(PRESETS["official"], crop=192, resize=192, interpolation="bilinear")
    with pytest.raises(CheckpointError, match=r"config\.json says depths \[1, 2, 3, 1\]"):
        read(folder_of(tmp_path, remote | {"depths": [1, 2, 3, 1]}))
    (path / "model.safetensors").rename(path / "mine.safetensors")
    assert read(path / "mine.safetensors").card.activation == "softmax", "it is one of several files, maybe"


def test_timm_s_config_says_architecture_and_preprocessing(tmp_path):
    fields = dict(architecture="van_b0", num_classes=5, label_names=list("abcde"))
    weights = read(
        folder_of(tmp_path, fields | {"pretrained_cfg": dict(input_size=[3, 96, 96], crop_pct=1.0, num_classes=1000)})
    )
    assert weights.card.preprocessing == replace(PRESETS["official"], crop=96, resize=96)
    assert [label.name for label in weights.card.labels] == list("abcde")
    with pytest.raises(CheckpointError, match="num_classes 6"):
        read(folder_of(tmp_path, fields | {"num_classes": 6}))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "convnext", "depths": [3, 3, 9, 3], "hidden_act": "relu"}, "is of another network, 'convnext'"),
        ({"model_type": "bert", "problem_type": "regression"}, "is of another network, 'bert'"),
        ({"architectures": ["CaravanNet"]}, "is of another network, 'CaravanNet'"),
        ("[]", "was not used (config.json holds a list)"),
        ("{", "was not used (config.json is not JSON)"),
    ],
    ids=str,
)
def test_a_config_of_something_else_refuses_nothing_and_is_said(tmp_path, config, words):
    weights = read(folder_of(tmp_path, config))
    assert sum(words in note for note in weights.notes) == 1 and weights.card.preprocessing == PRESETS["official"]
    assert weights.card.activation == "softmax"


def test_a_config_that_cannot_be_read_is_said(tmp_path):
    folder = folder_of(tmp_path, {})
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    assert "config.json beside the weights was not used (a folder is no file to read)" in read(folder).notes


@pytest.mark.parametrize("config", [{"tokenizer_class": "BertTokenizer"}, {}, {"lr": 0.1, "drop_path_rate": 0.1}])
def test_a_config_that_says_nothing_of_the_network_changes_nothing(tmp_path, config):
    (note,) = read(folder_of(tmp_path, config)).notes
    assert GUESS in note


def test_what_was_not_compared_is_shown(tmp_path):
    with opened(folder_of(tmp_path, "[]")) as checkpoint:
        assert "config.json" in facts(checkpoint)["note"]
