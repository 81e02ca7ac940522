"""How minivan compiles: Numba with minivan's own disk cache behind it, and one launch at a time.

Without `fastmath`, LLVM keeps every float operation as it is written: it does not reorder sums and does not fuse a product
and a sum that the source has apart. `exact` rests on that, and a test looks for fused instructions in what is compiled.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba import prange
from numba.extending import intrinsic as numba_intrinsic

from . import kernel_cache

__all__ = ["carray", "inline", "intrinsic", "launch", "njit", "prange"]

carray: Any = vars(numba)["carray"]  # an array over memory that is known by its address; for compiled code

Function = TypeVar("Function", bound=Callable[..., Any])

# Numba's `workqueue` threading layer ends the process when two Python threads start parallel kernels at once:
# whoever runs a network holds this lock.
launch = threading.RLock()


def njit(*, parallel: bool = False, nogil: bool = False, cache: bool = True) -> Callable[[Function], Function]:
    """Compile a function at its first call with given types, or load what an earlier process compiled.

    `parallel` lets `prange` use several threads; `nogil` lets other Python threads run meanwhile; without `cache`, every
    process compiles anew. Numba has no type hints: this is where its functions get the types that their source states.
    """

    def compiled(function: Function) -> Function:
        kernel = numba.njit(parallel=parallel, nogil=nogil)(function)
        if cache:
            kernel_cache.attach(kernel)
        return cast(Function, kernel)

    return compiled


def inline(function: Function) -> Function:
    """A function that is only called from compiled code: it becomes a part of kernels, and is kept on disk as that alone."""
    return njit(cache=False)(function)


def intrinsic(*, prefer_literal: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """A function that compiled code calls and that writes its own LLVM instructions; see numba.extending.intrinsic.

    It is called without the typing context that its definition begins with, which no type can say: hence Any.
    """
    return cast(Callable[[Callable[..., Any]], Any], numba_intrinsic(prefer_literal=prefer_literal))
