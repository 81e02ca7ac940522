"""A child forked while other threads load, compile or import: it answers, or says one line, and never waits for ever."""

import contextlib
import os
import subprocess
import sys
import threading

import pytest
from support import ROOT

from minivan import forks
from minivan.card import Card

SETUP = """
import faulthandler, os, signal, sys, threading, time
faulthandler.dump_traceback_later(300, exit=True)  # where all threads are, should one wait for ever
from minivan import seeded
from minivan.errors import CannotCompute
from minivan.van import VAN
from minivan.variants import Config
config = Config((4, 6), (1, 1), (1, 1), classes=3)
tensors, x = seeded.tensors(config), seeded.images((1, 3, 32, 32))

def forked(call):
    '''What becomes of a call in a child that is forked here; one that waits for ever is ended by a signal.'''
    reading, writing = os.pipe()
    if os.fork() == 0:
        signal.alarm(150)  # it may have to compile first
        try:
            call()
            said = "answered"
        except CannotCompute as error:
            said = "told" if "spawn" in str(error) and "\\n" not in str(error) else repr(error)
        except BaseException as error:
            said = repr(error)
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    said = os.read(reading, 1000).decode()
    os.wait()
    return said or "waited for ever"

def meanwhile(work):
    '''Run work(begun, over) in a thread up to begun.set(), and return what ends it.'''
    begun, over = threading.Event(), threading.Event()
    thread = threading.Thread(target=work, args=(begun, over), daemon=True)
    thread.start()
    begun.wait()
    return lambda: (over.set(), thread.join())
"""


def said(script, *arguments, path="", timeout=400):
    """What a process prints that runs the script, its words."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (path, str(ROOT), str(ROOT / "tests"))))}
    environment["PYTHONWARNINGS"] = "ignore::DeprecationWarning"  # of Python 3.12 and later: that it forks beside threads
    done = subprocess.run(
        [sys.executable, "-c", SETUP + script, *arguments],
        capture_output=True, text=True, timeout=timeout, env=environment, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


IMPORTING = """
from importlib.machinery import PathFinder

class Slow:
    '''Finds modules as ever; one of them takes its time to run, in any thread but the main one.'''
    def find_spec(self, name, path=None, target=None):
        spec = PathFinder.find_spec(name, path, target)
        if name == slow and threading.current_thread() is not threading.main_thread():
            run = spec.loader.exec_module
            spec.loader.exec_module = lambda module: (begun.set(), over.wait(), run(module))
        return spec

slow, module, engines = sys.argv[1], sys.argv[2], sys.argv[3:]
models = [VAN(config, tensors, engine) for engine in engines]
sys.meta_path.insert(0, Slow())
begun, over = threading.Event(), threading.Event()
threading.Thread(target=__import__, args=(module,), daemon=True).start()
assert begun.wait(60)
print(*(forked(lambda: model(x)) for model in models), sep="\\n")
over.set()
"""


def test_a_child_imports_anew_what_another_thread_was_importing_of_minivan():
    assert said(IMPORTING, "minivan.reference.operators", "minivan.reference", "numpy") == ["answered"]


def test_a_child_is_told_where_another_thread_was_importing_numba(tmp_path):
    (tmp_path / "numba").mkdir()
    (tmp_path / "numba" / "__init__.py").write_text("from . import slow")
    (tmp_path / "numba" / "slow.py").touch()
    assert said(IMPORTING, "numba.slow", "numba", "exact", "numpy", path=str(tmp_path)) == ["told", "answered"]


MULTIPLYING = """
import numpy as np
from minivan.reference.operators import linear
square = np.random.default_rng(0).random((500, 500))

def multiply(begun, over):
    while not over.is_set():
        linear(square, square)
        begun.set()

end = meanwhile(multiply)
print(*(forked(lambda: linear(square, square)) for _ in range(10)))
end()
"""


def test_a_fork_waits_for_the_products_of_other_threads(monkeypatch):
    """Else OpenBLAS, which ends its threads at a fork, leaves the parent's product and the child's undone for ever."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    assert said(MULTIPLYING, timeout=60) == ["answered"] * 10


