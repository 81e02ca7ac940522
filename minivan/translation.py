"""A compiled function as object code: as a whole program, or as Numba finishes it.

The first touches Numba's private parts (whole_program.py) and takes a third of the time. It is tried on a function of two lines
before anything else: what a failed one has lowered would stay so in that process, and Numba's own way could not link it.
"""

from __future__ import annotations

import contextlib
import functools
from types import ModuleType
from typing import Any

import numba
from llvmlite import binding
from numba.core.registry import cpu_target

from .object_code import OUTSIDE, OWN_ADDRESS, ObjectCode

# Compiled code counts references to its arrays. Those handed to a whole program are borrowed, and it makes none.
COUNTING = ("NRT_incref", "NRT_decref", "NRT_MemInfo_call_dtor")
NOTHING = "define void @{}(i8* %counted) {{ ret void }}"


def compile_object(dispatcher: Any, signature: tuple[Any, ...]) -> ObjectCode:
    """Compile what numba.njit returned for arguments of these Numba types: arrays among them stay the caller's."""
    if programs := whole_programs():
        with contextlib.suppress(Exception):  # of any kind: it is somebody else's. One of the function itself comes again
            return as_whole(programs, dispatcher, signature)
    return finished_object(dispatcher, signature)


@functools.lru_cache(maxsize=1)
def whole_programs() -> ModuleType | None:
    """Return the module that compiles whole programs; None where this Numba's private parts are not as it expects them."""
    njit: Any = numba.njit
    inner = njit(lambda number: number + 2)
    outer = njit(lambda numbers: inner(numbers[0]))
    try:
        from . import whole_program

        as_whole(whole_program, outer, (numba.types.Array(numba.float64, 1, "C"),))
    except Exception:  # of any kind, as above
        return None
    return whole_program


def as_whole(programs: Any, dispatcher: Any, signature: tuple[Any, ...]) -> ObjectCode:
    """Have it lowered with all that it calls, and optimised and translated once."""
    entry, module = programs.linked(dispatcher, signature)
    programs.optimize(closed(entry, module))
    return translated(entry, module)


def finished_object(dispatcher: Any, signature: tuple[Any, ...]) -> ObjectCode:
    """Have Numba link and optimise it, by its public functions alone, and translate the result once more."""
    njit: Any = numba.njit
    function = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)(dispatcher.py_func)
    function.compile(signature)
    compiled = function.overloads[signature]
    entry = compiled.fndesc.llvm_func_name
    return translated(entry, closed(entry, binding.parse_assembly(compiled.library.get_llvm_str())))


def closed(entry: str, module: Any) -> Any:
    """Let nothing of a module be seen but its entry, and define what it lacks. RuntimeError where that is another thing."""
    for name in COUNTING:
        if any(function.name == name and function.is_declaration for function in module.functions):
            module.link_in(binding.parse_assembly(NOTHING.format(name)))
    for thing in (*module.functions, *module.global_variables):
        if not thing.is_declaration and thing.name != entry and not thing.name.startswith(OWN_ADDRESS):
            thing.linkage = "internal"
    return module


def translated(entry: str, module: Any) -> ObjectCode:
    """Return a module as machine code for the processor that Numba compiles for. RuntimeError where it lacks a function."""
    declared = {function.name for function in module.functions if function.is_declaration}
    if missing := sorted(name for name in declared - OUTSIDE if not name.startswith("llvm.")):
        raise RuntimeError(f"compiled code needs {', '.join(missing)} of the process that it was compiled in")
    triple, processor, features = cpu_target.target_context.codegen().magic_tuple()
    target = binding.Target.from_triple(triple)
    position = "static" if target.name.startswith("x86") else "default"  # as Numba's, which is loaded in the same way
    machine = target.create_target_machine(
        cpu=processor, features=features, opt=3, reloc=position, codemodel="jitdefault", jit=True
    )  # fmt: skip
    return ObjectCode(entry, machine.emit_object(module))
