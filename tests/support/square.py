"""A small network whose second stage has as many positions as channels, at 64 pixels, as VAN-B0 has."""

import functools

from minivan import seeded
from minivan.oracle import trace
from minivan.van import VAN
from minivan.variants import Config

SIDES = Config((8, 64, 16), (1, 1, 1), (1, 1, 1), classes=5)
TENSORS = seeded.tensors(SIDES)
IMAGES = seeded.images((2, 3, 64, 64))


@functools.cache
def square_trace() -> trace.Trace:
    return trace.record(VAN(SIDES, TENSORS), IMAGES)


def square_run(engine, hook):
    VAN(SIDES, TENSORS, engine)(hook("input", IMAGES), hook)
