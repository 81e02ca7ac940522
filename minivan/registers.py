"""The floating-point environment for compiled code: every thread that computes sets it right for itself, and puts it back.

    was = standard()
    ...                    what is computed here rounds to nearest even, and takes no number for zero
    restore(was)

`flushing` and `put_back` do the same for code that takes numbers below 2^-126 for zero, as the processor's bfloat16 does.

Each costs a few nanoseconds. A kernel does so in every iteration of its `prange`, since no layer of Numba's promises which of
its threads run, or that those of the last region are those of the next. Both clobber memory: no load or store is moved across,
and so nothing that is computed of loaded numbers, or stored. See `floating` for what the register holds.
"""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import binding, ir
from numba import types

from .floating import FPCR, MXCSR
from .jit import compiles, inline, intrinsic

WORD, LONG = ir.IntType(32), ir.IntType(64)
X86 = platform.machine().lower() in ("x86_64", "amd64")
ARM = platform.machine().lower() in ("aarch64", "arm64")
SUPPORTED = X86 or ARM
MASK, RIGHT = MXCSR if X86 else FPCR
FLUSH = 1 << 15 | 1 << 6 if X86 else 1 << 24  # results below 2^-126 become zero, and such operands count as zero

binding.initialize_native_asmparser()  # without it, LLVM ends the process at the first instruction that is written as text


@intrinsic()
def control(typing_context: Any) -> Any:
    """The control register of the thread that runs, as int64."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        if X86:
            place = _place(builder)
            builder.asm(ir.FunctionType(ir.VoidType(), [place.type]), "stmxcsr ($0)", "r,~{memory}", [place], True)
            return builder.zext(builder.load(place), LONG)
        return builder.asm(ir.FunctionType(LONG, []), "mrs $0, fpcr", "=r,~{memory}", [], True)

    return types.int64(), emit


@intrinsic()
def set_control(typing_context: Any, value: Any) -> Any:
    """Set the control register of the thread that runs to an int64."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        (value,) = arguments
        if X86:
            place = _place(builder)
            builder.store(builder.trunc(value, WORD), place)
            builder.asm(ir.FunctionType(ir.VoidType(), [place.type]), "ldmxcsr ($0)", "r,~{memory}", [place], True)
        else:
            builder.asm(ir.FunctionType(ir.VoidType(), [LONG]), "msr fpcr, $0", "r,~{memory}", [value], True)
        return context.get_dummy_value()

    return types.void(types.int64), emit


def _place(builder: ir.IRBuilder) -> ir.Value:
    """Return four bytes on the stack, taken where the function begins: inside a loop each turn would take others."""
    with builder.goto_entry_block():
        return builder.alloca(WORD)


@inline
def _standard() -> int:
    was: int = control()
    if was & MASK != RIGHT:
        set_control((was & ~MASK) | RIGHT)
    return was


@inline
def _restore(was: int) -> None:
    if was & MASK != RIGHT:
        set_control(was)


@inline
def _flushing() -> int:
    was: int = control()
    set_control((was & ~MASK) | RIGHT | FLUSH)
    return was


@inline
def _put_back(was: int) -> None:
    set_control(was)


@inline
def _nothing() -> int:
    return 0


@inline
def _leave(was: int) -> None:
    pass


# Uncompiled kernels run on the thread that called them, whose environment `jit.launch` has set.
standard, restore = (_standard, _restore) if SUPPORTED and compiles() else (_nothing, _leave)
flushing, put_back = (_flushing, _put_back) if SUPPORTED and compiles() else (_nothing, _leave)
