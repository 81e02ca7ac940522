"""A C library that changes how the processor computes, as one that was built with -ffast-math does; what bits come out then.

    python tests/support/floating.py LIBRARY [flush | DIRECTION] ...

computes under each setting, one after the other, and prints a line each: the setting and a digest for every engine. 'first' as
the first setting's prefix, 'first:flush' say, is set before Numba's threads start, so that they are born with it.
"""

from __future__ import annotations

import ctypes
import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np

SOURCE = r"""
#include <fenv.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
unsigned control(void) { return _mm_getcsr(); }
void flush(void) { _mm_setcsr(_mm_getcsr() | 0x8040); }
void usual(void) { _mm_setcsr(0x1f80); }
#elif defined(__aarch64__)
unsigned control(void) { unsigned long v; __asm__ volatile("mrs %0, fpcr" : "=r"(v)); return (unsigned)v; }
static void set(unsigned long v) { __asm__ volatile("msr fpcr, %0" : : "r"(v)); }
void flush(void) { set(control() | (1ul << 24)); }
void usual(void) { set(0); }
#endif
void upward(void) { fesetround(FE_UPWARD); }
void downward(void) { fesetround(FE_DOWNWARD); }
void toward_zero(void) { fesetround(FE_TOWARDZERO); }
"""
DIRECTIONS = ("upward", "downward", "toward_zero")
SETTINGS = ("flush", *DIRECTIONS)
CHANGED = 0xE040 if sys.platform != "darwin" else 0  # the bits of MXCSR that a setting changes


def built(folder: Path) -> Path:
    """Compile the library with the system's compiler."""
    source, library = folder / "floating.c", folder / "floating.so"
    source.write_text(SOURCE)
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", str(library), str(source), "-lm"], check=True)
    return library


def answers() -> dict[str, str]:
    """Return a digest of what each engine gives where denormal numbers and every bit count."""
    from minivan import seeded
    from minivan.oracle import cases, trace, vectors
    from minivan.oracle.arithmetic import Arithmetic
    from minivan.van import VAN

    found: dict[str, str] = {}
    small = {case.name: case for case in cases.all_cases() if case.operator == cases.LKA}["real"]
    tiny = cases.Tensor(small.x.values * np.float32(2.0**-70))
    gated = vectors.compute(cases.Case(small.operator, "tiny", "exact", tiny, small.parameters))
    every = {f"{case.operator}/{case.name}": vectors.compute(case) for case in cases.all_cases()} | {"tiny": gated}
    lines = "".join(f"{name} {path} {trace.digest(a)}\n" for name, outputs in every.items() for path, a in outputs.items())
    found["vectors"] = hashlib.sha256(lines.encode()).hexdigest()[:16]
    tensors, x = seeded.tensors(cases.TINY), seeded.images((2, 3, 40, 36)).astype(np.float64) * (1 + 2.0**-30)
    wide = {name: tensor.astype(np.float64) * (1 + 2.0**-30) for name, tensor in tensors.items()}  # rounded to float32 first
    for engine in ("exact", "fast", "numpy"):
        model = VAN(cases.TINY, wide, engine)
        logits = model(x)
        found[engine] = trace.digest(logits)[:16] if engine != "numpy" else " ".join(f"{v:.4f}" for v in logits[0])
    found["float16"] = trace.hashes(trace.record(VAN(cases.TINY, wide), x, arithmetic=Arithmetic("float16", True)))[-80:]
    found["gradient"] = trace.digest(VAN(cases.TINY, wide).gradients(x, 1)["input"])[:16]
    return found


def main() -> None:
    library = ctypes.CDLL(sys.argv[1])
    settings = sys.argv[2:]
    first = settings[0].partition("first:")[2] if settings else ""
    if first:
        getattr(library, first)()
    from minivan import registers
    from minivan.jit import njit, prange

    @njit(parallel=True, cache=False)
    def look(controls, value):  # on every thread of Numba's: some turns each
        for i in prange(controls.size):
            if value:
                registers.set_control(value)
            controls[i] = registers.control()

    for setting in settings:
        name = setting.removeprefix("first:")
        getattr(library, name)()
        before, controls = library.control(), np.zeros(64, np.int64)
        look(controls, 0 if first else before)  # Numba's threads too: those that start now are born with it
        found = answers()
        after = library.control()
        look(controls, 0)
        changed = {int(value) & CHANGED for value in controls}
        library.usual()
        kept = after & CHANGED == before & CHANGED and changed == {before & CHANGED}
        print(name, "restored" if kept else f"NOT RESTORED {before:x} {after:x} {changed}", found)
        first = ""


if __name__ == "__main__":
    main()
