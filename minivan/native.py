"""Kernels that are kept as object code: found in the cache and loaded without Numba, or compiled, kept and then so loaded.

So there is one way of calling them, and whoever is the first to need one pays for the compiler alone.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from sys import is_finalizing
from typing import Any

from . import compiling, kernel_cache
from .compiler import imported, numba, processor
from .errors import TOO_LATE, CannotCompute, WrongCall, sentence
from .object_code import OUTSIDE, OWN_ADDRESS, Function, ObjectCode, missing

AGAIN = "this thread is loading the engine fast already, interrupted by what calls it again: have signal handlers call it later"


class Kernel:
    """A function that is compiled for each type of its first argument, a named tuple: once in a process.

    `name` is its module's and its own within the package; `source` imports it, as what numba.njit returned. What is called is
    what was loaded; see object_code.flattened for what it may take.
    """

    def __init__(self, name: str, source: Callable[[], Any]) -> None:
        self.name, self._source = name, source
        self._functions: dict[type, Function] = {}
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock: Any = threading.RLock()  # another thread of the parent may have held it

    def loaded(self, variant: type) -> bool:
        """Tell whether this process has loaded it, or compiled it, for a type of its first argument."""
        return variant in self._functions

    def lacks(self, variant: type) -> bool:
        """Tell whether it must be loaded first. Raises CannotCompute where Python is ending, and loads nothing any more."""
        if not self.loaded(variant) and is_finalizing():
            raise CannotCompute(TOO_LATE)
        return not self.loaded(variant)

    def load(self, *arguments: Any) -> None:
        """Load it, or compile it first, for arguments such as these; it is not called.

        Raises CannotCompute where that cannot be, and NoCompiler where it would have to be compiled, and Numba is not there.
        """
        variant = type(arguments[0])
        if self._lock._is_owned():
            raise CannotCompute(AGAIN)
        with self._lock:
            if self.lacks(variant):
                self._functions[variant] = self._found(variant) or self._compiled(variant, arguments)

    def __call__(self, *arguments: Any) -> None:
        """Call it, and load it first where that has not been done; other Python threads run meanwhile."""
        if type(arguments[0]) not in self._functions:
            self.load(*arguments)
        self._functions[type(arguments[0])](*arguments)

    def _found(self, variant: type) -> Function | None:
        """Load it from the cache, if it is there."""
        try:
            found = kernel_cache.find(self.name, variant.__name__)
            whole = found and kernel_cache.read(*found)
            return Function(ObjectCode.parted(whole), processor()) if whole else None
        except WrongCall:  # this process can neither load nor compile
            raise
        except Exception as error:
            kernel_cache.warn(f"a compiled kernel cannot be read: {sentence(error)}")
        return None

    def _compiled(self, variant: type, arguments: tuple[Any, ...]) -> Function:
        """Compile it, and keep it. Once Numba is imported it is asked what it compiles for: the cache may have that."""
        if not imported():
            numba()
            if function := self._found(variant):
                return function
        compiling.begins(self.name, kept=kernel_cache.state().problem is None)
        start = time.perf_counter()
        from .translation import compile_object

        dispatcher = self._source()
        object_code = compile_object(dispatcher, tuple(map(dispatcher.typeof_pyval, arguments)))
        seconds = time.perf_counter() - start
        try:
            if strange := missing(object_code.code) - OUTSIDE:
                raise ValueError(f"{self.name} refers to {', '.join(sorted(strange))}, which only this process has")
            if OWN_ADDRESS.encode() in object_code.code:
                raise ValueError(f"{self.name} holds addresses of this process")
            if found := kernel_cache.find(self.name, variant.__name__):
                kernel_cache.write(*found, seconds, object_code.whole())
        except Exception as error:
            kernel_cache.warn(f"a compiled kernel cannot be kept: {sentence(error)}")
        return Function(object_code, processor())
