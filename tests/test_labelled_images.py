"""The bundled weights on 1,000 labelled photographs that no training has seen, with PyTorch as the judge."""

import io
import re
import zipfile

import numpy as np
import pytest
import torch
import torch_van
from conftest import ROOT

import minivan
from minivan import image


@pytest.fixture(scope="module")
def labelled():
    """Return the model, the 1,000 inputs and their class indices."""
    model = minivan.load()
    index = {label.wnid: i for i, label in enumerate(model.card.labels)}
    inputs, targets = [], []
    with zipfile.ZipFile(ROOT / "tests" / "data" / "tiny_imagenet_val_1000.zip") as archive:
        for name in sorted(n for n in archive.namelist() if n.endswith(".JPEG")):
            inputs.append(image.prepare(io.BytesIO(archive.read(name)), model.card.preprocessing))
            targets.append(index[name.split("/")[0]])
    assert len(inputs) == 1000
    return model, np.stack(inputs), np.array(targets)


def top_k_right(logits, targets, k):
    return int((np.argsort(-logits, axis=1, kind="stable")[:, :k] == targets[:, None]).any(axis=1).sum())


def test_as_many_are_right_as_pytorch_gets_right_and_as_the_readme_claims(labelled):
    model, inputs, targets = labelled
    logits = np.concatenate([model(inputs[i : i + 50]) for i in range(0, 1000, 50)])
    net = torch_van.load(model.config, {k: np.asarray(v, np.float32) for k, v in model.tensors.items()})
    with torch.no_grad():
        judged = np.concatenate([net(torch.from_numpy(inputs[i : i + 50])).numpy() for i in range(0, 1000, 50)])
    right = [top_k_right(logits, targets, k) for k in (1, 5)]
    print(f"exact: top-1 {right[0]} of 1,000, top-5 {right[1]} of 1,000")
    assert right == [top_k_right(judged, targets, k) for k in (1, 5)]
    readme = (ROOT / "weights" / "README.md").read_text(encoding="utf-8")
    claimed = re.search(r"1,000 labelled validation images: \d+ right \(([\d.]+) %\)", readme)
    assert claimed, "weights/README.md states the accuracy as '1,000 labelled validation images: N right (N.N %)'"
    assert right[0] / 10 >= float(claimed[1]) - 2
