"""The command explore: a page with the network, a light one without, and what goes wrong."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from support import CHECKPOINTS, ROOT

from minivan.checkpoint import bundled
from minivan.cli import main

BUNDLED = str(bundled()[0])
QUICK = ["--engine", "numpy", "--weights", BUNDLED]


def description(file):
    return json.loads(re.search(r'<script type="application/json" id="description">(.*?)</script>', file.read_text())[1])


def test_a_light_page_is_small_and_opens_with_the_photo_of_the_command_line(tmp_path, capsys):
    """Of noise, whose picture takes more bytes than any photo's: fewer blocks are left, and the page is as small."""
    out, noise = tmp_path / "page.html", tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8)).save(noise)
    assert main(["explore", str(noise), "--light", "-o", str(out), *QUICK]) == 0
    assert capsys.readouterr().out.startswith(f"{out}: ")
    assert 1_800_000 < out.stat().st_size < 2_000_000
    said = description(out)
    assert said["light"] and [photo["name"] for photo in said["photos"]] == ["noise.png"]
    assert {block.split(".")[0] for block in said["blocks"]} == {"block1", "block2", "block3", "block4"}


def test_a_page_has_the_network_and_the_photos_that_come_with_minivan(tmp_path):
    out = tmp_path / "page.html"
    assert main(["explore", "-o", str(out), *QUICK]) == 0
    said = description(out)
    assert not said["light"] and len(said["blocks"]) == 13
    assert [photo["name"] for photo in said["photos"]] == ["coffee", "cat", "rocket", "astronaut"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no.jpg"], r"no\.jpg: No such file or directory"),
        ([str(ROOT / "README.md")], "README.md: .*image"),
        (["-o", "no/page.html"], r"no/page\.html: No such file or directory"),
        (["--weights", str(CHECKPOINTS / "config.json")], "config.json"),
    ],
    ids=["no photo", "no image", "no folder", "no weights"],
)
def test_what_goes_wrong_is_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["explore", "--light", *QUICK[: 2 if "--weights" in arguments else 4], *arguments]) == 2
    said = capsys.readouterr().err
    assert re.search(message, said) and said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
