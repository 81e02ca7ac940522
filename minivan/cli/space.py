"""How much address space and how many threads a command needs, where the system limits them (`ulimit -v`, `-d`, `-u`).

OpenBLAS and LLVM do not return when they get no memory: one ends the process with status 1, which would be an answer here, the
other aborts it. So what is too little for them is refused beforehand; what is enough for them and too little for the arrays is
a MemoryError, as everywhere. Nor does OpenBLAS return where its threads cannot start: then it is told to do without.
"""

from __future__ import annotations

import os

from ..errors import WrongCall
from ..input import amount
from ..processors import affinity, startable

LEAST = 512 << 20  # bytes to import NumPy, Pillow and Matplotlib and multiply two matrices with OpenBLAS's one thread
LEAST_TO_COMPILE = 2 << 30  # and to import Numba and compile an engine
BLAS_THREADS = 64  # that NumPy's OpenBLAS starts at most, however many processors there are


def limit() -> int | None:
    """Return how many bytes of address space this process may have; None where nothing limits it."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return None
    limits = [resource.getrlimit(number)[0] for number in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
    return min((size for size in limits if size != resource.RLIM_INFINITY), default=None)


def check(compiles: bool) -> None:
    """Raise WrongCall where there is too little to begin; under a limit, keep OpenBLAS to one thread and its buffer."""
    most, least = limit(), LEAST_TO_COMPILE if compiles else LEAST
    if most is not None and most < least:
        raise WrongCall(
            f"not enough memory: the address space is limited to {amount(most)} (ulimit -v), {amount(least)} are needed"
        )
    threads = min(affinity(), BLAS_THREADS)
    if "OPENBLAS_NUM_THREADS" not in os.environ and (most is not None or startable(threads) < threads):
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
