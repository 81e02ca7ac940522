"""A photo may be decoded as small as the network has use for: when asked, never smaller, and answers stay what is stated."""

import io
import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from support import EXAMPLES, ROOT
from support.pictures import encode, turned

import minivan
from minivan import image
from minivan.card import PRESETS
from minivan.cli import main
from minivan.image import ImageError, Reading, bounds
from minivan.ops import softmax
from minivan.predict import find_images, prepare_ahead

pytestmark = pytest.mark.loop

PHOTO = Image.open(EXAMPLES / "rocket.jpg").convert("RGB")  # 640 x 427
JPEG = encode(PHOTO, "JPEG", quality=90)
SETTINGS = PRESETS["official"]


def test_nothing_is_decoded_smaller_unless_that_is_asked_for():
    assert not Reading().draft and image.examine(JPEG).look.scale == 1
    settings = SETTINGS.at(64)
    assert np.array_equal(image.prepare(JPEG, settings), image.prepare(image.decode(JPEG), settings))
    assert not np.array_equal(image.prepare(JPEG, settings, draft=True), image.prepare(JPEG, settings))


def test_no_picture_gets_smaller_than_twice_what_is_needed_nor_stays_larger_than_it_could():
    """Sizes as Pillow decodes them, of all that divides badly."""
    for width, height, shorter in itertools.product((1, 7, 97, 640), (8, 63, 427), (1, 4, 26, 53, 107)):
        data = encode(PHOTO.resize((width, height)), "JPEG")
        examined = image.examine(data, 3, shorter)
        scale, whole = examined.look.scale, min(width, height)
        assert (
            examined.decode().size == (-(-width // scale), -(-height // scale)) == (examined.look.width, examined.look.height)
        )
        left = [-(-whole // other) for other in (1, 2, 4, 8)]
        enough = [side for side in left if side >= 2 * shorter]
        assert -(-whole // scale) == (enough[-1] if enough else whole)
        assert not examined.notes


def test_a_photo_that_memory_makes_smaller_is_made_smaller_still(monkeypatch):
    data = encode(PHOTO, "JPEG", progressive=True, exif=turned(6))
    small = image.examine(data, 3, 26)
    monkeypatch.setattr(bounds, "LARGEST_PIXELS", 640 * 427 - 1)
    assert image.examine(data).look.scale == 2
    both = image.examine(data, 3, 26)
    assert both == small and both.look.scale == 8 and both.decode().size == (54, 80)


@pytest.mark.parametrize("draft", [False, True])
def test_a_file_that_ends_early_is_refused_at_any_size(draft):
    cut = JPEG[: len(JPEG) // 2]
    with pytest.raises(ImageError, match=r"a JPEG file that ends early: 3[5-9]\.\d% of its rows"):
        image.prepare(cut, SETTINGS.at(32), draft=draft)
    notes = []
    image.prepare(cut, SETTINGS.at(32), truncated=True, notes=notes, draft=draft)
    assert len(notes) == 1 and "ends early" in notes[0]
    assert np.array_equal(
        image.prepare(JPEG[:-2], SETTINGS.at(32), draft=draft), image.prepare(JPEG, SETTINGS.at(32), draft=draft)
    )


def test_what_is_no_jpeg_file_is_as_it_was():
    for source in (encode(PHOTO), PHOTO, np.asarray(PHOTO)):
        assert np.array_equal(image.prepare(source, SETTINGS.at(32), draft=True), image.prepare(source, SETTINGS.at(32)))


def test_a_folder_is_read_so_by_commands_and_by_the_library(tmp_path, capsys):
    (tmp_path / "rocket.jpg").write_bytes(JPEG)
    images = find_images([tmp_path])
    model = minivan.load(engine="numpy", size=32)
    (ready,) = prepare_ahead(images, model.card.preprocessing, how=Reading(draft=True))
    assert np.array_equal(ready.x, image.prepare(JPEG, model.card.preprocessing, draft=True))
    (whole,), (draft,) = (minivan.predict.classify(model, tmp_path, draft=asked) for asked in (False, True))
    assert draft.top != whole.top and draft == replace(whole, top=draft.top, milliseconds=draft.milliseconds)
    assert main(["classify", str(tmp_path), "--json", "--engine", "numpy", "--draft", "--size", "32"]) == 0
    assert json.loads(capsys.readouterr().out)["top"] == draft.as_dict()["top"]


def stated():
    """The largest difference of a probability that docs/images.md states, of the weights as they were trained."""
    page = (ROOT / "docs" / "images.md").read_text(encoding="utf-8")
    rows = page.partition("<!-- draft: ")[2].partition("<!-- end of draft -->")[0].splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows if row.startswith("|")]
    column, side = cells[0].index("largest"), cells[0].index("seen at")
    return max(float(row[column]) for row in cells[2:] if row[side] == "96")


def test_answers_differ_no_more_than_is_stated():
    """A photo as it is, and one with four times as many pixels."""
    model = minivan.load(engine="numpy")
    settings, most = model.card.preprocessing, stated()
    assert 0 < most < 0.1
    for name, larger in (("coffee", 1), ("rocket", 2)):
        photo = Image.open(EXAMPLES / f"{name}.jpg").convert("RGB")
        file = io.BytesIO()
        photo.resize((larger * photo.width, larger * photo.height), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        assert image.examine(file.getvalue(), 3, settings.resize).look.scale > 1
        both = [image.prepare(file.getvalue(), settings, draft=draft) for draft in (False, True)]
        whole, draft = softmax(model(np.stack(both)))
        assert whole.argmax() == draft.argmax() and 0 < np.abs(whole - draft).max() <= most
