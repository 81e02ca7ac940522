"""The command segment: what it prints and writes, and how it ends, on a tiny network of four classes."""

import io
import json
import os
import re
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from support import ROOT
from support.scenes import NAMES, network, photo

from minivan.image import read_indices
from minivan.segmentation import SegmentationVAN, segment
from minivan.segmentation.files import write

pytestmark = pytest.mark.loop

SIDES = "the side is a whole number of pixels from 32 to 8192, or 'full' for photos as they are"


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    path = tmp_path_factory.mktemp("head") / "four.safetensors"
    write(path, network(), alone=False)
    return path


@pytest.fixture
def command(run, head, tmp_path, monkeypatch):
    """The command, on the numpy engine, in a folder with two photos."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number, name in enumerate(("a.png", "b.jpg")):
        photo(seed=number).save(tmp_path / "photos" / name)
    return lambda *more, **how: run("segment", "--head", head, "--engine", "numpy", *more, **how)


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_without_a_place_to_write_the_shares_are_printed_and_nothing_is_written(command, tmp_path):
    status, out, err = command("photos/a.png")
    found = segment("photos/a.png", network())
    assert status == 0 and err == "" and files(tmp_path) == ["photos/a.png", "photos/b.jpg"]
    lines = out.splitlines()
    assert lines[0] == "photos/a.png"
    for line, area in zip(lines[1:], found.areas, strict=False):
        assert line.split()[:2] == [area.name, f"{area.share:.1%}"]
    assert "engine numpy" in lines[-2] and "90 x 60 pixels, seen at 96 x 64" in lines[-2]


def test_one_photo_gives_a_file_or_a_folder(command, tmp_path):
    assert command("photos/a.png", "-o", "mask.png")[0] == 0
    mask = read_indices("mask.png")
    assert np.array_equal(mask, segment("photos/a.png", network()).mask)
    assert command("photos/a.png", "-o", "one", "--overlay", "--quiet")[1].count("one") == 0
    assert files(tmp_path / "one") == ["a-overlay.png", "a.png"]
    assert np.array_equal(read_indices("one/a.png"), mask)
    with Image.open("one/a-overlay.png") as overlay:
        assert overlay.mode == "RGB" and overlay.height > 60


def test_a_folder_gives_a_folder_and_what_cannot_be_used_is_named(command, tmp_path):
    (tmp_path / "photos" / "c.png").write_bytes(b"no image")
    status, out, err = command("photos", "-o", "masks")
    assert status == 1 and files(tmp_path / "masks") == ["a.png", "b.png"]
    assert "photos/c.png: not an image" in err and "masks: 2 masks, 1 photo without one" in out and "  masks/a.png" in out
    assert command("photos/c.png", "-o", "masks")[0] == 2


def test_json_has_the_shares_the_files_and_what_made_them(command):
    status, out, _ = command("photos", "-o", "masks", "--json", "--side", "full")
    lines = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and [line["image"] for line in lines] == ["photos/a.png", "photos/b.jpg"]
    assert lines[0]["mask"] == "masks/a.png" and lines[0]["overlay"] is None and lines[0]["seen"] == [90, 60]
    mask = read_indices("masks/a.png")
    assert [(each["name"], each["pixels"]) for each in lines[0]["classes"]] == sorted(
        ((NAMES[i], int((mask == i).sum())) for i in np.unique(mask)), key=lambda pair: -pair[1]
    )
    assert lines[0]["head"] == "four" and len(lines[0]["head_sha256"]) == len(lines[0]["weights_sha256"]) == 64


def test_how_a_photo_was_read_is_said_and_which_option_would_take_it(command, tmp_path):
    unused = photo(mode="RGBA")
    unused.putalpha(0)
    unused.save("photos/unused.png")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "photos" / "b.jpg").read_bytes()[:-300])
    status, out, err = command("photos/unused.png", "--json")
    note = "its transparency is 0 everywhere and counts as none"
    assert (status, err, json.loads(out)["notes"]) == (0, f"note: photos/unused.png: {note}\n", [note])
    status, _, err = command("cut.jpg")
    assert status == 2 and "; --truncated takes it as it is" in err and err.count("\n") == 1
    assert command("cut.jpg", "--truncated")[0] == 0


def test_what_a_head_knows_is_said_first(command, tmp_path):
    model = network()
    card = replace(model.card, figures=(("knows", "street scenes: it gives everything else a street's class"),))
    write("street.safetensors", SegmentationVAN(model.backbone, model.tensors, card), alone=False)
    status, _, err = command("photos/a.png", "--head", "street.safetensors")
    assert (status, err) == (0, "note: street knows street scenes: it gives everything else a street's class\n")
    assert command("photos/a.png", "--head", "street.safetensors", "--quiet")[2] == ""


def test_standard_input(command, tmp_path):
    data = io.BytesIO()
    photo().save(data, "PNG")
    assert command("-", "-o", "out", stdin=data.getvalue())[0] == 0
    assert files(tmp_path / "out") == ["stdin.png"]


def test_no_mask_takes_the_place_of_another_or_of_a_photo(command, tmp_path):
    shutil.copytree("photos", "twice")
    photo().save(tmp_path / "photos" / "a-overlay.png")
    before = (tmp_path / "photos" / "a.png").read_bytes()
    assert command("photos", "twice", "-o", "photos", "--overlay")[0] == 0
    assert (tmp_path / "photos" / "a.png").read_bytes() == before
    stems = ["a-2", "a-3", "a-overlay-2", "b", "b-2"]
    written = {f"{stem}{end}.png" for stem in stems for end in ("", "-overlay")}
    assert set(files(tmp_path / "photos")) == {"a.png", "b.jpg", "a-overlay.png"} | written


def test_a_run_goes_on_where_masks_are_there(command, tmp_path):
    assert command("photos/a.png", "-o", "masks/")[0] == 0
    first = (tmp_path / "masks" / "a.png").stat().st_ino
    status, out, _ = command("photos", "-o", "masks", "--resume")
    assert status == 0 and "photos/b.jpg" in out and "photos/a.png" not in out
    assert "masks: 2 masks, 1 of them from the run before, 0 photos without one" in out
    assert (tmp_path / "masks" / "a.png").stat().st_ino == first
    status, out, _ = command("photos", "-o", "masks", "--resume", "--overlay", "--json")  # no overlays are there yet
    assert status == 0 and len(out.splitlines()) == 2
    os.utime("photos/b.jpg", (time.time() + 100,) * 2)  # changed since
    assert [json.loads(line)["image"] for line in command("photos", "-o", "masks", "--resume", "--json")[1].splitlines()] == [
        "photos/b.jpg"
    ]
    other = "masks/a.png: other weights, another side, precision or program made it: choose another folder"
    for differs in (("--side", "32"), ("--engine", "fast", "--precision", "bfloat16")):
        assert command("photos", "-o", "masks", "--resume", *differs)[::2] == (2, f"minivan: {other}\n")
    assert command("photos", "--resume")[0] == 2
    (tmp_path / "others").mkdir()
    photo(seed=7).save("others/a.png")
    os.utime("others/a.png", (time.time() - 1000,) * 2)  # older than the mask of photos/a.png
    assert command("others", "-o", "masks", "--resume")[0] == 0
    assert np.array_equal(read_indices("masks/a.png"), segment("others/a.png", network()).mask)


@pytest.mark.parametrize("more", [("--resume",), ("--overlay",)])
def test_what_segment_did_not_write_it_does_not_replace_in_a_folder(more, command, tmp_path):
    """A labelled mask has its photo's name, and lies beside it as like as not."""
    photo(seed=5).convert("L").save("photos/b.png")
    before = (tmp_path / "photos" / "b.png").read_bytes()
    said = "photos/b.png: a file of this name is there, and segment did not write it: choose another folder"
    assert command("photos/b.jpg", "-o", "photos", *more)[::2] == (2, f"minivan: {said}\n")
    assert (tmp_path / "photos" / "b.png").read_bytes() == before
    assert files(tmp_path) == ["photos/a.png", "photos/b.jpg", "photos/b.png"]
    for _ in range(2):  # its own it replaces
        assert command("photos/b.jpg", "-o", "masks", "--overlay")[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("photos -o mask.png", "mask.png: one file, and 2 photos: name a folder"),
        ("photos/a.png -o mask.jpg", "mask.jpg: it ends in .jpg; masks are written as .png"),
        ("photos/a.png -o photos/a.png", "HERE/photos/a.png: it is the photo itself: choose another name"),
        ("photos -o text", "text: a file of this name stands there: name a folder, or a file that ends in .png"),
        ("photos/a.png -o none/mask.png", "none/mask.png: No such file or directory"),
        ("photos -o ''", "-o with an empty name: name a file or a folder, or leave it out"),
        ("photos --overlay", "--overlay writes files: say where with -o"),
        ("photos/a.png --side 31", f"{SIDES}; got 31"),
    ],
)  # fmt: skip
def test_a_wrong_call_is_one_line_and_writes_nothing(words, said, command, tmp_path):
    shutil.copytree("photos", "twice")
    (tmp_path / "text").write_text("mine")
    before = files(tmp_path)
    status, out, err = command(*[word.strip("'") for word in words.split()])
    said = said.replace("HERE", str(tmp_path))
    assert (status, out, err) == (2, "", f"minivan: {said}\n") and files(tmp_path) == before


