"""The bundled segmentation head: what it says of itself, what the pages say of it, and what it is worth on scenes held back."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from support import EXAMPLES, ROOT
from support.judge import TORCH, torch
from support.own_classes import CAMVID, scenes

import minivan
from minivan.checkpoint.hub import bundled, bundled_heads
from minivan.predict.identity import identity
from minivan.segmentation.files import load

SAME = 0.999  # of pixels that PyTorch gives the same class
EVERY = 8  # of the scenes that PyTorch is asked about


@pytest.fixture(scope="module")
def model():
    return load()


@pytest.fixture(scope="module")
def figures(model):
    return dict(model.card.figures)


def test_it_is_a_small_file_for_the_bundled_backbone(model, figures):
    (path,) = bundled_heads()
    assert path.stem == model.card.name == "van_b0_camvid_fpn" and path.stat().st_size < 4_000_000
    (backbone,) = bundled()
    assert model.card.backbone == backbone.stem
    assert model.card.backbone_sha256 == identity(minivan.load(backbone, engine="numpy"))["sha256"]
    assert model.card.classes == tuple(CAMVID) and model.config.classes == len(CAMVID)
    assert all((tensor == tensor.astype(np.float16)).all() for tensor in model.tensors.values())
    assert figures["knows"].startswith("street scenes") and "everything else" in figures["knows"]


def test_the_pages_say_what_the_file_says(figures):
    by_class = {part: dict(re.findall(r"(\w+) (\d+)%", figures[f"IoU by class, {part}"])) for part in ("val", "test")}
    about = (ROOT / "weights" / "README.md").read_text(encoding="utf-8")
    rows = {name: (val, test) for name, val, test in re.findall(r"^\| (\w+) \| (\d+) % \| (\d+) % \|$", about, re.M)}
    assert rows == {name: (by_class["val"][name], by_class["test"][name]) for name in CAMVID}
    for part in ("val", "test"):
        measured = re.search(r"([\d.]+)% of (\d+) scenes", figures[f"mIoU, {part}"])
        right = figures[f"pixels right, {part}"].rstrip("%")
        assert f"{measured[2]} scenes of `{part}/`: mIoU {measured[1]} %, {right} % of the pixels right" in about
    assert f"mIoU is {re.search(r'[0-9.]+', figures['mIoU, test'])[0]} %" in (ROOT / "docs/training.md").read_text(
        encoding="utf-8"
    )


def test_the_page_has_what_was_tried():
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\w+) \| (\S+) \| (\d+) \| ([\d.]+) % \| ([\d.]+ %|-) \|$", page, re.M)
    tried = json.loads((EXAMPLES / "training" / "tried.json").read_text(encoding="utf-8"))
    said = [{**each, "pixels_right": f"{right} %" if (right := each["pixels_right"]) else "-"} for each in tried]
    assert len(rows) > 5 and rows == [tuple(map(str, each.values())) for each in said]


@pytest.mark.once
def test_scenes_held_back_are_segmented_as_the_file_says_and_as_pytorch_does(figures, monkeypatch):
    """Of all 233 scenes the mIoU, by PyTorch on maps of `fast`; of some, masks of `fast` against PyTorch from the photo on."""
    monkeypatch.syspath_prepend(EXAMPLES / "training")
    from judging import Judge, Seen
    from network import Segmenter
    from scenes import scenes as read

    from minivan.card import SCENES

    head = load(engine="fast")
    held = {name: torch.from_numpy(tensor) for name, tensor in head.tensors.items()}
    seen = Seen(read(Path(scenes()), "test"), head.backbone, head.card.side, SCENES)
    found = Judge(seen.scenes, seen, Segmenter(head.config), head.card.side)(head.tensors)
    assert figures["mIoU, test"] == f"{found.mean_iou:.1%} of {found.scenes} scenes"
    judged = Seen(seen.scenes[::EVERY], load(engine=TORCH).backbone, head.card.side, SCENES)
    judge = Judge(judged.scenes, judged, Segmenter(head.config), head.card.side)
    same = [
        (minivan.segment(scene.photo, head).mask == judge.mask(held, i, scene.size[::-1])).mean()
        for i, scene in enumerate(judged.scenes)
    ]
    assert min(same) >= SAME
    for name in ("judging", "network", "scenes"):
        sys.modules.pop(name, None)
