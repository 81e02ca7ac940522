"""A function for a cluster that ends the process which calls it."""

import os
import signal


class Deadly:
    """A function that kills its process at one item, and returns the others with the threads that Numba has."""

    def __call__(self, item):
        if item == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        return item, os.environ.get("NUMBA_NUM_THREADS")


class Unloadable:
    """A function that no other process can load."""

    def __reduce__(self):
        return _refuse, ()


def _refuse():
    raise RuntimeError("not here")
