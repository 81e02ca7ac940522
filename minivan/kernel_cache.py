"""Compiled kernels on disk: compiled once for all processes, and all copies, of the same sources on a machine.

Numba's own cache watches one file per kernel (a change in a function that is compiled into it goes unseen), keeps copies of
the same sources apart, skips folders that it cannot write, and does not bind its index to its data files, so that two
processes can leave one's machine code under the other's name. This module takes its place, and is the only one that
touches Numba's private classes; where they are not as expected, kernels are compiled in every process.

**Which folder.** MINIVAN_CACHE, else NUMBA_CACHE_DIR, else `kernels` in the user's cache folder. The one that MINIVAN_CACHE
names is made so that all users can read it (0755, its files 0644, whatever the umask), another for its owner alone (0700). In
it is one folder per version of the sources, `minivan-DIGEST`: SHA-256 over every module that can be compiled into a kernel. An
edit anywhere in them leads to another folder, and nothing has to be wiped.

**One file per kernel and signature**, named after the kernel and the SHA-256 of its key, in four parts:

    SHA-256 of all that follows, in hexadecimal                 line 1
    the key: all that the machine code depends on, as JSON      line 2
    how many seconds compiling it took                          line 3
    Numba's compiled function, pickled                          the rest

A file is loaded if its checksum is right and its key, letter by letter, the one asked for. It is written beside its place and
renamed: no halves, and of two writers the last wins. What a killed process left behind (.tmp) goes a day later.

**A cache never decides the answer.** It is read only if the file, its folder and those above are trusted (trust.py), which is
looked at before anything is unpickled. The folder is the one of this version: MINIVAN_CACHE=/tmp is safe, and a second user
there gets one beside the first's (untaken). It is not read once a source file has changed under the running process. Whatever
fails, the kernel is compiled and works, and one warning per process, KernelCacheWarning, says why. A complete one is only read.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import json
import os
import pickle
import pkgutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from sys import is_finalizing
from typing import Any, NamedTuple

from . import compiling
from .errors import TOO_LATE, CannotCompute, sentence
from .home import user_cache
from .trust import distrust, distrust_status, untaken

# Modules and packages whose text can become a part of a kernel or of its file. They have no assert: python -O runs the same.
KERNEL_SOURCES = ("differences", "fast", "floating", "geometry", "grad", "jit", "kernel_cache", "ops", "registers")
# Settings of Numba that change the code it makes and are not in its description of the processor.
SETTINGS = (
    "OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "EXTEND_VARIABLE_LIFETIMES", "USING_SVML",
    "LLVM_REFPRUNE_PASS", "LLVM_REFPRUNE_FLAGS", "DEBUG_NRT", "NRT_STATS", "DEBUG_ARRAY_OPT_RUNTIME", "PARFOR_MAX_TUPLE_SIZE",
    "ENABLE_PROFILING", "JIT_COVERAGE", "USE_RVSDG_FRONTEND",
)  # fmt: skip
NAMED = "MINIVAN_CACHE"
DAY = 86400  # seconds


class KernelCacheWarning(UserWarning):
    """Kernels are compiled in this process alone: there is something to mend that would save the next one the time."""


class State(NamedTuple):
    """Where compiled kernels are kept, what chose that folder, and why it is not used or something could not be kept."""

    folder: Path | None
    chosen_by: str
    problem: str | None


def folder(numba: bool = True) -> Path | None:
    """Return where this process keeps kernels; None if it does without. Without `numba` that is not imported for it."""
    place = _place(numba)
    return None if place.problem else place.folder


def state() -> State:
    """Return the folder and what is wrong with it as of now, or else what this process has warned of."""
    place = _place()
    return place._replace(problem=place.problem or _warned)


def attach(kernel: Any) -> None:
    """Let a function that numba.njit returned load what it compiles from the cache, and keep it there.

    Only for functions of KERNEL_SOURCES that stand at the top of their module: a change in others would not be noticed.
    """
    if inspect.isfunction(kernel):  # NUMBA_DISABLE_JIT: it is still the Python function
        return
    function = kernel.py_func
    if function.__closure__ is not None or _room(function.__module__) not in KERNEL_SOURCES:
        return
    problem = _internals().problem or (None if hasattr(kernel, "_cache") else "this Numba's dispatcher has no _cache")
    if problem:
        _warn(problem)
    else:
        kernel._cache = _Kernel(function)


class _Kernel:
    """What is on disk of one kernel. Numba's dispatcher asks before it compiles: see _Cache in numba/core/caching.py."""

    def __init__(self, function: Callable[..., Any]):
        self._module, self._name = function.__module__, function.__qualname__
        self._line = function.__code__.co_firstlineno
        self._began, self._compiled = 0.0, 0.0  # when its compiling did, and how many seconds all had taken together then

    @property
    def cache_path(self) -> str | None:
        place = folder()
        return None if place is None else str(place)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        if is_finalizing():  # nothing can be imported, and Numba compiles nothing then
            raise CannotCompute(TOO_LATE)
        try:
            target_context.refresh()  # as Numba's cache does: makes known what the unpickled code refers to
            found = self._find(sig, target_context.codegen())
            pickled = found and _read(*found)
            if pickled:
                saved, reduced = pickle.loads(pickled)
                if saved == sig:  # its text, which is in the key, names a class without its module
                    made = _internals().rebuild(target_context, *reduced)
                    if made.fndesc.qualname == self._name:
                        return made
        except Exception as error:
            _warn(f"a compiled kernel cannot be read: {sentence(error)}")
        self._began, self._compiled = time.perf_counter(), _compiled
        compiling.begins(f"{self._module.removeprefix(f'{__package__}.')}.{self._name}", kept=_warned is None)
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        seconds = self._took()
        try:
            found = self._find(sig, data.codegen)
            if found:
                if data.library.has_dynamic_globals or any(not lifted.can_cache for lifted in data.lifted):
                    raise ValueError(f"{self._name} holds addresses or objects of this process")
                _write(*found, seconds, _internals().dumps((sig, data._reduce())))
        except Exception as error:
            _warn(f"a compiled kernel cannot be kept: {sentence(error)}")

    def _took(self) -> float:
        """Return the seconds since its compiling began, without those of kernels that were compiled as a part of it."""
        global _compiled
        seconds = time.perf_counter() - self._began - (_compiled - self._compiled)
        _compiled += seconds
        return seconds

    def _find(self, sig: Any, codegen: Any) -> tuple[Path, bytes] | None:
        """Return the file of a signature and the key that it must have; None where the cache is not used."""
        place = _place()
        if place.folder is None or place.problem:
            _warn(place.problem or "")
            return None
        about = {
            "kernel": f"{self._module}.{self._name}, line {self._line}",
            "signature": str(sig),
            **_made_with(codegen),
        }
        key = json.dumps(about).encode()
        name = f"{self._module.removeprefix(f'{__package__}.')}.{self._name}-{hashlib.sha256(key).hexdigest()[:32]}.kernel"
        return place.folder / name, key

    def enable(self) -> None:
        """Numba's interface."""

    def disable(self) -> None:
        """Numba's interface."""

    def flush(self) -> None:
        """Numba's interface: called before it recompiles; what it would load again is what it compiled."""


