"""Neck and head as `fast` computes them: against the definition, on every vector width, and in other threads and batches."""

import itertools
import threading

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import ROOT
from support.compare import assert_bit_equal, assert_close
from support.networks import images, random_tensors
from tolerances import FAST, WINOGRAD

from minivan import fpn, initial, ops, paths, reference, seeded
from minivan.engines import FAST as ENGINE
from minivan.fast import fpn_plan
from minivan.fast.addresses import ALIGNMENT, address_of
from minivan.fast.fpn_plan import FPNPlan, run_fpn, sizes_of
from minivan.fast.lanes import PAIR, SHAPES, Lanes4, Lanes8, Lanes16, Plain, host_lanes
from minivan.fast.rounds import Portion
from minivan.geometry import stage_sizes
from minivan.hooks import Hook
from minivan.van import VAN
from minivan.variants import VARIANTS, Config

WIDTHS = [
    pytest.param(
        lanes,
        marks=[] if type(lanes) is type(host_lanes()) else pytest.mark.slow if type(lanes) is Lanes8 else pytest.mark.once,
    )
    for lanes in (Lanes16(), Lanes8(), Lanes4(), Plain())
]
SMALL = Config((8, 16, 24, 32), (1, 1, 1, 1), (2, 2, 2, 2), classes=10)


def head_tensors(config):
    return seeded.filled(fpn.parameter_shapes(config))


def on_maps(plan, maps, threads=2):
    """Run neck and head alone, on maps laid where the backbone would have left them; as many images at once as there are."""
    count, (height, width) = len(maps[0]), maps[0].shape[2:]
    x, none = np.zeros((count, 3, 4 * height, 4 * width), np.float32), np.zeros((count, 0), np.float32)
    (place,) = plan._workspace.places([Portion(0, count, plan._team.gather(threads))], x, none)
    at, v = int(place.members[0]["maps"]["features"][0]) - address_of(place.room), plan.shape.lanes
    for values, stage in zip(maps, place.packed.stages, strict=True):
        blocks, (n, c, h, w) = PAIR * int(stage["pairs"]), values.shape
        whole = np.zeros((n, blocks * v, h, w), np.float32)
        whole[:, :c] = values
        place.room[at : at + whole.size] = whole.reshape(n, blocks, v, h, w).transpose(1, 0, 3, 4, 2).ravel()
        at += whole.size
    logits = np.full((count, plan.fpn_config.classes, height, width), np.nan, np.float32)
    work = plan._maps.place(place, logits)
    plan._team.run(run_fpn, work.jobs(plan.lanes), lambda: None)
    return logits


def defined(config, tensors, maps, hook=None):
    """What minivan/fpn.py computes on the operators of `exact`."""
    return fpn.segment(ops, Hook(hook), maps, paths.nested(tensors), config)


def maps_of(config, count, height, width, seed=0):
    """Return maps of a backbone for images of a size."""
    rng = np.random.default_rng(seed)
    sizes = stage_sizes(4, height, width)
    return [rng.normal(size=(count, c, *size)).astype(np.float32) for c, size in zip(config.dims, sizes, strict=True)]


@settings(max_examples=10)
@given(st.integers(1, 70), st.integers(1, 40), st.integers(1, 40), st.integers(1, 2), st.integers(32, 70), st.integers(32, 70))
@example(8, 4, 1, 3, 32, 32)
@example(40, 33, 5, 1, 64, 96)  # multiples of 32: no map is doubled beyond the finest
@example(8, 16, 3, 1, 36, 970)  # rows wider than a band
def test_logits_are_those_of_the_definition(channels, head_channels, classes, count, height, width):
    config = fpn.FPNConfig(SMALL.dims, channels, head_channels, classes)
    tensors, maps = head_tensors(config), maps_of(config, count, height, width, seed=height)
    plan = FPNPlan(SMALL, random_tensors(SMALL), config, tensors)
    assert_close("logits", on_maps(plan, maps), defined(config, tensors, maps), FAST)


