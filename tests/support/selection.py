"""A plugin of the tests: which of them need PyTorch, and kernels compiled once before several workers want them.

A test needs PyTorch where its module, or a module of tests/support that it uses, imports it: it is marked `torch`. With
`-m "not torch"` such modules are not even imported, so that the others run where there is no PyTorch.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import subprocess
import sys
from pathlib import Path

from support import ROOT

SUPPORT = Path(__file__).parent


@functools.cache
def needs_torch(path: Path) -> bool:
    """Tell by its import statements whether a module, or what it uses of tests/support, imports PyTorch."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "support":
            names = [f"support.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            top, _, rest = name.partition(".")
            inside = SUPPORT / f"{rest}.py"
            if top == "torch" or (top == "support" and inside.is_file() and needs_torch(inside)):
                return True
    return False


def pytest_ignore_collect(collection_path: Path, config) -> bool | None:
    if collection_path.suffix != ".py" or importlib.util.find_spec("torch") or "not torch" not in config.option.markexpr:
        return None
    return needs_torch(collection_path) or None


def pytest_collection_modifyitems(items) -> None:
    for item in items:
        if needs_torch(item.path):
            item.add_marker("torch")


def pytest_sessionstart(session) -> None:
    """Have both engines compiled, side by side, before workers start that would each compile them."""
    option = session.config.option
    if hasattr(session.config, "workerinput") or not getattr(option, "numprocesses", None) or option.collectonly:
        return
    warmups = [[sys.executable, "-m", "minivan", "warmup", "--engine", engine] for engine in ("fast", "exact")]
    started = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) for command in warmups]
    for process in started:
        if process.wait():
            raise RuntimeError(f"{' '.join(process.args)} ended with status {process.returncode}")