def test_ctrl_c_while_a_process_forks_leaves_no_lock_behind():
    """Wherever it comes, between any two instructions: no thread waits for ever at its next product."""
    others = [threading.RLock() for _ in range(2)]
    unforked = object.__new__(forks.Unforked)  # at its own forks alone
    unforked._renew()
    code = {getattr(forks.Unforked, name).__code__ for name in ("_take", "_give")}

    def fork(strike):
        """What a fork calls, a step at a time, Ctrl-C at one of the instructions; how many there are."""
        seen = 0

        def trace(frame, event, argument):
            nonlocal seen
            if frame.f_code not in code:
                return None
            frame.f_trace_opcodes = True
            if event in ("call", "opcode"):
                seen += 1
                if seen == strike:
                    raise KeyboardInterrupt
            return trace

        before = sys.gettrace()
        for step in (unforked._take, unforked._take, unforked._give, unforked._give):
            with contextlib.suppress(KeyboardInterrupt):
                try:
                    sys.settrace(trace)
                    step()
                finally:
                    sys.settrace(before)
        return seen

    def free():
        found = []

        def look():
            for lock in (*others, unforked._forking):
                found.append(lock.acquire(blocking=False))
                if found[-1]:
                    lock.release()

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        return all(found) and unforked._by is None and not unforked._taken

    unforked._locks.update(enumerate(others))
    instructions = fork(strike=None)
    assert instructions > 100
    for strike in range(1, instructions + 1):
        fork(strike)
        assert free(), f"Ctrl-C at instruction {strike} of {instructions}"


LOCKED = """
from operator import attrgetter
import numba.np.ufunc.parallel
from numba.core.registry import CPUTarget
from llvmlite.binding import ffi

def hold(lock):
    def work(begun, over):
        with lock:
            begun.set()
            over.wait()
    return work

LOCKS = {
    "compiler": numba.core.compiler_lock.global_compiler_lock,
    "target": vars(CPUTarget)["_toplevel_target_context"]._lock,
    "typing": vars(CPUTarget)["_toplevel_typing_context"]._lock,
    "threads": numba.np.ufunc.parallel._backend_init_thread_lock,
    "llvm": ffi.lib._lock,
}
"""
HOLDING = """
cold = VAN(config, tensors, "exact")
for name in ("target", "typing") if sys.argv[1:] == ["all"] else ():  # taken once in a process, before the first kernel
    end = meanwhile(hold(LOCKS[name]))
    print(forked(lambda: cold(x)))
    end()
warm = VAN(config, tensors, "fast")
warm(x)
for name in ("compiler", "threads", "llvm") if sys.argv[1:] == ["all"] else ("compiler",):
    end = meanwhile(hold(LOCKS[name]))
    print(forked(lambda: warm(x)), forked(lambda: cold(x)))
    end()
print(forked(lambda: warm(x)), forked(lambda: cold(x)))
"""


def test_what_is_loaded_computes_and_what_is_not_is_told():
    """A lock of Numba's is held at the fork by another thread; where none is, the child loads what it lacks."""
    assert said(LOCKED + HOLDING) == ["answered", "told", "answered", "answered"]


DISPOSING = """
from llvmlite import binding
warm = VAN(config, tensors, "fast")
warm(x)
module = binding.parse_assembly("")

def dispose():
    global module
    module = None  # what its finalizer cannot do, it would say on standard error
    warm(x)

end = meanwhile(hold(LOCKS["llvm"]))
print(forked(dispose))
end()
"""


@pytest.mark.slow
def test_a_child_that_throws_away_what_llvm_has_made_says_nothing():
    assert said(LOCKED + DISPOSING) == ["answered"]


@pytest.mark.slow
def test_every_lock_of_numbas_is_known():
    assert said(LOCKED + HOLDING, "all") == ["told"] * 2 + ["answered", "told"] * 3 + ["answered"] * 2


FIRST_CALLS = """
begun = threading.Event()
model = None if sys.argv[2] == "make" else VAN(config, tensors, sys.argv[1])

def call():
    (model or VAN(config, tensors, sys.argv[1]))(x)

def first():
    begun.set()
    call()

thread = threading.Thread(target=first)
thread.start()
begun.wait()
time.sleep(float(sys.argv[3]))
print(forked(call))
thread.join()
"""


@pytest.mark.parametrize("seconds", [pytest.param(0.1, marks=pytest.mark.slow),
                                     *(pytest.param(s, marks=pytest.mark.once) for s in (0.01, 0.3, 0.8))])  # fmt: skip
@pytest.mark.parametrize("what", ["make", "call"])
@pytest.mark.parametrize("engine", ["fast", "exact"])
def test_a_fork_at_any_moment_of_another_thread_s_first_call(engine, what, seconds):
    assert said(FIRST_CALLS, engine, what, str(seconds)) in (["answered"], ["told"])


def test_a_file_that_is_being_hashed_keeps_no_other_waiting(monkeypatch, tmp_path):
    begun, over, found = threading.Event(), threading.Event(), []

    def slowly(file):
        if file == tmp_path / "large":
            begun.set()
            over.wait()
        return "digest"

    monkeypatch.setattr("minivan.card.file_sha256", slowly)
    large, small = (Card("x", file=tmp_path / name) for name in ("large", "small"))
    threads = [threading.Thread(target=lambda card=card: found.append(card.sha256), daemon=True) for card in (large, small)]
    threads[0].start()
    begun.wait()
    threads[1].start()
    threads[1].join(5)
    early = list(found)
    over.set()
    threads[0].join()
    assert early == ["digest"] and large.sha256 == "digest"
