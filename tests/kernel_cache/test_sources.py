"""Whose sources a kernel was compiled from: an edit is seen, and a copy of the same text loads what the first compiled."""

import ast
import os
import shutil
import subprocess
import sys
import zipfile

import pytest
from support import ROOT

import minivan
from minivan import kernel_cache

WHOLE = "from ..jit import njit\nfrom .tiny_part import part\n\n@njit()\ndef whole(x):\n    return 10 * part(x)\n"
PART = "from ..jit import inline\n\n@inline\ndef part(x):\n    return x + 1\n"
CALL = """
from minivan import kernel_cache
from minivan.ops.tiny import whole
print(whole(4), *(sum(c.values()) for c in (whole.stats.cache_hits, whole.stats.cache_misses)), kernel_cache.folder().name)
"""


@pytest.fixture
def copy(tmp_path):
    """Make a copy of the package with a small kernel in one file and what it calls in another."""

    def make(name):
        package = tmp_path / name / "minivan"
        shutil.copytree(ROOT / "minivan", package, ignore=shutil.ignore_patterns("__pycache__", "bundled"))
        (package / "ops" / "tiny.py").write_text(WHOLE)
        (package / "ops" / "tiny_part.py").write_text(PART)
        return package

    return make


def call(place, tmp_path, script=CALL, **environment):
    """Run a script with the package at `place`; return the words it prints. It must say nothing else."""
    environment = {**os.environ, "PYTHONPATH": str(place), "MINIVAN_CACHE": str(tmp_path / "kernels"), **environment}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.split()


@pytest.mark.slow
def test_an_edit_in_what_a_kernel_calls_is_seen_and_a_second_copy_loads_what_the_first_compiled(copy, tmp_path):
    first = copy("first")
    said = call(first.parent, tmp_path)
    assert said[:3] == ["50", "0", "1"]
    kept = tmp_path / "kernels" / said[3]
    before = {p: p.stat().st_mtime_ns for p in kept.iterdir()}
    assert len(before) == 1

    second = copy("second")
    assert call(second.parent, tmp_path)[:3] == ["50", "1", "0"]
    with zipfile.ZipFile(tmp_path / "third.zip", "w") as archive:
        for path in first.rglob("*.py"):
            archive.write(path, path.relative_to(first.parent))
    assert call(tmp_path / "third.zip", tmp_path)[:3] == ["50", "1", "0"]
    assert {p: p.stat().st_mtime_ns for p in kept.iterdir()} == before

    (second / "ops" / "tiny_part.py").write_text(PART.replace("x + 1", "x + 2"))
    assert call(second.parent, tmp_path)[:3] == ["60", "0", "1"]
    assert {p: p.stat().st_mtime_ns for p in kept.iterdir()} == before  # what the first copy loads


CHANGED = """
import pathlib, warnings
from minivan import ops
part = pathlib.Path(ops.__file__).with_name("tiny_part.py")
part.write_text(part.read_text().replace("x + 1", "x + 2"))
from minivan.ops.tiny import whole
with warnings.catch_warnings(record=True) as caught:
    print(whole(4), sum(whole.stats.cache_hits.values()), len(caught), "changed" in str(caught[0].message))
"""


@pytest.mark.slow
def test_a_source_file_that_changes_under_the_process_gives_what_it_says_now(copy, tmp_path):
    package = copy("first")
    kept = tmp_path / "kernels" / call(package.parent, tmp_path)[3]
    before = {p: p.stat().st_mtime_ns for p in kept.iterdir()}
    assert call(package.parent, tmp_path, CHANGED) == ["60", "0", "1", "True"]
    assert {p: p.stat().st_mtime_ns for p in kept.iterdir()} == before


def test_python_runs_kernels_that_are_not_compiled(copy, tmp_path):
    said = call(copy("first").parent, tmp_path, "from minivan.ops.tiny import whole; print(whole(4))", NUMBA_DISABLE_JIT="1")
    assert said == ["50"] and not (tmp_path / "kernels").exists()


def test_every_kernel_file_is_in_the_digest(copy, monkeypatch):
    package = copy("first")
    monkeypatch.setattr(minivan, "__path__", [str(package)])
    digests = {kernel_cache._read_sources().digest}
    rooms = {path: path.relative_to(package).parts[0].removesuffix(".py") for path in package.rglob("*.py")}
    paths = [path for path, room in rooms.items() if room in kernel_cache.KERNEL_SOURCES]
    assert len(paths) > 25 and len(digests) == 1
    for path in paths:
        path.write_text(path.read_text() + "#\n")
        digests.add(kernel_cache._read_sources().digest)
    assert len(digests) == len(paths) + 1
    (package / "cli" / "__init__.py").write_text("")
    assert kernel_cache._read_sources().digest in digests


def reached_names(tree):
    """Names used in a module's functions that are compiled: the decorated ones, and those that they name."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    used = {f.name: {n.id for line in f.body for n in ast.walk(line) if isinstance(n, ast.Name)} for f in functions}
    marks = ("njit", "inline", "intrinsic", "overload")
    todo = [f.name for f in functions if any(mark in ast.unparse(d) for d in f.decorator_list for mark in marks)]
    reached, seen = set(), set()
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            reached |= used[name]
            todo += used[name] & used.keys()
    return reached


def test_nothing_is_compiled_into_a_kernel_that_is_not_in_the_digest():
    kernels = 0
    for room in ("fast", "grad", "ops"):
        for path in (ROOT / "minivan" / room).glob("*.py"):
            tree = ast.parse(path.read_text())
            reached = reached_names(tree)
            kernels += bool(reached)
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and node.level == 2:
                    modules = {(node.module or alias.name).split(".")[0]: alias.asname or alias.name for alias in node.names}
                    outside = {name for module, name in modules.items() if module not in kernel_cache.KERNEL_SOURCES}
                    assert not outside & reached, f"{path}: {outside & reached} belong into kernel_cache.KERNEL_SOURCES"
    assert kernels > 10


def test_kernels_are_the_same_for_a_python_without_asserts_and_docstrings():
    """Its optimisation is not in the key: what a process with -O would leave out must not be in a kernel."""
    for path in sorted((ROOT / "minivan").rglob("*.py")):
        if path.relative_to(ROOT / "minivan").parts[0].removesuffix(".py") in kernel_cache.KERNEL_SOURCES:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                assert not isinstance(node, ast.Assert), f"{path}, line {node.lineno}"
                assert not (isinstance(node, ast.Name) and node.id in ("__debug__", "__doc__")), f"{path}, line {node.lineno}"