@pytest.mark.parametrize("lanes", WIDTHS, ids=lambda lanes: type(lanes).__name__)
def test_every_vector_width_takes_images_of_any_size(lanes):
    config = fpn.FPNConfig(SMALL.dims, 33, 20, 9)
    tensors, head = random_tensors(SMALL), head_tensors(config)
    plan, exact = FPNPlan(SMALL, tensors, config, head, lanes), VAN(SMALL, tensors)
    for size in ((1, 64, 32), (2, 70, 93)):
        x = images(*size)
        assert_close(str(size), plan(x), defined(config, head, exact.features(x)), FAST)


def test_the_authors_channels():
    """256 in the neck, 128 in the head, ADE20K's 150 classes: more tiles than are computed at once."""
    backbone = Config(VARIANTS["b0"].dims, (1, 1, 1, 1), (1, 1, 1, 1), classes=0)
    config = fpn.FPNConfig(backbone.dims)
    tensors, maps = head_tensors(config), maps_of(config, 1, 32, 132)
    plan = FPNPlan(backbone, random_tensors(backbone), config, tensors)
    assert_close("b0", on_maps(plan, maps), defined(config, tensors, maps), FAST)


def test_winograds_rounding_errors_stay_small_with_many_channels_of_maps_far_from_zero():
    """Twice the authors' channels in the neck, as it is initialised; what lies far from zero cancels in the kernels' sums."""
    backbone = Config(VARIANTS["b6"].dims, (1, 1, 1, 1), (1, 1, 1, 1), classes=0)
    config = fpn.FPNConfig(backbone.dims, 512, 32, 20)
    tensors, maps = initial.fpn_tensors(config), maps_of(config, 1, 32, 48)
    for name, tensor in tensors.items():
        if "lateral_convs" in name and name.endswith("bias"):
            tensor += 100
        elif "fpn_convs" in name and name.endswith("weight"):
            tensor -= tensor.mean(axis=(1, 2, 3), keepdims=True)
    truth = fpn.segment(reference, Hook(), maps, paths.nested(tensors), config)
    assert_close("logits", on_maps(FPNPlan(backbone, random_tensors(backbone), config, tensors), maps), truth, WINOGRAD)


@pytest.mark.parametrize("lanes", WIDTHS, ids=lambda lanes: type(lanes).__name__)
def test_whole_numbers_come_out_bit_equal_to_the_definition(lanes):
    """One or two weights of 1 or -1 an output; BatchNorm divides by 1 or 2; the upsamplings' weights are sixteenths."""
    config = fpn.FPNConfig(SMALL.dims, 24, 40, 11, batch_norm_eps=0.0)
    rng, tensors = np.random.default_rng(5), {}
    for name, shape in fpn.parameter_shapes(config):
        values = rng.integers(-3, 4, shape)
        if len(shape) == 4:
            values = np.zeros(shape)
            for row in values.reshape(shape[0], -1):
                row[rng.integers(0, row.size, 2)] = rng.choice([-1, 1], 2)
        elif name.endswith("running_var"):
            values = rng.choice([1, 4], shape)
        elif name.endswith("bn.weight"):
            values = 2 * rng.choice([-1, 1], shape)
        tensors[name] = np.asarray(values, np.float32)
    maps = [np.round(3 * each) for each in maps_of(config, 2, 64, 160)]
    seen = []
    expected = defined(config, tensors, maps, lambda path, y: seen.append(np.abs(y).max()))
    assert max(seen) < 2**8  # with what three upsamplings and Winograd's kernels add below 1, all is exact in 24 bits
    assert len(np.unique(expected)) > 100
    plan = FPNPlan(SMALL, random_tensors(SMALL), config, tensors, lanes)
    assert_bit_equal("logits", on_maps(plan, maps), expected)
    maps[1][0, 3, 4, 9] = np.nan  # reaches as far by Winograd: what a kernel's zeros leave out, its transforms do too
    spoiled, missing = on_maps(plan, maps), np.isnan(defined(config, tensors, maps))
    assert 0 < missing[0].sum() < missing[0].size and not missing[1].any()
    assert_bit_equal("beside NaN", np.where(np.isnan(spoiled), 99, spoiled), np.where(missing, 99, expected))