def _room(module: str) -> str:
    """The first name below the package: 'fast' for minivan.fast.network."""
    return module.removeprefix(f"{__package__}.").partition(".")[0]


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


def made_with() -> dict[str, Any]:
    """Return what all keys of this process have: the processor, the versions, the settings. ImportError without Numba."""
    from numba.core.registry import cpu_target

    with_lists: dict[str, Any] = json.loads(json.dumps(_made_with(cpu_target.target_context.codegen())))
    return with_lists


def _made_with(codegen: Any) -> dict[str, Any]:
    # LLVM's names of the platform, the model and its features
    return {"processor": codegen.magic_tuple(), **_settings(), **_compiler()}


@functools.lru_cache(maxsize=1)
def _compiler() -> dict[str, str]:
    """What machine code depends on beside the kernel, its types and the processor."""
    import llvmlite
    import numba
    import numpy as np

    python = f"{sys.implementation.cache_tag}{getattr(sys, 'abiflags', '')}"
    versions = {"numba": numba.__version__, "llvmlite": llvmlite.__version__, "numpy": np.__version__, "python": python}
    return {"sources": SOURCES.digest, **versions}


def _settings() -> dict[str, str]:
    """Numba's settings as they are now: a program may change them at any time."""
    import numba

    return {name: str(getattr(numba.config, name, None)) for name in SETTINGS}


class Sources(NamedTuple):
    """The text that kernels are made of, as this process found it: its digest, and each file's time and size."""

    digest: str
    stamps: dict[str, tuple[int, int]]
    problem: str | None = None

    def doubt(self) -> str | None:
        """Say that a file is no longer what was read, so that what this process imported may be either; None if all are."""
        try:
            same = all(_stamp(path) == stamp for path, stamp in self.stamps.items())
        except OSError as error:
            return f"minivan's own source files cannot be looked at any more: {sentence(error)}"
        return None if same else "minivan's source files have changed under this process"


def _read_sources() -> Sources:
    """Read every module of KERNEL_SOURCES through its loader: from a folder or from a zip."""
    digest, stamps = hashlib.sha256(), {}
    try:
        for name, loader in _modules(sys.modules[__package__].__path__, f"{__package__}."):
            path = loader.get_filename(name)
            text = loader.get_data(path)
            digest.update(f"{name} {len(text)}\n".encode() + text)
            file = getattr(loader, "archive", path)
            stamps[file] = _stamp(file)
    except (OSError, ImportError, AttributeError) as error:
        return Sources("", {}, f"minivan's own source files cannot be read: {sentence(error)}")
    return Sources(digest.hexdigest(), stamps)


