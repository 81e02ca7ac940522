"""A network of `fast` whose every buffer ends where memory ends: `python guarded.py LANES` dies where one is overrun.

The buffers are filled with NaN: what is read before it was written shows. Linux alone (mmap, mprotect).
"""

import ctypes
import itertools
import mmap
import sys

import numpy as np

from minivan.fast import Plan, lanes, plan, workspace
from minivan.fast.addresses import ALIGNMENT, FLOAT_BYTES, address_of
from minivan.variants import Config
from support.networks import images, random_tensors

CONFIGS = (
    Config((8, 16, 24, 32), (1, 2, 2, 1), (8, 8, 4, 4), classes=10),
    Config((33, 50, 70), (1, 1, 2), (3, 2, 1), classes=7),
    Config((40,), (1,), (2,), classes=4, channels=1),
)
SIZES = (1, 32, 32), (2, 33, 47), (1, 96, 200)
BANDS = (1 << 30, 0), (0, 0), (0, 1 << 16), (0, 1 << 30)  # bytes: whole wide maps; bands of one row, of a few, of all
FORBIDDEN = 0  # PROT_NONE

kept = []  # every buffer, as long as the process


def guarded(floats):
    """Return so many floats, all NaN, right before a page that nobody may touch; the page before them is another."""
    size = -(-max(floats, 1) // ALIGNMENT) * ALIGNMENT * FLOAT_BYTES
    pages = mmap.mmap(-1, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE + 2 * mmap.PAGESIZE)
    begin = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    protect = ctypes.CDLL(None).mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    last = len(pages) - mmap.PAGESIZE
    assert protect(begin, mmap.PAGESIZE, FORBIDDEN) == protect(begin + last, mmap.PAGESIZE, FORBIDDEN) == 0
    array = np.frombuffer(pages, np.float32, size // FLOAT_BYTES, last - size)
    array[:] = np.nan
    kept.append(array)
    return array


def main():
    workspace.addresses = lambda sizes, at: [address_of(guarded(size)) for size in sizes]
    networks = [Plan(config, random_tensors(config, seed=3), getattr(lanes, sys.argv[1])()) for config in CONFIGS]
    for (config, network), size in itertools.product(zip(CONFIGS, networks, strict=True), SIZES):
        x, found = images(*size, channels=config.channels), []
        for count in (1, 2, 3):
            plan.thread_count = lambda count=count: count
            for small, cache in BANDS:
                workspace.SMALL_MAP = workspace.SMALL_SHARED_MAP = small
                workspace.CACHE = cache
                workspace.sizes_of.cache_clear()
                found.append(network(x).tobytes())
        assert np.isfinite(np.frombuffer(found[0], np.float32)).all() and len({*found}) == 1, (config, size)
    print("sound")


if __name__ == "__main__":
    main()
