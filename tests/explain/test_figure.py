"""Where a map's values lie on a photo, and what a figure says."""

import os
import subprocess
import sys

import numpy as np
import pytest
from support import ROOT
from support.compare import assert_close
from support.networks import images, random_tensors

from minivan.explain import figure
from minivan.explain.figure import MissingPlots, matplotlib_figure
from minivan.explain.receptive import Fields, theoretical
from minivan.van import VAN
from minivan.variants import Config

SMALL = Config((8, 16, 24, 32), (1, 1, 2, 1), (8, 8, 4, 4), classes=10)


def test_a_map_is_spread_from_where_its_positions_are_centred():
    values = np.array([[1.0, 2.0], [3.0, 5.0]])
    spread = figure.spread(values, 4, 8, 9)
    assert spread.shape == (8, 9)
    assert spread[0, 0] == 1 and spread[0, 4] == 2 and spread[4, 0] == 3 and spread[4, 4] == 5
    assert spread[2, 0] == 2 and spread[0, 2] == 1.5 and spread[2, 2] == 2.75
    assert spread[7, 8] == 5  # beyond the last position


def test_a_square_is_a_position():
    values = np.array([[1.0, 2.0], [3.0, 5.0]])
    drawn = figure.squares(values, 4, 8, 9)
    expected = np.repeat(np.repeat(values, [2, 6], axis=0), [2, 7], axis=1)  # centred on pixels 0 and 4: parted at pixel 2
    np.testing.assert_array_equal(drawn, expected)
    assert (figure.spread(values, 4, 8, 9) != drawn).any()


def test_positions_are_centred_on_multiples_of_the_stride():
    """A symmetric network answers to a mirrored image with the mirrored map, if positions lie where `spread` puts them."""
    tensors = random_tensors(SMALL, seed=1)
    symmetric = {n: (t + t[..., ::-1]) / 2 if t.ndim == 4 else t for n, t in tensors.items()}
    model, x = VAN(SMALL, symmetric), images(1, 65)  # 64 n + 1: the last position is centred on the last pixel
    for straight, mirrored in zip(model.features(x), model.features(x[..., ::-1]), strict=True):
        assert_close("mirrored", mirrored[..., ::-1], straight, 1e-4)


def test_a_figures_file_is_refused_before_there_is_a_figure(tmp_path):
    figure.check_output(tmp_path / "out.PDF")
    with pytest.raises(ValueError, match=r"a figure is written as \.png, \.pdf, \.svg"):
        figure.check_output(tmp_path / "out.bmp")
    with pytest.raises(FileNotFoundError):
        figure.check_output(tmp_path / "none" / "out.png")


def test_a_figure_is_of_one_kind():
    with pytest.raises(ValueError, match="one at least, all of one kind"):
        figure.draw([])


def test_the_areas_of_receptive_fields_are_plain_numbers():
    model, used = VAN(SMALL, random_tensors(SMALL)), {"block1.0": np.ones((9, 9)), "block2.0": np.eye(9)}
    ratios = {"block1.0": [0.0029, 0.049, 0.97, 1.0], "block2.0": [0.1, 0.2, 0.5, 1.0]}
    found = Fields(model, theoretical(SMALL), used, ratios, "2 photos", 2, 9)
    titles = [axis.get_title() for axis in figure.receptive_figure(found).axes]
    for said in ("0.29, 4.9, 97, 100 % of the area", "10, 20, 50, 100 % of the area"):
        assert sum(said in title for title in titles) == 1, titles


@pytest.mark.parametrize("name", ["$x$", r"$\frac{a$ [red]b", "a\x1b[2J\x07\u202eb", "$"])
def test_a_name_in_a_figure_is_text_and_nothing_else(name, tmp_path):
    """No formula between dollars, and no character that turns text round."""
    drawn, axes = figure.grid(1, 1, (4, 4, 3), name)
    figure.title(axes[0, 0], name)
    figure.save(drawn, tmp_path / "x.svg")
    for text in (axes[0, 0].title, drawn._supxlabel):
        assert not text.get_parse_math() and text.get_text().isprintable()
        assert text.get_text() == "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


BACKEND = """
import os, sys
from minivan.explain.figure import matplotlib_figure, save
figure = matplotlib_figure()()
figure.add_subplot().plot([1, 2])
for ending in ("png", "pdf", "svg"):
    save(figure, f"{sys.argv[1]}.{ending}")
assert not {"matplotlib.pyplot", "tkinter", "IPython"} & set(sys.modules)
import matplotlib
found = dict.__getitem__(matplotlib.rcParams, "backend")
print(os.environ["MPLBACKEND"], found if isinstance(found, str) else "nothing", os.path.getsize(f"{sys.argv[1]}.png") > 1000)
"""


@pytest.mark.parametrize(
    ("named", "then"),
    [
        pytest.param("TkAgg", "TkAgg", marks=pytest.mark.slow),
        ("module://matplotlib_inline.backend_inline",) * 2,
        pytest.param("module://nonsense", "module://nonsense", marks=pytest.mark.slow),
        ("nonsense", "nothing"),
    ],
)
def test_files_are_drawn_whatever_backend_is_named_and_the_host_keeps_it(tmp_path, named, then):
    environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
    environment |= {"MPLBACKEND": named, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", BACKEND, str(tmp_path / "figure")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", f"{named} {then} True\n")


NOWHERE = """
import logging, os, sys, tempfile
tempfile._candidate_tempdir_list = lambda: ["/proc/nowhere"]  # nothing can be written there, by root either
from minivan.explain.figure import check_output, matplotlib_figure, save
check_output(sys.argv[1])
figure = matplotlib_figure()()
figure.add_subplot().set_title("text")
save(figure, sys.argv[1])
print(os.environ.get("MPLCONFIGDIR"), logging.getLogger("matplotlib").level)
"""


@pytest.mark.slow
@pytest.mark.parametrize("named", [None, "/proc/nowhere"])
def test_a_figure_needs_no_place_but_its_own_and_matplotlib_says_nothing(tmp_path, named):
    (tmp_path / "matplotlibrc").write_text("no.such.key: 1\nno colon\n")
    drawn = tmp_path / "out" / "figure.png"
    drawn.parent.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MPL", "XDG"))}
    environment |= {"HOME": "/proc/nowhere", "MATPLOTLIBRC": str(tmp_path), "PYTHONPATH": str(ROOT)}
    environment |= {"MPLCONFIGDIR": named} if named else {}
    command = [sys.executable, "-c", NOWHERE, str(drawn)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", f"{named} 0\n")
    assert list(drawn.parent.iterdir()) == [drawn]


def test_a_matplotlib_that_is_here_and_cannot_be_imported_says_why(monkeypatch):
    import builtins

    real = builtins.__import__

    def broken(name, *arguments):
        if name.startswith("matplotlib"):
            raise ImportError("numpy.core.multiarray failed to import")
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(MissingPlots, match="cannot be imported: numpy"):
        matplotlib_figure()
