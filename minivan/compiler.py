"""The compiler, Numba: what it is told, what it would compile for, on how many threads; without importing it where that can be.

To import Numba takes longer than to classify a photo. Who only loads what was compiled before does without it, and must know
all the same what Numba would have compiled: from LLVM, which tells of this processor, and from what Numba takes where nobody
says otherwise (SETTINGS). `asked` imports it where somebody may have: a program that uses Numba has it already; a variable
NUMBA_... that is not among HARMLESS, or a `.numba_config.yaml`; a processor on which Numba leaves AVX out.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from sys import is_finalizing
from typing import Any

from .errors import CannotCompute, NoCompiler, quote, reason
from .processors import threads as allowed

# Settings of Numba that change the code it makes and are not in its description of the processor: what they are by default.
SETTINGS = {
    "OPT": "_OptLevel(3)", "LOOP_VECTORIZE": "1", "SLP_VECTORIZE": "0", "BOUNDSCHECK": "None", "DEBUGINFO_DEFAULT": "0",
    "EXTEND_VARIABLE_LIFETIMES": "0", "USING_SVML": "False", "LLVM_REFPRUNE_PASS": "1", "LLVM_REFPRUNE_FLAGS": "all",
    "DEBUG_NRT": "0", "NRT_STATS": "0", "DEBUG_ARRAY_OPT_RUNTIME": "0", "PARFOR_MAX_TUPLE_SIZE": "100",
    "ENABLE_PROFILING": "0", "JIT_COVERAGE": "0", "USE_RVSDG_FRONTEND": "0",
}  # fmt: skip
# Variables that change no code: those of threads and folders, and of what is printed.
HARMLESS = {
    "NUMBA_NUM_THREADS", "NUMBA_THREADING_LAYER", "NUMBA_THREADING_LAYER_PRIORITY", "NUMBA_CACHE_DIR", "NUMBA_WARNINGS",
    "NUMBA_DISABLE_PERFORMANCE_WARNINGS", "NUMBA_COLOR_SCHEME", "NUMBA_FULL_TRACEBACKS", "NUMBA_SHOW_HELP",
}  # fmt: skip
CONFIG_FILE = ".numba_config.yaml"  # Numba reads it where a process is started
WITHOUT_AVX = {"corei7-avx", "core-avx-i", "sandybridge", "ivybridge", "nocona"}  # avx_default in numba/core/config.py

V2 = ("cx16", "popcnt", "sahf", "sse3", "sse4.1", "sse4.2", "ssse3")
V3 = (*V2, "avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave")
V4 = (*V3, "avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl")
# Processors by LLVM's name, and what it takes for granted there: the levels of the x86-64 psABI.
LEVELS: dict[str, tuple[str, ...]] = {"generic": (), "x86-64": (), "x86-64-v2": V2, "x86-64-v3": V3, "x86-64-v4": V4}

last: dict[str, Any] = {}  # Numba, once it was asked for: finalizers can import nothing any more


def numba() -> Any:
    """Return Numba, imported. Raises NoCompiler where it cannot be, or is told to make code that would end the process."""
    try:
        import numba
    except CannotCompute:  # forked while another thread imported it
        raise
    except Exception as error:  # with a NumPy that is too new for it, it raises more than ImportError
        count = os.environ.get("NUMBA_NUM_THREADS")
        about = f"NUMBA_NUM_THREADS is {quote(count)}: " if count and isinstance(error, ValueError) else ""
        said = f"Numba cannot be imported ({about}{reason(error)}); the engine numpy works without it, the others do not"
        raise NoCompiler(said) from error
    if why := unusable(numba.config):
        raise NoCompiler(f"{why}, so that compiled code would end the process: unset both, or use the engine numpy")
    last["numba"] = numba
    return numba


def llvm() -> Any:
    """Return LLVM's binding, imported. Raises NoCompiler where it cannot be: Numba cannot do without it either."""
    try:
        from llvmlite import binding
    except CannotCompute:  # forked while another thread imported it
        raise
    except Exception as error:  # OSError where its library lacks another one
        said = f"llvmlite cannot be imported ({reason(error)}); the engine numpy works without it, the others do not"
        raise NoCompiler(said) from error
    return binding


