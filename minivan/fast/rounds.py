"""How a batch is divided among threads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..geometry import stage_stride

SOLO_IMAGES = 4  # images that a thread takes through the network at once
SOLO_POSITIONS = 4 * 56 * 56  # and positions of the first stage: larger images are shared by the team


class Portion(NamedTuple):
    """Some images of a batch, `first` and those after it, and how many threads compute them together."""

    first: int
    images: int
    threads: int


def rounds(images: int, height: int, width: int, threads: int) -> Iterator[list[Portion]]:
    """Yield what happens at once: a list of portions.

    While every thread can have images of its own, it does, and never waits for another; what is left over, and images too
    large to have several in memory at once, is computed by all threads together.
    """
    stride = stage_stride(1)
    positions = (height // stride + 1) * (width // stride + 1)  # or a few fewer
    alone = max(1, min(SOLO_IMAGES, SOLO_POSITIONS // positions)) if positions <= SOLO_POSITIONS else 0
    first = 0
    while first < images:
        left = images - first
        each = min(alone, left // threads)
        if each and threads > 1:
            yield [Portion(first + i * each, each, 1) for i in range(threads)]
            first += each * threads
        else:
            count = min(max(alone, 1), left)
            yield [Portion(first, count, threads)]
            first += count
