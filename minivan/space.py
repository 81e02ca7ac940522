"""How much address space this process may have, where the system limits it (`ulimit -v`, `ulimit -d`), and what takes how much.

OpenBLAS and LLVM do not return when they get no memory: one ends the process with status 1, the other aborts it. Whoever would
call them asks here first.
"""

from __future__ import annotations

LEAST = 512 << 20  # bytes to import NumPy, Pillow and Matplotlib and multiply two matrices with OpenBLAS's one thread
LEAST_TO_COMPILE = 2 << 30  # and to import Numba and compile an engine


def limit() -> int | None:
    """Return how many bytes of address space this process may have; None where nothing limits it."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return None
    limits = [resource.getrlimit(number)[0] for number in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
    return min((size for size in limits if size != resource.RLIM_INFINITY), default=None)


def compiles() -> bool:
    """Tell whether what the process may have is enough to compile an engine."""
    most = limit()
    return most is None or most >= LEAST_TO_COMPILE
