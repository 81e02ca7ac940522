"""Seeing, and replacing, the arrays between a network's operators."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from .operators import Array

Callback: TypeAlias = Callable[[str, Array], Array | None]


class Hook:
    """Hands each array of a forward pass to `callback(path, array)`; what the callback returns, if anything, replaces it.

    The callback leaves the processor's rounding and its treatment of denormals as it finds them (see `floating`): what is
    computed after it on the same thread would differ.
    """

    def __init__(self, callback: Callback | None = None, path: str = "") -> None:
        self.callback, self.path = callback, path

    def under(self, name: str) -> Hook:
        """Return the hook for what lies under `name`."""
        return Hook(self.callback, f"{self.path}.{name}" if self.path else name)

    def __call__(self, name: str, array: Array) -> Array:
        """Show the array at `name` ('' for this hook's own path); return it, or what the callback put in its place."""
        if self.callback is None:
            return array
        path = self.under(name).path if name else self.path
        replacement = self.callback(path, array)
        return array if replacement is None else _in_place_of(path, array, replacement)


def _in_place_of(path: str, array: Array, replacement: Array) -> Array:
    """Return a replacement as an array of the engine's own kind; ValueError for another shape, or another kind."""
    if isinstance(array, np.ndarray):
        replacement = np.asarray(replacement, array.dtype)
    elif not isinstance(replacement, type(array)):
        wanted, found = type(array).__name__, type(replacement).__name__
        raise ValueError(f"what replaces {path} must be of the engine's own kind, {wanted}, got {found}")
    if replacement.dtype != array.dtype:
        raise ValueError(f"what replaces {path} must have its dtype {array.dtype}, got {replacement.dtype}")
    if replacement.shape != array.shape:
        raise ValueError(f"what replaces {path} must have its shape {tuple(array.shape)}, got {tuple(replacement.shape)}")
    return replacement


def renamed(hook: Callback | None, tap: Callback | None) -> Callback | None:
    """Return the callback of a call that may still say `tap=`, the old name of `hook=`; ValueError where it says both."""
    if tap is None:
        return hook
    if hook is not None:
        raise ValueError("hook= and tap= are the same argument: leave tap= out")
    warnings.warn("tap= is called hook= now, and goes with the next version", DeprecationWarning, stacklevel=3)
    return tap
