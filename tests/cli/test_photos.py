"""What every command that reads a photo says of how it was read, and which options it names where it cannot be."""

import json

import pytest
from PIL import Image
from support import EXAMPLES
from support.photo_kinds import kinds
from support.pictures import encode

from minivan.cli import main

NUMPY = ["--engine", "numpy"]
COMMANDS = {  # which arguments come before the photo, and which behind it; OUT is a file to write
    "classify": (["classify", "--json"], NUMPY),
    "explain": (["explain", "--json", "--attention", "--size", "64"], NUMPY),
    "explore": (["explore", "--light", "-o", "OUT.html"], NUMPY),
    "lka": (["lka", "--image"], []),
    "oracle": (["oracle", "record", "--layers", "head*", "-o", "OUT.safetensors"], NUMPY),
    "receptive-field": (["receptive-field", "--json", "--size", "33"], []),
}
SLOW = ("explain", "explore", "receptive-field")
CAT = Image.open(EXAMPLES / "cat.jpg").convert("RGB").resize((150, 100))
ENDS_EARLY = encode(CAT, "JPEG")[:-900]
HIGH_RANGE = kinds()["high dynamic range (PQ) in a PNG"].data


def called(name, photo, tmp_path, monkeypatch, *more):
    monkeypatch.chdir(tmp_path)
    before, after = COMMANDS[name]
    (tmp_path / "photo").write_bytes(photo)
    return main([*before, "photo", *after, *more])


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in COMMANDS])
def test_how_a_photo_was_read_is_said(name, tmp_path, monkeypatch, capsys):
    unused = CAT.convert("RGBA")
    unused.putalpha(0)
    note = "its transparency is 0 everywhere and counts as none"
    assert called(name, encode(unused), tmp_path, monkeypatch) == 0
    out, err = capsys.readouterr()
    assert err.splitlines() == [f"note: photo: {note}"]
    if name in ("classify", "explain"):
        assert json.loads(out)["notes"] == [note]


@pytest.mark.parametrize(
    "name", ["classify", "explain", "lka", *(pytest.param(name, marks=pytest.mark.slow) for name in ("explore", "oracle"))]
)
@pytest.mark.parametrize(("photo", "option"), [(ENDS_EARLY, "--truncated"), (HIGH_RANGE, "--no-icc")], ids=["cut", "PQ"])
def test_an_option_that_would_take_a_photo_is_named_where_the_command_has_it(
    name, photo, option, tmp_path, monkeypatch, capsys
):
    assert called(name, photo, tmp_path, monkeypatch) == 2
    err = capsys.readouterr().err
    assert "photo: a " in err and err.count("\n") == 1
    assert (option in err) == (name in ("classify", "explain", "explore"))


@pytest.mark.parametrize("name", ["classify", pytest.param("explain", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("photo", "option"), [(ENDS_EARLY, "--truncated"), (HIGH_RANGE, "--no-icc")], ids=["cut", "PQ"])
def test_the_option_takes_it(name, photo, option, tmp_path, monkeypatch):
    assert called(name, photo, tmp_path, monkeypatch, option) == 0
