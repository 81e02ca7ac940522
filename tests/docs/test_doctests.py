"""The examples of minivan's docstrings, run as a reader would: beside two photos, with the bundled weights in `model`."""

import doctest
import importlib
import pkgutil
import shutil

import numpy as np
import pytest
from support import EXAMPLES

import minivan

NEEDS_AN_EXTRA = ("minivan.engines.torch",)  # to be imported; it shows no example


def examples():
    """Return every docstring of the package that shows an example."""
    names = ["minivan", *(module.name for module in pkgutil.walk_packages(minivan.__path__, "minivan."))]
    finder = doctest.DocTestFinder()
    modules = [importlib.import_module(name) for name in names if not name.endswith("__main__") and name not in NEEDS_AN_EXTRA]
    return [test for module in modules for test in finder.find(module, module.__name__) if test.examples]


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_an_example_gives_what_it_says(example, tmp_path, monkeypatch):
    for copy in ("cup.jpg", "examples/coffee.jpg", "photos/n07920052/cup.jpg"):
        (tmp_path / copy).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(EXAMPLES / "coffee.jpg", tmp_path / copy)
    shutil.copy(EXAMPLES / "cat.jpg", tmp_path)
    monkeypatch.chdir(tmp_path)
    known = {"minivan": minivan, "model": minivan.load(), "x": np.zeros((1, 3, 64, 64), np.float32)}
    example.globs.update({name: value for name, value in known.items() if name not in example.globs})
    said = []
    result = doctest.DocTestRunner().run(example, out=said.append)
    assert not result.failed, "".join(said)


def test_the_package_shows_examples():
    assert {"minivan", "minivan.engines", "minivan.explain", "minivan.labelled"} <= {example.name for example in examples()}
