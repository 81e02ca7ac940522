"""From logits to how sure a network is of a class, and which place the class has among all."""

from __future__ import annotations

import numpy as np

from ..checks import Float32, Floating
from ..reference import sigmoid, softmax


def probabilities(logits: Floating, activation: str = "softmax") -> Float32:
    """Return the softmax of logits (N, classes), or the sigmoid of each, float32 of the same shape.

    It is the reference's, in float64 and rounded once, whatever engine the logits come from: nothing has to be compiled, and
    it takes the NumPy array that logits are on every engine. The numbers are those of the operator of `exact`.
    """
    return np.asarray(sigmoid(logits) if activation == "sigmoid" else softmax(logits), np.float32)


def rank(chances: Floating, index: int) -> int:
    """Return the place of a class among the logits (or probabilities) of all, (classes,): 1 for the likeliest."""
    return int((chances > chances[index]).sum()) + 1
