"""A backbone with a linear layer beside it, which is its head; and a network with a head that feeds another layer."""

import pytest
import torch
from support import saved

from minivan.checkpoint import CheckpointError, read

STATE = saved.state_dict()
BARE = saved.without_head(STATE)
HEAD = {"weight": STATE["head.weight"], "bias": STATE["head.bias"]}
CRITERION = {"criterion.weight": torch.ones(5), "loss_fn.pos_weight": torch.ones(5)}
COUNTERS = {"classifier.total_ops": torch.ones(1, dtype=torch.float64), "n_averaged": torch.tensor(3)}


def layer(name, head=HEAD):
    return {f"{name}.{leaf}": tensor for leaf, tensor in head.items()}


def wide(classes, width):
    return {"weight": torch.zeros(classes, width), "bias": torch.zeros(classes)}


TAKEN = {
    "OpenMMLab's wrapper": (saved.prefixed("backbone.", BARE), "head.fc"),
    "a model of one's own": (saved.prefixed("backbone.", BARE) | COUNTERS, "classifier"),
    "a Sequential": (saved.prefixed("0.", BARE), "1"),
    "a Sequential with Dropout": (saved.prefixed("0.", BARE), "2"),
    "Lightning": (saved.prefixed("net.backbone.", BARE) | CRITERION, "net.fc"),
    "Hugging Face's backbone": (saved.prefixed("backbone.", saved.huggingface(BARE)), "classifier"),
    "its bare model": (saved.prefixed("encoder.model.", saved.huggingface(BARE, "")), "encoder.classifier"),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_the_one_linear_layer_beside_a_backbone_is_its_head(tmp_path, kind):
    backbone, name = TAKEN[kind]
    weights = read(saved.save({"state_dict": backbone | layer(name)}, tmp_path / "net.pth"))
    saved.assert_same(weights, STATE)
    said = f"the head is called '{name}', the one layer beside the backbone"
    assert any(note.startswith(said) for note in weights.notes)


def test_a_convolution_of_one_pixel_is_a_linear_layer(tmp_path):
    state = saved.prefixed("backbone.", BARE) | layer("fc", HEAD | {"weight": HEAD["weight"][:, :, None, None]})
    saved.assert_same(read(saved.save(state, tmp_path / "net.pth")), STATE)


@pytest.mark.parametrize(
    "beside",
    [
        layer("classifier") | {"bottleneck.weight": torch.ones(8)},
        layer("classifier.0", wide(8, 8)) | layer("classifier.2"),
        layer("1", {"weight": torch.ones(8), "bias": torch.ones(8)}) | layer("2"),
        layer("fc", wide(5, 6)),
        layer("fc", HEAD | {"scale": torch.ones(5)}),
        {"fc.weight_orig": HEAD["weight"], "fc.weight_mask": torch.ones(5, 8), "fc.bias": HEAD["bias"]},
        layer("projector"),
        layer("fc", {"bias": HEAD["bias"]}),
    ],
    ids=lambda beside: ", ".join(beside),
)
def test_a_layer_that_may_be_another_thing_is_passed_over_and_said(tmp_path, beside):
    weights = read(saved.save(saved.prefixed("backbone.", BARE) | beside, tmp_path / "net.pth"))
    saved.assert_same(weights, BARE)
    notes = "; ".join(weights.notes)
    assert "there is no head" in notes and all(f"'{name.partition('.')[0]}'" in notes for name in beside)


@pytest.mark.parametrize(
    ("outer", "words"), [(wide(3, 5), "takes what that gives"), (wide(3, 8), "may take its place")], ids=["outputs", "features"]
)
@pytest.mark.parametrize("name", ["classifier", "1", "head.fc"])
def test_a_network_whose_head_feeds_another_layer_is_refused_by_its_name(tmp_path, outer, words, name):
    path = saved.save({"model": saved.prefixed("backbone.", STATE) | layer(name, outer)}, tmp_path / "net.pth")
    with pytest.raises(
        CheckpointError, match=f"the network has a head, and '{name}' beside it {words}: .* --key model.backbone$"
    ):
        read(path)
    saved.assert_same(read(path, "model.backbone"), STATE)


def test_what_other_networks_have_is_no_head(tmp_path):
    other = saved.state_dict(seed=1)
    path = saved.save(STATE | saved.prefixed("ema.", other), tmp_path / "net.pth")
    saved.assert_same(read(path), other)
    two = saved.prefixed("0.", STATE) | saved.prefixed("1.", other)
    saved.assert_same(read(saved.save(two, tmp_path / "two.pth"), "0"), STATE)
    far = saved.prefixed("backbone.", STATE) | layer("fc", wide(3, 99))
    saved.assert_same(read(saved.save(far, tmp_path / "far.pth")), STATE)


def test_a_layer_beside_it_that_cannot_be_read_is_named(tmp_path):
    state = saved.prefixed("backbone.", BARE) | layer("fc", HEAD | {"bias": torch.zeros(6)})
    with pytest.raises(CheckpointError, match=r"head\.bias has the shape \(6,\), not \(5,\)"):
        read(saved.save(state, tmp_path / "net.pth"))
