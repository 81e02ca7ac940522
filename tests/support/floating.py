"""A C library that changes how the processor computes, as one that was built with -ffast-math does; what bits come out then.

    python tests/support/floating.py LIBRARY [flush | DIRECTION] ...

computes under each setting, one after the other, and prints a line each: the setting and a digest for every engine. 'first' as
the first setting's prefix, 'first:flush' say, is set before Numba's threads start, so that they are born with it.
"""

from __future__ import annotations

import ctypes
import hashlib
import platform
import subprocess
import sys
import tempfile
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
# The bits that a setting changes: of FPCR flush to zero and the rounding, of MXCSR these and denormals are zero.
CHANGED = 1 << 24 | 3 << 22 if platform.machine() in ("aarch64", "arm64") else 0xE040


def built(folder: Path) -> Path:
    """Compile the library with the system's compiler."""
    source, library = folder / "floating.c", folder / "floating.so"
    source.write_text(SOURCE)
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", str(library), str(source), "-lm"], check=True)
    return library


def answers(given: dict) -> dict[str, str]:
    """Return a digest of what each engine gives where denormal numbers and every bit count."""
    from minivan.oracle import cases, trace, vectors
    from minivan.oracle.arithmetic import Arithmetic
    from minivan.van import VAN

    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        vectors.write(Path(folder) / "v")
        found["vectors"] = hashlib.sha256((Path(folder) / "v" / vectors.MANIFEST).read_bytes()).hexdigest()[:16]
    gated = vectors.compute(given["gate"])
    found["gate"] = " ".join(trace.digest(array)[:16] for array in gated.values())
    tensors, x = given["tensors"], given["x"]
    for engine in ("exact", "fast", "numpy"):
        logits = VAN(cases.TINY, tensors, engine)(x)
        found[engine] = trace.digest(logits)[:16] if engine != "numpy" else " ".join(f"{v:.4f}" for v in logits[0])
    half = trace.record(VAN(cases.TINY, tensors), x, arithmetic=Arithmetic("float16", True))
    found["float16"] = trace.digest(half.layers["head"])[:16]
    found["gradient"] = trace.digest(VAN(cases.TINY, tensors).gradients(x, 1)["input"])[:16]
    return found


def inputs() -> dict:
    """What is computed of, made before anything is set: weights and images in float64, which are rounded to float32 first."""
    from minivan import seeded
    from minivan.oracle import cases

    real = next(case for case in cases.all_cases() if (case.operator, case.name) == (cases.LKA, "real"))
    tiny = cases.Tensor(real.x.values * np.float32(2.0**-70))  # so that the gate's products are denormal
    return {
        "gate": cases.Case(real.operator, "tiny", "exact", tiny, real.parameters),
        "tensors": {name: t.astype(np.float64) * (1 + 2.0**-30) for name, t in seeded.tensors(cases.TINY).items()},
        "x": seeded.images((2, 3, 40, 36)).astype(np.float64) * (1 + 2.0**-30),
    }


def main() -> None:
    library, given = ctypes.CDLL(sys.argv[1]), inputs()
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
        found = answers(given)
        after = library.control()
        look(controls, 0)
        changed = {int(value) & CHANGED for value in controls}
        library.usual()
        kept = after & CHANGED == before & CHANGED and changed == {before & CHANGED}
        print(name, "restored" if kept else f"NOT RESTORED {before:x} {after:x} {changed}", found)
        first = ""


if __name__ == "__main__":
    main()