@pytest.mark.slow
def test_the_page_shows_what_the_bundled_head_says(run):
    """But for the milliseconds, and a tenth of a percent, which other processors may round otherwise."""
    page = (ROOT / "docs" / "segmentation.md").read_text(encoding="utf-8")
    shown = re.search(r"\$ python -m minivan segment examples/china\.jpg.*?\n(.*?)```", page, re.DOTALL)[1].splitlines()
    status, out, err = run("segment", ROOT / "examples" / "china.jpg")
    assert status == 0 and err.startswith("note: van_b0_camvid_fpn knows street scenes")
    printed = out.splitlines()
    for line, said in zip(shown[1:5], printed[1:5], strict=True):
        (name, share, *_), (other, number, *_) = line.split(), said.split()
        assert name == other and abs(float(share[:-1]) - float(number[:-1])) < 0.11
    assert shown[6].rpartition(" · ")[0] == printed[-2].rpartition(" · ")[0]


def test_weights_without_a_head_say_so(run, tmp_path):
    weights = ROOT / "weights" / "van_b0_tiny_imagenet200.safetensors"
    photo().save(tmp_path / "a.png")
    status, _, err = run("segment", tmp_path / "a.png", "--head", weights)
    assert status == 2 and err.count("\n") == 1 and "head" in err
