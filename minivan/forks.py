"""What a forked child must never wait for: locks that other threads of its parent held, which nobody gives back there.

A fork copies every lock and, of the threads, only the one that forks. Python makes its own locks anew in the child; those of
minivan are made anew where they stand (`Launch` in jit.py, `Team` in fast/team.py). Here are the ones that others keep:

- **Numba's and llvmlite's.** A lock that is held says that what it guards is half done: a kernel that is being compiled or
  loaded, threads that are being started. In the child, to take it raises CannotCompute, in one line. What was loaded before
  needs none of them, and computes. What a finalizer would give back to LLVM is left where it is.
- **Python's import locks.** A module of minivan's own that another thread was importing is imported anew in the child. Any
  other may have begun something that must not begin twice: to import it raises CannotCompute.

Their names are private: where one is not as it is here, the child is left as it is.

And here is what no fork may come into: OpenBLAS ends its threads before each, and a product of matrices that another thread has
given them is then never done, in the parent neither. A fork waits until no product is under way (`unforked`).
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

from .errors import CannotCompute

LOCKS = (  # module, the object in it, its lock
    ("numba.core.compiler_lock", "global_compiler_lock", "_lock"),
    ("numba.core.registry", "CPUTarget._toplevel_target_context", "_lock"),
    ("numba.core.registry", "CPUTarget._toplevel_typing_context", "_lock"),
    ("numba.np.ufunc.parallel", "", "_backend_init_thread_lock"),
    ("llvmlite.binding.ffi", "lib._lock", "_lock"),
)
GLANCE = 0.0005  # seconds after which who waits for a fork looks whether it is done
INSTEAD = (
    "fork before a model is first used or after its first call has ended, start processes with spawn or forkserver, or use the"
    " engine numpy"
)


class Lost:
    """Stands in a child for a lock that will never be given back: to take it says so."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> NoReturn:
        said = "this process was forked while another thread was compiling or loading kernels, and can load none itself"
        raise CannotCompute(f"{said}: {INSTEAD}")

    __enter__ = acquire

    def release(self) -> None:
        """Nobody has it."""

    def __exit__(self, *error: object) -> None:
        """Nobody has it."""


class Undisposed(dict[str, Any]):
    """llvmlite's table of LLVM's functions, those that give something back doing nothing: a finalizer has nobody to tell."""

    def __getitem__(self, name: str) -> Any:
        return _left_alone if "Dispose" in name else super().__getitem__(name)


def _left_alone(*args: object) -> int:
    return 0


class Barred:
    """Asked before any other finder of modules: those that another thread of the parent was importing are an error."""

    def __init__(self, names: set[str]) -> None:
        self._names = names

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name in self._names:
            said = f"this process was forked while another thread was importing {name}, and cannot do so itself"
            raise CannotCompute(f"{said}: {INSTEAD}")
        return None


def taken(lock: Any) -> bool:
    """Tell whether a lock is held by a thread that is not this one; in a child there is no other."""
    if not lock.acquire(blocking=False):
        return True
    lock.release()
    return False


def _owners() -> Iterator[tuple[Any, str]]:
    """Yield each object that has one of LOCKS, and its name there; nothing of modules that are not imported."""
    for module, path, name in LOCKS:
        if module in sys.modules:
            try:
                owner: Any = sys.modules[module]
                for part in filter(None, path.split(".")):  # to ask a class for a cached property would take its lock
                    owner = vars(owner)[part] if isinstance(owner, type) else getattr(owner, part)
                getattr(owner, name)
            except (AttributeError, KeyError):
                continue
            yield owner, name


def _half_imported() -> Iterator[str]:
    """Yield the names of the modules that threads which are not here were importing."""
    for name, reference in list(_import_locks().items()):
        lock = reference()
        if lock is not None and (taken(lock.lock) or lock.owner not in (None, threading.get_ident())):
            yield name


def _import_locks() -> dict[str, Any]:
    found: dict[str, Any] = getattr(sys.modules.get("_frozen_importlib"), "_module_locks", {})
    return found


def _forked() -> None:
    """Look at every lock, in the child, before anything else runs there."""
    for owner, name in _owners():
        if taken(getattr(owner, name)):
            setattr(owner, name, Lost())
    llvm: Any = getattr(sys.modules.get("llvmlite.binding.ffi"), "lib", None)
    table = getattr(llvm, "_fntab", None)
    if isinstance(getattr(getattr(llvm, "_lock", None), "_lock", None), Lost) and isinstance(table, dict):
        llvm._fntab = Undisposed(table)
    half = set(_half_imported())
    for name in half:
        del _import_locks()[name]
        sys.modules.pop(name, None)
    if others := {name for name in half if name.partition(".")[0] != __package__}:
        sys.meta_path.insert(0, Barred(others))


class Unforked:
    """Short work into which no fork of this process comes: `with unforked.lock(): ...` in whatever thread.

    Each thread has a lock of its own, so that none waits for another one; who forks takes those of all others. They are
    reentrant: a signal's handler may fork in the midst of the work of its own thread.
    """

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            for _ in range(2):  # Ctrl-C may end any of these at any line, and the fork goes on: what one left, the next does
                os.register_at_fork(before=self._take, after_in_parent=self._give, after_in_child=self._renew)

    def lock(self) -> contextlib.AbstractContextManager[Any]:
        """Return this thread's lock. Where another one is about to fork, it comes first."""
        own = threading.get_ident()
        found: contextlib.AbstractContextManager[Any] = self._locks.get(own) or self._locks.setdefault(own, threading.RLock())
        while self._by not in (None, own):
            time.sleep(GLANCE)
        return found

    def _renew(self) -> None:
        self._locks: dict[int, Any] = {}  # by the number of a thread, which one after it may have again
        self._forking: Any = threading.RLock()
        self._by: int | None = None  # the thread that forks
        self._taken: list[Any] = []

    def _take(self) -> None:
        own = threading.get_ident()
        if not self._forking._is_owned():
            self._forking.acquire()
        self._by = own
        for lock in [lock for thread, lock in list(self._locks.items()) if thread != own]:
            if not lock._is_owned():
                lock.acquire()
            self._taken.append(lock)

    def _give(self) -> None:
        while self._taken:
            if self._taken[-1]._is_owned():
                self._taken[-1].release()
            self._taken.pop()
        self._by = None
        if self._forking._is_owned():
            self._forking.release()


unforked = Unforked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
