"""A kernel for tests of the cache that keeps kernels, called as a process would call one of its own."""

from minivan import jit
from minivan.ops import activation

FOREIGN = 12345  # a user who is neither root nor the one who runs the tests


def kernel():
    """A kernel that nothing has been compiled of yet in this process; it takes a tenth of a second."""
    return jit.njit()(activation._power_of_two.py_func)


def answer(x=3.0):
    """Call a new kernel; return whether it was loaded."""
    new = kernel()
    assert new(x) == 8.0
    return sum(new.stats.cache_hits.values()) == 1


def files(cache):
    return sorted(p.name for p in cache.iterdir())
