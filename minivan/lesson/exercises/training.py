"""Exercises of lesson 11: training, and what it says about reach."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ...geometry import CONV0, CONV_SPATIAL, DWCONV
from .exercise import THREE_DIGITS, Exercise, Mistake

Floats: TypeAlias = npt.NDArray[np.float64]
Case: TypeAlias = tuple[Floats, Floats, float, float]  # values, gradient, rate, decay

FIRST_STEPS: tuple[Case, ...] = (
    (np.array([1.0, -2.0, 0.5]), np.array([0.3, -0.001, 40.0]), 0.1, 0.0),
    (np.array([[4.0, -3.0], [2.0, 1.0]]), np.array([[-0.2, 5.0], [0.01, -7.0]]), 0.02, 0.5),
)
AA, AB, BA = 1.2, -0.3, 0.8  # logits of pairs of kinds


def columns(*reaches: int) -> int:
    """How many columns a place depends on through kernels one after another, of which each reads so many to each side."""
    return 2 * sum(reaches) + 1


NEAR, FAR, MLP = CONV0.reach, CONV_SPATIAL.side // 2, DWCONV.reach


def first_step(w: Floats, g: Floats, rate: float, decay: float) -> Floats:
    moved: Floats = w - rate * decay * w - rate * g / np.sqrt(g**2)
    return moved


def without_correction(w: Floats, g: Floats, rate: float, decay: float) -> Floats:
    moved: Floats = w - rate * decay * w - rate * 0.1 * g / np.sqrt(0.001 * g**2)
    return moved


def decay_in_gradient(w: Floats, g: Floats, rate: float, decay: float) -> Floats:
    moved: Floats = w - rate * np.sign(g + decay * w)
    return moved


EXERCISES = {
    (11, 1): Exercise(
        "a whole number of columns",
        lambda: columns(NEAR, FAR, MLP),
        lambda: [
            Mistake(columns(NEAR, FAR), "and the MLP's 3 x 3?"),
            Mistake(
                columns(NEAR, CONV_SPATIAL.reach, MLP), "that is with dilation: here the 7 x 7's weights lie side by side."
            ),
            Mistake(CONV0.side + CONV_SPATIAL.side + DWCONV.side, "one after another: each kernel adds its side less one."),
            Mistake(NEAR + FAR + MLP, "that is to one side: there are two, and the place itself."),
            Mistake(2 * (NEAR + FAR + MLP), "and the place itself?"),
            Mistake(columns(NEAR, FAR, MLP) ** 2, "columns, not places."),
        ],
        "how far to each side does each of the three read? They add up.",
    ),
    (11, 2): Exercise(
        "a function of w, g, a rate and a decay that returns w's new values",
        lambda: first_step,
        lambda: [
            Mistake(
                lambda w, g, rate, decay: w - rate * g, "that is gradient descent: AdamW divides by the root of the square."
            ),
            Mistake(without_correction, "correct both averages for the zeros that they began with: 1 - 0.9, and 1 - 0.999."),
            Mistake(decay_in_gradient, "the W: the decay is no part of the gradient, it stands beside the step."),
            Mistake(lambda w, g, rate, decay: w - rate * np.sign(g), "and the decay?"),
            Mistake(lambda w, g, rate, decay: w * (1 - decay) - rate * np.sign(g), "the decay is multiplied by the rate, too."),
            Mistake(lambda w, g, rate, decay: w * (1 - rate * decay) + rate * np.sign(g), "downhill: against the gradient."),
        ],
        "after one step, what are the two corrected averages? What is g / sqrt(g^2)?",
        THREE_DIGITS,
        FIRST_STEPS,
    ),
    (11, 3): Exercise(
        "a number",
        lambda: AB + BA - AA,
        lambda: [
            Mistake(AB + BA + AA, "logit(a, a) stands on the other side of the equation."),
            Mistake(AA - AB - BA, "the sign: solve the equation for logit(b, b)."),
            Mistake(AA, "that is what the task wants, not what this network can do: its logit is a sum."),
        ],
        "logit(a, a) + logit(b, b) = logit(a, b) + logit(b, a).",
        THREE_DIGITS,
    ),
}
