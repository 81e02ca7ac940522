"""AMX's tiles. No machine that tests run on need have them: their instructions are done in software, or read as assembly."""

import ctypes
import re
import sys

import numba
import numpy as np
import pytest
from llvmlite import ir
from support.assembly import assembly
from support.bfloat16 import REFERENCE, cut, fused, numbers, rounded_bits, same_bits
from support.compare import assert_bit_equal, assert_close
from support.networks import images, random_tensors
from tolerances import BFLOAT16

from minivan import floating
from minivan.fast import Plan, amx, lanes, permission, soft_tiles
from minivan.fast.addresses import address_of, aligned
from minivan.fast.halves import paired, rounded
from minivan.fast.lanes import PAIR, SHAPES, SOFT_TILES, TILE_FLOATS, Dots16, Lanes16, Rounded8, SoftTiles16, Tiles16
from minivan.fast.maps import Map, Parameters, Part
from minivan.fast.matmul import added_to, gated, matmul
from minivan.fast.simd import FLOAT, INT, Emit
from minivan.registers import flushing, put_back
from minivan.van import VAN
from minivan.variants import Config

WITH_TILES = ["+avx512f", "+avx512bf16", "+amx-tile", "+amx-bf16"]


def test_tiles_are_taken_where_processor_and_system_have_them_and_nobody_asked_for_vectors(monkeypatch):
    monkeypatch.setattr(lanes, "tiles_granted", lambda: True)
    monkeypatch.setattr(lanes, "host_features", lambda: WITH_TILES)
    monkeypatch.delenv("MINIVAN_VECTOR", raising=False)
    assert type(lanes.bfloat16_lanes()) is Tiles16  # empty tuples: all of them are equal
    assert isinstance(lanes.in_float32(lanes.bfloat16_lanes()), Lanes16)
    monkeypatch.setenv("MINIVAN_VECTOR", "16")
    assert not isinstance(lanes.bfloat16_lanes(), Tiles16)
    monkeypatch.setenv("MINIVAN_VECTOR", "8")
    assert isinstance(lanes.bfloat16_lanes(), Rounded8)
    monkeypatch.delenv("MINIVAN_VECTOR")
    for lacking in WITH_TILES:
        monkeypatch.setattr(lanes, "host_features", lambda lacking=lacking: [*{*WITH_TILES} - {lacking}, "+avx2", "+fma"])
        assert not isinstance(lanes.bfloat16_lanes(), Tiles16), lacking
    monkeypatch.setattr(lanes, "host_features", lambda: [*WITH_TILES, "+sse4a"])
    monkeypatch.setattr(lanes, "tiles_granted", lambda: False)
    assert type(lanes.bfloat16_lanes()) is Dots16


@pytest.mark.parametrize(("answer", "granted"), [(0, True), (-1, False)])
def test_linux_is_asked_for_tiles_and_believed(monkeypatch, answer, granted):
    asked = []

    class Library:
        def __init__(self, name):
            assert name is None

        def syscall(self, *numbers):
            asked.append(numbers)
            return answer

    ask = permission.tiles_granted.__wrapped__
    monkeypatch.setattr(ctypes, "CDLL", Library)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(permission.platform, "machine", lambda: "x86_64")
    assert ask() is granted
    assert asked == [(158, 0x1023, 18)]
    for platform, machine in (("darwin", "x86_64"), ("linux", "aarch64")):
        monkeypatch.setattr(sys, "platform", platform)
        monkeypatch.setattr(permission.platform, "machine", lambda machine=machine: machine)
        assert not ask()
    assert len(asked) == 1


@pytest.mark.parametrize("count", [1, 2])
def test_a_product_is_the_instructions_that_it_should_be_and_no_sum_leaves_its_tile(count):
    """For each 32 channels, `count` and 2 loads and a product for each pair; before and behind, the sums' loads and stores."""

    def body(builder, x, step, blocks, weight, bias, sums):
        processor = amx.Processor(builder)
        processor.configure(builder.bitcast(x, ir.IntType(8).as_pointer()))
        amx.product(processor, Emit(builder, TILE_FLOATS), count, (x, step, blocks), weight, bias, sums)
        processor.release()

    pointer = FLOAT.as_pointer()
    arguments = pointer, INT, INT, pointer, pointer, pointer
    text = assembly("x86_64-unknown-linux-gnu", "+amx-tile,+amx-bf16", arguments, body)
    instructions = re.findall(r"^\s+(ldtilecfg|tile\w+|tdp\w+|j\w+)\s*(.*)$", text, re.MULTILINE)
    names = [name for name, _ in instructions]
    sums = PAIR * count
    loop = ["tileloadd"] * (count + PAIR) + ["tdpbf16ps"] * sums
    assert names == ["ldtilecfg", *["tileloadd"] * sums, *loop, "jg", *["tilestored"] * sums, "tilerelease"]
    products = [operands for name, operands in instructions if name == "tdpbf16ps"]  # AT&T's order: weights, values, sums
    cells = [(i, j) for i in range(count) for j in range(PAIR)]
    assert products == [f"%tmm{6 + j}, %tmm{4 + i}, %tmm{2 * i + j}" for i, j in cells]


