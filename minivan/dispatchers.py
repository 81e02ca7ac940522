"""Numba's dispatchers on disk: what a kernel that is called as Python calls it needs besides its machine code.

Numba's own cache watches one file per kernel (a change in a function that is compiled into it goes unseen), keeps copies of
the same sources apart, skips folders that it cannot write, and does not bind its index to its data files, so that two
processes can leave one's machine code under the other's name. Dispatchers are given `kernel_cache` in its place: a file there
holds the compiled function as Numba pickles it. Beside whole_program.py, this module is the only one that touches Numba's
private classes; where they are not as expected, kernels are compiled in every process.
"""

from __future__ import annotations

import functools
import inspect
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from sys import is_finalizing
from typing import Any, NamedTuple

from . import compiling, kernel_cache
from .errors import TOO_LATE, CannotCompute, sentence
from .kernel_cache import KERNEL_SOURCES, room


def attach(kernel: Any) -> None:
    """Let a function that numba.njit returned load what it compiles from the cache, and keep it there.

    Only for functions of KERNEL_SOURCES that stand at the top of their module: a change in others would not be noticed.
    """
    if inspect.isfunction(kernel):  # NUMBA_DISABLE_JIT: it is still the Python function
        return
    function = kernel.py_func
    if function.__closure__ is not None or room(function.__module__) not in KERNEL_SOURCES:
        return
    problem = _internals().problem or (None if hasattr(kernel, "_cache") else "this Numba's dispatcher has no _cache")
    if problem:
        kernel_cache.warn(problem)
    else:
        kernel._cache = _Kernel(function)


class _Kernel:
    """What is on disk of one kernel. Numba's dispatcher asks before it compiles: see _Cache in numba/core/caching.py."""

    def __init__(self, function: Callable[..., Any]):
        self._name, self._line = function.__qualname__, function.__code__.co_firstlineno
        self._kernel = f"{function.__module__.removeprefix(f'{__package__}.')}.{self._name}"
        self._began, self._compiled = 0.0, 0.0  # when its compiling did, and how many seconds all had taken together then

    @property
    def cache_path(self) -> str | None:
        place = kernel_cache.folder()
        return None if place is None else str(place)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        if is_finalizing():  # nothing can be imported, and Numba compiles nothing then
            raise CannotCompute(TOO_LATE)
        try:
            target_context.refresh()  # as Numba's cache does: makes known what the unpickled code refers to
            found = self._find(sig)
            pickled = found and kernel_cache.read(*found)
            if pickled:
                saved, reduced = pickle.loads(pickled)
                if saved == sig:  # its text, which is in the key, names a class without its module
                    made = _internals().rebuild(target_context, *reduced)
                    if made.fndesc.qualname == self._name:
                        return made
        except Exception as error:
            kernel_cache.warn(f"a compiled kernel cannot be read: {sentence(error)}")
        self._began, self._compiled = time.perf_counter(), _compiled
        compiling.begins(self._kernel, kept=kernel_cache.state().problem is None)
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        seconds = self._took()
        try:
            found = self._find(sig)
            if found:
                if data.library.has_dynamic_globals or any(not lifted.can_cache for lifted in data.lifted):
                    raise ValueError(f"{self._name} holds addresses or objects of this process")
                kernel_cache.write(*found, seconds, _internals().dumps((sig, data._reduce())))
        except Exception as error:
            kernel_cache.warn(f"a compiled kernel cannot be kept: {sentence(error)}")

    def _took(self) -> float:
        """Return the seconds since its compiling began, without those of kernels that were compiled as a part of it."""
        global _compiled
        seconds = time.perf_counter() - self._began - (_compiled - self._compiled)
        _compiled += seconds
        return seconds

    def _find(self, sig: Any) -> tuple[Path, bytes] | None:
        return kernel_cache.find(f"{self._kernel}, line {self._line}", str(sig))

    def enable(self) -> None:
        """Numba's interface."""

    def disable(self) -> None:
        """Numba's interface."""

    def flush(self) -> None:
        """Numba's interface: called before it recompiles; what it would load again is what it compiled."""


_compiled = 0.0  # seconds that this process has compiled in all


class Internals(NamedTuple):
    """What of Numba's private parts is used here, and what of them is not as this module expects."""

    dumps: Callable[..., bytes]
    rebuild: Callable[..., Any]
    problem: str | None = None


@functools.lru_cache(maxsize=1)
def _internals() -> Internals:
    expected = {name: ["self"] for name in ("enable", "disable", "flush")}
    expected |= {"load_overload": ["self", "sig", "target_context"], "save_overload": ["self", "sig", "data"]}
    try:
        from numba.core import caching, compiler, serialize

        methods = caching._Cache.__abstractmethods__ - {"cache_path"}
        found = {name: list(inspect.signature(getattr(caching._Cache, name)).parameters) for name in methods}
        if found != expected:
            raise TypeError(f"its caches are asked for {', '.join(sorted(found))}")
        return Internals(serialize.dumps, compiler.CompileResult._rebuild)
    except Exception as error:  # a Numba that is broken, or that a NumPy is too new for, raises anything
        return Internals(pickle.dumps, pickle.loads, f"this Numba keeps compiled functions in a way of its own ({error})")
