"""How minivan compiles: Numba with minivan's own disk cache behind it, and one launch at a time.

Without `fastmath`, LLVM keeps every float operation as it is written: it does not reorder sums and does not fuse a product
and a sum that the source has apart. `exact` rests on that, and a test looks for fused instructions in what is compiled.
"""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

from . import compiler, dispatchers, floating
from .compiler import compiles, thread_count, threading_layer
from .compiler import numbas_threads as _numbas
from .errors import CannotCompute, reason
from .processors import MOST_THREADS, startable
from .processors import threads as allowed

numba = compiler.numba()

from numba import prange  # noqa: E402 - not where it cannot be imported at all
from numba.extending import intrinsic as numba_intrinsic  # noqa: E402

__all__ = ["carray", "compiles", "inline", "intrinsic", "launch", "njit", "prange", "thread_count", "threading_layer"]

carray: Any = vars(numba)["carray"]  # an array over memory that is known by its address; for compiled code

Function = TypeVar("Function", bound=Callable[..., Any])


OTHERWISE = "use the engine numpy, or fast, whose hooks and gradients alone (explain, receptive-field) need them"
FORKED = (
    "this process was forked from one in which Numba's OpenMP threads had computed, and they cannot compute here: start"
    f" processes with spawn or forkserver, set NUMBA_THREADING_LAYER=workqueue, or {OTHERWISE}"
)


class Launch:
    """Whoever runs a parallel kernel does it inside `with launch.lock, launch:`. CannotCompute where none can run.

    Numba's `workqueue` threading layer ends the process when two Python threads start parallel kernels at once, and its `omp`
    layer ends a forked one whose parent has used it. Where this process's budget is smaller than the number of threads that
    Numba would use, the kernels use the smaller one; afterwards the calling thread's number is what it was. So is its
    floating-point environment, which is IEEE 754's inside (see `floating`); Numba's own threads set theirs (`registers`).

    The lock stands in the `with` itself: between its acquiring or releasing, which is C, and the block no Ctrl-C can come. In
    an `__enter__` or `__exit__` written in Python one can, and the lock would stay taken for ever.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._forked_with_openmp = False
        self._numbas: list[int | None] = []  # for each time that the lock is held: what to put back, if anything
        self._floating: list[floating.standard] = []  # likewise
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def __enter__(self) -> None:
        if self._forked_with_openmp:
            raise CannotCompute(FORKED)
        wanted, most = _numbas(), allowed()
        if wanted > MOST_THREADS and not threading_layer():
            raise CannotCompute(f"NUMBA_NUM_THREADS asks for {wanted} threads, and at most {MOST_THREADS} are started")
        if compiles() and not threading_layer():
            self._start(wanted)
        if wanted > most:
            numba.set_num_threads(most)
        self._numbas.append(wanted if wanted > most else None)
        environment = floating.standard()
        environment.__enter__()
        self._floating.append(environment)

    def __exit__(self, *error: object) -> None:
        self._floating.pop().__exit__()
        before = self._numbas.pop()  # what an interrupted call has left below it is never reached
        if before is not None:
            numba.set_num_threads(before)

    def _start(self, wanted: int) -> None:
        """Start Numba's threads: here, since an error of theirs would look like one of the kernel that is loaded."""
        if (there := startable(wanted)) < wanted:
            raise CannotCompute(
                f"the system starts no more than {there} of the {wanted} threads that Numba would compute on (a limit on"
                f" processes, ulimit -u?): set NUMBA_NUM_THREADS={there}, or {OTHERWISE}"
            )
        try:
            numba.get_num_threads()
        except ValueError as error:
            said = f"Numba's threads cannot be started ({reason(error).rstrip('.')})"
            settings = "NUMBA_THREADING_LAYER and NUMBA_THREADING_LAYER_PRIORITY"
            raise CannotCompute(f"{said}: unset {settings}, or {OTHERWISE}") from None

    def _forked(self) -> None:
        self.lock, self._numbas, self._floating = threading.RLock(), [], []  # another thread of the parent may have held it
        self._forked_with_openmp |= threading_layer() == "omp"


launch = Launch()


def njit(*, parallel: bool = False, nogil: bool = False, cache: bool = True) -> Callable[[Function], Function]:
    """Compile a function at its first call with given types, or load what an earlier process compiled.

    `parallel` lets `prange` use several threads; `nogil` lets other Python threads run meanwhile; without `cache`, every
    process compiles anew. Numba has no type hints: this is where its functions get the types that their source states.
    """

    def compiled(function: Function) -> Function:
        kernel = numba.njit(parallel=parallel, nogil=nogil)(function)
        if cache:
            dispatchers.attach(kernel)
        return cast(Function, kernel)

    return compiled


def inline(function: Function) -> Function:
    """A function that is only called from compiled code: it becomes a part of kernels, and is kept on disk as that alone.

    Numba would compile it anew for every constant that it is called with. Here that counts as any other number.
    """
    kernel: Any = njit(cache=False)(function)
    if not inspect.isfunction(kernel):
        as_called = kernel.get_call_template
        unliteral = vars(numba)["types"].unliteral
        kernel.get_call_template = lambda arguments, named: as_called(
            [unliteral(each) for each in arguments], {name: unliteral(each) for name, each in named.items()}
        )
    return cast(Function, kernel)


def intrinsic(*, prefer_literal: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """A function that compiled code calls and that writes its own LLVM instructions; see numba.extending.intrinsic.

    It is called without the typing context that its definition begins with, which no type can say: hence Any.
    """
    return cast(Callable[[Callable[..., Any]], Any], numba_intrinsic(prefer_literal=prefer_literal))
