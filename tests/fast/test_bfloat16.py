"""bfloat16 in the engine `fast`: what each way of multiplying gives, bit for bit, and what a network's answers are worth."""

import pickle
import threading

import numba
import numpy as np
import pytest
from numba import types
from support.bfloat16 import REFERENCE, cut, fused, numbers, rounded_bits, same_bits
from support.compare import assert_bit_equal, assert_close
from support.labelled import logits, photographs
from support.networks import images, random_tensors
from tolerances import BFLOAT16
from tolerances import FAST as FAST_TOLERANCE

import minivan
from minivan import fpn, labelled, ops, paths, seeded
from minivan.engines import AUTO, EXACT, FAST, FAST_BFLOAT16, NUMPY, Engine, find
from minivan.fast import Plan
from minivan.fast.addresses import address_of, aligned
from minivan.fast.bfloat16 import simd_round
from minivan.fast.halves import paired, rounded
from minivan.fast.lanes import (
    PAIR,
    PAIRS,
    SHAPES,
    Dots16,
    Lanes16,
    Rounded4,
    Rounded8,
    Rounded16,
    RoundedPlain,
    bfloat16_lanes,
    host_features,
)
from minivan.fast.maps import Map, Parameters, Part
from minivan.fast.matmul import added_to, matmul, multiplied, plain_sums
from minivan.fast.pack import pack
from minivan.fast.pointers import floats_at
from minivan.fast.simd import Emit, shape_of
from minivan.hooks import Hook
from minivan.jit import carray, intrinsic
from minivan.registers import flushing, put_back
from minivan.segmentation.card import SegmentationCard
from minivan.segmentation.network import SegmentationVAN
from minivan.van import VAN
from minivan.variants import Config

INSTRUCTION = [Dots16()] if "+avx512bf16" in host_features() else []  # where the processor has none, nobody can ask it
VECTORS = [*INSTRUCTION, Rounded16(), Rounded8(), Rounded4()]
HERE = bfloat16_lanes()
SMALL = Config((8, 16, 24, 32), (1, 2, 2, 1), (8, 8, 4, 4), classes=10)
ODD = Config((33, 50, 70), (1, 1, 2), (3, 2, 1), classes=7, layer_norm_eps=1e-5)
THIRTEEN, ONE = (Config(dims, (1,) * len(dims), (2,) * len(dims), 4, channels=c) for dims, c in (((8, 20), 13), ((40,), 1)))


def name(lanes):
    return type(lanes).__name__


@intrinsic()
def one_step(typing_context, lanes, x, w, sums):
    shape = shape_of(lanes)

    def emit(context, builder, signature, arguments):
        e = Emit(builder, shape.lanes)
        x, w, sums = (e.pointer(address) for address in arguments[1:])
        before = [e.load(sums, j * shape.lanes) for j in range(PAIR)]
        for j, after in enumerate(multiplied(e, shape, x, w, before)):
            e.store(after, sums, j * shape.lanes)
        return context.get_dummy_value()

    return types.void(lanes, x, w, sums), emit


@numba.njit
def steps(lanes, count, x, x_step, w, w_step, sums, sums_step):
    was = flushing()
    for i in range(count):
        one_step(lanes, x + i * x_step, w + i * w_step, sums + i * sums_step)
    put_back(was)


@pytest.mark.parametrize("lanes", [*INSTRUCTION, Rounded16(), Rounded8()], ids=name)
def test_two_products_are_added_one_after_the_other_as_the_instruction_does_it_bit_for_bit(lanes):
    """VDPBF16PS's text: the upper halves first, each sum rounded to nearest even, denormals flushed. Both ways against that."""
    rng, (v, pairs) = np.random.default_rng(1), (SHAPES[type(lanes)].lanes, SHAPES[type(lanes)].operands == PAIRS)
    count = 4000
    x, w, sums = (numbers(rng, (count, *size)) for size in ((2, 1), (2, 2 * v), (2 * v,)))
    x, w = cut(x), cut(w)
    expected = fused(x[:, 0], w[:, 0], fused(x[:, 1], w[:, 1], sums))
    assert 0.05 < np.isnan(expected).mean() < 0.3
    assert (expected == 0).mean() > 0.01
    assert not same_bits(fused(x[:, 1], w[:, 1], fused(x[:, 0], w[:, 0], sums)), expected)
    values, weights, total = aligned(2 * count), aligned(4 * v * count), aligned(2 * v * count)
    total[:] = sums.ravel()
    x_step, w_step = (1, 2 * v) if pairs else (2, 4 * v)
    for to, halves in ((values, x), (weights, w)):
        words = paired(np.moveaxis(rounded_bits(halves), 1, -1)) if pairs else halves if to is values else halves[:, ::-1]
        to[: words.size] = words.ravel()
    steps(lanes, count, address_of(values), x_step, address_of(weights), w_step, address_of(total), 2 * v)
    assert same_bits(total.reshape(count, 2 * v), expected)


