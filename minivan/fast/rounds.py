"""How a batch is divided among threads."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import isqrt
from typing import NamedTuple

from ..geometry import stage_stride

SOLO_IMAGES = 4  # images that a thread takes through the network at once
SOLO_POSITIONS = 4 * 56 * 56  # and positions of the first stage: larger images are shared by the team

# Both numbers come of a model on paper (benchmarks/scaling.py), which knows nothing of caches: no machine with so many cores
# was at hand. It was asked for VAN-B0 and B2 at 64 to 384 pixels, 2 to 16 images, 3 to 64 threads.
#
# How much of its even share of the threads each image has to get, so that a batch is divided among so many teams. The times,
# over those of one team of all threads: for 3/4 0.76 in the mean and 1.74 at most, for 7/8 and 9/10 0.75 and 1.39, for 1 0.81.
FAIR = 7 / 8
# Rows of the first stage's map, were it a square, to each thread of a team: with more threads the barriers cost more than the
# shares save. B0 is quickest on 10, 12, 20, 28 and 48 threads at 64, 96, 160, 224 and 384 pixels, and on 64 it would take 1.8
# times as long at 64 and 1.6 at 96. B2 is wider and could use more threads: this costs it 36 % at 64 pixels, 12 % at 96 and 6 %
# at 224.
ROWS = 2


class Portion(NamedTuple):
    """Some images of a batch, `first` and those after it, and how many threads compute them together."""

    first: int
    images: int
    threads: int


def at_once(height: int, width: int) -> int:
    """Return how many images of a size a thread takes through the network at once; 0 where they are too large for that."""
    positions = _positions(height, width)
    return max(1, min(SOLO_IMAGES, SOLO_POSITIONS // positions)) if positions <= SOLO_POSITIONS else 0


def _positions(height: int, width: int) -> int:
    """Return those of the first stage's map, or a few more."""
    stride = stage_stride(1)
    return (height // stride + 1) * (width // stride + 1)


def rounds(images: int, height: int, width: int, threads: int) -> Iterator[list[Portion]]:
    """Yield what happens at once: a list of portions.

    While every thread can have images of its own, it does, and never waits for another. What is left over is divided among
    teams, as many as there can be: the fewer threads meet at a barrier, the less they wait. Images too large to have several
    in memory at once are computed one by one, all threads together. There are never more images in a round than all threads
    would have of their own, so that teams take no more memory than that.
    """
    alone, first = at_once(height, width), 0
    while first < images:
        left = images - first
        each = min(alone, left // threads)
        if each and threads > 1:
            yield [Portion(first + i * each, each, 1) for i in range(threads)]
            first += each * threads
        else:
            teams = _teams(first, left, threads, alone)
            most = [max(1, isqrt(team.images * _positions(height, width)) // ROWS) for team in teams]
            yield [team._replace(threads=min(team.threads, limit)) for team, limit in zip(teams, most, strict=True)]
            first = teams[-1].first + teams[-1].images


def _teams(first: int, left: int, threads: int, alone: int) -> list[Portion]:
    """Divide the next of `left` images, and all threads, among as many teams as each image gets a fair share of threads in.

    `alone` is how many images a team may take; 0: there is one team, for one image.
    """
    for teams in range(min(left, threads) if alone else 1, 0, -1):
        images = min(left, teams * max(alone, 1))
        ends = [images * i // teams for i in range(teams + 1)]
        found = [Portion(first + a, b - a, threads * b // images - threads * a // images) for a, b in pairwise(ends)]
        if all(team.threads * images >= FAIR * threads * team.images for team in found):
            break
    return found
