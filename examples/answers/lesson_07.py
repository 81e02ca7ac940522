"""Answers to lesson 7, making it fast."""

from minivan import lka
from minivan.geometry import CONV_SPATIAL


def exercise_1():
    """The weights are 3 apart and the map is 2 wide: only the middle one can meet it."""
    line = lka.taps_on_map(CONV_SPATIAL.side, CONV_SPATIAL.dilation, 2)
    return line.mean() ** 2


def exercise_2():
    """Two operations a multiply-add: 1.728 G operations at 100 G a second."""
    return 1000 * 2 * 864_224_000 / 100e9


def exercise_3():
    """A row has 512 * 28 numbers of 4 bytes, 56 KiB; 18 of them fit."""
    return 2**20 // (512 * 28 * 4)
