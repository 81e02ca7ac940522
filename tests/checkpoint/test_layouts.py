"""Three layouts: the logits of the libraries that saved the files, shapes read from tensors, faults named one by one."""

import json
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
from support import ROOT, saved
from support.judge import safetensors_torch, torch, torch_van
from tolerances import LOGITS

from minivan.card import PRESETS, imagenet1k
from minivan.checkpoint import CheckpointError, read, search
from minivan.checkpoint.budget import Budget
from minivan.checkpoint.tensor import StoredTensor
from minivan.van import VAN
from minivan.variants import VARIANTS, Config, parameter_shapes

CHECKPOINTS = ROOT / "tests" / "checkpoints"
SAVED = {
    "official.pth.tar": "official",
    "official_legacy.pth.tar": "official",
    "huggingface/model.safetensors": "huggingface",
    "huggingface/pytorch_model.bin": "huggingface",
    "huggingface": "huggingface",
    "mmpretrain.pth": "mmpretrain",
}
LAYOUT = {"official": "authors", "huggingface": "huggingface", "mmpretrain": "openmmlab"}


@pytest.fixture(scope="module")
def expected():
    with np.load(CHECKPOINTS / "expected.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize(("file", "library"), SAVED.items())
def test_logits_are_those_of_the_library_that_saved_the_file(file, library, expected):
    weights = read(CHECKPOINTS / file)
    assert weights.card.layout == LAYOUT[library]
    logits = VAN(weights.config, weights.tensors, "numpy")(expected["x"])
    assert np.abs(logits - expected[library]).max() <= LOGITS * np.abs(expected[library]).max()


OTHER_SHAPES = {
    "b0's depths": Config((8, 16, 24, 32), (3, 3, 5, 2), classes=7),
    "eleven blocks": Config((4, 4, 4, 4), (1, 1, 11, 1), (1, 1, 1, 1), classes=2),
    "other ratios": Config((6, 10, 14, 18), (2, 1, 1, 2), (5, 3, 2, 7), classes=1),
    "three stages": Config((4, 8, 12), (1, 2, 1), (2, 2, 2), classes=3),
    "one stage": saved.SMALLEST,
}
LAYOUTS = {
    "authors": (lambda state: state, 1e-6, "official"),
    "huggingface": (saved.huggingface, 1e-6, "hf"),
    "openmmlab": (saved.openmmlab, 1e-5, "official"),
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("config", OTHER_SHAPES.values(), ids=OTHER_SHAPES)
def test_every_layout_in_every_shape(tmp_path, config, layout, legacy):
    """The shape is read from the tensors, eps and preprocessing come with the layout, and PyTorch gives the same logits."""
    rename, eps, preset = LAYOUTS[layout]
    state = saved.state_dict(config)
    weights = read(saved.save({"state_dict": rename(state)}, tmp_path / "net.pth", legacy))
    assert weights.config == replace(config, layer_norm_eps=eps)
    assert weights.card.layout == layout and weights.card.preprocessing == PRESETS[preset]
    net = torch_van.TorchVAN(weights.config)
    net.load_state_dict(state)
    x = np.random.default_rng(0).normal(size=(1, 3, 48, 32)).astype(np.float32)
    with torch.no_grad():
        expected = net(torch.from_numpy(x)).numpy()
    logits = VAN(weights.config, weights.tensors, "numpy")(x)
    assert np.abs(logits - expected).max() <= LOGITS * np.abs(expected).max()


def described(config):
    """{name: tensor} of a network with nothing behind the tensors: enough to tell what it is."""
    return {name: StoredTensor(shape, "float32", None) for name, shape in parameter_shapes(config)}


@pytest.mark.parametrize("name", VARIANTS)
def test_published_shapes_are_recognised_by_their_tensors(name):
    config = VARIANTS[name]
    for layout, (rename, eps, _) in LAYOUTS.items():
        found = search.understand(rename(described(config)), Budget(1 << 30))
        assert found.layout.name == layout and found.config == replace(config, layer_norm_eps=eps)
        assert list(found.stored) == [key for key, _ in parameter_shapes(config)]


@pytest.mark.parametrize("container", ["zip", "safetensors"])
def test_a_bare_van_model_has_features_and_no_head(tmp_path, container):
    """Hugging Face's VanModel by itself: no 'van.' before the names, no classifier."""
    state = saved.state_dict()
    backbone = OrderedDict((name, tensor) for name, tensor in state.items() if not name.startswith("head"))
    bare = saved.huggingface(backbone, prefix="")
    path = tmp_path / "bare"
    if container == "zip":
        saved.save(bare, path)
    else:
        safetensors_torch.save_file({k: v.clone() for k, v in bare.items()}, path)
    weights = read(path)
    assert weights.config == replace(saved.SMALL, classes=0) and weights.card.layout == "huggingface"
    net = torch_van.TorchVAN(saved.SMALL)
    net.load_state_dict(state)
    x = np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype(np.float32)
    model = VAN(weights.config, weights.tensors, "numpy")
    with torch.no_grad():
        for ours, theirs in zip(model.features(x), net.features(torch.from_numpy(x)), strict=True):
            assert np.abs(ours - theirs.numpy()).max() <= LOGITS * np.abs(theirs.numpy()).max()
    with pytest.raises(ValueError, match="a backbone without a head"):
        model(x)


def test_a_bare_openmmlab_backbone(tmp_path):
    backbone = {saved.openmmlab_name(name).removeprefix("backbone."): tensor for name, tensor in saved.state_dict().items()}
    bare = {name: tensor for name, tensor in backbone.items() if not name.startswith("head")}
    assert read(saved.save(bare, tmp_path / "bare.pth")).config == replace(saved.SMALL, classes=0, layer_norm_eps=1e-5)


# faults


def fault(tmp_path, state, **options):
    with pytest.raises(CheckpointError) as raised:
        read(saved.save(state, tmp_path / "net.pth", **options))
    message = str(raised.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(("first", "layout"), list(enumerate(LAYOUTS)))
def test_a_missing_tensor_and_a_misshapen_one_are_named_with_their_shapes(first, layout):
    """Every parameter in one of the layouts."""
    config, (rename, *_) = Config((4, 8), (1, 2), (3, 2), classes=5), LAYOUTS[layout]
    for name, shape in list(parameter_shapes(config))[first :: len(LAYOUTS)]:
        state = described(config)
        wrong = (shape[0] + 1, *shape[1:])
        state[name] = replace(state[name], shape=wrong)
        with pytest.raises(CheckpointError) as misshapen:
            search.understand(rename(state), Budget(1 << 30))
        if name == "head.weight":  # it may as well be the bias that is wrong
            assert "head.bias has the shape (5,), not (6,) as head.weight (6, 8) has it" in misshapen.value.why
        else:
            assert f"{name} has the shape {wrong}, not {shape}" in misshapen.value.why
        del state[name]
        with pytest.raises(CheckpointError) as missing:
            search.understand(rename(state), Budget(1 << 30))
        assert f"{name} {shape} is missing" == missing.value.why


def test_tensors_left_over_are_named(tmp_path):
    state = saved.state_dict()
    state["decode_head.conv.weight"] = state["norm1.weight2"] = torch.ones(2)
    message = fault(tmp_path, state)
    assert "'decode_head.conv.weight' (2,) is unknown; 'norm1.weight2' (2,) is unknown" in message
    state = saved.state_dict()
    state["norm4.running_mean"] = torch.ones(8)
    assert "'norm4.running_mean' (8,) is unknown" in fault(tmp_path, state)


def test_a_stranger_with_a_name_that_another_layout_has_is_a_stranger(tmp_path):
    """Hugging Face's names with one of the authors' between them, which must not take the place of Hugging Face's own."""
    state = saved.huggingface(saved.state_dict())
    state["norm1.weight"] = torch.ones(4)
    message = fault(tmp_path, state)
    assert message.endswith("5 classes: 'norm1.weight' (4,) is unknown")
    state["norm1.weight"] = 3
    assert fault(tmp_path, state).endswith("'norm1.weight' (no tensor) is unknown")


def test_layer_scales_with_two_sides_of_one_are_those_without(tmp_path):
    state = saved.state_dict()
    wide = {name: tensor.reshape(-1, 1, 1) if "layer_scale" in name else tensor for name, tensor in state.items()}
    weights = read(saved.save(wide, tmp_path / "wide.pth"))
    assert all(np.array_equal(weights.tensors[name], state[name].numpy()) for name in weights.tensors)
    wide["block1.0.layer_scale_1"] = torch.ones(9, 1, 1)
    assert "block1.0.layer_scale_1 has the shape (9, 1, 1), not (4,)" in fault(tmp_path, wide)


def test_of_many_faults_the_first_are_named_and_the_rest_counted(tmp_path):
    state = {name: tensor for name, tensor in saved.state_dict().items() if "mlp.fc2" not in name and "norm2" not in name}
    message = fault(tmp_path, state)
    named = message.count("is missing")
    assert 6 < named < 12 and message.endswith(f"(and {32 - named} more)")
    assert len(message) < 700


def test_a_part_of_a_head_is_a_fault(tmp_path):
    state = {name: tensor for name, tensor in saved.state_dict().items() if name != "head.weight"}
    for named in (state, saved.huggingface(state), saved.openmmlab(state)):
        assert "head.weight (5, 8) is missing" in fault(tmp_path, named)


def test_a_missing_stage_or_block(tmp_path):
    state = saved.state_dict()
    assert "stage 2 has no block" in fault(tmp_path, {k: v for k, v in state.items() if not k.startswith(("block2", "norm2"))})
    assert "block2.0." in fault(tmp_path, {k: v for k, v in state.items() if not k.startswith("block2.0")})
    assert "no block of a VAN: 1 entry, 'head.weight' first: though one name is known to" in fault(
        tmp_path, {"head.weight": state["head.weight"]}
    )


def test_networks_that_are_no_van(tmp_path):
    strange = {"conv1.weight": torch.ones(2), "fc.bias": torch.ones(2), "bn1.num_batches_tracked": torch.tensor(1)}
    message = fault(tmp_path, strange)
    assert "not a VAN: 3 entries, 'conv1.weight' first: none has a name known to the authors', Hugging Face" in message
    assert "under 'state_dict', 'weight' first" in fault(tmp_path, {"state_dict": {"weight": torch.ones(2)}})
    assert "no dictionary of a VAN's tensors: it is empty" in fault(tmp_path, {})
    assert "its keys are 'epoch'" in fault(tmp_path, {"epoch": 3})
    assert "the file holds a list" in fault(tmp_path, [torch.ones(2)]) and "a StoredTensor" in fault(tmp_path, torch.ones(2))


def test_impossible_shapes(tmp_path):
    state = saved.state_dict()
    mlp = ("block1.0.mlp.fc1", "block1.0.mlp.dw")
    wide = {name: torch.zeros(13, *v.shape[1:]) if name.startswith(mlp) else v for name, v in state.items()}
    assert "hidden channels of the MLPs [13, 12, 12, 8]" in fault(tmp_path, wide)
    state["block1.65535.norm1.weight"] = torch.ones(4)
    assert "depths (65536, 2, 1, 1) with 165 tensors: most are missing" in fault(tmp_path, state)
    state = saved.state_dict()
    state["block1.00.norm1.weight"] = state["block9.0.norm1.weight"] = state["block1.٠.norm1.weight"] = torch.ones(4)
    assert fault(tmp_path, state).count("is unknown") == 3


def test_two_tensors_of_one_name(tmp_path):
    state = saved.huggingface(saved.state_dict())
    state["encoder.stages.0.normalization.weight"] = torch.ones(4)
    assert "two tensors stand for norm1.weight" in fault(tmp_path, state)


def test_what_is_not_a_tensor_in_a_tensors_place(tmp_path):
    state = dict(saved.state_dict())
    for value in (3.5, None, "text", [1.0], {"a": 1}, torch.eye(8).to_sparse()):
        state["norm4.bias"] = value
        assert "norm4.bias is not a tensor that can be read" in fault(tmp_path, state)


# what lies beside the weights


def huggingface_folder(tmp_path, config=saved.SMALL, **fields):
    folder = tmp_path / "my-van"
    folder.mkdir(exist_ok=True)
    state = saved.huggingface(saved.state_dict(config))
    safetensors_torch.save_file({name: tensor.clone() for name, tensor in state.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "van", "strides": [4, 2, 2, 2]} | fields))
    return folder


def test_a_hugging_face_folder_gives_labels_and_eps(tmp_path):
    names = ["ant", "bee", "cat, house cat", "dog", "eel"]
    folder = huggingface_folder(tmp_path, id2label=dict(enumerate(names)), layer_norm_eps=1e-4)
    for path in (folder, folder / "model.safetensors"):
        weights = read(path)
        assert [label.name for label in weights.card.labels] == names and weights.config.layer_norm_eps == 1e-4
        assert weights.card.name == "my-van" and weights.card.preprocessing == PRESETS["hf"]
    (folder / "config.json").unlink()
    assert read(folder).card.labels == () and read(folder).config.layer_norm_eps == 1e-6


def test_a_hugging_face_folder_with_a_pytorch_file_only(tmp_path):
    folder = tmp_path / "hf"
    folder.mkdir()
    saved.save(saved.huggingface(saved.state_dict()), folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps({"model_type": "van", "id2label": {str(i): f"name {i}" for i in range(5)}}))
    assert read(folder).card.labels[4].name == "name 4"
    (folder / "pytorch_model.bin").rename(folder / "weights.bin")
    with pytest.raises(CheckpointError, match=r"hf: a folder without weights: neither model\.safetensors nor pytorch_"):
        read(folder)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (dict(hidden_act="relu"), "activation 'relu': minivan computes gelu"),
        (dict(strides=[2, 2, 2, 2]), r"strides \[2, 2, 2, 2\], and the network in the file has \[4, 2, 2, 2\]"),
        (dict(depths=[1, 2, 1, 2]), r"depths \[1, 2, 1, 2\], and .* \[1, 2, 1, 1\]: the file is not all of that network, or"),
        (dict(hidden_sizes=[4, 6, 6]), "hidden_sizes"),
        (dict(mlp_ratios=[8, 8, 4, 4]), "mlp_ratios"),
        (dict(patch_sizes=[7, 5, 3, 3]), "patch_sizes"),
        (dict(num_channels=13), "num_channels 13"),
        (dict(model_type="bert"), "model_type 'bert', and the network in the file has 'van'"),
        (dict(depths=None), "depths None"),
        (dict(layer_norm_eps="small"), "layer_norm_eps 'small'"),
        (dict(layer_norm_eps=0), "layer_norm_eps 0"),
        (dict(layer_norm_eps=2.0), "layer_norm_eps 2.0"),
    ],
    ids=str,
)
def test_a_config_of_another_network_is_refused(tmp_path, fields, words):
    with pytest.raises(CheckpointError, match=words):
        read(huggingface_folder(tmp_path, **fields))