def test_the_bits_depend_on_neither_threads_nor_batch(monkeypatch):
    config = fpn.FPNConfig(SMALL.dims, 40, 20, 5)
    plan, x = FPNPlan(SMALL, random_tensors(SMALL), config, head_tensors(config)), images(3, 70, 193)
    expected = plan(x)
    assert expected.shape == (3, 5, 18, 49) and expected.dtype == np.float32
    for threads in (1, 2, 3, 5):
        monkeypatch.setattr(fpn_plan, "thread_count", lambda threads=threads: threads)
        assert_bit_equal(f"{threads} threads", plan(x), expected)
        assert_bit_equal(f"{threads} threads, one image", plan(x[1:2]), expected[1:2])
    assert_bit_equal("all images at once", on_maps(plan, plan.features(x)), expected)
    assert plan(x[:0]).shape == (0, 5, 18, 49)


def test_it_is_loaded_where_this_machines_vectors_are(monkeypatch):
    """`auto` need not wait then: of another width's it would."""
    host, other = type(host_lanes()), Lanes4 if type(host_lanes()) is not Lanes4 else Plain
    for compiled, loaded in ((set(), False), ({other}, False), ({other, host}, True)):
        monkeypatch.setattr(run_fpn, "_functions", dict.fromkeys(compiled))
        assert fpn_plan.loaded() == loaded


def test_python_threads_share_one_plan_and_a_failure_leaves_it_usable(monkeypatch):
    config = fpn.FPNConfig(SMALL.dims, 8, 8, 3)
    plan = ENGINE.compile_fpn(SMALL, random_tensors(SMALL), config, head_tensors(config))
    inputs = [images(1 + i % 2, 40 + 7 * i, 60, seed=i) for i in range(4)]
    expected = [plan(x) for x in inputs]

    def fail(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setitem(run_fpn._functions, type(host_lanes()), fail)
        plan(inputs[0])
    wrong = []

    def call(i):
        wrong.extend(i for _ in range(5) if plan(inputs[i]).tobytes() != expected[i].tobytes())

    callers = [threading.Thread(target=call, args=(i,)) for i in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


@pytest.mark.parametrize("lanes", [Lanes16, Lanes8])
@pytest.mark.parametrize("size", [(64, 96), (75, 33)], ids=str)
def test_buffers_lie_in_the_room_one_behind_the_other(lanes, size):
    config = fpn.FPNConfig(SMALL.dims, 40, 20, 5)
    plan = FPNPlan(SMALL, random_tensors(SMALL), config, head_tensors(config), lanes())
    x, none, logits = images(1, *size), np.zeros((1, 0), np.float32), np.zeros((1, 5, 25, 25), np.float32)
    (place,) = plan._workspace.places([Portion(0, 1, 3)], x, none)
    work = plan._maps.place(place, logits)
    sizes = sizes_of(config, SHAPES[lanes], tuple(stage_sizes(4, *size)))
    spans = []
    for level, floats in zip(work.levels, sizes.levels, strict=True):
        spans += [(level[name], getattr(floats, name)) for name in ("lateral", "last", "doubled")]
    assert work.levels["apart"].tolist() == [0, *[size == (75, 33)] * 3]
    shared = work.workers[0]["shared"][0]
    spans += [(shared[name], floats) for name, floats in sizes.shared._asdict().items()]
    for (worker,) in work.workers:
        assert worker["shared"] == shared
        spans += [(worker["own"][name], floats) for name, floats in sizes.own._asdict().items()]
    spans.sort()
    assert all(at % ALIGNMENT == 0 for at, _ in spans)
    assert all(at + floats <= after for (at, floats), (after, _) in itertools.pairwise(spans))
    assert address_of(work.room) <= spans[0][0]
    assert sum(spans[-1]) <= address_of(work.room) + work.room.size
    assert plan._maps.place(place, logits).room is work.room


def test_the_memory_that_the_page_says():
    """Of maps that one image needs, by two threads: with the authors' channels, and of sides that are no multiples of 32."""
    page = " ".join((ROOT / "docs" / "engines.md").read_text(encoding="utf-8").split())
    for (height, width), said in (((384, 480), "some {} MB for 480 x 384 pixels"), ((360, 480), "{} for 480 x 360")):
        grids = tuple(stage_sizes(4, height, width))
        floats = sizes_of(fpn.FPNConfig(VARIANTS["b0"].dims), SHAPES[Lanes16], grids).total(2)
        assert said.format(round(4 * floats / 1e7) * 10) in page
