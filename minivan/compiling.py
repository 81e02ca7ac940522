"""Who is told that a kernel is about to be compiled, which may take half a minute: a command tells the person who waits for it.

A program that imports minivan is told nothing unless it asks, with `told`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

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


def begins(kernel: str, kept: bool) -> None:
    """Tell all who asked."""
    for listener in list(_listeners):
        listener(kernel, kept)
