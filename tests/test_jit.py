"""Parallel kernels in forked processes: they compute, or say in one line what to do."""

import os
import subprocess
import sys
import threading

import pytest
from support import ROOT

from minivan import compiler, jit
from minivan.errors import CannotCompute

SCRIPT = """
import multiprocessing, sys
import numba, numpy as np
from support.networks import images, random_tensors
from minivan.van import VAN
from minivan.variants import Config
config = Config((4, 6), (1, 1), (1, 1), classes=3)
tensors, x = random_tensors(config), images(1, 32)
used, engine = sys.argv[1:]
model = VAN(config, tensors, engine)
expected = VAN(config, tensors, used)(x).argmax() if used != "nothing" else None

def answer(i):
    try:
        y = model(x)
        return "answered" if expected is None or y.argmax() == expected else "wrong"
    except RuntimeError as error:
        assert "\\n" not in str(error) and "spawn" in str(error)
        return "told"

with multiprocessing.get_context("fork").Pool(2) as pool:
    print(*sorted(set(pool.map(answer, range(4)))))
"""


@pytest.mark.parametrize(
    ("used", "engine", "layer", "said"),
    [
        ("exact", "exact", "omp", "told"),
        ("exact", "fast", "omp", "answered"),
        pytest.param("exact", "exact", "workqueue", "answered", marks=pytest.mark.slow),
        pytest.param("exact", "numpy", "omp", "answered", marks=pytest.mark.slow),
        pytest.param("fast", "exact", "omp", "answered", marks=pytest.mark.slow),
        pytest.param("nothing", "exact", "omp", "answered", marks=pytest.mark.slow),
    ],
)
def test_a_pool_of_forked_processes_answers_or_is_told_what_to_do(used, engine, layer, said):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests"))), "NUMBA_THREADING_LAYER": layer}
    command = [sys.executable, "-c", SCRIPT, used, engine]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert (done.returncode, done.stdout) == (0, f"{said}\n"), done.stderr


def interrupted_at(step):
    """Take and give back the launch lock, with KeyboardInterrupt at a step of what is Python in that; False: no such step."""
    left = step

    def trace(frame, event, argument):
        nonlocal left
        if frame.f_code.co_filename != jit.__file__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with jit.launch.lock, jit.launch:
            pass
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def take(free):
    free.append(jit.launch.lock.acquire(blocking=False))
    if free[0]:
        jit.launch.lock.release()


def test_an_interrupt_never_keeps_other_threads_from_computing():
    """Wherever Ctrl-C comes between taking the lock and giving it back, it is given back."""
    step = 1
    while interrupted_at(step):
        step += 1
        free = []
        other = threading.Thread(target=take, args=(free,))
        other.start()
        other.join()
        assert free == [True], f"step {step}"
    assert step > 20


def test_kernels_are_not_started_where_the_system_starts_fewer_threads(monkeypatch):
    """OpenMP would end the process, and `workqueue` wait for ever for a thread that is not there."""
    real, started = threading.Thread.start, []

    def start(thread):
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    monkeypatch.setattr(jit, "threading_layer", lambda: None)
    monkeypatch.setattr(jit, "_numbas", lambda: 8)
    with pytest.raises(CannotCompute, match=r"no more than 3 of the 8 threads .* set NUMBA_NUM_THREADS=3, or"), jit.Launch():
        pass
    assert not any(thread.is_alive() for thread in started)
    monkeypatch.setattr(jit, "_numbas", lambda: 1)
    with jit.Launch():
        pass


def classified(engine, **environment):
    """The command's exit status and standard error in an environment of its own, and whether it was right."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    command = [sys.executable, "-m", "minivan", "classify", "--engine", engine, str(ROOT / "examples" / "cat.jpg")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    return done.returncode, done.stderr, "Egyptian cat" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["nonsense", "tbb", ""])
def test_a_threading_layer_that_is_not_there_is_one_line_of_exact_and_nothing_to_fast(layer):
    if layer == "tbb" and jit.thread_count() and _has_tbb():
        layer = "nonsense too"
    status, said, _ = classified("exact", NUMBA_THREADING_LAYER=layer)
    assert status == 2 and said.count("\n") == 1 and "kernel" not in said and "unset NUMBA_THREADING_LAYER" in said
    assert classified("fast", NUMBA_THREADING_LAYER=layer) == (0, "", True)


def _has_tbb():
    try:
        from numba.np.ufunc import tbbpool  # noqa: F401
    except ImportError:
        return False
    return True


@pytest.mark.parametrize("features", ["nonsense", "+avx2,fma"])
def test_features_that_llvm_would_end_the_process_for_are_one_line(monkeypatch, features):
    monkeypatch.setattr(jit.numba.config, "CPU_FEATURES", features)
    assert "begins with neither" in compiler.unusable(jit.numba.config)


def test_features_that_this_processor_lacks_are_not_compiled_for(monkeypatch):
    from llvmlite import binding

    here = dict.fromkeys(compiler.V3, True) | {"avx512f": False, "avx512vl": True}
    monkeypatch.setattr(binding, "get_host_cpu_features", lambda: here)
    monkeypatch.setattr(binding, "get_host_cpu_name", lambda: "haswell")
    for name, features, missing in (
        (None, "+avx2,+fma", None),
        (None, "", None),
        ("x86-64-v3", "+avx2,+fma", None),
        ("x86-64-v4", "+avx2", "avx512f"),
        ("x86-64-v4", "", "avx512f"),  # LLVM then goes by the name
        ("x86-64-v4", "-avx512f,", None),
        ("x86-64-v4", None, None),  # of a name alone Numba leaves out what is not here
        (None, "+avx512f", "avx512f"),
        (None, "+unheard-of", None),  # LLVM ignores it, and says so
        ("generic", "+avx2", None),
        ("haswell", "", None),
        ("skylake-avx512", "+avx2", "skylake-avx512"),
        ("skylake-avx512", "", "skylake-avx512"),
        ("skylake-avx512", None, None),
    ):
        monkeypatch.setattr(jit.numba.config, "CPU_NAME", name)
        monkeypatch.setattr(jit.numba.config, "CPU_FEATURES", features)
        why = compiler.unusable(jit.numba.config)
        assert (why is None) == (missing is None) and (missing is None or missing in why), (name, features)
    here["bmi2"] = False
    monkeypatch.setattr(jit.numba.config, "CPU_NAME", "x86-64-v3")
    monkeypatch.setattr(jit.numba.config, "CPU_FEATURES", "+avx2,+fma")
    assert "bmi2" in compiler.unusable(jit.numba.config)


@pytest.mark.slow
def test_a_processor_that_cannot_run_the_code_is_told_before_it_does():
    status, said, _ = classified("fast", NUMBA_CPU_FEATURES="nonsense")
    assert status == 2 and said.count("\n") == 1 and "engine numpy" in said
    assert classified("numpy", NUMBA_CPU_FEATURES="nonsense") == (0, "", True)
