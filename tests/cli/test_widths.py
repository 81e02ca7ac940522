"""Tables on terminals of any width: no number is cut, parted or left out, and no line is longer unless a word is."""

import re
import sys

import numpy as np
import pytest
from support import EXAMPLES

from minivan.cli.doctor import WIDTH
from minivan.cli.printing import say, say_rows


@pytest.fixture
def screen(run, monkeypatch):
    """Run a command on a terminal of so many columns; returns what it shows there."""

    def call(columns, *argv):
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        status, out, _ = run(*argv)
        assert status == 0
        return re.sub(r"\d+ ms|(images/s +)\d+", r"\1", re.sub(r"\x1b\[[0-9;]*m", "", out))

    return call


def numbers(text):
    return set(re.findall(r"\d[\d,.]*(?:e[+-]\d+)?%?", text))


def fits(text, columns):
    return all(len(line) <= columns or " " not in line.strip() for line in text.splitlines())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A trace, what it may be compared with, and a small labelled dataset."""
    from minivan.cli import main

    path = tmp_path_factory.mktemp("widths")
    np.save(path / "x.npy", np.random.default_rng(1).normal(size=(3, 32, 32)).astype(np.float32))
    for name, engine in (("trace", "numpy"), ("port", "numpy")):
        assert main(["oracle", "record", str(path / "x.npy"), "-o", str(path / f"{name}.safetensors"), "--engine", engine]) == 0
    (path / "data" / "n07920052").mkdir(parents=True)
    (path / "data" / "n07920052" / "a.jpg").write_bytes((EXAMPLES / "coffee.jpg").read_bytes())
    return path


@pytest.mark.parametrize(
    "call",
    [
        "summary b6 --size 1024x2048",
        "weights",
        "weights show van_b0_tiny_imagenet200 --tensors",
        "classify {0}/data --engine numpy",
        "evaluate {0}/data --engine numpy",
        "oracle compare {0}/trace.safetensors {0}/port.safetensors",
    ],
    ids=lambda call: call.split()[0],
)
def test_a_narrow_terminal_shows_the_numbers_of_a_wide_one(call, folder, screen):
    argv = call.format(folder).split()
    wide = screen(300, *argv)
    for columns in (40, 80):
        narrow = screen(columns, *argv)
        assert fits(narrow, columns), narrow
        assert numbers(narrow) >= numbers(wide), numbers(wide) - numbers(narrow)


def test_a_long_line_is_broken_between_words_on_a_terminal_alone(capsys, monkeypatch):
    line = f"{'cache':<{WIDTH}}/a/path/of/some/length: 17 kernels, 1.451 MiB, compiled in 133 s"
    monkeypatch.setenv("COLUMNS", "40")
    say(line, hang=WIDTH)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    say(line, hang=WIDTH)
    whole, *broken = capsys.readouterr().out.splitlines()
    assert whole == line and len(broken) == 3 and max(map(len, broken)) <= 40
    assert all(each.startswith(" " * WIDTH) for each in broken[1:]) and " ".join(" ".join(broken).split()) == " ".join(
        line.split()
    )


def test_rows_are_ranged_where_there_is_room(capsys):
    say_rows(("", "shape", "numbers"), [("a", "1 x 2", "5"), ("bcd", "3", "12,345")], left=(0, 1))
    assert capsys.readouterr().out == "     shape  numbers\na    1 x 2        5\nbcd  3       12,345\n"
