"""What a report of a fault needs to know, and what can be wrong with a machine: versions, processor, cache, weights, engines.

Nothing is raised and nothing is changed but the cache of kernels, which gains what was not compiled yet.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib import metadata
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from . import __version__, compiling, floating, kernel_cache, kernel_survey, processors, seeded
from .engines import EXACT, FAST, NUMPY, Engine, find
from .errors import WrongCall, reason
from .input import amount
from .paths import INPUT
from .variants import Config

PACKAGES = ("numpy", "numba", "llvmlite", "pillow")
VECTORS = {16: "AVX-512", 8: "AVX2", 4: "NEON or SSE"}  # floats in a vector -> whose
SELF_CHECK = Config((8, 8, 8, 8), (1, 1, 1, 1), (2, 2, 2, 2), classes=5)  # seeded: every kernel has its say in the logits
SELF_CHECK_INPUT = (2, 3, 64, 96)
# The bits of the logits that exact gives, (2, 5) little-endian float32: the same on every machine.
SELF_CHECK_LOGITS = bytes.fromhex("bf73263f2050863f3754fa3ecfc6f73ecbe4a4be01a2ab3f6a80413fa8ec1fbe8be7db3df70469bf")
# SHA-256 of the derivative of each image's first logit by the image, (2, 3, 64, 96) little-endian float32, likewise.
SELF_CHECK_GRADIENTS = "5c542e916973f581c76bd9780f01590aed3544f5abd7f303bea2dfe0857f9e5c"
TRY = "import sys; sys.path[:] = sys.argv[2:]; from minivan import doctor; doctor.run_alone(sys.argv[1])"
PROBLEM = "cache: "  # begins that process's line about it, which goes on as JSON: any name can be in it, in any locale
TRIAL_SECONDS = 900  # that an engine may take in a process of its own, compiling included
CLEAR = "a compiled kernel is bad (minivan doctor --clear removes all), or this processor cannot run it"
REPORT = "minivan doctor --clear removes compiled kernels, in case one is bad; if it stays so, report it"
FATAL = ("SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT", "SIGTRAP")  # what machine code brings upon itself
AGREES = 1e-4  # how far the other engines' logits may be away, as a share of the largest


class Check(NamedTuple):
    """An engine that is run, and what can be expected of it."""

    engine: Engine
    bits: bool  # whether it promises the recorded ones
    kernels: bool  # whether it runs compiled ones


CHECKED = (
    Check(FAST, bits=False, kernels=True),
    Check(EXACT, bits=True, kernels=True),
    Check(NUMPY, bits=False, kernels=False),
)


class Finding(NamedTuple):
    """One line of the report, and what is wrong there, with what to do; '' where nothing is."""

    subject: str
    text: str
    wrong: str = ""


def examine() -> Iterator[Finding]:
    """Look at everything, and yield each finding as soon as it is there. The engines' self-check takes longest."""
    yield Finding("minivan", f"{__version__}, {sys.modules[__package__].__path__[0]}")
    yield Finding("Python", f"{platform.python_version()} on {platform.platform()}")
    yield from map(_package, PACKAGES)
    yield _processor()
    yield _vectors()
    yield _threads()
    yield _arithmetic()
    yield _cache()
    yield from _other_kernels()
    yield from _weights()
    before = kernel_cache.state().problem
    problems = []  # of the cache: those of the engines' own processes, and the one of this
    for check in CHECKED:
        tried = _tried(check.engine) if check.kernels else Tried()
        problems.append(tried.problem)
        yield _engine(check, tried)
    yield _threading_layer()
    problems.append(kernel_cache.state().problem or "")
    for problem in dict.fromkeys(problems):
        if problem and problem != before:
            yield Finding("cache", "could not be used while the engines ran", problem)


def _package(package: str) -> Finding:
    """Its version, and whether it can be imported: a compiled package may be here and still not load."""
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:
        version = "no version known"
    try:
        importlib.import_module("PIL.Image" if package == "pillow" else package)
    except Exception as error:  # whatever a package raises while it is imported
        without = " (the engine numpy works without it)" if package in ("numba", "llvmlite") else ""
        return Finding(package, version, f"it cannot be imported: {reason(error)}{without}")
    return Finding(package, version)


def _processor() -> Finding:
    return Finding("processor", f"{processors.name()}, {platform.machine()}")


