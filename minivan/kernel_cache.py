"""Compiled kernels on disk: compiled once for all processes, and all copies, of the same sources on a machine.

What is kept of a kernel is object code (object_code.py) where it needs nothing else, and what Numba pickles (dispatchers.py)
where it is called as Python calls functions. Nothing here imports Numba.

**Which folder.** MINIVAN_CACHE, else NUMBA_CACHE_DIR, else `kernels` in the user's cache folder. The one that MINIVAN_CACHE
names is made so that all users can read it (0755, its files 0644, whatever the umask), another for its owner alone (0700). In
it is one folder per version of the sources, `minivan-DIGEST`: SHA-256 over every module that can be compiled into a kernel. An
edit anywhere in them leads to another folder, and nothing has to be wiped.

**One file per kernel and signature**, named after the kernel and the SHA-256 of its key, in four parts:

    SHA-256 of all that follows, in hexadecimal                 line 1
    the key: all that the machine code depends on, as JSON      line 2
    how many seconds compiling it took                          line 3
    object code, or Numba's compiled function, pickled          the rest

A file is loaded if its checksum is right and its key, letter by letter, the one asked for. The key is the same whether this
process has imported Numba or not: what Numba is told is looked up without it (compiler.py), or Numba is imported and asked. It
is written beside its place and renamed: no halves, and of two writers the last wins. What a killed process left behind (.tmp)
goes a day later.

**A cache never decides the answer.** It is read only if the file, its folder and those above are trusted (trust.py), which is
looked at before anything in it is used. The folder is the one of this version: MINIVAN_CACHE=/tmp is safe, and a second user
there gets one beside the first's (untaken). It is not read once a source file has changed under the running process. Whatever
fails, the kernel is compiled and works, and one warning per process, KernelCacheWarning, says why. A complete one is only read.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import pkgutil
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .compiler import processor, settings, version
from .errors import sentence
from .home import user_cache
from .trust import distrust, distrust_status, untaken

# Modules and packages whose text can become a part of a kernel or of its file. They have no assert: python -O runs the same.
KERNEL_SOURCES = (
    "compiler", "differences", "dispatchers", "fast", "floating", "geometry", "grad", "jit", "kernel_cache", "native",
    "object_code", "ops", "registers", "translation", "whole_program",
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


def folder() -> Path | None:
    """Return where this process keeps kernels; None if it does without."""
    place = _place()
    return None if place.problem else place.folder


def state() -> State:
    """Return the folder and what is wrong with it as of now, or else what this process has warned of."""
    place = _place()
    return place._replace(problem=place.problem or _warned)


def find(kernel: str, signature: str) -> tuple[Path, bytes] | None:
    """Return the file of a kernel for types of a signature, and the key that it must have; None where the cache is not used.

    `kernel` is named after its module within the package; where there is a line in it, that is no part of the file's name.
    """
    place = _place()
    if place.folder is None or place.problem:
        warn(place.problem or "")
        return None
    about = {"kernel": f"{__package__}.{kernel}", "signature": signature, **made_with()}
    key = json.dumps(about).encode()
    return place.folder / f"{kernel.partition(',')[0]}-{hashlib.sha256(key).hexdigest()[:32]}.kernel", key


def made_with() -> dict[str, Any]:
    """Return what all keys of this process have: the processor, the settings, the versions. It is the same with Numba imported
    and without, and changes where a program changes Numba's settings. NoCompiler where Numba must be asked and cannot be.
    """
    with_lists: dict[str, Any] = json.loads(json.dumps({"processor": processor(), **settings(), **_compiler()}))
    return with_lists


def _compiler() -> dict[str, str]:
    """What machine code depends on beside the kernel, its types, the processor and the settings."""
    import numpy as np

    python = f"{sys.implementation.cache_tag}{getattr(sys, 'abiflags', '')}"
    packages = {"numba": version("numba"), "llvmlite": version("llvmlite"), "numpy": np.__version__}
    return {"sources": SOURCES.digest, **packages, "python": python}


def room(module: str) -> str:
    """Return the first name below the package: 'fast' for minivan.fast.network."""
    return module.removeprefix(f"{__package__}.").partition(".")[0]


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
        if room(name) in KERNEL_SOURCES:
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


def _place() -> State:
    """Return the folder of this version's kernels, and why it must not be used, looked at anew each time."""
    base = _base()
    if SOURCES.problem:
        return State(None, base.chosen_by, SOURCES.problem)
    if base.folder is None:
        return base
    folder = untaken(base.folder)
    return base._replace(folder=folder, problem=SOURCES.doubt() or distrust(folder))


def read(path: Path, key: bytes) -> bytes | None:
    """Return what was kept under a key; None if it is not there or damaged. Raises OSError, also where it is not trusted."""
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
    return content.code if content and content.key == key else None


class Parts(NamedTuple):
    """What a file of the cache holds."""

    key: bytes
    seconds: bytes  # that compiling it took, as text
    code: bytes  # or what else a kernel is kept as


def parts(content: bytes) -> Parts | None:
    """Return the parts of a file's content; None if its first line is not the SHA-256 of the rest."""
    checksum, _, rest = content.partition(b"\n")
    if hashlib.sha256(rest).hexdigest().encode() != checksum:
        return None
    key, _, rest = rest.partition(b"\n")
    seconds, _, code = rest.partition(b"\n")
    return Parts(key, seconds, code)


def write(path: Path, key: bytes, seconds: float, code: bytes) -> None:
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
    rest = b"%s\n%.3f\n" % (key, seconds) + code
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


_warned: str | None = None


def warn(problem: str) -> None:
    """Say it once per process, as one line without a line of source; where warnings are errors, `state` alone tells."""
    global _warned
    if _warned is None:
        _warned = problem
        text = f"kernels are compiled in this process alone: {problem}. MINIVAN_CACHE can name another folder to keep them in."
        with contextlib.suppress(KernelCacheWarning):
            warnings.warn_explicit(text, KernelCacheWarning, "<minivan>", 1, module="minivan")


# Read when the first kernel module is imported, which is when Python reads them.
SOURCES = _read_sources()
