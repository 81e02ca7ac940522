"""How minivan compiles: Numba with a disk cache that never stands in the way, and one launch at a time.

Without `fastmath`, LLVM keeps every float operation as it is written: it does not reorder sums and does not fuse a product
and a sum that the source has apart. `exact` rests on that, and a test looks for fused instructions in what is compiled.
"""

from __future__ import annotations

import threading

import numba
from numba import prange

__all__ = ["launch", "njit", "prange"]

# Numba's `workqueue` threading layer ends the process when two Python threads start parallel kernels at once:
# whoever runs a network holds this lock.
launch = threading.RLock()


def njit(**options):
    """numba.njit with the cache on; where no cache folder can be written, without it.

    Numba tries the folder in NUMBA_CACHE_DIR, then __pycache__ beside the source, then the user's cache, and raises
    RuntimeError at decoration when all are read-only.
    """

    def compile(function):
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:
            return numba.njit(**options)(function)

    return compile