@pytest.mark.parametrize("text", ["", "{", "3", "[]", "[" * 100_000, "\xff", '{"a": 1, "a": 2}', '{"layer_norm_eps": NaN}'])
def test_a_damaged_config_is_refused_in_one_line(tmp_path, text):
    folder = huggingface_folder(tmp_path)
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError) as raised:
        read(folder)
    assert "config.json" in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "names", [{}, {"0": "a"}, {str(i): "" for i in range(5)}, {str(i): None for i in range(5)}, ["a"] * 4, 3]
)
def test_labels_that_do_not_fit_are_left_out(tmp_path, names):
    assert read(huggingface_folder(tmp_path, id2label=names)).card.labels == ()


def test_a_config_that_describes_the_network_is_taken(tmp_path):
    described = dict(depths=[1, 2, 1, 1], hidden_sizes=[4, 6, 6, 8], mlp_ratios=[3, 2, 2, 1], patch_sizes=[7, 3, 3, 3])
    assert read(huggingface_folder(tmp_path, **described, num_channels=3, hidden_act="gelu")).config == saved.SMALL


def test_blocks_that_the_config_names_and_the_file_lacks(tmp_path):
    """What is left is a whole network by its names and shapes, and another one."""
    folder = huggingface_folder(tmp_path, depths=[1, 2, 1, 1])
    state = saved.huggingface(saved.state_dict())
    less = {name: tensor.clone() for name, tensor in state.items() if not name.startswith("van.encoder.stages.1.layers.1.")}
    safetensors_torch.save_file(less, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"depths \[1, 2, 1, 1\], and the network in the file has \[1, 1, 1, 1\]"):
        read(folder)


