"""The bundled weights on 1,000 labelled photographs that no training has seen, with PyTorch as the judge."""

import re

import pytest
import torch
import torch_van
from conftest import ROOT
from labelled import logits, photographs, right

import minivan
from minivan.checkpoint.hub import bundled


@pytest.fixture(scope="module")
def measured():
    """Return how many of the 1,000 `exact` and PyTorch get right on the same weights, top-1 and top-5."""
    model = minivan.load(bundled()[0])
    inputs, targets = photographs(model.card)
    assert len(inputs) == 1000
    net = torch_van.load(model.config, model.tensors)
    with torch.inference_mode():
        judged = logits(lambda x: net(torch.from_numpy(x)), inputs)
    ours = logits(model, inputs)
    return [[right(y, targets, k) for k in (1, 5)] for y in (ours, judged)]


def test_as_many_are_right_as_pytorch_gets_right(measured):
    exact, pytorch = measured
    print(f"exact: top-1 {exact[0]} of 1,000, top-5 {exact[1]} of 1,000; PyTorch {pytorch}")
    assert exact == pytorch


def test_the_weights_readme_says_what_is_measured(measured):
    readme = (ROOT / "weights" / "README.md").read_text(encoding="utf-8")
    claimed = re.search(r"1,000 labelled validation images: (\d+) right \(([\d.]+) %\), (\d+) among the first five", readme)
    assert claimed, "weights/README.md states the accuracy as '1,000 labelled validation images: N right (N.N %), ...'"
    assert [int(claimed[1]), int(claimed[3])] == measured[0]
    assert float(claimed[2]) == measured[0][0] / 10
