"""The floating-point environment: whatever a library or the caller has set, the bits are the same, and it comes back."""

import subprocess
import sys

import pytest
from support import ROOT
from support.floating import DIRECTIONS, built

from minivan import floating

pytestmark = pytest.mark.skipif(not floating.SUPPORTED, reason="nothing is known of this processor's control register")
SCRIPT = ROOT / "tests" / "support" / "floating.py"


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return built(tmp_path_factory.mktemp("library"))


def computed(library, *settings):
    """Run all engines under each setting in a process of its own; return what it printed, a line a setting."""
    done = subprocess.run([sys.executable, SCRIPT, library, *settings], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    lines = [line.split(" ", 2) for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == [setting.removeprefix("first:") for setting in settings]
    return lines


@pytest.mark.slow
@pytest.mark.parametrize("first", ["flush", "upward"])
def test_the_bits_are_the_same_whatever_is_set_before_and_after_numbas_threads_start(library, first):
    lines = computed(library, f"first:{first}", "usual", "flush", *DIRECTIONS)
    for name, kept, found in lines:
        assert kept == "restored", (name, kept, found)
        assert found == lines[1][2], (name, found, lines[1][2])


def test_a_block_computes_as_ieee_754_says_and_puts_back_what_was_set(library):
    """In a process of its own: this one's environment is everybody's."""
    done = subprocess.run([sys.executable, "-c", BLOCK, library], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


BLOCK = """
import ctypes, sys
import numpy as np
from minivan import floating
from minivan.checkpoint.budget import Budget
from minivan.checkpoint.json_text import parse_json
from minivan.checks import float32
from minivan.floating import undisturbed

library = ctypes.CDLL(sys.argv[1])
read = parse_json("[0.1, 1e-06, -2.3]", "it", Budget(100))
least, wide = np.float32(1e-40), 1 + 2.0**-30
for name in ("flush", "upward", "downward", "toward_zero"):
    getattr(library, name)()
    before = library.control()
    for block in (floating.standard(), undisturbed()):
        with block:
            assert least * np.float32(0.5) > 0 and np.float32(wide) == 1 and np.float32(-wide) == -1, name
            assert np.float32(1) + np.float32(3e-8) == 1 and -np.float32(1) - np.float32(3e-8) == -1, name
        assert library.control() & 0xE040 == before & 0xE040, name
    assert (float32([wide, -wide]) == [1, -1]).all()
    assert parse_json("[0.1, 1e-06, -2.3]", "it", Budget(100)) == read, name
    library.usual()
now = library.control()
with floating.standard():
    pass
assert library.control() & 0xFFC0 == now & 0xFFC0 == 0x1F80 or now & 0xFFC0 == 0
"""


def test_a_block_that_an_error_ends_puts_back_too(library):
    code = BLOCK.split("least")[0] + (
        "library.flush()\ntry:\n    with undisturbed():\n        raise ValueError\nexcept ValueError:\n    pass\n"
        "assert library.control() & 0x8040 or library.control() & 1 << 24\n"
    )
    done = subprocess.run([sys.executable, "-c", code, library], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
