"""Addresses (addresses.py) as the pointers that compiled code reads and writes by."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from ..jit import intrinsic


def pointer_to(builder: ir.IRBuilder, address: ir.Value, element: ir.Type) -> ir.Value:
    """Return an Address as LLVM's pointer to floats or doubles: the one place where addresses become pointers.

    Numba has LLVM optimise and translate a function, and then optimise what is left of it once more wherever it is inlined.
    Translation may have split a sum of integers into a pointer made from one and an offset, the other: base[index] or
    index[base]. Where the index then turns out to be 0, LLVM takes the second for an access by way of NULL, which no program
    can mean, and drops it: outputs stay unwritten. The attribute tells LLVM that 0 is an address like any other. llvmlite does
    not know its name, but keeps attributes in a set. Whole programs (whole_program.py) are not optimised again once they are
    translated; what a test has Numba compile by itself is, and so is a program where that falls back to Numba's way.
    """
    set.add(builder.function.attributes, "null_pointer_is_valid")
    return builder.inttoptr(builder.shl(address, address.type(2)), element.as_pointer())


@intrinsic()
def floats_at(typing_context: Any, address: Any) -> Any:
    """The address as a pointer to float32, for numba.carray."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        return pointer_to(builder, arguments[0], ir.FloatType())

    return types.CPointer(types.float32)(address), emit


@intrinsic()
def doubles_at(typing_context: Any, address: Any) -> Any:
    """The address, which counts floats, as a pointer to float64."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        return pointer_to(builder, arguments[0], ir.DoubleType())

    return types.CPointer(types.float64)(address), emit
