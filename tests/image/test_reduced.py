"""JPEG files that would hold too much are decoded at a part of their size; the limit is for what is held."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from support import EXAMPLES, ROOT
from support.pictures import encode, turned

from minivan import image
from minivan.image import ImageError, bounds

pytestmark = pytest.mark.loop

PHOTO = Image.open(EXAMPLES / "cat.jpg").convert("RGB").crop((0, 0, 448, 296))


@pytest.mark.parametrize(("limit", "scale"), [(448 * 296, 1), (448 * 296 - 1, 2), (224 * 148 - 1, 4), (112 * 74 - 1, 8)])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_the_largest_part_that_fits_is_decoded(limit, scale, mode, monkeypatch):
    data = encode(PHOTO.convert(mode), "JPEG", quality=95, exif=turned(6))
    whole = image.decode(data)
    monkeypatch.setattr(bounds, "LARGEST_PIXELS", limit)
    examined = image.examine(data)
    got = examined.decode()
    assert got.size == (-(-296 // scale), -(-448 // scale)) and examined.look.scale == scale
    assert bool(examined.notes) == (scale > 1)
    small = np.asarray(whole.resize(got.size, Image.Resampling.BOX)).astype(float)
    assert np.abs(np.asarray(got) - small).mean() < 4


def test_what_no_part_of_fits_is_refused_with_its_own_size(monkeypatch):
    monkeypatch.setattr(bounds, "LARGEST_PIXELS", 56 * 37 - 1)
    with pytest.raises(ImageError, match=r"448 x 296 = 132,608 pixels is more than the limit of 2,071 pixels"):
        image.examine(encode(PHOTO, "JPEG"))
    monkeypatch.setattr(bounds, "LARGEST_PIXELS", 56 * 37)
    assert image.examine(encode(PHOTO, "JPEG")).look.scale == 8
    with pytest.raises(ImageError, match="more than the limit of"):
        image.examine(encode(PHOTO))


def test_the_coefficients_of_a_progressive_file_are_held_at_any_size(monkeypatch):
    """Without subsampling two bytes for each of three samples, and the file twice."""
    data = encode(PHOTO, "JPEG", progressive=True, subsampling=0)
    assert image.examine(data).look.held == (448 * 296 * (4 + 6)) + 2 * image_bytes(data)
    least = 448 * 296 * 6 + 2 * image_bytes(data)
    monkeypatch.setattr(bounds, "LARGEST_HELD", least + 56 * 37 * 8)
    assert image.examine(data).look.scale == 8
    monkeypatch.setattr(bounds, "LARGEST_HELD", least + 56 * 37 * 8 - 1)
    with pytest.raises(ImageError, match="of memory to decode"):
        image.examine(data)
    monkeypatch.setattr(bounds, "LARGEST_HELD", least)
    sequential = encode(PHOTO, "JPEG", subsampling=0)
    assert image.examine(sequential).look.scale == 2


def image_bytes(data):
    return sum(map(len, image.examine(data).look.parts))


LARGE = """
import resource, sys
from PIL import Image
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
path, mode, progressive = sys.argv[1:]
"""
WRITTEN = LARGE + "Image.new(mode, (16320, 12240), 77).save(path, 'JPEG', progressive=progressive == 'True')"
READ = (
    LARGE
    + """
from minivan import image
image.decode(path.replace("large.jpg", "small.jpg"))
before, examined = peak(), image.examine(path)
picture = examined.decode()
print(*picture.size, examined.look.held, image.LARGEST_HELD, peak() - before, *examined.notes)
"""
)


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "progressive"), [("L", False), ("RGB", False), ("RGB", True)])
def test_two_hundred_megapixels_are_answered_within_the_stated_memory(mode, progressive, tmp_path):
    """As a process of its own takes it."""
    (tmp_path / "small.jpg").write_bytes(encode(PHOTO, "JPEG"))
    arguments = [str(tmp_path / "large.jpg"), mode, str(progressive)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for code in (WRITTEN, READ):
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    width, height, held, most, taken, *notes = done.stdout.split()
    assert (width, height) == ("8160", "6120") and "1/2" in notes
    assert int(taken) <= int(held) <= int(most)
