"""ARM's BFMMLA: read as assembly, and with its arithmetic in software on whatever runs here."""

import re

import numpy as np
import pytest
from support.assembly import assembly
from support.bfloat16 import REFERENCE
from support.compare import assert_bit_equal, assert_close
from support.networks import images, random_tensors
from tolerances import BFLOAT16

from minivan.fast import Plan, bfmmla, lanes
from minivan.fast.lanes import PAIR, SHAPES, Lanes4, Matrices4, Rounded4, SoftMatrices4
from minivan.fast.simd import FLOAT, INT, Emit, Loop
from minivan.van import VAN
from minivan.variants import Config


def test_the_instruction_is_taken_where_the_processor_has_it_and_nobody_asked_for_vectors(monkeypatch):
    monkeypatch.setattr(lanes, "host_features", lambda: ["+neon", "+bf16"])
    monkeypatch.setattr(lanes.platform, "machine", lambda: "aarch64")
    monkeypatch.delenv("MINIVAN_VECTOR", raising=False)
    assert type(lanes.bfloat16_lanes()) is Matrices4
    assert isinstance(lanes.in_float32(Matrices4()), Lanes4)
    monkeypatch.setenv("MINIVAN_VECTOR", "4")
    assert isinstance(lanes.bfloat16_lanes(), Rounded4)
    monkeypatch.delenv("MINIVAN_VECTOR")
    monkeypatch.setattr(lanes, "host_features", lambda: ["+neon"])
    assert isinstance(lanes.bfloat16_lanes(), Rounded4)


def test_a_block_of_four_channels_is_as_many_instructions_as_sums_and_no_sum_leaves_its_register():
    """A tile of 8 positions: 16 of them, four vectors of values and four of weights, and nothing on the stack."""
    shape = SHAPES[Matrices4]
    rows = shape.rows

    def body(builder, x, step, blocks, weight, out):
        e = Emit(builder, 4)
        start = bfmmla.exchanged(e, [e.load(out, 4 * i) for i in range(PAIR * rows)])
        with Loop(builder, blocks, [x, weight, *start]) as loop:
            x_now, w_now, *sums = loop.values
            sums = bfmmla.multiplied_by_block(e, shape, x_now, w_now, sums)
            loop.next([e.at(x_now, step), e.at(w_now, 16), *sums])
        for i, total in enumerate(bfmmla.exchanged(e, loop.values[2:])):
            e.store(total, out, 4 * i)

    pointer = FLOAT.as_pointer()
    text = assembly("aarch64-unknown-linux-gnu", "+neon,+bf16", [pointer, INT, INT, pointer, pointer], body)
    loop = re.search(r"^\.LBB0_1:(.*?)^\s+b\.\w+\s+\.LBB0_1", text, re.MULTILINE | re.DOTALL)[1]
    assert len(re.findall(r"^\s+bfmmla\s+v\d+\.4s, v\d+\.8h, v\d+\.8h", loop, re.MULTILINE)) == PAIR * rows
    assert len(re.findall(r"\bq\d+", loop)) == rows // 2 + 4
    assert not re.search(r"\[sp|^\s+(st|f|mov\s+v|zip|uzp|ext)", loop, re.MULTILINE)


CONFIG = Config((8, 16, 24), (1, 2, 1), (4, 3, 2), classes=7)


@pytest.mark.slow
@pytest.mark.once
def test_a_network_by_such_products_is_within_the_bound_and_has_the_same_bits_on_any_threads_and_batch(monkeypatch):
    tensors = random_tensors(CONFIG, seed=3)
    plan, reference = Plan(CONFIG, tensors, SoftMatrices4()), VAN(CONFIG, tensors, REFERENCE)
    for size in ((2, 33, 47), (1, 150, 61)):
        x = images(*size)
        assert_close("logits", plan(x), reference(x), BFLOAT16)
        for i, (got, expected) in enumerate(zip(plan.features(x), reference.features(x), strict=True), 1):
            assert_close(f"stage {i}", got, expected, BFLOAT16)
    x = images(3, 70, 93, seed=8)
    expected = plan(x)
    assert np.abs(expected - Plan(CONFIG, tensors)(x)).max() > 1e-5
    for threads in (1, 2, 3):
        monkeypatch.setattr("minivan.fast.plan.thread_count", lambda threads=threads: threads)
        for first, last in ((0, 3), (0, 1), (1, 3)):
            assert_bit_equal(f"{threads} threads, from {first}", plan(x[first:last]), expected[first:last])