def _modules(paths: Sequence[str], prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield the name and the loader of each kernel module, in order, without importing it."""
    for finder, name, is_package in sorted(pkgutil.iter_modules(paths, prefix), key=lambda found: found.name):
        if _room(name) in KERNEL_SOURCES:
            spec: Any = finder.find_spec(name, None)
            yield name, spec.loader
            if is_package:
                yield from _modules(spec.submodule_search_locations, f"{name}.")


def _stamp(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_mtime_ns, status.st_size


@functools.lru_cache(maxsize=1)
def _base() -> State:
    """Choose the folder, once, at the first kernel; it is made when the first kernel is kept."""
    for variable in (NAMED, "NUMBA_CACHE_DIR"):
        if os.environ.get(variable):
            chosen_by, base = variable, os.environ[variable]
            break
    else:
        chosen_by, home = "the user's cache folder", user_cache()
        if home is None:
            return State(None, chosen_by, "there is no home folder to keep compiled kernels in")
        base = str(home / "kernels")
    try:
        # Links are followed once, here: what is checked and what is used is the same place.
        return State(Path(os.path.realpath(os.path.expanduser(base))) / f"minivan-{SOURCES.digest[:16]}", chosen_by, None)
    except (OSError, ValueError) as error:
        return State(None, chosen_by, f"{base} cannot be used: {sentence(error)}")


def _place(numba: bool = True) -> State:
    """Return the folder of this version's kernels, and why it must not be used, looked at anew each time."""
    base = _base()
    problem = SOURCES.problem or (_internals().problem if numba else None)
    if problem:
        return State(None, base.chosen_by, problem)
    if base.folder is None:
        return base
    folder = untaken(base.folder)
    return base._replace(folder=folder, problem=SOURCES.doubt() or distrust(folder))


def _read(path: Path, key: bytes) -> bytes | None:
    """Return what was pickled under a key; None if it is not there or damaged. Raises OSError, also where it is not trusted."""
    never_a_link_nor_a_wait = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | never_a_link_nor_a_wait)) as file:
            # The folder once more, now that it is there: in a sticky one somebody may just have made it.
            doubt = distrust_status(path, os.fstat(file.fileno())) or distrust(path.parent)
            if doubt:
                raise PermissionError(doubt)
            content = parts(file.read())
    except FileNotFoundError:
        return None
    return content.pickled if content and content.key == key else None


class Parts(NamedTuple):
    """What a file of the cache holds."""

    key: bytes
    seconds: bytes  # that compiling it took, as text
    pickled: bytes


def parts(content: bytes) -> Parts | None:
    """Return the parts of a file's content; None if its first line is not the SHA-256 of the rest."""
    checksum, _, rest = content.partition(b"\n")
    if hashlib.sha256(rest).hexdigest().encode() != checksum:
        return None
    key, _, rest = rest.partition(b"\n")
    seconds, _, pickled = rest.partition(b"\n")
    return Parts(key, seconds, pickled)


def _write(path: Path, key: bytes, seconds: float, pickled: bytes) -> None:
    """Put a kernel in its place, whole or not at all. Raises OSError."""
    for_all = _base().chosen_by == NAMED
    for folder in (*reversed(path.parent.parents), path.parent):
        if not folder.exists():
            mode = 0o755 if for_all or folder == path.parent else 0o700
            folder.mkdir(mode, exist_ok=True)
            if for_all:
                _grant(folder, mode)
    doubt = distrust(path.parent)
    if doubt:
        raise PermissionError(doubt)
    for left in path.parent.glob("*.tmp"):
        with contextlib.suppress(OSError):  # another process may take it away at the same time
            if time.time() - left.stat().st_mtime > DAY:
                left.unlink()
    rest = b"%s\n%.3f\n" % (key, seconds) + pickled
    unfinished = path.with_name(f"{path.name}.{os.urandom(8).hex()}.tmp")
    try:
        with open(unfinished, "xb", opener=lambda name, flags: os.open(name, flags, 0o644)) as file:
            file.write(hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)
        if for_all:
            _grant(unfinished, 0o644)
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _grant(place: Path, mode: int) -> None:
    with contextlib.suppress(OSError):  # some file systems have no modes
        place.chmod(mode)


_compiled = 0.0  # seconds that this process has compiled in all
_warned: str | None = None


def _warn(problem: str) -> None:
    """Say it once per process, as one line without a line of source; where warnings are errors, `state` alone tells."""
    global _warned
    if _warned is None:
        _warned = problem
        text = f"kernels are compiled in this process alone: {problem}. MINIVAN_CACHE can name another folder to keep them in."
        with contextlib.suppress(KernelCacheWarning):
            warnings.warn_explicit(text, KernelCacheWarning, "<minivan>", 1, module="minivan")


# Read when the first kernel module is imported, which is when Python reads them.
SOURCES = _read_sources()
