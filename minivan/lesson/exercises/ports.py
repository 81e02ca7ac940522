"""Exercises of lessons 7 and 8: the same sums in less time, and a port's errors."""

from __future__ import annotations

import math

import numpy as np

from ... import lka, summary, variants
from ...geometry import CONV_SPATIAL
from .exercise import THREE_DIGITS, Exercise, Mistake

MEBIBYTE = 2**20


def milliseconds(gflops: float = 100) -> float:
    """What VAN-B0 takes for an image at 224 x 224, two operations for each multiply-add."""
    return 1000 * 2 * summary.totals(summary.summarise(variants.variant("b0")))[1] / (gflops * 1e9)


def rows_that_fit(bytes_each: int = 4, channels: int = 512, width: int = 28) -> int:
    return MEBIBYTE // (channels * width * bytes_each)


def steps_between(low: float, high: float) -> int:
    """How many steps lead from one float32 number to a larger one, both positive: their bits count up."""
    return int(np.float32(high).view(np.int32)) - int(np.float32(low).view(np.int32))


def shrunk(power: float = 0.5, variance: float = 0.01) -> float:
    return float(((variance + 1e-6) / (variance + 1e-5)) ** power)


EXERCISES = {
    (7, 1): Exercise(
        "a number",
        lambda: float(lka.taps_on_map(CONV_SPATIAL.side, CONV_SPATIAL.dilation, 2).mean() ** 2),
        lambda: [
            Mistake(4, "that is how many positions the map has: the weights lie 3 apart."),
            Mistake(CONV_SPATIAL.taps, "most of the weights land outside."),
            Mistake(CONV_SPATIAL.side, "most of the weights land outside."),
            Mistake(0, "the middle weight lands on the position itself."),
        ],
        "lay the kernel's row over a map two positions wide: which weights land on it?",
        THREE_DIGITS,
    ),
    (7, 2): Exercise(
        "a number of milliseconds",
        milliseconds,
        lambda: [
            Mistake(milliseconds() / 2, "a multiply-add is two operations."),
            Mistake(milliseconds() / 1000, "those are seconds: milliseconds are asked for."),
            Mistake(milliseconds() * 1000, "those are microseconds: milliseconds are asked for."),
        ],
        "two operations for each multiply-add, divided by the operations in a second.",
        THREE_DIGITS,
    ),
    (7, 3): Exercise(
        "a whole number of rows",
        rows_that_fit,
        lambda: [
            Mistake(MEBIBYTE / (512 * 28 * 4), "whole rows: round down."),
            Mistake(MEBIBYTE // (512 * 28), "a 32-bit number takes 4 bytes."),
            Mistake(MEBIBYTE // (512 * 28 * 32), "32 bits are 4 bytes."),
            Mistake(MEBIBYTE // (28 * 4), "a row has 512 channels at each of its positions."),
            Mistake(rows_that_fit() + 1, "that many do not fit any more: round down."),
            Mistake(10**6 // (512 * 28 * 4), "MiB is 1,048,576 bytes, not a million."),
        ],
        "how many bytes has one row: positions, channels, bytes for each number?",
    ),
    (8, 1): Exercise(
        "a number: error divided by signal",
        lambda: 10 ** (-60 / 20),
        lambda: [
            Mistake(10 ** (-60 / 10), "20 dB, not 10, are a factor of ten in size: 10 dB are one in power."),
            Mistake(10 ** (60 / 20), "upside down: the error is the smaller one."),
            Mistake(1 / 60, "decibels are logarithms."),
            Mistake(1 / 3, "three times 20 dB are three factors of ten."),
        ],
        "20 dB are a factor of ten: how many of them are 60 dB?",
        THREE_DIGITS,
    ),
    (8, 2): Exercise(
        "a whole number",
        lambda: steps_between(1.0, 1.0001),
        lambda: [
            Mistake(round(0.0001 * 2**24), "between 1 and 2 the steps are 2^-23, not 2^-24."),
            Mistake(0.0001 * 2**23, "a whole number: 1.0001 is rounded to a 32-bit number, too."),
            Mistake(round(0.0001 / 2**-52), "that is for 64-bit numbers."),
            Mistake(round(0.0001 * 2**22), "between 1 and 2 the steps are 2^-23, not 2^-22."),
        ],
        "32-bit numbers from 1 to 2 have 23 bits behind the point.",
    ),
    (8, 3): Exercise(
        "a number",
        shrunk,
        lambda: [
            Mistake(shrunk(1), "you forgot the root: LayerNorm divides by the square root of variance + eps."),
            Mistake(shrunk(-0.5), "upside down: the larger eps makes the output smaller."),
            Mistake(math.sqrt(1e-6 / 1e-5), "eps stands beside the variance, not alone."),
            Mistake(shrunk(0.5, 0.01**2), "0.01 is the variance already, not its root."),
            Mistake(1, "nearly: by how much? Give six digits."),
        ],
        "LayerNorm divides by sqrt(variance + eps): divide the one form by the other, and give six digits.",
        2e-6,
    ),
}
