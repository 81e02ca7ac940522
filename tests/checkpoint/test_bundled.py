"""The bundled weights on 1,000 labelled photographs that this network was not trained on, with PyTorch as the judge."""

import re
from itertools import pairwise

import numpy as np
import pytest
from support import ROOT
from support.compare import assert_close
from support.judge import torch, torch_van
from support.labelled import logits, photographs, source
from tolerances import FAST

import minivan
from minivan.checkpoint.hub import bundled
from minivan.evaluate import evaluate
from minivan.labelled import right
from minivan.van import VAN

EVERY = 10  # of the photographs, that `exact` is asked about in the gate; by hand, all


@pytest.fixture(scope="module")
def answers():
    """Return the model, the 1,000 inputs, their classes, and the logits and the evaluation that `fast` gives."""
    model, given = minivan.load(bundled()[0], engine="fast"), []
    inputs, targets = photographs(model.card)
    assert len(inputs) == 1000
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VAN, "__call__", lambda self, x, call=VAN.__call__: given.append(call(self, x)) or given[-1])
        found = evaluate(model, source())
    assert (found.targets == targets).all()
    return model, inputs, targets, np.concatenate(given)[-len(inputs) :], found  # before them one image made ready


@pytest.fixture(scope="module")
def measured(answers):
    """Return how many of the 1,000 minivan and PyTorch get right on the same weights, top-1 and top-5."""
    model, inputs, targets, _, found = answers
    net = torch_van.load(model.config, model.tensors)
    with torch.inference_mode():
        judged = logits(lambda x: net(torch.from_numpy(x)), inputs)
    return [found.top1.count, found.top5.count], [right(judged, targets, k) for k in (1, 5)]


@pytest.mark.parametrize("every", [pytest.param(EVERY, marks=pytest.mark.once), pytest.param(1, marks=pytest.mark.long)])
def test_the_fast_engine_gives_every_photograph_the_class_that_exact_gives(answers, every):
    _, inputs, _, fast, _ = answers
    exact = logits(minivan.load(bundled()[0], engine="exact"), inputs[::every])
    assert_close("logits", fast[::every], exact, FAST)
    assert (fast[::every].argmax(axis=1) == exact.argmax(axis=1)).all()


@pytest.mark.once
def test_as_many_are_right_as_pytorch_gets_right(measured):
    ours, pytorch = measured
    print(f"minivan: top-1 {ours[0]} of 1,000, top-5 {ours[1]} of 1,000; PyTorch {pytorch}")
    assert ours == pytorch


@pytest.mark.once
def test_the_weights_readme_says_how_sure_the_answers_are(answers):
    *_, found = answers
    top, is_right = found.answers.probability, found.right
    readme = (ROOT / "weights" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?:below|from)? ?([\d.]+)(?: to ([\d.]+)| on)? \| (\d+) \| (\d+) % \|$", readme, re.MULTILINE)
    assert len(rows) == 6 and sum(int(images) for *_, images, _ in rows) == len(top)
    edges = [0.0, *(float(low) for low, *_ in rows[1:]), 1.1]
    for (low, high), (*_, images, right_of_them) in zip(pairwise(edges), rows, strict=True):
        inside = (top >= low) & (top < high)
        assert (inside.sum(), round(100 * is_right[inside].mean())) == (int(images), int(right_of_them))


@pytest.mark.once
def test_the_weights_readme_says_what_is_measured(measured):
    readme = (ROOT / "weights" / "README.md").read_text(encoding="utf-8")
    claimed = re.search(r"1,000 labelled validation images: (\d+) right \(([\d.]+) %\), (\d+) among the first five", readme)
    assert claimed, "weights/README.md states the accuracy as '1,000 labelled validation images: N right (N.N %), ...'"
    assert [int(claimed[1]), int(claimed[3])] == measured[0]
    assert float(claimed[2]) == measured[0][0] / 10
