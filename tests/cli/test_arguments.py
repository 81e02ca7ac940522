"""What commands share: arguments, the table of exit statuses, and what happens to output that cannot be written."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

from minivan.cli import COMMANDS
from minivan.cli.arguments import COMPILED, ENGINES, NO, RIGHT, WRONG, prepare_compiler, status, wrong_calls
from minivan.engines import ENGINES as TABLE
from minivan.errors import WrongCall
from minivan.processors import Budget


def python(code, **options):
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, **options)


def test_the_engines_to_choose_from_are_those_of_the_table():
    assert tuple(TABLE) == ENGINES


@pytest.mark.parametrize("name", ENGINES[1:])  # auto is made of two of them
def test_the_engines_that_warmup_compiles_are_those_made_of_numbas_kernels(name):
    code = f"import sys; from minivan.bench import warm_up; list(warm_up(['{name}'])); print('numba' in sys.modules)"
    done = python(code)
    assert (done.stdout, done.stderr) == (f"{name in COMPILED}\n", "")


@pytest.mark.parametrize("argv", [["warmup", "--engine", "exact"], ["bench", "--size", "32", "--runs", "1"]])
def test_the_cache_is_named_before_kernels_are_imported(argv, tmp_path):
    code = f"""
import os, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "numba":
            print("numba", os.environ.get("MINIVAN_CACHE"), file=sys.stderr, flush=True)
            os._exit(0)  # all that follows would be compiling

sys.meta_path.insert(0, Watch())
from minivan.cli import main
sys.exit(main({[*argv, "--cache", str(tmp_path / "kernels")]}))
"""
    done = python(code)
    assert done.returncode == 0
    assert done.stderr.splitlines()[0] == f"numba {tmp_path / 'kernels'}"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_commands_help_needs_neither_numpy_nor_pillow(command):
    code = f"import sys; from minivan.cli import main\ntry: main(['{command}', '--help'])\nexcept SystemExit: pass\n"
    code += "assert not {'numba', 'PIL', 'numpy', 'rich', 'logging'} & set(sys.modules), set(sys.modules)"
    assert python(code).returncode == 0


@pytest.mark.parametrize(("asked", "threads"), [("1", "1"), ("64", "2"), ("", "2")])
def test_the_threads_are_the_fewest_that_anything_asks_for(monkeypatch, asked, threads):
    monkeypatch.setenv("NUMBA_NUM_THREADS", asked)
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    monkeypatch.setattr("minivan.cli.arguments.budget", lambda: Budget(4, "the machine"))
    prepare_compiler(argparse.Namespace(threads=2))
    assert os.environ["NUMBA_NUM_THREADS"] == threads


def test_some_that_failed_are_a_no_and_all_a_wrong_call():
    assert [status(failed, 2) for failed in range(3)] == [RIGHT, NO, WRONG] and status(0, 0) == RIGHT


def test_wrong_calls_are_sentences_and_a_closed_pipe_is_none():
    with pytest.raises(WrongCall, match=r"^x\.jpg: No such file or directory$"), wrong_calls():
        Path("x.jpg").read_bytes()
    with pytest.raises(WrongCall, match=r"^two lines$"), wrong_calls():
        raise ValueError("two\nlines")
    with pytest.raises(BrokenPipeError), wrong_calls():
        raise BrokenPipeError(32, "Broken pipe")


ENDINGS = {
    "WrongCall('no')": (2, "minivan: no\n"),
    "OSError(28, 'No space left on device', 'out.png')": (2, "minivan: out.png: No space left on device\n"),
    "BrokenPipeError(32, 'Broken pipe')": (0, ""),
    "KeyboardInterrupt": (130, ""),
}


@pytest.mark.parametrize("error", ENDINGS)
def test_how_a_command_may_end_and_what_it_printed_before_is_kept(error):
    code = f"""
import sys
from minivan import cli
from minivan.cli import summary
from minivan.errors import WrongCall
from minivan.processors import Budget

def run(args):
    print("half")
    raise {error}

summary.run = run
sys.exit(cli.main(["summary"]))
"""
    done = python(code)
    assert (done.stdout, done.returncode, done.stderr) == ("half\n", *ENDINGS[error])


def test_minivans_own_warnings_are_lines_like_its_errors_in_a_command_alone():
    code = """
import warnings
from minivan import cli, kernel_cache
from minivan.cli import summary

def run(args):
    kernel_cache.warn("full\x1b")
    warnings.warn_explicit("theirs", RuntimeWarning, "elsewhere", 7)
    return 0

summary.run = run
cli.main(["summary"])
kernel_cache._warned = None
kernel_cache.warn("full")
"""
    said = "kernels are compiled in this process alone: full{}. MINIVAN_CACHE can name another folder to keep them in."
    done = python(code)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines() == [
        "minivan: " + said.format("\\x1b"),
        "elsewhere:7: RuntimeWarning: theirs",
        "<minivan>:1: KernelCacheWarning: " + said.format(""),
    ]


def test_ctrl_c_ends_the_wait_for_standard_input():
    """The signal comes while standard input gives nothing; no thread may be left waiting for it."""
    code = """
import io, signal, sys, time

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background is started without

class Silent(io.BytesIO):
    def read(self, *size):
        signal.raise_signal(signal.SIGINT)
        time.sleep(20)
        return b""

sys.stdin = io.TextIOWrapper(Silent())
from minivan.cli import main
sys.exit(main(["classify", "-"]))
"""
    done = python(code, timeout=100)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_ctrl_c_while_c_code_calls_python():
    """As LLVM does after each function that it compiled: an exception there goes nowhere."""
    code = """
import ctypes, signal, sys, time
from minivan import cli
from minivan.cli import summary

signal.signal(signal.SIGINT, signal.default_int_handler)
callback = ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(signal.SIGINT))

def run(args):
    callback()
    time.sleep(20)

summary.run = run
sys.exit(cli.main(["summary"]))
"""
    done = python(code, timeout=15)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_ctrl_c_while_modules_are_imported():
    code = """
import runpy, sys

class Impatient:
    def find_spec(self, name, path=None, target=None):
        if name == "argparse":
            raise KeyboardInterrupt

sys.modules.pop("argparse", None)
sys.meta_path.insert(0, Impatient())
sys.argv = ["minivan", "--help"]
runpy.run_module("minivan", run_name="__main__")
"""
    done = python(code)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
