"""Programs that are compiled as a whole: what they compute, and what is not done on the way."""

import ctypes
import gc
import sys
from collections import Counter
from typing import NamedTuple

import numba
import numpy as np
import pytest
from numba.core import codegen
from numba.core.registry import cpu_target
from numba.core.runtime import rtsys
from support.compare import assert_bit_equal
from support.networks import images, random_tensors

import minivan
from minivan import jit, kernel_cache, translation, whole_program
from minivan.compiler import processor
from minivan.fast import Plan, plan
from minivan.fast.lanes import Lanes4, Lanes8, Lanes16, Plain, host_lanes
from minivan.native import Kernel
from minivan.object_code import OWN_ADDRESS, Function
from minivan.variants import Config


class Scale(NamedTuple):
    """By what a number is multiplied."""

    factor: int


@jit.inline
def scaled(scale, number):
    return number * scale.factor


@numba.njit
def add_scaled(scale, total, numbers):
    """total += the largest of 5 and each number * factor."""
    for i in range(len(numbers)):
        total[0] += max(scaled(scale, numbers[i]), 5)
    if total[0] < scaled(scale, 1):
        raise ValueError("never")


ARGUMENTS = Scale(3), np.zeros(1, np.int64), np.arange(4)


def signature_of(arguments):
    return tuple(map(numba.typeof, arguments))


def answer(object_code):
    total = np.zeros(1, np.int64)
    Function(object_code, processor())(Scale(3), total, np.arange(4))
    return int(total[0])


@pytest.fixture
def counted(monkeypatch):
    """How often Numba, or the module itself, did what takes long."""
    rtsys.initialize(cpu_target.target_context)  # which Numba compiles before the first function of a process
    translation.whole_programs()  # which tries a small one first
    counts = Counter()

    def count(owner, name):
        real = getattr(owner, name)

        def counting(*arguments, **named):
            counts[name] += 1
            return real(*arguments, **named)

        monkeypatch.setattr(owner, name, counting)

    for name in ("_optimize_functions", "_optimize_final_module", "_finalize_final_module"):
        count(codegen.CPUCodeLibrary, name)
    count(whole_program, "optimize")
    count(translation, "translated")
    return counts


def test_what_a_program_calls_is_neither_optimised_nor_translated_by_itself(counted):
    collecting = gc.isenabled()
    object_code = translation.compile_object(add_scaled, signature_of(ARGUMENTS))
    assert answer(object_code) == 5 + 5 + 6 + 9
    assert counted == {"optimize": 1, "translated": 1}
    assert gc.isenabled() == collecting

    # What was lowered for it can be called by what Numba then compiles in its own way, and by no Python.
    usual = numba.njit(lambda scale, number: scaled(scale, number) + max(number, 5))
    assert usual(Scale(3), 7) == 28
    assert counted["_finalize_final_module"] == 1
    with pytest.raises(TypeError):
        scaled(Scale(3), 7)


@pytest.mark.parametrize("broken", ["create_library", "_create_empty_module", "gone"])
def test_numba_compiles_a_program_where_its_private_parts_are_others(counted, monkeypatch, broken):
    """That is found out by a function of two lines, before anything that others call is lowered."""
    if broken == "gone":
        monkeypatch.setitem(sys.modules, "minivan.whole_program", None)
        monkeypatch.delattr(minivan, "whole_program")
    elif broken == "create_library":
        monkeypatch.setattr(codegen.CPUCodegen, broken, lambda self, name: codegen.JITCodeLibrary(self, name))
    else:
        monkeypatch.delattr(codegen.CPUCodegen, broken, raising=False)
        monkeypatch.delattr(codegen.Codegen, broken, raising=False)
    translation.whole_programs.cache_clear()
    try:
        assert translation.whole_programs() is None
        monkeypatch.undo()
        object_code = translation.compile_object(add_scaled, signature_of(ARGUMENTS))
    finally:
        translation.whole_programs.cache_clear()
    assert answer(object_code) == 25
    assert counted["optimize"] == 0


def test_an_error_of_the_function_itself_is_numbas():
    @numba.njit
    def wrong(number):
        return number.nothing

    with pytest.raises(numba.TypingError):
        translation.compile_object(wrong, (numba.int64,))


def test_a_program_that_needs_the_process_is_refused():
    @numba.njit
    def says(number):
        print(number)

    with pytest.raises(RuntimeError, match="of the process that it was compiled in"):
        translation.compile_object(says, (numba.int64,))


def test_an_address_of_the_process_can_be_told_from_the_object_code():
    labs = ctypes.CDLL(None).labs
    labs.argtypes, labs.restype = [ctypes.c_long], ctypes.c_long

    @numba.njit
    def absolute(numbers):
        numbers[0] = labs(numbers[0])

    for way in (translation.compile_object, translation.finished_object):
        object_code, numbers = way(absolute, (numba.int64[::1],)), np.array([-7])
        Function(object_code, processor())(numbers)
        assert numbers == [7] and OWN_ADDRESS.encode() in object_code.code
    assert OWN_ADDRESS.encode() not in translation.compile_object(add_scaled, signature_of(ARGUMENTS)).code


class Anew(Kernel):
    """The network's kernel, compiled and not looked for."""

    def _found(self, variant):
        return None


@pytest.mark.parametrize(
    "lanes",
    [
        pytest.param(each, marks=pytest.mark.slow if type(each) is type(host_lanes()) else pytest.mark.once)
        for each in (Lanes16(), Lanes8(), Lanes4(), Plain())
    ],
    ids=lambda lanes: type(lanes).__name__,
)
def test_logits_are_bit_for_bit_those_of_numbas_own_way(lanes, monkeypatch):
    config = Config((33, 50), (1, 1), (3, 2), classes=7)
    tensors, x = random_tensors(config), images(2, 61, 83)
    monkeypatch.setattr(kernel_cache, "write", lambda *parts: None)
    logits = []
    for way in (translation.compile_object, translation.finished_object):
        monkeypatch.setattr(translation, "compile_object", way)
        monkeypatch.setattr(plan, "run", Anew("fast.network.run", plan.run._source))
        logits.append(Plan(config, tensors, lanes)(x))
    assert_bit_equal("logits", *logits)


def test_ctrl_c_at_any_call_leaves_nothing_replaced():
    """What is changed for a while is as before, and garbage is collected: an interrupt comes before or behind a call."""

    class Owner:
        pass

    owner, struck = Owner(), 0
    owner.kept = 1
    for at in range(1, 40):
        events = 0

        def strike(frame, event, argument, at=at):
            nonlocal events
            resumed = frame.f_code.co_name == "_meanwhile" and event in ("call", "return")  # no `try` sees an error of those
            events += frame.f_code.co_filename == whole_program.__file__ and not resumed
            if events == at:
                raise KeyboardInterrupt  # which takes this function away

        try:
            sys.setprofile(strike)
            with whole_program._uncollected(), whole_program._replaced(owner, kept=2, new=3):
                pass
        except KeyboardInterrupt:
            struck += 1
        finally:
            sys.setprofile(None)
        assert vars(owner) == {"kept": 1} and gc.isenabled(), at
    assert struck > 10
