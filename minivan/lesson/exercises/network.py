"""Exercises of lessons 4 to 6: the gate, a block and a stage, a photo through the network."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ... import lka, summary, variants
from ...geometry import CONV0, CONV_SPATIAL, DWCONV, stage_sizes, stage_stride
from .exercise import THREE_DIGITS, Exercise, Mistake

Floats: TypeAlias = npt.NDArray[np.float64]
U, A = np.array([1.0, 2, -1]), np.array([0.5, -1, 3])


def sigmoid(x: Floats) -> Floats:
    squeezed: Floats = 1 / (1 + np.exp(-x))
    return squeezed


def gate_mistakes() -> list[Mistake]:
    return [
        Mistake(U * sigmoid(A), "that is what a sigmoid would let through.", part=0),
        Mistake(U + A, "the gate multiplies; it does not add.", part=0),
        Mistake(A, "that is the attention: the gate multiplies u by it.", part=0),
        Mistake(sigmoid(A), "that is the sigmoid of the attention: now multiply u by it.", part=1),
        Mistake(sigmoid(U * A), "the sigmoid is on the attention alone, before the product.", part=1),
        Mistake(sigmoid(U) * A, "the sigmoid is on the attention, not on u.", part=1),
        Mistake(U * A, "and where is the sigmoid?", part=1),
    ]


def dearer_from(scores: int = 2) -> int:
    """The first side of a map whose self-attention, with this many N x N x C products, costs more than a dense 21 x 21."""
    C = 64
    return next(n for n in range(1, 999) if 4 * n**2 * C**2 + scores * n**4 * C > lka.dense_parameters(C, 21) * n**2)


def b0_shapes(height: int = 256, width: int = 320) -> list[tuple[int, int, int]]:
    config = variants.variant("b0")
    return [(C, *size) for C, size in zip(config.dims, stage_sizes(config.stages, height, width), strict=True)]


def parameters_of_a_block(C: int = 32, ratio: int = 8) -> dict[str, int]:
    hidden, taps = ratio * C, CONV0.taps + CONV_SPATIAL.taps
    return {
        "weights": 3 * C * C + taps * C + 2 * C * hidden + DWCONV.taps * hidden,
        "biases": 5 * C + 2 * hidden + C,
        "batch norms": 2 * 2 * C,
        "layer scales": 2 * C,
    }


def block_mistakes() -> list[Mistake]:
    parts, C = parameters_of_a_block(), 32
    total = sum(parts.values())
    return [
        Mistake(total - parts["biases"], "you forgot the biases: every convolution has one for each channel that it makes."),
        Mistake(total - parts["batch norms"], "you forgot the BatchNorms, or the layer scales and a BatchNorm."),
        Mistake(total - parts["layer scales"], "count the BatchNorms and the layer scales again: two of each."),
        Mistake(parts["weights"], "those are the weights: biases, BatchNorms and layer scales are asked for, too."),
        Mistake(total - parts["layer scales"] // 2, "there are two layer scales."),
        Mistake(total - C * C - C, "there are three pointwise layers in the attention: one before LKA, one in it, one after."),
        Mistake(total - 2 * (C * C + C), "there are three pointwise layers in the attention: two stand around LKA."),
        Mistake(total + parts["batch norms"], "running means and variances are no parameters: training averages them."),
    ]


def ten_times_b0() -> str:
    work = {name: summary.totals(summary.summarise(config))[1] for name, config in variants.VARIANTS.items()}
    return next(name for name in work if work[name] > 10 * work["b0"])


EXERCISES = {
    (4, 1): Exercise(
        "two lists of three numbers: (with the gate, with a sigmoid)",
        lambda: (U * A, U * sigmoid(A)),
        gate_mistakes,
        "number by number: u times a; then u times 1 / (1 + exp(-a)).",
        THREE_DIGITS,
    ),
    (4, 2): Exercise(
        "a whole number",
        dearer_from,
        lambda: [
            Mistake(dearer_from() ** 2, "that is a number of positions: the side is asked for."),
            Mistake(437 * 64 // 2 + 1, "that is a number of positions: the side is asked for."),
            Mistake(dearer_from(1), "all places are scored against all, and then all values weighted: that is done twice."),
        ],
        "4 N C^2 + 2 N^2 C against 441 N C^2, N being the side squared.",
    ),
    (4, 3): Exercise(
        "a whole number",
        lambda: 2 ** (2**3),
        lambda: [
            Mistake(2**3, "that is three convolutions: a gate multiplies its input by something made of its input."),
            Mistake(4, "that is one gate."),
            Mistake(16, "that is two gates."),
            Mistake(4**3, "the second gate meets an input that is four times as large already, not twice."),
            Mistake(12, "factors multiply, they do not add."),
        ],
        "what does one gate make of twice its input, and what of that does the next one?",
    ),
    (5, 1): Exercise(
        "a list of four shapes (C, H, W)",
        b0_shapes,
        lambda: [
            Mistake([(C, W, H) for C, H, W in b0_shapes()], "height comes before width."),
            Mistake([(H, W, C) for C, H, W in b0_shapes()], "the channels come first: (C, H, W)."),
            Mistake([(1, *shape) for shape in b0_shapes()], "without the N: (C, H, W)."),
            Mistake([(C, 2 * H, 2 * W) for C, H, W in b0_shapes()], "the first stage divides the sides by 4, not by 2."),
            Mistake(
                [(C, 256 // 4**i, 320 // 4**i) for i, (C, _, _) in enumerate(b0_shapes(), start=1)],
                "only the first stage divides the sides by 4; the others by 2.",
            ),
        ],
        "the first stage divides both sides by 4, each other one by 2; B0 has 32, 64, 160, 256 channels.",
    ),
    (5, 2): Exercise(
        "a whole number",
        lambda: sum(parameters_of_a_block().values()),
        block_mistakes,
        "three pointwise layers and two depthwise ones in the attention; fc1, a 3 x 3 depthwise, fc2 in the MLP; the rest.",
    ),
    (5, 3): Exercise(
        "a variant's name",
        ten_times_b0,
        lambda: [
            Mistake("b2", "that one has fewer than ten times."),
            Mistake("b4", "that one has more than ten times, but it is not the first."),
            Mistake("b5", "that one has more than ten times, but it is not the first."),
            Mistake("b6", "that one has more than ten times, but it is not the first."),
        ],
        "look at the column of multiply-adds above, not at the one of parameters.",
    ),
    (6, 1): Exercise(
        "a whole number of pixels",
        lambda: 7 * stage_stride(4),
        lambda: [
            Mistake(7, "that is the side of the map: the photo's is asked for."),
            Mistake(49, "a map of 49 positions is 7 wide."),
            Mistake(49 * stage_stride(4), "a map of 49 positions is 7 wide."),
            Mistake(7 * stage_stride(3), "the last stage works at 1/32 of the photo's side."),
        ],
        "how wide is a square map of 49 positions, and how many pixels wide is each of them?",
    ),
    (6, 2): Exercise(
        "two numbers: (logit, logit with the right half zero)",
        lambda: (7.25 - 0.5, 7.25 / 2 - 0.5),
        lambda: [
            Mistake((7.25, 7.25 / 2), "you forgot the bias."),
            Mistake((7.25 + 0.5, 7.25 / 2 + 0.5), "the bias is negative."),
            Mistake((7.25 - 0.5) / 2, "the bias is no place of the map: it is not halved.", part=1),
            Mistake(7.25 - 0.5, "zeros count in the mean as places do.", part=1),
            Mistake(-0.5, "only the right half is zero.", part=1),
        ],
        "a logit is the mean of its map over all places, plus the bias.",
        THREE_DIGITS,
    ),
    (6, 3): Exercise(
        "a number",
        lambda: math.exp(3),
        lambda: [
            Mistake(2, "logits are not probabilities: softmax takes their exponentials first."),
            Mistake(3, "that is the difference of the logits: what does softmax make of it?"),
            Mistake(math.exp(-3), "upside down: the first is the more probable one."),
            Mistake(10**3, "softmax uses e, not 10."),
            Mistake(2**3, "softmax uses e, not 2."),
        ],
        "both exponentials are divided by the same sum.",
        0.01,
    ),
}
