"""Segmentation's and detection's checkpoints with a VAN in them: its features, with the eps that it has there."""

from dataclasses import replace

import numpy as np
import pytest
from support import saved
from support.judge import torch, torch_van
from tolerances import LOGITS

from minivan.card import PRESETS
from minivan.checkpoint import read
from minivan.van import VAN

MIXTURE = {".mlp.dwconv.dwconv.": ".mlp.dwconv."}  # projects/van of mmsegmentation: the authors' names but for this one
REST = {
    "mmsegmentation": (
        "decode_head.conv_seg.weight",
        "auxiliary_head.convs.0.bn.running_mean",
        "neck.lateral_convs.0.conv.bias",
    ),
    "mmdetection": ("rpn_head.rpn_cls.weight", "roi_head.bbox_head.fc_cls.weight", "neck.fpn_convs.0.conv.weight"),
}


def renamed(names):
    """{name: tensor} of the backbone, LayerNorms that are far from one included, behind `backbone.`"""
    state = {name: tensor for name, tensor in saved.state_dict().items() if not name.startswith("head")}
    if names == "OpenMMLab's":
        return state, {saved.openmmlab_name(name): tensor for name, tensor in state.items()}
    if names == "mixed":
        return state, {f"backbone.{name}".replace(*next(iter(MIXTURE.items()))): tensor for name, tensor in state.items()}
    return state, {f"backbone.{name}": tensor for name, tensor in state.items()}


def near_pytorch(weights, state):
    net = torch_van.TorchVAN(replace(saved.SMALL, layer_norm_eps=1e-5))
    net.load_state_dict(state, strict=False)
    x = np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype(np.float32)
    with torch.no_grad():
        expected = [array.numpy() for array in net.features(torch.from_numpy(x))]
    found = VAN(weights.config, weights.tensors, "numpy").features(x)
    return all(np.abs(a - b).max() <= LOGITS * np.abs(b).max() for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("names", ["the authors'", "OpenMMLab's", "mixed"])
@pytest.mark.parametrize("library", ["mmsegmentation", pytest.param("mmdetection", marks=pytest.mark.slow)])
def test_the_backbone_gives_features_and_the_rest_is_passed_over(tmp_path, library, names):
    state, backbone = renamed(names)
    rest = {name: torch.ones(2) for name in REST[library]}
    contents = {"meta": {"CLASSES": ["wall", "sky"], "PALETTE": [[0, 0, 0]]}, "state_dict": backbone | rest, "optimizer": {}}
    weights = read(saved.save(contents, tmp_path / "seg.pth"))
    assert weights.config == replace(saved.SMALL, classes=0, layer_norm_eps=1e-5)
    assert weights.card.preprocessing == PRESETS["hf"] and weights.card.labels == ()
    notes = "; ".join(weights.notes)
    assert "passed over" in notes and all(f"'{name.partition('.')[0]}'" in notes for name in rest)
    assert "LayerNorm eps is 1e-05" in notes and near_pytorch(weights, state)


@pytest.mark.parametrize("meta", [{"mmseg_version": "1.2"}, {"mmdet_version": "3.3", "CLASSES": None}])
def test_a_backbone_alone_is_known_by_the_libraries_meta(tmp_path, meta):
    state, backbone = renamed("the authors'")
    weights = read(saved.save({"meta": meta, "state_dict": backbone}, tmp_path / "seg.pth"))
    assert weights.config.layer_norm_eps == 1e-5 and near_pytorch(weights, state)


def test_somebodys_own_backbone_has_the_authors_eps(tmp_path):
    _, backbone = renamed("the authors'")
    for contents in (backbone, {"meta": {"epoch": 3}, "state_dict": backbone}, backbone | {"fusion.weight": torch.ones(2)}):
        weights = read(saved.save(contents, tmp_path / "net.pth"))
        assert weights.config == replace(saved.SMALL, classes=0) and weights.card.preprocessing == PRESETS["official"]


def test_the_mixed_names_by_themselves(tmp_path):
    state, backbone = renamed("mixed")
    bare = {name.removeprefix("backbone."): tensor for name, tensor in backbone.items()}
    weights = read(saved.save(bare, tmp_path / "net.pth"))
    assert weights.card.layout == "mmsegmentation" and weights.config.layer_norm_eps == 1e-5 and near_pytorch(weights, state)