def unusable(config: Any) -> str | None:
    """Say why this processor cannot run what Numba's settings let it compile; None where it can.

    Of a name alone nothing is to be feared: Numba then lists what this processor lacks. With features, even an empty list of
    them, it does not, and LLVM takes for granted what a processor of that name has.
    """
    name, features = config.CPU_NAME, config.CPU_FEATURES
    if features is None:
        return None
    binding = llvm()
    if name and name not in LEVELS and name != binding.get_host_cpu_name():
        return f"NUMBA_CPU_NAME {quote(name)} beside NUMBA_CPU_FEATURES may mean instructions which this processor lacks"
    wanted = dict.fromkeys(LEVELS.get(name or "", ()), "+")
    for feature in features.split(","):
        if feature and feature[0] not in "+-":  # at which LLVM would end the process
            return f"NUMBA_CPU_FEATURES holds {quote(feature)}, which begins with neither + nor -"
        wanted[feature[1:]] = feature[:1]
    try:
        here = binding.get_host_cpu_features()
    except RuntimeError:  # LLVM does not know how to ask this system
        return None
    missing = [feature for feature, sign in wanted.items() if sign == "+" and not here.get(feature, True)]
    return f"NUMBA_CPU_FEATURES, or NUMBA_CPU_NAME, means {', '.join(missing)}, which this processor lacks" if missing else None


def imported() -> Any:
    """Return Numba if something in this process has imported it; else None. While Python ends, no module can be looked up."""
    if is_finalizing():
        return last.get("numba")
    return numba() if sys.modules.get("numba") else None


def asked() -> Any:
    """Return Numba where what it would compile must be asked of it; None where that is known without. Raises NoCompiler."""
    return numba() if _told() else imported()


def _told() -> bool:
    """Whether something outside of this process may have told Numba to compile in another way than it does by default."""
    if any(name.startswith("NUMBA_") and name not in HARMLESS for name in os.environ) or os.path.exists(CONFIG_FILE):
        return True
    return _without_avx()


@functools.lru_cache(maxsize=1)
def _without_avx() -> bool:
    """Whether Numba would leave out AVX though LLVM says that it is here."""
    binding = llvm()
    if not _features(binding).get("avx"):
        return False
    if binding.get_host_cpu_name() in WITHOUT_AVX:
        return True
    try:  # what the system says counts for Numba as well
        with open("/proc/cpuinfo") as lines:
            return not any(line.startswith("flags") and "avx" in line.split() for line in lines)
    except OSError:
        return False


def _features(binding: Any) -> Any:
    """Return LLVM's features of this processor, none where it does not know how to ask."""
    try:
        return binding.get_host_cpu_features()
    except RuntimeError:
        return {}


def processor() -> tuple[str, str, str]:
    """Return what code is compiled for, in LLVM's words: the platform, the model, and all its features. See `asked`."""
    if asked():
        from numba.core.registry import cpu_target

        platform_name, model, features = cpu_target.target_context.codegen().magic_tuple()
        return platform_name, model, features
    return _host()


@functools.lru_cache(maxsize=1)
def _host() -> tuple[str, str, str]:
    binding = llvm()
    features = _features(binding)
    return binding.get_process_triple(), binding.get_host_cpu_name(), features.flatten() if features else ""


def settings() -> dict[str, str]:
    """Return Numba's SETTINGS as they are now: a program may change them at any time. One that it does not have is as ever."""
    if found := asked():
        return {name: str(getattr(found.config, name, default)) for name, default in SETTINGS.items()}
    return dict(SETTINGS)


def compiles() -> bool:
    """Tell whether Numba compiles at all: with NUMBA_DISABLE_JIT, kernels are run as the Python that they are written in."""
    found = asked()
    return not (found and found.config.DISABLE_JIT)


def version(package: str) -> str:
    """Return the version of Numba or llvmlite, '' where it is not installed.

    One that is not imported is looked for where it would be: `metadata.version` alone takes longer than all else here.
    """
    if imported_version := getattr(sys.modules.get(package), "__version__", None):  # another thread may be importing it
        return str(imported_version)
    spec = PathFinder.find_spec(package)
    try:
        text = Path(spec.origin or "").with_name("_version.py").read_text() if spec else ""
        if found := re.search(r"""^ *"version": "([^"]+)",?$""", text, re.MULTILINE):
            return found[1]
        from importlib import metadata

        return metadata.version(package)
    except (OSError, ValueError, ImportError):
        return ""


def threading_layer() -> str | None:
    """Return which of Numba's threading layers this process has started: 'omp', 'tbb' or 'workqueue'; None before that."""
    found = imported()
    try:
        return str(found.threading_layer()) if found else None
    except ValueError:
        return None


def numbas_threads() -> int:
    """Return on how many threads Numba would compute. Starts none."""
    found, count = imported(), os.environ.get("NUMBA_NUM_THREADS", "").strip()
    if not found and count and not (count.isdecimal() and int(count)):  # which is Numba's to judge
        found = numba()
    if not found:
        return int(count or allowed())
    return int(found.get_num_threads() if threading_layer() else found.config.NUMBA_NUM_THREADS)


def thread_count() -> int:
    """Return on how many threads minivan computes: as many as Numba would, within this process's budget. Starts none."""
    return min(numbas_threads(), allowed())
