"""What each stage adds to a mask: what is taken away is gone, and the figures are those of the scenes."""

import sys

import numpy as np
import pytest
from support import EXAMPLES
from support.networks import images, random_fpn_tensors, random_tensors
from support.own_classes import VARIABLE, scenes

from minivan import fpn
from minivan.segmentation import SegmentationVAN
from minivan.segmentation.card import SegmentationCard
from minivan.segmentation.files import load
from minivan.van import VAN
from minivan.variants import Config

sys.path.insert(0, str(EXAMPLES / "ablations"))

import which_stage

SMALL = Config((8, 16, 24, 32), (1, 1, 1, 1), (2, 2, 2, 2), classes=0)
SHAPE = fpn.FPNConfig(SMALL.dims, channels=8, head_channels=6, classes=5)


def test_what_is_taken_away_adds_nothing():
    model = SegmentationVAN(VAN(SMALL, random_tensors(SMALL), "numpy"), random_fpn_tensors(SHAPE), SegmentationCard("net"))
    x = images(1, 40, 36)
    for i in range(4):
        seen = {}
        without = which_stage.variants(model)
        without[f"without lateral {i + 1}"](x, seen.__setitem__)
        assert not seen[f"neck.lateral_convs.{i}.conv"].any()
        without[f"without branch {i + 1}"](x, seen.__setitem__)
        assert not seen[f"decode_head.scale_heads.{i}.{2 * max(0, i - 1)}.activate"].any()
        gone = {path for path, array in seen.items() if not np.any(array)}
        assert all(path.startswith(f"decode_head.scale_heads.{i}.") for path in gone)


def test_intersection_over_union_counts_what_is_missed_and_what_is_wrong():
    truth = np.repeat([0, 1, which_stage.VOID], [6, 4, 3]).astype(np.uint8)
    answers = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 5, 5, 5])
    found = which_stage.figures(which_stage.counts(answers, truth))
    assert found["pixels"] == 70 and found["iou"][:2] == [round(100 * 4 / 7, 1), 50]
    assert found["miou"] == round(100 * (4 / 7 + 1 / 2) / 2, 2)


def test_the_figures_are_those_of_the_bundled_head():
    kept, card = which_stage.read(), load(engine="numpy").card
    assert kept["head"] == card.name and kept["classes"] == list(card.classes) and kept["scenes"] == 78
    assert set(kept["taken away"]) == {
        "as trained",
        *(f"without {part} {i}" for part in ("lateral", "branch") for i in (1, 2, 3, 4)),
    }


@pytest.mark.once
def test_the_first_scenes_give_their_figures_again(monkeypatch):
    monkeypatch.setenv(VARIABLE, str(scenes()))
    *_, found = which_stage.taken_away(load(engine="fast"), which_stage.scenes("test", which_stage.FEW))
    for name, figures in which_stage.read()["after the first few"].items():
        assert found[name]["miou"] == pytest.approx(figures["miou"], abs=0.2), name
