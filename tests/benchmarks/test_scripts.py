"""The scripts beside the package say what they do, whatever Python leaves out of them."""

import subprocess
import sys

import pytest
from support import EXAMPLES, ROOT

SCRIPTS = [
    path
    for folder in (ROOT / "benchmarks", EXAMPLES / "serve")
    for path in sorted(folder.glob("*.py"))
    if "ArgumentParser" in path.read_text(encoding="utf-8")
]


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=[path.stem for path in SCRIPTS])
def test_help_is_given_without_docstrings(script):
    done = subprocess.run([sys.executable, "-OO", str(script), "--help"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0 and done.stdout.startswith(f"usage: {script.name}"), done.stderr