def _vectors() -> Finding:
    """The width of vectors that the engine fast uses, or why it has none."""
    try:
        from .fast.lanes import SHAPES, Plain, host_lanes

        lanes = host_lanes()
    except Exception as error:  # Numba may be missing, or MINIVAN_VECTOR wrong
        return Finding("vectors", "unknown", reason(error))
    if isinstance(lanes, Plain):
        asked = os.environ.get("MINIVAN_VECTOR")
        limited = [name for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_ENABLE_AVX") if name in os.environ]
        why = f"{' and '.join(limited)} leave it out" if limited else "this processor has none of them"
        wrong = "" if asked else f"{why}: the engine fast is several times slower than it could be"
        return Finding("vectors", "MINIVAN_VECTOR asks for none" if asked else "none of AVX-512, AVX2 with FMA, or NEON", wrong)
    width = SHAPES[type(lanes)].lanes
    return Finding("vectors", f"{width} floats ({VECTORS[width]})")


def _threads() -> Finding:
    budget = processors.budget()
    text = f"{budget.threads}, limited by {budget.limited_by}"
    try:
        from .jit import thread_count

        if (used := thread_count()) < budget.threads:
            text = f"{used}, limited by Numba's settings (NUMBA_NUM_THREADS, set_num_threads), of {budget.threads}"
    except Exception as error:  # Numba cannot be imported
        text += f"; Numba's are unknown ({reason(error)})"
    return Finding("threads", text)


def _threading_layer() -> Finding:
    """Which one Numba has chosen: known once `exact` has computed."""
    try:
        from .jit import threading_layer

        return Finding("threading", f"Numba's layer: {threading_layer() or 'not started'}")
    except Exception as error:  # Numba cannot be imported
        return Finding("threading", f"unknown ({reason(error)})")


def _arithmetic() -> Finding:
    """What another library may have changed for the whole process: denormal numbers, and the direction of rounding."""
    smallest = np.array([np.finfo(np.float32).smallest_subnormal], np.float32)
    tiny = np.array([np.finfo(np.float64).smallest_subnormal])
    if not (smallest * np.float32(1)).any() or not (tiny * 1.0).any():
        return _changed("numbers below 1e-38 become zero", "a library in this process was built with -ffast-math, and")
    one, half = np.array([1.0]), np.array([2.0**-53])  # half of what separates 1 from the next number
    to_nearest = one + half == 1 and -one - half == -1 and one + 3 * half == 1 + 4 * half
    if not to_nearest.all():
        return _changed("does not round to nearest", "a library in this process")
    return Finding("arithmetic", "rounds to nearest, keeps denormal numbers")


def _changed(what: str, who: str) -> Finding:
    """What is to be said of a changed arithmetic: minivan sets it right while it computes, wherever it can reach it."""
    if floating.SUPPORTED:
        return Finding("arithmetic", f"{what}; set right wherever minivan computes")
    return Finding("arithmetic", what, f"{who} changed that for all: the bits of exact may differ")


def _cache() -> Finding:
    """The cache that this process uses."""
    state = kernel_cache.state()
    used = next((version for version in kernel_survey.versions() if version.used_here), None)
    text = f"{state.folder} (chosen by {state.chosen_by})"
    if used is None:
        return Finding("cache", f"{text}: no kernels yet", state.problem or "")
    text += f", of {used.owner}: {used.kernels} kernels, {amount(used.size)}, compiled in {used.seconds:.0f} s"
    if used.foreign:
        text += f"; {used.foreign} of them for other processors, versions or settings"
    if used.unfinished:
        text += f"; {used.unfinished} files that were left unfinished, which go a day later"
    if used.damaged:
        return Finding("cache", text, f"{len(used.damaged)} damaged, which are compiled again: {used.damaged[0]}, ...")
    return Finding("cache", text, state.problem or used.doubt or "")


def _other_kernels() -> Iterator[Finding]:
    others = [version for version in kernel_survey.versions() if not version.used_here]
    if others:
        size = amount(sum(version.size for version in others))
        yield Finding(
            "cache", f"{len(others)} other versions of minivan left {size} (minivan doctor --clear removes all kernels)"
        )


def _weights() -> Iterator[Finding]:
    from .checkpoint import here

    found = here()
    for entry in found:
        text = f"{entry.path} ({entry.place}{', the default' if entry.default else ''})"
        yield Finding("weights", text, entry.fault)
    if not found:
        yield Finding("weights", "none", "the bundled ones are missing: install minivan again")


def _engine(check: Check, tried: Tried) -> Finding:
    """Run one engine on the seeded network, unless that ended a process, and hold its logits against the recorded ones."""
    engine = check.engine
    subject = f"engine {engine}"
    if tried.failed:
        return Finding(subject, "ends the process that runs it", tried.failed)
    compiled: list[str] = []
    try:
        start = time.perf_counter()
        with compiling.told(lambda kernel, kept: compiled.append(kernel)):
            logits, gradients = _self_check(engine, check.kernels)
        took = f"{time.perf_counter() - start:.1f} s to {'compile' if compiled else 'load'} and run"
        if tried.compiled:
            took += f", {tried.seconds:.1f} s to compile before"
    except Exception as error:  # the report goes on, and says what there was
        wrong = f"{type(error).__name__}: {reason(error)}"
        if check.kernels and not isinstance(error, WrongCall):
            wrong += "; if a compiled kernel is bad, minivan doctor --clear removes it"
        return Finding(subject, "does not work", wrong)
    right, wrong = judge(logits, check.bits)
    if not wrong and gradients not in ("", SELF_CHECK_GRADIENTS):
        right, wrong = "", f"the bits of its gradients are not the recorded ones: {REPORT}"
    return Finding(subject, f"{right}; {took}" if right else took, wrong)


def _self_check(engine: Engine, kernels: bool) -> tuple[npt.NDArray[np.float32], str]:
    """Return the seeded network's logits and, where it has kernels, the SHA-256 of its gradients: they have their own."""
    from .van import VAN

    model, x = VAN(SELF_CHECK, seeded.tensors(SELF_CHECK), engine), seeded.images(SELF_CHECK_INPUT)
    logits = model(x)
    if not kernels:
        return logits, ""
    gradients = np.ascontiguousarray(model.gradients(x, target=0)[INPUT], "<f4")
    return logits, hashlib.sha256(gradients.tobytes()).hexdigest()


class Tried(NamedTuple):
    """What became of a process that ran an engine by itself."""

    compiled: bool = False  # whether it compiled anything
    seconds: float = 0.0
    failed: str = ""  # what ended it before it was done, and what to do
    problem: str = ""  # what it had to say of the cache, which it may have mended: the next process finds nothing there


def _tried(engine: Engine) -> Tried:
    """Run an engine in a process of its own: machine code that is bad ends that one alone.

    Not where nothing is kept (everything would be compiled twice), and not where Python is a part of another program.
    """
    if kernel_cache.folder() is None or not sys.executable or getattr(sys, "frozen", False):
        return Tried()
    start, compiled, problem, late = time.perf_counter(), False, "", threading.Event()
    command, nowhere = [sys.executable, "-c", TRY, engine.name, *sys.path], subprocess.DEVNULL
    one_thread = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # nothing there needs more, and where they cannot start it ends

    def stop() -> None:
        late.set()
        process.kill()

    clock = threading.Timer(TRIAL_SECONDS, stop)
    clock.daemon = True
    try:
        clock.start()
        process = subprocess.Popen(command, stdin=nowhere, stdout=subprocess.PIPE, stderr=nowhere, text=True, env=one_thread)
    except (OSError, RuntimeError):  # no more processes, or threads
        clock.cancel()
        return Tried()
    try:
        with process:
            for line in map(str.strip, process.stdout or ()):
                if line.startswith(PROBLEM):
                    problem = json.loads(line.removeprefix(PROBLEM))
                    continue
                compiled = True
                compiling.begins(line, kept=True)
    except BaseException:
        process.kill()
        raise
    finally:
        clock.cancel()
    failed = f"it had not come to an end after {TRIAL_SECONDS} s: {CLEAR}" if late.is_set() else _ended_by(process.returncode)
    return Tried(compiled, time.perf_counter() - start, failed, problem)


def _ended_by(status: int) -> str:
    """Say which signal ended a process, and what that may mean; '' where none did."""
    if status >= 0:
        return ""
    try:
        name = signal.Signals(-status).name
    except ValueError:  # one of the real-time signals
        name = f"signal {-status}"
    return f"{name}: {CLEAR if name in FATAL else 'a limit on memory, time or system calls, or somebody who ended it'}"


def run_alone(engine: str) -> None:
    """What that process does: the self-check, and on standard output a line for each kernel that is compiled and kept, and one
    for what is wrong with the cache.
    """

    def tell(kernel: str, kept: bool) -> None:
        if kept:
            sys.stdout.write(f"{kernel}\n")
            sys.stdout.flush()

    try:
        with compiling.told(tell):
            _self_check(find(engine), kernels=True)
    finally:
        if problem := kernel_cache.state().problem:
            sys.stdout.write(f"{PROBLEM}{json.dumps(problem)}\n")


def judge(logits: npt.NDArray[np.float32], promised: bool) -> tuple[str, str]:
    """Compare the self-check's logits with the recorded ones: (what is right, '') or ('', what is wrong).

    `promised` asks for the same bits; else they may be 1e-4 of the largest away.
    """
    recorded = np.frombuffer(SELF_CHECK_LOGITS, "<f4").reshape(len(logits), -1)
    if promised and logits.astype("<f4").tobytes() == SELF_CHECK_LOGITS:
        return "gives the recorded bits", ""
    away = float(np.abs(logits - recorded).max() / np.abs(recorded).max())
    if not promised and away <= AGREES:
        return f"agrees with the recorded logits to {away:.0e}", ""
    return "", f"its logits are {away:.0e} of the largest away from the recorded ones: {REPORT}"