def configuration(sizes, palette=1):
    """Return the 64 bytes that LDTILECFG reads, for (rows, bytes in a row) of the first tiles."""
    found = np.zeros(64, np.uint8)
    found[0] = palette
    for tile, (rows, columns) in enumerate(sizes):
        found[16 + 2 * tile : 18 + 2 * tile] = np.frombuffer(np.uint16(columns).tobytes(), np.uint8)
        found[48 + tile] = rows
    return found


def at(array):
    return array.__array_interface__["data"][0]


@pytest.fixture(scope="module")
def software():
    """The instructions in software, compiled; in a thread that flushes, as the processor's do."""
    names = "configure", "load", "multiply", "store", "release"
    configure, load, multiply, store, release = (numba.njit(getattr(soft_tiles, name)) for name in names)

    @numba.njit
    def once(tiles, asked, pointers, strides):
        was = flushing()
        configure(tiles, asked)
        for tile in range(3):
            load(tiles, tile, pointers[tile], strides[tile])
        multiply(tiles, 0, 1, 2)
        store(tiles, 0, pointers[0], strides[0])
        put_back(was)
        release(tiles)

    tiles = aligned(SOFT_TILES)

    def run(arrays, sizes, **others):
        tiles[:] = 7
        asked = configuration(sizes, **others)
        before = floating.control()
        try:
            once(address_of(tiles), at(asked), tuple(map(at, arrays)), tuple(array.strides[0] for array in arrays))
        finally:
            floating.set_control(before)  # where it raised, this thread flushes still
        return tiles

    return run


@pytest.mark.slow
@pytest.mark.parametrize(("m", "k", "n"), [(16, 16, 16), (5, 3, 7)])
def test_tiles_in_software_multiply_as_the_manual_writes_it_bit_for_bit(software, m, k, n):
    """Even and odd products each added up from zero, each by one rounding, then together, then to the sum; nothing beyond."""
    rng = np.random.default_rng(k)
    for _ in range(40):
        x, w = cut(numbers(rng, (m, k, 2))), cut(numbers(rng, (k, n, 2)))
        x, w = (np.where(np.isfinite(values), values, np.float32(1.5)) if rng.random() < 0.5 else values for values in (x, w))
        sums = numbers(rng, (m, n))
        halves = np.zeros((2, m, n), np.float32)
        for half in range(2):
            for i in range(k):
                halves[half] = fused(x[:, i, half, None], w[None, i, :, half], halves[half])
        one = np.float32(1)
        expected = fused(one, fused(one, halves[0], halves[1]), sums)
        places = np.full((m + 2, n + 3), np.float32(9)), *(paired(rounded_bits(values)) for values in (x, w))
        places[0][:m, :n] = sums
        software([places[0], places[1][..., 0], places[2][..., 0]], [(m, 4 * n), (m, 4 * k), (k, 4 * n)])
        assert same_bits(places[0][:m, :n], expected)
        assert (places[0][m:] == 9).all()
        assert (places[0][:, n:] == 9).all()


@pytest.mark.slow
def test_tiles_in_software_refuse_what_the_processor_would_end_the_process_for(software):
    arrays = [np.zeros((16, 16), np.float32)] * 3
    good = [(16, 64)] * 3
    assert not software(arrays, good).any()  # released
    sizes = "no tile has that size", ([(17, 64), *good[1:]], [(16, 65), *good[1:]], [(0, 4), *good[1:]], [(4, 0), *good[1:]])
    apart = (
        "do not go together",
        ([(15, 64), *good[1:]], [(16, 60), *good[1:]], [*good[:2], (15, 64)], [(16, 62), (16, 64), (16, 62)]),
    )
    for said, bad in (sizes, apart):
        for asked in bad:
            with pytest.raises(ValueError, match=said):
                software(arrays, asked)
    with pytest.raises(ValueError, match="no such palette"):
        software(arrays, good, palette=2)
    with pytest.raises(ValueError, match="not configured"):
        software(arrays, good, palette=0)


def test_all_eight_tiles_are_configured_whole():
    assert configuration([(16, 64)] * 8).tobytes() == amx.CONFIGURATION


@numba.njit
def run_matmul(lanes, x, parameters, out, ending, part, spare):
    was = flushing()
    amx.begin_tiles(lanes, spare)
    matmul(lanes, x, parameters, out, ending, part, spare)
    amx.end_tiles(lanes, spare)
    put_back(was)