@pytest.mark.parametrize(
    "meta",
    [
        {"CLASSES": ["a", "b", "c", "d", "e"]},
        {"CLASSES": ("a", "b", "c", "d", "e")},
        {"dataset_meta": {"classes": ("a", "b", "c", "d", "e")}},
        {"dataset_meta": {"CLASSES": ["a", "b", "c", "d", "e"]}},
    ],
    ids=str,
)
def test_openmmlab_carries_labels_in_its_meta(tmp_path, meta):
    path = saved.save({"meta": meta | {"epoch": 300}, "state_dict": saved.openmmlab(saved.state_dict())}, tmp_path / "net.pth")
    assert [label.name for label in read(path).card.labels] == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("meta", [None, [], {}, {"CLASSES": None}, {"CLASSES": 5}, {"CLASSES": [1] * 5}, {"dataset_meta": []}])
def test_an_odd_meta_is_passed_over(tmp_path, meta):
    path = saved.save({"meta": meta, "state_dict": saved.openmmlab(saved.state_dict())}, tmp_path / "net.pth")
    assert read(path).card.labels == ()


def test_a_thousand_classes_have_imagenet_s_names_where_they_are_said(tmp_path):
    config = replace(saved.SMALLEST, classes=1000)
    state = saved.state_dict(config)
    assert read(saved.save(state, tmp_path / "net.pth")).card.labels == (), "it is no published variant"
    names = [label.name for label in imagenet1k()]
    names[7] = "a bird of one's own"
    meta = {"meta": {"CLASSES": names}, "state_dict": saved.openmmlab(state)}
    labels = read(saved.save(meta, tmp_path / "mm.pth")).card.labels
    assert labels[7] == ("", "a bird of one's own") and labels[8] == imagenet1k()[8]
    few = {"meta": {"CLASSES": ["one"]}, "state_dict": saved.openmmlab(state)}
    weights = read(saved.save(few, tmp_path / "few.pth"))
    assert weights.card.labels == () and any("its 1 class names are left out" in note for note in weights.notes)
