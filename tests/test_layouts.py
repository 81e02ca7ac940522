"""Checkpoints that three libraries saved themselves give those libraries' logits."""

from pathlib import Path

import numpy as np
import pytest

from minivan.checkpoint import read
from minivan.model import VAN

CHECKPOINTS = Path(__file__).parent / "checkpoints"
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
    assert np.abs(logits - expected[library]).max() <= 2e-5 * np.abs(expected[library]).max()
