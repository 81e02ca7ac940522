"""Object code: what a compiler has made of a function, as a linker takes it; loaded by LLVM alone, and called by its address.

What is loaded was made on a machine like this one (kernel_cache's key says what it is for) and needs no Python: it reads and
writes memory, and calls what the C library has (OUTSIDE). A process that finds it imports llvmlite.binding, never Numba.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from sys import is_finalizing
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# What object code may call besides itself: memory in bulk, fused multiply-adds where a processor has none, and what
# NUMBA_BOUNDSCHECK and NUMBA_FULL_TRACEBACKS have it say together.
OUTSIDE = {"memcpy", "memmove", "memset", "bzero", "fma", "fmaf", "sqrt", "sqrtf", "printf"}
OWN_ADDRESS = "numba.dynamic.globals"  # begins the name of what holds an address of the process that compiled it
ELF64 = b"\x7fELF\x02\x01"  # with the lower byte first
SYMBOLS = 2  # the type of ELF's section of them


class ObjectCode(NamedTuple):
    """A function as object code."""

    symbol: str
    code: bytes  # ELF, Mach-O or COFF, whatever this system's linker takes

    def whole(self) -> bytes:
        """Return what is kept: the symbol, and the code on the lines after it."""
        return self.symbol.encode() + b"\n" + self.code

    @classmethod
    def parted(cls, whole: bytes) -> ObjectCode:
        """The way back."""
        symbol, _, code = whole.partition(b"\n")
        return cls(symbol.decode(), code)


def missing(code: bytes) -> set[str]:
    """Return the names that ELF object code refers to and does not define; none of another format."""
    if not code.startswith(ELF64):
        return set()
    (begin,) = struct.unpack_from("<Q", code, 40)
    size, count = struct.unpack_from("<HH", code, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", code, begin + i * size) for i in range(count)]
    names = set()
    for _, kind, _, _, start, length, link, *_ in sections:
        if kind == SYMBOLS:
            text = sections[link][4]
            for at in range(start, start + length, 24):
                name, _, _, section = struct.unpack_from("<IBBH", code, at)
                if name and not section:
                    names.add(code[text + name : code.index(b"\0", text + name)].decode())
    return names


def flattened(arguments: tuple[Any, ...], into: list[int]) -> list[int]:
    """Append the numbers that Numba's calling convention makes of integers, 1-D arrays, and (named) tuples of such.

    An array is: who owns it, twice (nobody: the caller does), its items, their bytes, its address, its shape, its strides.
    """
    for argument in arguments:
        if isinstance(argument, tuple):
            flattened(argument, into)
        elif isinstance(argument, np.ndarray):
            into += (0, 0, argument.size, argument.itemsize, _begin(argument), *argument.shape, *argument.strides)
        else:
            into.append(argument)
    return into


def _begin(array: NDArray[Any]) -> int:
    """Return where an array begins. The other way is slow for records, and this one imports, which ends with the process."""
    return int(array.__array_interface__["data"][0] if is_finalizing() else array.ctypes.data)


class Function:
    """Object code that has been loaded, for good: `function(*arguments)` lets other Python threads run meanwhile."""

    def __init__(self, object_code: ObjectCode, processor: tuple[str, str, str]) -> None:
        self.symbol = object_code.symbol
        self._address = _loaded(object_code, processor)
        self._call: Callable[..., int] | None = None

    def __call__(self, *arguments: Any) -> None:
        """Call it; see `flattened`. It returns nothing. RuntimeError where it ends with an error, which none here does."""
        numbers = flattened(arguments, [])
        if self._call is None:
            # int32 status(nothing *result, error **, ...): see CPUCallConv in numba/core/callconv.py
            types = [ctypes.c_void_p, ctypes.c_void_p] + [ctypes.c_int64] * len(numbers)
            self._call = ctypes.CFUNCTYPE(ctypes.c_int32, *types)(self._address)
        result, error = ctypes.c_void_p(), ctypes.c_void_p()
        if status := self._call(ctypes.byref(result), ctypes.byref(error), *numbers):
            raise RuntimeError(f"{self.symbol} has ended with status {status}")


def _loaded(object_code: ObjectCode, processor: tuple[str, str, str]) -> int:
    """Give object code to LLVM's linker; return the function's address, which is valid for as long as the process lives."""
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    platform, model, features = processor
    target = binding.Target.from_triple(platform)
    machine = target.create_target_machine(cpu=model, features=features, jit=True, codemodel="jitdefault")
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
    engine.add_object_file(binding.ObjectFileRef.from_data(object_code.code))
    engine.finalize_object()
    address = int(engine.get_function_address(object_code.symbol))
    engine.detach()  # never to be thrown away: models answer until the very end of the process
    if not address:
        raise ValueError(f"object code without {object_code.symbol}")
    return address
