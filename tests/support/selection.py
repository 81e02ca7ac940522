"""A plugin of the tests: which of them need PyTorch, and kernels compiled once before several workers want them.

A test is marked `torch` where its module imports PyTorch at its top, itself or by way of another module of tests, and where it
uses a name of support.judge: in its own lines or in the fixtures, functions and constants of its module that it names, and in
theirs. A set of parameters may carry the mark alone: pytest.param(..., marks=pytest.mark.torch). What is marked `once` is slow.

With `-m "not torch"` and `-m loop`, modules that import PyTorch at their top are not imported where it is not installed. Asked
for anything else they are, and fail: what is missing is never hidden.
"""

from __future__ import annotations

import ast
import functools
import gc
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import ROOT

TESTS = ROOT / "tests"
JUDGE = "support.judge"
LOOP = "loop"


def imported(node: ast.stmt) -> Iterator[tuple[str, str, str]]:
    """Yield (module, name in it or "", name here) for everything that an import statement brings."""
    if isinstance(node, ast.Import):
        yield from ((alias.name, "", alias.asname or alias.name) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from ((node.module or "", alias.name, alias.asname or alias.name) for alias in node.names)


def module_file(name: str) -> Path | None:
    """Return where a module of tests/ lies; None for one from elsewhere."""
    path = TESTS.joinpath(*name.split(".")).with_suffix(".py")
    return path if path.is_file() else None


@functools.cache
def imports_torch(path: Path) -> bool:
    """Tell whether a module imports PyTorch at its top, itself or by way of another module of tests/."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        for module, name, _ in imported(node):
            if module.split(".")[0] == "torch" or "safetensors.torch" in (module, f"{module}.{name}"):
                return True
            inside = module_file(f"{module}.{name}") or module_file(module)
            if inside and imports_torch(inside):
                return True
    return False


def torch_imports(node: ast.stmt) -> set[str]:
    """Return what an import statement brings that needs PyTorch: names, and `module.name` for those of a module of tests/."""
    found = set()
    for module, name, here in imported(node):
        submodule, inside = module_file(f"{module}.{name}"), module_file(module)
        if module in ("torch", JUDGE) or module.startswith("torch.") or module == "safetensors.torch":
            found.add(here)
        elif submodule:
            found |= {here} if imports_torch(submodule) else {f"{here}.{needed}" for needed in torch_names(submodule)}
        elif inside and (imports_torch(inside) or name in torch_names(inside)):
            found.add(here)
    return found


def marks_torch(node: ast.AST) -> bool:
    """Tell whether this is pytest.param(..., marks=pytest.mark.torch), which is marked already."""
    if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.param"):
        return False
    return any(keyword.arg == "marks" and "pytest.mark.torch" in ast.unparse(keyword.value) for keyword in node.keywords)


def used(node: ast.AST) -> set[str]:
    """Return the names that some code uses: its variables, its arguments (a test's are fixtures) and `name.attribute`."""
    if marks_torch(node):
        return set()
    names = set()
    if isinstance(node, ast.Name):
        names.add(node.id)
    elif isinstance(node, ast.arg):
        names.add(node.arg)
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        names.add(f"{node.value.id}.{node.attr}")
    elif isinstance(node, (ast.Import, ast.ImportFrom)) and torch_imports(node):
        names.add(JUDGE)
    return names.union(*(used(child) for child in ast.iter_child_nodes(node)))


@functools.cache
def torch_names(path: Path) -> frozenset[str]:
    """Return the names of a module that need PyTorch: what it imports of support.judge, and whatever uses these."""
    needed, uses = {JUDGE}, []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            needed |= torch_imports(node)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            uses.append(({node.name}, used(node)))
        else:
            stored = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
            uses.append((stored, used(node)))
    while more := [names for names, using in uses if using & needed and not names <= needed]:
        needed.update(*more)
    return frozenset(needed - {JUDGE})


def needs_torch(path: Path, name: str) -> bool:
    """Tell whether the function or class `name` of a module needs PyTorch."""
    return imports_torch(path) or name in torch_names(path)


def leaves_torch_out(markexpr: str) -> bool:
    return markexpr == LOOP or re.search(r"\bnot torch\b", markexpr) is not None


def pytest_ignore_collect(collection_path: Path, config) -> bool | None:
    if collection_path.suffix != ".py" or importlib.util.find_spec("torch") or not leaves_torch_out(config.option.markexpr):
        return None
    return imports_torch(collection_path) or None


def pytest_collection_modifyitems(config, items) -> None:
    """Mark what is slow and what needs PyTorch; `-m loop` leaves this out, so that a whole module may carry the mark `loop`."""
    for item in items:
        if item.get_closest_marker("once"):
            item.add_marker("slow")
        name = item.cls.__name__ if getattr(item, "cls", None) else getattr(item, "originalname", item.name)
        if needs_torch(item.path, name):
            item.add_marker("torch")
    if config.option.markexpr == LOOP:
        left_out = [item for item in items if item.get_closest_marker("torch")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("torch")]


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """What is imported and collected stays: the collector of garbage need not look through it again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_sessionstart(session) -> None:
    """Have both engines compiled, side by side, before workers start that would each compile them."""
    option = session.config.option
    if hasattr(session.config, "workerinput") or not getattr(option, "numprocesses", None) or option.collectonly:
        return
    if option.markexpr == LOOP:  # its tests need a kernel or two, not two engines
        return
    warmups = [[sys.executable, "-m", "minivan", "warmup", "--engine", engine] for engine in ("fast", "exact")]
    started = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) for command in warmups]
    for process in started:
        if process.wait():
            raise RuntimeError(f"{' '.join(process.args)} ended with status {process.returncode}")
