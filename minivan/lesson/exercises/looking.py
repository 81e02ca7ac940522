"""Exercises of lesson 9: from a logit's derivative to a picture of where it comes from."""

from __future__ import annotations

import numpy as np

from ...explain import cam
from .exercise import THREE_DIGITS, Exercise, Mistake

FEATURES = np.array([[[[1.0, 0], [3, 0]], [[0, 2], [0, 2]]]])  # (1, 2, 2, 2): two channels at four places
WEIGHTS, BIAS = np.array([[2.0, -1]]), 0.5


def class_map() -> list[float]:
    """The four numbers of the class activation map, then the logit."""
    found = cam.cam(FEATURES, WEIGHTS)
    return [*found.ravel().tolist(), float(found.mean()) + BIAS]


def raised() -> list[float]:
    """The four numbers of Grad-CAM, whose derivative is the same at every place."""
    places = FEATURES.shape[2] * FEATURES.shape[3]
    gradient = np.broadcast_to(WEIGHTS[..., None, None] / places, FEATURES.shape)
    found: list[float] = cam.gradcam(FEATURES, gradient).ravel().tolist()
    return found


EXERCISES = {
    (9, 1): Exercise(
        "a list of five numbers: the map's four, row by row, then the logit",
        class_map,
        lambda: [
            Mistake(class_map()[4] - BIAS, "you forgot the bias.", part=4),
            Mistake(sum(class_map()[:4]) + BIAS, "the logit has the mean of the map, not its sum.", part=4),
            Mistake(sum(class_map()[:4]), "the logit has the mean of the map, not its sum; and then the bias.", part=4),
            Mistake([abs(v) for v in class_map()], "the second channel's weight is negative."),
            Mistake([value + BIAS for value in class_map()[:4]] + class_map()[4:], "the bias belongs to no place."),
        ],
        "at each place: the first channel times its weight, plus the second channel times its own.",
        THREE_DIGITS,
    ),
    (9, 2): Exercise(
        "a list of four numbers, row by row",
        raised,
        lambda: [
            Mistake(class_map()[:4], "that is the class activation map: what is the derivative by one number of it?"),
            Mistake(np.maximum(class_map()[:4], 0), "the logit has the mean: a derivative by one place is that much smaller."),
            Mistake(np.array(class_map()[:4]) / 4, "Grad-CAM ends with a ReLU."),
            Mistake(np.maximum(class_map()[:4], 0) / 2, "divide by how many places there are, not by the channels."),
        ],
        "each channel's weight is the mean of its derivatives; sum the weighted channels, and cut off what is negative.",
        THREE_DIGITS,
    ),
    (9, 3): Exercise(
        "a number",
        lambda: (7 - 0.5) - (5 + 0.5),
        lambda: [
            Mistake(7 - 5, "those are the logits: each has its bias in it, which is in no map."),
            Mistake((7 + 0.5) - (5 - 0.5), "a logit is the mean plus the bias: take the bias away."),
            Mistake((5 + 0.5) - (7 - 0.5), "the class less its rival, not the reverse."),
        ],
        "the mean of each map first, then their difference.",
        THREE_DIGITS,
    ),
}