@numba.njit
def plain_steps(lanes, count, x, w, sums):
    was = flushing()
    for i in range(count):
        plain_sums(lanes, Map(x + i * 8, 0, 1), w + i * 64, 0, 0, carray(floats_at(sums + i * 8), (8,)))
    put_back(was)


def test_without_vectors_products_of_all_kinds_of_numbers_are_added_likewise():
    """A block of 8 channels, four pairs one after the other, each sum through float64."""
    rng, count = np.random.default_rng(4), 2000
    x, w, sums = cut(numbers(rng, (count, 8, 1))), cut(numbers(rng, (count, 8, 8))), numbers(rng, (count, 8))
    x[:, 2:], w[:, 2:] = np.where(rng.random(count) < 0.7, 0, x[:, 2:].T).T, np.where(np.isfinite(w[:, 2:]), w[:, 2:], 1)
    expected = sums
    for channel in (1, 0, 3, 2, 5, 4, 7, 6):
        expected = fused(x[:, channel], w[:, channel], expected)
    assert 0.05 < np.isnan(expected).mean() < 0.5 and np.isinf(expected).any() and (expected == 0).mean() > 0.01
    values, weights, total = aligned(8 * count), aligned(64 * count), aligned(8 * count)  # of a pair's two blocks the first
    values[:], total[:] = x.ravel(), sums.ravel()
    pairs = paired(np.moveaxis(rounded_bits(w), 1, -1)).transpose(0, 2, 1)  # (count, steps, outputs)
    weights.reshape(count, 4, PAIR, 8)[:, :, 0] = pairs
    plain_steps(RoundedPlain(), count, address_of(values), address_of(weights), address_of(total))
    assert same_bits(total.reshape(count, 8), expected)


@numba.njit
def round_all(lanes, count, x, x_step, out, out_step):
    for i in range(count):
        simd_round(lanes, x + i * x_step, out + i * out_step)


