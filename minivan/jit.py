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

from . import floating, kernel_cache
from .errors import CannotCompute, NoCompiler, quote, reason
from .processors import MOST_THREADS, startable
from .processors import threads as allowed

try:
    import numba
    from numba import prange
    from numba.extending import intrinsic as numba_intrinsic
except CannotCompute:  # forked while another thread imported it
    raise
except Exception as error:  # with a NumPy that is too new for it, it raises more than ImportError
    asked = os.environ.get("NUMBA_NUM_THREADS")
    about = f"NUMBA_NUM_THREADS is {quote(asked)}: " if asked and isinstance(error, ValueError) else ""
    said = f"Numba cannot be imported ({about}{reason(error)}); the engine numpy works without it, the others do not"
    raise NoCompiler(said) from error

V2 = ("cx16", "popcnt", "sahf", "sse3", "sse4.1", "sse4.2", "ssse3")
V3 = (*V2, "avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave")
V4 = (*V3, "avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl")
# Processors by LLVM's name, and what it takes for granted there: the levels of the x86-64 psABI.
LEVELS: dict[str, tuple[str, ...]] = {"generic": (), "x86-64": (), "x86-64-v2": V2, "x86-64-v3": V3, "x86-64-v4": V4}


def _unusable() -> str | None:
    """Say why this processor cannot run what Numba's settings let it compile; None where it can.

    Of a name alone nothing is to be feared: Numba then lists what this processor lacks. With features, even an empty list of
    them, it does not, and LLVM takes for granted what a processor of that name has.
    """
    from llvmlite import binding

    name, features = vars(numba.config)["CPU_NAME"], vars(numba.config)["CPU_FEATURES"]
    if features is None:
        return None
    if name and name not in LEVELS and name != binding.get_host_cpu_name():
        return f"NUMBA_CPU_NAME {quote(name)} beside NUMBA_CPU_FEATURES may mean instructions which this processor lacks"
    asked = dict.fromkeys(LEVELS.get(name or "", ()), "+")
    for feature in features.split(","):
        if feature and feature[0] not in "+-":  # at which LLVM would end the process
            return f"NUMBA_CPU_FEATURES holds {quote(feature)}, which begins with neither + nor -"
        asked[feature[1:]] = feature[:1]
    try:
        here = binding.get_host_cpu_features()
    except RuntimeError:  # LLVM does not know how to ask this system
        return None
    missing = [feature for feature, sign in asked.items() if sign == "+" and not here.get(feature, True)]
    return f"NUMBA_CPU_FEATURES, or NUMBA_CPU_NAME, means {', '.join(missing)}, which this processor lacks" if missing else None


if _why := _unusable():
    raise NoCompiler(f"{_why}, so that compiled code would end the process: unset both, or use the engine numpy")

__all__ = ["carray", "compiles", "inline", "intrinsic", "launch", "njit", "prange"]

carray: Any = vars(numba)["carray"]  # an array over memory that is known by its address; for compiled code

Function = TypeVar("Function", bound=Callable[..., Any])


def threading_layer() -> str | None:
    """Return which of Numba's threading layers this process has started: 'omp', 'tbb' or 'workqueue'; None before that."""
    try:
        return str(vars(numba)["threading_layer"]())
    except ValueError:
        return None


def thread_count() -> int:
    """Return on how many threads minivan computes: as many as Numba would, within this process's budget. Starts none."""
    return min(_numbas(), allowed())


def _numbas() -> int:
    return int(numba.get_num_threads() if threading_layer() else vars(numba.config)["NUMBA_NUM_THREADS"])


def compiles() -> bool:
    """Tell whether Numba compiles at all: with NUMBA_DISABLE_JIT, kernels are run as the Python that they are written in."""
    return not vars(numba.config)["DISABLE_JIT"]


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
            kernel_cache.attach(kernel)
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
