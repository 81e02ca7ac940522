"""The buffers that the engine `fast` works in: none overlaps another, and all lie in the room that a place keeps alive."""

import gc
import itertools
import os
import subprocess
import sys
import weakref

import numpy as np
import pytest
from support import ROOT

from minivan.fast.addresses import ALIGNMENT, address_of
from minivan.fast.lanes import SHAPES, TILE_ROWS, TILES, Dots16, Lanes8, Lanes16, Rounded8, Tiles16, host_lanes
from minivan.fast.pack import pack
from minivan.fast.rounds import Portion, at_once, rounds
from minivan.fast.workspace import Workspace, sizes_of
from minivan.variants import VARIANTS, Config, parameter_shapes

SMALL = Config((8, 16, 24, 32), (1, 1, 1, 1), (8, 8, 4, 4), classes=10)


def workspace(config, shape):
    tensors = {name: np.ones(size, np.float32) for name, size in parameter_shapes(config)}
    return Workspace(config, pack(config, tensors, shape), shape)


@pytest.mark.parametrize("lanes", [Lanes16, Lanes8, Dots16, Tiles16, Rounded8])
@pytest.mark.parametrize(
    ("portions", "size"),
    [([Portion(0, 1, 1)], (32, 32)), ([Portion(2, 3, 4)], (224, 224)), ([Portion(0, 2, 1), Portion(2, 2, 1)], (70, 93))],
    ids=str,
)
def test_buffers_lie_in_the_room_one_behind_the_other(lanes, portions, size):
    shape, images = SHAPES[lanes], portions[-1].first + portions[-1].images
    x, logits = np.zeros((images, 3, *size), np.float32), np.zeros((images, 10), np.float32)
    work = workspace(SMALL, shape)
    spans = []
    for portion, place in zip(portions, work.places(portions, x, logits), strict=True):
        sizes = sizes_of(SMALL, shape, portion._replace(first=0), *size)
        assert len(place.members) == portion.threads
        assert address_of(place.x) == address_of(x[portion.first :])
        assert address_of(place.logits) == address_of(logits[portion.first :])
        maps = place.members[0]["maps"][0]
        spans += [(maps[name], floats) for name, floats in sizes.maps._asdict().items()]
        for rank, (member,) in enumerate(place.members):
            assert member["rank"] == rank
            assert member["size"] == portion.threads
            assert member["counter"] == place.counter.ctypes.data
            assert member["maps"] == maps
            spans += [(member["scratch"][name], floats) for name, floats in sizes.scratch._asdict().items()]
    room = place.room
    spans.sort()
    assert all(at % ALIGNMENT == 0 for at, _ in spans)
    assert all(at + floats <= after for (at, floats), (after, _) in itertools.pairwise(spans))
    assert address_of(room) <= spans[0][0]
    assert sum(spans[-1]) <= address_of(room) + room.size


def test_a_place_keeps_alive_what_its_addresses_point_to():
    work = workspace(SMALL, SHAPES[Lanes8])
    x, logits = np.zeros((1, 3, 32, 32), np.float32), np.zeros((1, 10), np.float32)
    (place,) = work.places([Portion(0, 1, 2)], x, logits)
    jobs = place.jobs(Lanes8())
    assert [job[-3:] for job in jobs] == [(address_of(x), (1, 32, 32), address_of(logits))] * 2
    kept = [weakref.ref(array) for array in (x, logits, place.room.base, place.counter, work.packed.weights.base)]
    del work, x, logits, jobs
    gc.collect()
    assert all(array() is not None for array in kept)
    del place
    gc.collect()
    assert [array() for array in kept] == [None] * len(kept)


def test_the_room_grows_to_the_largest_call_and_is_used_again():
    work = workspace(SMALL, SHAPES[Lanes8])

    def room(images, side):
        x, logits = np.zeros((images, 3, side, side), np.float32), np.zeros((images, 10), np.float32)
        return work.places([Portion(0, images, 1)], x, logits)[0].room

    first, larger = room(1, 32), room(2, 64)
    assert larger.size > first.size
    assert room(1, 32) is larger
    assert room(2, 64) is larger


@pytest.mark.parametrize("size", [64, 224, 384])
def test_teams_take_no_more_memory_than_threads_with_images_of_their_own(size):
    def floats(teams):
        return sum(sizes_of(VARIANTS["b0"], SHAPES[Lanes8], t._replace(first=0), size, size).total(t.threads) for t in teams)

    for threads in (4, 9, 16):
        (alone,) = rounds(threads * at_once(size, size), size, size, threads)
        assert {team.threads for team in alone} == {1}
        assert all(floats(teams) <= floats(alone) for n in range(2, threads) for teams in rounds(n, size, size, threads))


def test_sizes_follow_the_largest_stage():
    sizes = sizes_of(VARIANTS["b0"], SHAPES[Lanes8], Portion(0, 1, 1), 224, 224)
    assert sizes.maps.x >= 32 * 56 * 56
    assert sizes.maps.features >= 32 * 56 * 56 + 64 * 28 * 28 + 160 * 14 * 14 + 256 * 7 * 7
    assert sizes.tilings["height"].tolist() == [56, 28, 14, 7]


@pytest.mark.skipif(sys.platform != "linux", reason="pages are guarded by Linux's calls")
@pytest.mark.parametrize(
    "lanes", [type(host_lanes()).__name__, pytest.param("SoftTiles16", marks=[pytest.mark.slow, pytest.mark.once])]
)
def test_no_thread_reaches_beyond_a_buffer(lanes):
    """Each buffer ends where memory ends, and holds NaN before it is written."""
    command = [sys.executable, str(ROOT / "tests" / "support" / "guarded.py"), lanes]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "sound\n"), done.stderr


def test_tiles_may_read_as_many_positions_as_they_have_rows():
    assert all(shape.overread >= TILE_ROWS for shape in SHAPES.values() if shape.operands == TILES)
    assert all(shape.overread >= shape.rows for shape in SHAPES.values())
