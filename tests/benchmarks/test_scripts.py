"""The scripts beside the package say what they do, whatever Python leaves out of them."""

import subprocess
import sys

import pytest
from support import EXAMPLES, ROOT

SCRIPTS = [
    path
    for folder in (ROOT / "benchmarks", EXAMPLES / "serve", EXAMPLES / "cluster")
    for path in sorted(folder.glob("*.py"))
    if "ArgumentParser" in path.read_text(encoding="utf-8")
]

# What runs a script as Python itself would where PyTorch is not installed.
WITHOUT_TORCH = """
import os, runpy, sys
del sys.argv[0]
sys.path[0] = os.path.dirname(sys.argv[0])
sys.modules["torch"] = None
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=[path.stem for path in SCRIPTS])
def test_help_is_given_without_docstrings_and_without_torch(script):
    command = [sys.executable, "-OO", "-c", WITHOUT_TORCH, str(script), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0 and done.stdout.startswith(f"usage: {script.name}"), done.stderr