def blocked(values, v):
    """(positions, channels) as a map in blocks of V."""
    return values.reshape(len(values), -1, v).transpose(1, 0, 2)


def stored(array, blocks, first, last):
    """Return positions first..last of the blocks of a map, of 16 floats each; nothing else may have been written to."""
    positions = array.reshape(blocks, -1, TILE_FLOATS)
    assert not positions[:, :first].any()
    assert not positions[:, last:].any()
    return positions[:, first:last].copy()


@pytest.mark.slow
@pytest.mark.parametrize("first", [0, 3])
@pytest.mark.parametrize("count", [1, 16, 17, 32, 49])
def test_whole_numbers_are_multiplied_exactly_on_any_number_of_positions_and_end_where_they_should(first, count):
    """A rest of one, of whole tiles and of more; a residual and a gate, both of which store operands; two pairs of outputs."""
    rng, shape = np.random.default_rng(5), SHAPES[SoftTiles16]
    k, n, last = 96, 64, first + count
    x, w, other = (rng.integers(-8, 9, size).astype(np.float32) for size in ((last, k), (n, k), (last, n)))
    bias, scale = rng.integers(-9, 10, (2, n)).astype(np.float32)
    room = TILE_FLOATS * (last + shape.overread)
    values, others, out, also, gates = (aligned(room * blocks) for blocks in (3, 4, 4, 2, 2))
    for array, blocks in ((values, paired(blocked(rounded(x), 32))), (others, blocked(other, 16))):
        array.reshape(len(blocks), -1, TILE_FLOATS)[:, :last] = blocks
    weights, biases, scales, spare = (aligned(size) for size in (n * k // 2, n, n, shape.spare(k)))
    weights[:] = paired(rounded(w)).reshape(n // 32, PAIR, 16, k // 2).transpose(0, 3, 1, 2).ravel()
    biases[:], scales[:] = bias, scale
    maps = (Map(address_of(array), room, array.size // room) for array in (values, others, out, also, gates))
    x_map, other_map, out_map, also_map, gate_map = maps
    parameters = Parameters(address_of(weights), address_of(biases))
    for to, ending in (
        (out_map, added_to.py_func(other_map, address_of(scales), also_map)),
        (gate_map, gated.py_func(other_map)),
    ):
        part = Part(first, last, 0, n // 32)
        run_matmul(SoftTiles16(), x_map, parameters, to, ending, part, address_of(spare))
        assert not spare[PAIR * 16 * 32 :].any()  # the tiles are released
    total = (x @ w.T + bias)[first:]
    assert_bit_equal("residual", stored(out, 4, first, last), blocked(total + other[first:] * scale, 16))
    assert_bit_equal("operands", stored(also, 2, first, last), paired(blocked(rounded(total + other[first:] * scale), 32)))
    assert_bit_equal("gate", stored(gates, 2, first, last), paired(blocked(rounded(total * other[first:]), 32)))


CONFIGS = {
    "small": Config((8, 16, 24, 32), (1, 2, 2, 1), (8, 8, 4, 4), classes=10),
    "odd": Config((33, 50, 70), (1, 1, 2), (3, 2, 1), classes=7, layer_norm_eps=1e-5),
    "one channel": Config((40,), (1,), (2,), 4, channels=1),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_a_network_on_tiles_is_within_the_bound_and_has_the_same_bits_on_any_threads_and_batch(name, monkeypatch):
    config = CONFIGS[name]
    tensors = random_tensors(config, seed=3)
    plan, reference = Plan(config, tensors, SoftTiles16()), VAN(config, tensors, REFERENCE)
    for size in ((2, 33, 47), (1, 161, 35)):
        x = images(*size, channels=config.channels)
        logits, features = plan(x), plan.features(x)
        assert_close("logits", logits, reference(x), BFLOAT16)
        for i, (got, expected) in enumerate(zip(features, reference.features(x), strict=True), 1):
            assert_close(f"stage {i}", got, expected, BFLOAT16)
    x = images(4, 70, 93, seed=8, channels=config.channels)
    expected, maps = plan(x), plan.features(x)
    assert np.abs(expected - Plan(config, tensors)(x)).max() > 1e-5
    for threads in (1, 2, 3):
        monkeypatch.setattr("minivan.fast.plan.thread_count", lambda threads=threads: threads)
        for first, last in ((0, 4), (0, 1), (1, 3)):
            assert_bit_equal(f"{threads} threads, from {first}", plan(x[first:last]), expected[first:last])
            for got, whole in zip(plan.features(x[first:last]), maps, strict=True):
                assert_bit_equal(f"{threads} threads, features", got, whole[first:last])
