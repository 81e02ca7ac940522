"""The floating-point environment of the calling thread: IEEE 754's own, for as long as it computes what promises bits.

Any library may change how a processor computes: one that was linked with -ffast-math, or `torch.set_flush_denormal`, lets it
take numbers below 2^-126 for zero; `fesetround` changes the rounding. Both hold for a thread, and for those that it starts.

`standard()` looks at the control register, sets it right where it is not, and puts back what was there. C's fegetenv and
fesetenv reach the register; a block that finds it right costs one or two microseconds. Compiled code, on whatever thread, reads
the register itself: see `registers`. Of other systems than those in TABLE nothing is known: there SUPPORTED is false.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Register(NamedTuple):
    """The bits of a control register that change results, or raise a signal for them, and what they have to be."""

    mask: int
    right: int


# x86's MXCSR: flush to zero, two bits of rounding, six masks of exceptions, denormals are zero. (Intel SDM, volume 1, 10.2.3)
MXCSR = Register(0xFFC0, 0x1F80)
# AArch64's FPCR: alternative half precision, flush to zero, two bits of rounding, flush halves to zero, six traps, alternate
# handling, flush inputs to zero. (Arm ARM, FPCR)
FPCR = Register(1 << 26 | 1 << 24 | 3 << 22 | 1 << 19 | 0x9F00 | 3, 0)
# Windows' own abstraction of either: denormals and rounding. (_controlfp_s)
CONTROL = Register(0x03000300, 0)

TABLE = {  # the system and its processor -> the register, and which 32-bit word of C's fenv_t it is
    ("linux", "x86_64"): (MXCSR, 7),
    ("linux", "aarch64"): (FPCR, 0),
    ("darwin", "x86_64"): (MXCSR, 1),
    ("darwin", "arm64"): (FPCR, 2),
}
WORDS = 16  # more than any fenv_t has


def _by_fenv(word: int) -> tuple[Callable[[], int], Callable[[int], None]]:
    """Return what reads the register and what writes it, by the C library. Raises OSError or AttributeError without one."""
    library = ctypes.PyDLL(None)  # PyDLL: the GIL is kept, since the calls take nanoseconds
    if not hasattr(library, "fegetenv"):
        library = ctypes.PyDLL("libm.so.6")
    get, put = library.fegetenv, library.fesetenv
    get.argtypes = put.argtypes = [ctypes.c_void_p]
    words = ctypes.c_uint32 * WORDS

    def read() -> int:
        environment = words()
        get(environment)
        return environment[word]

    def write(value: int) -> None:
        environment = words()
        get(environment)
        environment[word] = value
        put(environment)

    read()
    return read, write


def _by_controlfp() -> tuple[Callable[[], int], Callable[[int], None]]:
    """The same by Windows' C library."""
    function = ctypes.PyDLL("ucrtbase")._controlfp_s
    function.argtypes = [ctypes.POINTER(ctypes.c_uint), ctypes.c_uint, ctypes.c_uint]

    def read() -> int:
        now = ctypes.c_uint()
        function(ctypes.byref(now), 0, 0)
        return now.value

    def write(value: int) -> None:
        function(ctypes.byref(ctypes.c_uint()), value, CONTROL.mask)

    read()
    return read, write


def _reached() -> tuple[Register, Callable[[], int], Callable[[int], None]] | None:
    """Return this system's register, what reads and what writes it; None where no way to it is known."""
    key = sys.platform, platform.machine()
    try:
        if key in TABLE:
            register, word = TABLE[key]
            return register, *_by_fenv(word)
        return (CONTROL, *_by_controlfp()) if sys.platform == "win32" else None
    except (OSError, AttributeError):
        return None


_here = _reached()
SUPPORTED = _here is not None
_mask, _right = (0, 0) if _here is None else _here[0]


def control() -> int:
    """Return the calling thread's control register, 0 where it cannot be read."""
    return 0 if _here is None else _here[1]()


def set_control(value: int) -> None:
    """Set the calling thread's control register; nothing happens where it cannot be."""
    if _here is not None:
        _here[2](value)


class standard:
    """A block in which the calling thread computes as IEEE 754 says: round to nearest even, no number taken for zero."""

    __slots__ = ("_was",)

    def __enter__(self) -> None:
        was = control()
        self._was = None if was & _mask == _right else was
        if self._was is not None:
            set_control(was & ~_mask | _right)

    def __exit__(self, *error: object) -> None:
        if self._was is not None:
            set_control(self._was)


class undisturbed:
    """A block in which NumPy neither warns of nor raises for numbers, whatever the caller has set: the answer shows them.

    The calling thread's floating-point environment is IEEE 754's in it (see `standard`).
    """

    __slots__ = ("_environment", "_errors")

    def __enter__(self) -> None:
        self._errors, self._environment = np.errstate(all="ignore"), standard()
        self._errors.__enter__()
        self._environment.__enter__()

    def __exit__(self, *error: object) -> None:
        self._environment.__exit__()
        self._errors.__exit__(None, None, None)
