"""The labelled photographs that MINIVAN_LABELLED names, as a model's inputs. Tests that need them are skipped without it."""

import os

import numpy as np
import pytest

from minivan import labelled


def source():
    """Return where the photographs are; the test that asks is skipped where the variable is not set."""
    if not os.environ.get(labelled.VARIABLE):
        pytest.skip(labelled.MISSING)
    return labelled.given()


def photographs(card):
    """Return the inputs, float32 (1000, 3, crop, crop), and their class indices among the labels of a model's card."""
    return labelled.inputs(source(), card)


def logits(model, inputs, batch=50):
    """Run any callable over the inputs, a batch at a time."""
    return np.concatenate([np.asarray(model(inputs[i : i + batch])) for i in range(0, len(inputs), batch)])
