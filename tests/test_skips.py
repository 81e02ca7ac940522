"""--no-skips: a run with a skipped test fails and says why; other runs are as they were."""

import os
import subprocess
import sys

import pytest
from support import ROOT

PASSES = "def test_right():\n    pass\n"
SKIPS = "import pytest\n\ndef test_without_data():\n    pytest.skip('no data here')\n"
SKIPS_WHOLLY = "import pytest\n\npytest.skip('no library here', allow_module_level=True)\n"
EXPECTED = "import pytest\n\n@pytest.mark.xfail(reason='known')\ndef test_known():\n    assert False\n"
UNEXPECTED = EXPECTED.replace("assert False", "pass")
FAILS = "def test_wrong():\n    assert False\n"


def outcome(folder, *options, **files):
    """Run pytest with the plugin alone over the files; return its exit status and what it printed."""
    for name, text in files.items():
        (folder / f"test_{name}.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-p", "support.skips", "-p", "no:cacheprovider", *options, str(folder)]
    env = os.environ | {"PYTHONPATH": str(ROOT / "tests"), "PYTEST_ADDOPTS": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, encoding="utf-8")
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"a": PASSES, "b": SKIPS}, "test_b.py::test_without_data: Skipped: no data here"),
        ({"a": PASSES, "b": SKIPS_WHOLLY}, "test_b.py: Skipped: no library here"),
        ({"b": SKIPS_WHOLLY}, "no library here"),
        ({"a": EXPECTED}, "test_a.py::test_known: expected to fail: known"),
        ({"a": UNEXPECTED}, "test_a.py::test_known: expected to fail: known"),
    ],
    ids=["a test", "a module", "everything", "an expected failure", "one that passes"],
)
def test_a_skip_fails_the_run_and_is_explained(tmp_path, files, reason):
    status, said = outcome(tmp_path, "--no-skips", **files)
    assert status == 1 and reason in said and "skipped, which --no-skips forbids" in said
    status, said = outcome(tmp_path)
    assert status in (0, 5) and "forbids" not in said


def test_without_skips_nothing_changes(tmp_path):
    status, said = outcome(tmp_path, "--no-skips", a=PASSES)
    assert status == 0 and "forbids" not in said
    status, _ = outcome(tmp_path, "--no-skips", c=FAILS)
    assert status == 1


@pytest.mark.parametrize(("allowed", "expected"), [("no data", 0), ("data", 1), ("no library", 1)])
def test_only_the_skips_that_were_named_are_let_through(tmp_path, allowed, expected):
    status, said = outcome(tmp_path, "--no-skips-but", allowed, a=PASSES, b=SKIPS)
    assert status == expected and ("forbids" in said) == bool(expected)