@pytest.mark.parametrize("lanes", [*INSTRUCTION, Rounded8()], ids=name)
def test_numbers_are_rounded_to_the_nearest_bfloat16(lanes):
    """By the instruction, in vectors and in NumPy: to the nearer neighbour, of two the even one; denormals to zero."""
    values, shape = numbers(np.random.default_rng(2), 1 << 16), SHAPES[type(lanes)]
    values[:1024] = (rounded(values[:1024]).astype(np.uint32) << 16 | 0x8000).view(np.float32)  # halfway between two
    below = cut(values)
    with np.errstate(invalid="ignore"):
        down = np.abs(values.astype(np.float64) - below)
        up = np.abs(values.astype(np.float64) - (below.view(np.uint32) + 0x10000).view(np.float32))
        up = np.where(np.isinf(up), 2.0**128 - np.abs(values.astype(np.float64)), up)  # beyond the largest: 2^128, infinity
    odd = rounded_bits(below) & 1
    nearest = rounded_bits(below) + np.where((up < down) | ((up == down) & (odd == 1)), 1, 0).astype(np.uint16)
    nearest = np.where(np.abs(values) < 2.0**-126, rounded_bits(below) & 0x8000, nearest)
    nearest = np.where(np.isinf(values), rounded_bits(below), nearest)
    nearest = np.where(np.isnan(values), rounded_bits(below) | 0x40, nearest)
    assert np.array_equal(rounded(values), nearest)
    x, out = aligned(values.size), aligned(values.size)
    x[:] = values
    round_all(lanes, values.size // shape.lanes, address_of(x), shape.lanes, address_of(out), shape.operand_width)
    got = out.view(np.uint16)[: values.size] if shape.operands == PAIRS else rounded_bits(out)
    assert np.array_equal(got, rounded(values))
    assert shape.operands == PAIRS or not (out.view(np.uint32) & 0xFFFF).any()


def test_weights_take_half_the_memory():
    tensors = random_tensors(SMALL)
    whole, halves = (pack(SMALL, tensors, SHAPES[lanes]).weights.size for lanes in (Lanes16, Rounded16))
    matrices = 0
    for path, tensor in tensors.items():
        if tensor.ndim == 4 and tensor.shape[1] > 1 and "patch_embed1" not in path:
            rows, columns = (-(-size // 32) * 32 for size in tensor.shape[:2])
            matrices += rows * columns * tensor[0, 0].size
    matrices += 32 * 22 * 8  # the first patch embedding, as windows.py lays it out
    assert whole - halves == matrices // 2


def test_precision_is_an_engine_that_travels_and_is_said_in_one_line(run, tmp_path):
    assert [find(engine, "bfloat16") for engine in ("fast", "auto", FAST, AUTO, "fast-bfloat16")] == [FAST_BFLOAT16] * 5
    assert find("fast", "float32") is find("fast") is FAST
    assert find("numpy", "float32") is NUMPY
    assert pickle.loads(pickle.dumps(FAST)).bfloat16() is FAST_BFLOAT16
    assert minivan.load(precision="bfloat16", engine="fast").engine is FAST_BFLOAT16
    for engine in (EXACT, NUMPY, Engine("own", ops)):
        with pytest.raises(ValueError, match=f"the engine {engine} does not compute in bfloat16: fast does"):
            find(engine, "bfloat16")
    for engine in ("fast-bfloat16", FAST_BFLOAT16, pickle.loads(pickle.dumps(FAST_BFLOAT16))):
        with pytest.raises(ValueError, match="does not compute in float32"):
            find(engine, "float32")
    with pytest.raises(ValueError, match="the engines are auto, fast, exact, numpy, fast-bfloat16, or"):
        find("fast16")
    with pytest.raises(ValueError, match="no precision is called 'half'; there are auto, float32, bfloat16"):
        minivan.load(precision="half")
    asked = ("classify", tmp_path / "none.jpg", "--engine", "exact", "--precision", "bfloat16")
    assert run(*asked) == (2, "", "minivan: --precision: the engine exact does not compute in bfloat16: fast does\n")


# What follows compiles kernels that no other test needs.


@numba.njit
def run_matmul(lanes, x, parameters, out, other, ones, operands, part, spare):
    was = flushing()
    matmul(lanes, x, parameters, out, added_to(other, ones, operands), part, spare)
    put_back(was)


@pytest.mark.slow
@pytest.mark.parametrize("lanes", [*VECTORS, RoundedPlain()], ids=name)
def test_matrix_products_have_the_written_order_whatever_the_way_and_the_tile(lanes):
    """23 positions: a whole tile, half of one and a rest; 4 blocks of inputs; a residual, stored both ways."""
    shape = SHAPES[type(lanes)]
    v, width, rng = shape.lanes, shape.operand_width, np.random.default_rng(3)
    positions, k, n = 23, 64, 2 * v
    x, w = (cut(rng.normal(size=size).astype(np.float32)) for size in ((positions, k), (n, k)))
    bias, other = rng.normal(size=n).astype(np.float32), rng.normal(size=(positions, n)).astype(np.float32)
    room = positions + shape.rows
    maps, weights, out, also, spare = (aligned(size) for size in (k * room, k * n, n * room, n * room, 64 * n + 4 * k * n))
    biases, others, ones = aligned(n), aligned(n * room), aligned(n)
    halves = rounded_bits(x).reshape(positions, k // v, v).transpose(1, 0, 2)
    blocks = paired(halves) if shape.operands == PAIRS else x.reshape(positions, k // v, v).transpose(1, 0, 2)
    maps.reshape(k // v, -1)[:, : positions * width] = blocks.reshape(k // v, -1)
    weights[: k * n // 2] = paired(rounded_bits(w)).reshape(PAIR, v, k // 2).transpose(2, 0, 1).ravel()
    biases[:], ones[:] = bias, 1
    others.reshape(PAIR, -1)[:, : positions * v] = other.reshape(positions, PAIR, v).transpose(1, 0, 2).reshape(PAIR, -1)
    at = [address_of(array) for array in (maps, weights, biases, out, others, ones, also, spare)]
    step = room * v
    run_matmul(
        lanes, Map(at[0], step, k // v), Parameters(at[1], at[2]), Map(at[3], step, PAIR), Map(at[4], step, PAIR), at[5],
        Map(at[6], step, PAIR), Part(0, positions, 0, 1), at[7],
    )  # fmt: skip
    expected = np.tile(bias, (positions, 1))
    for channel in np.arange(k).reshape(-1, 2)[:, ::-1].ravel():
        expected = fused(x[:, channel, None], w[:, channel], expected)
    expected = (expected + other).astype(np.float32)

    def of(array, each):
        return array.reshape(PAIR, -1)[:, : positions * each].reshape(PAIR, positions, each).transpose(1, 0, 2)

    assert_bit_equal("sums", of(out, v).reshape(positions, n), expected)
    operands = of(also, width)
    operands = operands.copy().view(np.uint16) if shape.operands == PAIRS else rounded_bits(np.ascontiguousarray(operands))
    assert np.array_equal(operands.reshape(positions, n), rounded(expected))
    assert not out.reshape(PAIR, -1)[:, positions * v :].any()


@pytest.mark.slow
@pytest.mark.parametrize("config", [SMALL, ODD, ONE, THIRTEEN], ids=["small", "odd", "one channel", "thirteen channels"])
@pytest.mark.parametrize("size", [(2, 33, 47), (1, 161, 35), (1, 150, 290)], ids=str)
def test_logits_and_features_are_within_the_bound_of_the_reference_on_every_size(config, size):
    tensors, x = random_tensors(config, seed=3), images(*size, channels=config.channels)
    model, reference = VAN(config, tensors, "fast-bfloat16"), VAN(config, tensors, REFERENCE)
    assert_close("logits", model(x), reference(x), BFLOAT16)
    for i, (got, expected) in enumerate(zip(model.features(x), reference.features(x), strict=True), 1):
        assert_close(f"stage {i}", got, expected, BFLOAT16)
    assert np.abs(model(x) - VAN(config, tensors, "fast")(x)).max() > 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("config", [SMALL, ODD], ids=["small", "odd"])
def test_networks_have_the_same_bits_by_every_way_of_vectors_and_on_any_threads_and_batch(config, monkeypatch):
    tensors, x = random_tensors(config, seed=6), images(5, 70, 93, seed=8)
    plan = Plan(config, tensors, HERE)
    expected, maps = plan(x), plan.features(x)
    for count in (1, 2, 3, 5, 9):
        with monkeypatch.context() as patched:
            patched.setattr("minivan.fast.plan.thread_count", lambda count=count: count)
            for first, last in ((0, 5), (0, 1), (1, 4)):
                assert_bit_equal(f"{count} threads, from {first}", plan(x[first:last]), expected[first:last])
    for lanes in (*INSTRUCTION, Rounded8()):
        other = Plan(config, tensors, lanes)
        assert_bit_equal(name(lanes), other(x), expected)
        for got, whole in zip(other.features(x), maps, strict=True):
            assert_bit_equal(f"{name(lanes)}, features", got, whole)


@pytest.mark.slow
def test_a_semantic_fpn_reads_the_maps_of_a_backbone_in_bfloat16():
    """It computes in float32 itself: what differs is what the maps differ by."""
    config = Config((8, 16, 24, 32), (1, 1, 1, 1), (2, 2, 2, 2), classes=0)
    head = seeded.filled(fpn.parameter_shapes(fpn.FPNConfig(config.dims, 16, 8, 5)))
    backbone = VAN(config, random_tensors(config), FAST_BFLOAT16)
    x = images(2, 70, 93, seed=3)
    got = SegmentationVAN(backbone, head, SegmentationCard("masks"))(x)
    maps, parameters = backbone.features(x), paths.nested(head)
    expected = fpn.segment(ops, Hook(), maps, parameters, fpn.config_of(head))
    assert_close("logits", got, expected, FAST_TOLERANCE)


@pytest.mark.slow
def test_eight_python_threads_share_one_model_and_a_copy_of_it_answers_the_same():
    model = VAN(SMALL, random_tensors(SMALL), "fast-bfloat16")
    inputs = [images(1 + i % 3, 40 + 7 * i, 60, seed=i) for i in range(8)]
    expected = [model(x).tobytes() for x in inputs]
    again = pickle.loads(pickle.dumps(model))
    wrong = []

    def call(i):
        wrong.extend(i for _ in range(20) if model(inputs[i]).tobytes() != expected[i])

    callers = [threading.Thread(target=call, args=(i,)) for i in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong
    assert again(inputs[0]).tobytes() == expected[0]


@pytest.mark.slow
def test_a_thread_computes_as_before_afterwards():
    """Numbers below 2^-126 count as zero inside, and as themselves for whoever called."""
    model, tiny = VAN(SMALL, random_tensors(SMALL), "fast-bfloat16"), np.float32(1e-40)
    model(images(1, 32))
    assert tiny * np.float32(0.5) != 0
    x = np.full((1, 3, 32, 32), tiny)
    assert_bit_equal("denormal pixels", model(x), model(np.zeros_like(x)))


@pytest.mark.once
def test_labelled_photos_are_answered_as_by_exact():
    """Of 1,000: as many right within 3, the same first class for more than 99 %."""
    half, exact = (minivan.load(engine=engine) for engine in ("fast-bfloat16", "exact"))
    x, targets = photographs(exact.card)
    ours, theirs = logits(half, x), logits(exact, x)
    assert abs(labelled.right(ours, targets, 1) - labelled.right(theirs, targets, 1)) <= 3 * len(x) / 1000
    assert (ours.argmax(1) == theirs.argmax(1)).mean() > 0.99
