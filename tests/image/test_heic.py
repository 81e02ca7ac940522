"""HEIC photos: decoded by pillow-heif, apart, and for the rest what AVIF ones are; without it, refused in one line."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from support import EXAMPLES, ROOT
from support.heic import heic, heic_coded, heic_of_samples
from support.pictures import turned
from support.profiles import SPACES, in_srgb, profile

from minivan import image
from minivan.image import ImageError, apart, kinds

pytestmark = pytest.mark.loop

PHOTO = Image.open(EXAMPLES / "cat.jpg").convert("RGB").resize((96, 64))
RGB = np.asarray(PHOTO).astype(int)
PLAIN = heic(PHOTO)
LEVELS = 1.0  # of 255 on average: the colours are stored as brightness and differences


def seen(data, **how):
    notes = []
    return np.asarray(image.decode(data, notes=notes, **how)).astype(int), notes


def off(got, expected):
    assert got.shape == expected.shape
    return np.abs(got - expected).mean()


def masked(alpha):
    picture = PHOTO.convert("RGBA")
    picture.putalpha(alpha)
    return picture


def test_samples_are_what_they_are():
    assert off(seen(PLAIN)[0], RGB) <= LEVELS
    assert off(seen(heic(PHOTO.convert("L")))[0], np.asarray(PHOTO.convert("L"))[..., None].repeat(3, 2)) <= LEVELS
    assert off(seen(heic_of_samples("RGB;16", RGB * 257))[0], RGB) <= LEVELS


def test_transparency_lies_over_white_unless_it_is_unused():
    grey = PHOTO.convert("L")
    share = np.asarray(grey)[..., None] / 255
    expected = RGB * share + 255 * (1 - share)
    assert off(seen(heic(masked(grey)))[0], expected) <= LEVELS
    multiplied = np.dstack([RGB * share, np.asarray(grey)]).round().astype("u2") * 257
    assert off(seen(heic_of_samples("RGBa;16", multiplied))[0], expected) <= LEVELS + 0.5
    got, notes = seen(heic(masked(0)))
    assert off(got, RGB) <= LEVELS and notes == ["its transparency is 0 everywhere and counts as none"]


def test_boxes_of_its_own_turn_it_once_and_exif_never():
    data = heic(PHOTO, exif=turned(6).tobytes())  # writes both, as telephones do
    assert b"irot" in data and b"Exif" in data
    assert off(seen(data)[0], np.rot90(RGB, -1)) <= LEVELS
    alone = data.replace(b"irot", b"free")
    assert off(seen(alone)[0], RGB) <= LEVELS
    assert b"Exif\0" not in b"".join(image.examine(data).look.parts).partition(b"mdat")[0]


def test_colours_are_what_its_boxes_say():
    coloured = PHOTO.copy()
    coloured.info["icc_profile"] = profile("ProPhoto")
    assert off(seen(heic(coloured))[0], in_srgb(PHOTO, SPACES["ProPhoto"])) <= LEVELS
    assert off(seen(heic(coloured), icc=False)[0], RGB) <= LEVELS
    assert off(seen(heic_coded(PLAIN, 12, 13))[0], in_srgb(PHOTO, (*SPACES["Display P3"][:4], 0))) <= LEVELS
    for data in (heic_coded(PLAIN, 99, 13), PLAIN.replace(b"colrnclx", b"colrnone")):  # which libheif refuses
        assert off(seen(data)[0], RGB) <= LEVELS
    assert seen(heic_coded(PLAIN, 99, 13))[1] == [
        "its colour profile is not used: the primaries 99 and the curve 13 (ITU-T H.273) are not known"
    ]
    for transfer, name in ((16, "PQ"), (18, "HLG")):
        with pytest.raises(ImageError, match=rf"high dynamic range \({name}, "):
            image.decode(heic_coded(PLAIN, 9, transfer))


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "pillow_heif" else find(name, *more))
    said = "a HEIC photo, which the package pillow-heif decodes: pip install pillow-heif, or export the photo as JPEG or PNG"
    with pytest.raises(ImageError, match=f"^{said}$"):
        image.decode(PLAIN)
    assert kinds.recognise(PLAIN[: kinds.FIRST]) == "HEIC"  # so that a folder has it


def test_a_package_that_cannot_be_imported_is_no_damage(monkeypatch, tmp_path):
    (tmp_path / "pillow_heif.py").write_text("raise ImportError('built for another Python')")
    monkeypatch.setattr(
        apart, "_folders", lambda module, folders=apart._folders: os.pathsep.join((str(tmp_path), folders(module)))
    )
    with pytest.raises(ImageError, match=r"^its decoder cannot be imported: built for another Python$"):
        image.decode(PLAIN)


def test_a_damaged_file_is_one_line(capfd):
    for data in (PLAIN[:300], PLAIN[: len(PLAIN) // 2], PLAIN.replace(b"hvcC", b"free"), PLAIN[:-60] + bytes(60)):
        try:
            assert image.decode(data).size == PHOTO.size
        except ImageError as error:
            assert len(str(error).splitlines()) == 1 and len(str(error)) < 400
    assert capfd.readouterr() == ("", "")


def test_no_picture_is_larger_than_its_boxes_say():
    """Newer decoders refuse such a file, older ones cut it."""
    width, height = (side.to_bytes(4) for side in PHOTO.size)
    smaller = PLAIN.replace(b"ispe" + bytes(4) + width + height, b"ispe" + bytes(4) + (8).to_bytes(4) * 2)
    assert smaller != PLAIN
    try:
        assert image.decode(smaller).size == (8, 8)
    except ImageError as error:
        assert str(error).startswith("damaged image: ")


@pytest.mark.slow
def test_the_process_apart_needs_no_more_than_is_stated(monkeypatch):
    """Of address space, beside what it takes for a small photo, for ten bits of colours and transparency."""
    large = image.examine(heic_of_samples("RGBA;16", np.full((1000, 2000, 4), 30_000)))

    def decodes(examined, size):
        monkeypatch.setattr(apart, "INTERPRETER", size)
        try:
            return examined.decode().size == (examined.look.width, examined.look.height)
        except ImageError:
            return False

    least = next(size for size in range(32 << 20, apart.INTERPRETER + 1, 16 << 20) if decodes(image.examine(PLAIN), size))
    assert decodes(large, least)


def test_nothing_of_the_package_is_imported_here(tmp_path):
    (tmp_path / "photo.heic").write_bytes(PLAIN)
    code = "import sys; from minivan import image; print(image.decode(sys.argv[1]).size, 'pillow_heif' in sys.modules)"
    command = [sys.executable, "-c", code, str(tmp_path / "photo.heic")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"{PHOTO.size} False\n"
