"""ARM's BFMMLA: read as assembly, and with its arithmetic in software on whatever runs here."""

import ctypes
import re
import sys

import numba
import numpy as np
import pytest
from llvmlite import binding
from numba import typeof
from support.assembly import assembly
from support.bfloat16 import REFERENCE
from support.compare import assert_bit_equal, assert_close
from support.networks import images, random_tensors
from tolerances import BFLOAT16

from minivan import translation, whole_program
from minivan.fast import Plan, arm, bfmmla, lanes
from minivan.fast.lanes import PAIR, SHAPES, Lanes4, Matrices4, Rounded4, SoftMatrices4
from minivan.fast.maps import Map, Parameters, Part
from minivan.fast.matmul import gated, matmul
from minivan.fast.simd import FLOAT, INT, Emit, Loop
from minivan.van import VAN
from minivan.variants import Config


def test_the_instruction_is_taken_where_llvm_or_the_system_says_so_and_nobody_asked_for_vectors(monkeypatch):
    monkeypatch.setattr(lanes.platform, "machine", lambda: "aarch64")
    monkeypatch.delenv("MINIVAN_VECTOR", raising=False)
    for features, system, taken in (
        (["+neon", "+bf16"], False, Matrices4),
        (["+neon", "-sve"], True, Matrices4),  # as LLVM has it on Linux
        ([""], True, Matrices4),
        (["+neon", "-sve"], False, Rounded4),
        (["+neon", "-bf16"], True, Rounded4),
    ):
        monkeypatch.setattr(lanes, "host_features", lambda features=features: features)
        monkeypatch.setattr(lanes, "has_matrix_product", lambda system=system: system)
        assert type(lanes.bfloat16_lanes()) is taken, (features, system)
    assert isinstance(lanes.in_float32(Matrices4()), Lanes4)
    monkeypatch.setattr(lanes, "host_features", lambda: ["+neon", "+bf16"])
    monkeypatch.setenv("MINIVAN_VECTOR", "4")
    assert isinstance(lanes.bfloat16_lanes(), Rounded4)


LINUX, MACOS = ("linux", "aarch64"), ("darwin", "arm64")


@pytest.mark.parametrize(
    ("system", "answer", "has"),
    [
        (LINUX, 1 << 14, True), (LINUX, (1 << 64) - 1, True), (LINUX, (1 << 64) - 1 - (1 << 14), False),
        (MACOS, 1, True), (MACOS, 0, False), (MACOS, None, False),
        (("linux", "x86_64"), 1 << 14, False), (("darwin", "x86_64"), 1, False), (("win32", "ARM64"), 1, False),
    ],
)  # fmt: skip
def test_linux_and_macos_are_asked_for_the_instruction_and_believed(monkeypatch, system, answer, has):
    class Function:
        def __init__(self, body):
            self.body, self.restype, self.argtypes = body, ctypes.c_int, None

        def __call__(self, *arguments):
            return self.body(self, *arguments)

    def getauxval(function, number):
        assert system == LINUX
        assert (function.restype, function.argtypes, number) == (ctypes.c_ulong, [ctypes.c_ulong], 26)
        return answer

    def sysctlbyname(function, name, old, size, new, new_size):
        assert system == MACOS
        assert (name, new, new_size.value) == (b"hw.optional.arm.FEAT_BF16", None, 0)
        assert size._obj.value == ctypes.sizeof(old._obj) == 4
        if answer is None:  # a name that this macOS does not know
            return -1
        old._obj.value = answer
        return 0

    class Library:
        def __init__(self, name):
            assert name is None
            self.getauxval, self.sysctlbyname = Function(getauxval), Function(sysctlbyname)

    monkeypatch.setattr(ctypes, "CDLL", Library)
    monkeypatch.setattr(sys, "platform", system[0])
    monkeypatch.setattr(arm.platform, "machine", lambda: system[1])
    assert arm.has_matrix_product.__wrapped__() is has


def test_a_block_of_four_channels_is_as_many_instructions_as_sums_and_no_sum_leaves_its_register(monkeypatch):
    """A tile of 8 positions: 16 of them, four vectors of values and four of weights, and nothing on the stack.

    LLVM is told of nothing but NEON for the whole, as on Linux: what the function says of itself must do.
    """
    monkeypatch.setattr(bfmmla, "host_features", lambda: ["+neon"])
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
        assert '"target-features"="+neon,+bf16"' in builder.function.attributes  # without, LLVM ends the process

    pointer = FLOAT.as_pointer()
    text = assembly("aarch64-unknown-linux-gnu", "+neon", [pointer, INT, INT, pointer, pointer], body)
    loop = re.search(r"^\.LBB0_1:(.*?)^\s+b\.\w+\s+\.LBB0_1", text, re.MULTILINE | re.DOTALL)[1]
    assert len(re.findall(r"^\s+bfmmla\s+v\d+\.4s, v\d+\.8h, v\d+\.8h", loop, re.MULTILINE)) == PAIR * rows
    assert len(re.findall(r"\bq\d+", loop)) == rows // 2 + 4
    assert not re.search(r"\[sp|^\s+(st|f|mov\s+v|zip|uzp|ext)", loop, re.MULTILINE)


@pytest.mark.slow
def test_in_a_whole_program_the_function_with_the_tiles_alone_may_use_the_instruction_and_inlines_what_it_calls():
    """Optimised for this machine, whichever it is, and then translated for an ARM processor of which nothing is said."""

    @numba.njit
    def product(lanes, x, parameters, out, ending, part, spare):
        matmul(lanes, x, parameters, out, ending, part, spare)

    x = Map(0, 0, 0)
    arguments = Matrices4(), x, Parameters(0, 0), x, gated.py_func(x), Part(0, 0, 0, 0), 0
    entry, module = whole_program.linked(product, tuple(map(typeof, arguments)))
    whole_program.optimize(translation.closed(entry, module))
    texts = {function.name: str(function) for function in module.functions if not function.is_declaration}
    users = [name for name, text in texts.items() if "@llvm.aarch64.neon.bfmmla(" in text]
    assert len(users) == 1
    assert "simd_matmul" in users[0]
    assert not [name for name in texts if "moved" in name or "pair_of" in name]  # called for each tile
    text = re.sub(r"^target .*$", "", str(module), flags=re.MULTILINE)
    text, said = re.subn(r'"target-features"="[^"]*\+bf16"', '"target-features"="+bf16"', text)
    assert said == 1
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    machine = binding.Target.from_triple("aarch64-unknown-linux-gnu").create_target_machine(cpu="generic", opt=3)
    code = machine.emit_assembly(binding.parse_assembly(text))
    assert len(re.findall(r"^\s+bfmmla\s", code, re.MULTILINE)) == texts[users[0]].count("@llvm.aarch64.neon.bfmmla(")


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
