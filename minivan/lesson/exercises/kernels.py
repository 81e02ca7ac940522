"""Exercises of lessons 1 to 3: one convolution, its cheap relatives, and the three steps made of them."""

from __future__ import annotations

from ... import lka
from ...geometry import CONV_SPATIAL, LARGE_KERNEL, PATCH_EMBEDS, Kernel, output_side
from .exercise import THREE_DIGITS, Exercise, Mistake

FIRST = PATCH_EMBEDS[0]  # VAN's first layer: 7 x 7, stride 4, padding 3
SIDES = ((224, 7, 4, 3, 1), (56, 3, 2, 1, 1), (56, 7, 1, 9, 3), (30, 5, 1, 0, 1), (31, 3, 2, 0, 2))


def side_after(side: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    return output_side(side, Kernel(kernel, stride, padding, dilation))


def sides_mistakes() -> list[Mistake]:
    return [
        Mistake(lambda n, k, s, p, d: side_after(n, k, s, 0, d), "you forgot the padding."),
        Mistake(lambda n, k, s, p, d: (n + p - d * (k - 1) - 1) // s + 1, "the padding is on both sides."),
        Mistake(lambda n, k, s, p, d: side_after(n, k, s, p, 1), "you forgot the dilation: the weights lie apart."),
        Mistake(lambda n, k, s, p, d: (n + 2 * p - d * k) // s + 1, "k weights that lie d apart have k - 1 gaps, not k."),
        Mistake(lambda n, k, s, p, d: (n + 2 * p - d * (k - 1) - 1) / s + 1, "a side is a whole number: round down."),
        Mistake(lambda n, k, s, p, d: -(-(n + 2 * p - d * (k - 1) - 1) // s) + 1, "the last jump has to fit: round down."),
        Mistake(lambda n, k, s, p, d: (n + 2 * p - d * (k - 1) - 1) // s, "off by one: without any jump there is one output."),
        Mistake(lambda n, k, s, p, d: side_after(n, k, 1, p, d), "you forgot the stride: the kernel jumps."),
    ]


def first_layer(inputs: int = 3, outputs: int = 32, taps: int = FIRST.taps, side: int | None = None) -> int:
    side = output_side(224, FIRST) if side is None else side
    return inputs * outputs * taps * side * side


def best_for_35() -> tuple[int, int]:
    d = lka.best_dilation(35)
    return d, lka.support(35, d)


def two_bills() -> tuple[int, int]:
    positions = 56 * 56
    lka_weights = lka.lka_parameters(64, LARGE_KERNEL, CONV_SPATIAL.dilation)
    return lka_weights * positions, lka.dense_parameters(64, LARGE_KERNEL) * positions


def two_bills_mistakes() -> list[Mistake]:
    ours, dense = two_bills()
    positions, C = 56 * 56, 64
    return [
        Mistake((dense, ours), "the two are in the other order."),
        Mistake((ours // positions, dense // positions), "these are the weights: each works once at every position."),
        Mistake((2 * ours, 2 * dense), "you counted operations: a product and its addition are one multiply-add."),
        Mistake(ours - C * C * positions, "you forgot the third step of LKA, which mixes the channels.", part=0),
        Mistake(ours + C * C * positions, "the mixing step of LKA is there once.", part=0),
        Mistake(dense // C, "dense: each new channel reads all the old ones.", part=1),
    ]


def rows_with_d_2() -> list[int]:
    """Rows whose far weights, 2 apart, land on row -1, the one row outside that a 3 x 3 still fills."""
    offsets = lka.tap_offsets(11, 2)
    return [row for row in range(40) if -1 in row + offsets]


EXERCISES = {
    (1, 1): Exercise(
        "a function of (side, kernel, stride, padding, dilation) that returns a whole number",
        lambda: side_after,
        sides_mistakes,
        "how far apart are the first and the last weight, and how many jumps fit into what is left?",
        cases=SIDES,
    ),
    (1, 2): Exercise(
        "a whole number",
        first_layer,
        lambda: [
            Mistake(first_layer(inputs=1), "you forgot that it reads 3 channels."),
            Mistake(first_layer(outputs=1), "you forgot that it makes 32 channels."),
            Mistake(first_layer(taps=FIRST.side), "a 7 x 7 kernel has 7 x 7 weights, not 7."),
            Mistake(first_layer(side=224), "count the positions of the output, not those of the photo."),
            Mistake(2 * first_layer(), "you counted operations: a product and its addition are one multiply-add."),
            Mistake(first_layer(side=1), "that is at one position: how many are there?"),
        ],
        "positions of the output, times the weights that make one number, times the channels that are made.",
    ),
    (1, 3): Exercise(
        "a number",
        lambda: 1 / 9,
        lambda: [
            Mistake(1 / 81, "that is one way from the middle to the middle: how many ways are there?"),
            Mistake(1 / 25, "not all 25 weights are equal: more ways lead to the middle than to a corner."),
            Mistake(1.0, "each step divides by 9: two divisions, and how many ways?"),
        ],
        "the middle of the first blur's nine copies: how many of them cover it, and what does each weigh?",
        THREE_DIGITS,
    ),
    (2, 1): Exercise(
        "a number",
        lambda: lka.dense_parameters(64, 7) / lka.mobilenet_parameters(64, 7),
        lambda: [
            Mistake(lka.mobilenet_parameters(64, 7) / lka.dense_parameters(64, 7), "upside down: which has more weights?"),
            Mistake(64, "you forgot the pointwise kernel, or its size: C x C."),
            Mistake(lka.dense_parameters(64, 7) / 64**2, "you forgot the depthwise kernel."),
        ],
        "three counts: C x C x 49; C x 49; C x C.",
        0.01,
    ),
    (2, 2): Exercise(
        "a whole number",
        lambda: 4,
        lambda: [
            Mistake(3, "three weights have two gaps between them, not three."),
            Mistake(6, "the weights themselves take room in the span, too; and which span goes from end to end?"),
            Mistake(8, "that is from the first weight to the last: how many steps are on the way?"),
        ],
        "a kernel of k weights that lie d apart spans d (k - 1) + 1 positions.",
    ),
    (2, 3): Exercise(
        "a share, a number from 0 to 1",
        lambda: 3 / 4,
        lambda: [
            Mistake(1 / 4, "that is the share that is read: the others are asked for."),
            Mistake(8 / 9, "that is for dilation 3."),
            Mistake(1 / 2, "every second row and every second column: both count."),
        ],
        "draw four by four pixels and mark those in every second row and column.",
        THREE_DIGITS,
    ),
    (3, 1): Exercise(
        "two whole numbers: (d, positions)",
        best_for_35,
        lambda: [
            Mistake(5, "as cheap as another d: where two tie, take the smaller.", part=0),
            Mistake(lka.best_dilation(35, lka.tiling_weights), "that is for near kernels d wide, not 2d - 1.", part=0),
            Mistake(3, "that is the best for K = 21.", part=0),
            Mistake(35, "that is the nominal K, not what is really read: both kernels reach.", part=1),
            Mistake(lka.support(35, 4) - lka.local_side(4) + 1, "the far kernel alone: the near one reaches, too.", part=1),
            Mistake(best_for_35()[1] ** 2, "how wide, not how many positions.", part=1),
        ],
        "the fewest weights of ceil(35/d)^2 + (2d - 1)^2; then how far both kernels reach, one after the other.",
    ),
    (3, 2): Exercise(
        "two whole numbers: (LKA, dense)",
        two_bills,
        two_bills_mistakes,
        "the weights of each, times the positions of the map.",
    ),
    (3, 3): Exercise(
        "a list of rows, counted from 0",
        rows_with_d_2,
        lambda: [
            Mistake([row + 1 for row in rows_with_d_2()], "rows are counted from 0."),
            Mistake(list(range(10)), "from every second of these rows the weights step over row -1."),
            Mistake(list(range(0, 10, 2)), "from these rows the weights step over row -1."),
            Mistake([*rows_with_d_2(), 11], "how far up does the kernel reach from row 11?"),
        ],
        "outside the map only row -1 holds something that a 3 x 3 has put there: from which rows does a weight land on it?",
    ),
}
