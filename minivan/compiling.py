"""Who is told that a kernel is about to be compiled, which takes seconds: a command tells the person who waits for it.

A program that imports minivan is told nothing unless it asks, with `told`, or leaves it to the engine `auto` to compile.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator

SILENT = "MINIVAN_COMPILE_NOTE"  # '0' leaves the note out, for whoever takes all that is on standard error for trouble
# What is compiled is called by the room that it is for, or the module; `python benchmarks/auto.py` measures the seconds.
WHAT = {
    "fast": "the fast engine",
    "fast.fpn": "the segmentation of the fast engine",
    "ops": "the exact engine",
    "grad": "the gradients of the fast and exact engines",
}
SECONDS = {
    "fast": 5,
    "fast.fpn": 2,
    "ops": 15,
    "grad": 15,
}  # on two quiet cores: those of fast are one kernel each, the others many

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


def part_of(kernel: str) -> str | None:
    """Return the key in WHAT of what a kernel belongs to, the longest that its name begins with; None where there is none."""
    return max((part for part in WHAT if kernel.startswith(f"{part}.")), key=len, default=None)


def sentence(part: str, problem: str | None = None) -> str:
    """Return what a person who waits for a part's kernels is told; `problem` is why they are not kept."""
    then = f"and it is not kept: {problem}" if problem else "once"
    most = "about" if part.startswith("fast") else "up to"
    return f"compiling {WHAT[part]} for this machine, {most} {SECONDS[part]} s, {then}"


def announce(part: str, problem: str | None = None) -> None:
    """Print that on standard error, unless somebody listens: for what a program did not ask to have compiled."""
    if not _listeners and os.environ.get(SILENT) != "0":
        with contextlib.suppress(OSError, ValueError, AttributeError):  # the stream may be full, closed or not there
            sys.stderr.write(f"note: {sentence(part, problem)}\n")
            sys.stderr.flush()


def begins(kernel: str, kept: bool) -> None:
    """Tell all who asked."""
    for listener in list(_listeners):
        listener(kernel, kept)
