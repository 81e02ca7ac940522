"""Who is told that a kernel is about to be compiled, which may take half a minute: a command tells the person who waits for it.

A program that imports minivan is told nothing unless it asks, with `told`; but where the engine `auto` decides to compile.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator

SILENT = "MINIVAN_COMPILE_NOTE"  # '0' leaves the note out, for whoever takes all that is on standard error for trouble
WHAT = {"fast": "the engine fast", "ops": "the engine exact", "grad": "the gradients of the engines fast and exact"}

Listener = Callable[[str, bool], None]

_listeners: list[Listener] = []


@contextlib.contextmanager
def told(listener: Listener) -> Iterator[None]:
    """Have `listener(kernel, kept)` called in the block before a kernel is compiled, in whatever thread does it.

    `kernel` is its name, such as 'fast.network.run'; `kept` is False where nothing is kept on disk, so that the next process
    compiles it as well. A kernel that is loaded from the cache is not told of.
    """
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def sentence(room: str, then: str) -> str:
    """Return what a person who waits for the kernels of a room, 'fast' say, is told; `then` is what will be of them."""
    return f"compiling {WHAT[room]} for this machine, which may take half a minute; {then}"


def announce(room: str) -> None:
    """Print that on standard error, where nobody asked to be told: for what a program did not ask to have compiled."""
    if not _listeners and os.environ.get(SILENT) != "0":
        with contextlib.suppress(OSError, ValueError, AttributeError):  # it may be full, closed or not there
            sys.stderr.write(f"note: {sentence(room, 'later runs only load it')}\n")


def begins(kernel: str, kept: bool) -> None:
    """Tell all who asked."""
    for listener in list(_listeners):
        listener(kernel, kept)
