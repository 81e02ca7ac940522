"""At which size a photo is shown: to the network for its maps, for its class, and to a person."""

import io

import numpy as np
import pytest
from PIL import Image
from support import EXAMPLES
from support.compare import assert_bit_equal
from support.networks import random_tensors

from minivan import explain
from minivan.card import PRESETS, Card, Preprocessing
from minivan.image import ImageError, prepare
from minivan.van import VAN
from minivan.variants import Config

pytestmark = pytest.mark.loop

CAT = EXAMPLES / "cat.jpg"
SMALL = Config((4, 6), (1, 1), (1, 1), classes=3)


def model_of(preprocessing):
    return VAN(SMALL, random_tensors(SMALL), card=Card("small", preprocessing))


def test_the_side_is_that_of_the_training_but_large_enough_for_a_map():
    small, usual = Preprocessing(64, 70), PRESETS["official"]
    assert explain.view_side(small) == explain.SMALLEST_VIEW == 192 and explain.view_side(usual) == 224
    assert [explain.view_side(small, side) for side in (32, 64, 2048)] == [32, 64, 2048]
    for side in (0, 31, 2049):
        with pytest.raises(ValueError, match=rf"lies in 32\.\.2048 pixels; got {side}$"):
            explain.view_side(usual, side)


@pytest.mark.parametrize("size", [32, 64, 100, 500])
def test_every_size_shows_the_same_part_of_the_photo(size):
    """On a picture whose red says the column and whose green says the row."""
    rows, columns = np.mgrid[0:1:400j, 0:1:600j]
    file = io.BytesIO()
    Image.fromarray(np.uint8(255 * np.stack([columns, rows, 0 * rows], axis=2))).save(file, "PNG")
    seen = explain.look(model_of(Preprocessing(64, 80, (0, 0, 0), (1, 1, 1))), file.getvalue(), size)
    expected = [[7 / 30, 23 / 30], [1 / 10, 9 / 10]]  # 64 of the 80 rows and of the 120 columns, in the middle
    for shown in (seen.x[0], seen.as_trained[0], seen.photo.transpose(2, 0, 1) / 255):
        step, edges = 1 / shown.shape[1], [shown[0].mean(0)[[0, -1]], shown[1].mean(1)[[0, -1]]]
        assert np.abs(np.array(edges) - expected).max() < 0.01 + step, shown.shape


@pytest.mark.parametrize("size", [None, 64, 100, 500])
def test_a_photo_is_prepared_at_three_sizes(size):
    trained = Preprocessing(64, 70, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    seen = explain.look(model_of(trained), CAT, size)
    side = size or explain.SMALLEST_VIEW
    assert_bit_equal("as trained", seen.as_trained[0], prepare(CAT, trained))
    assert_bit_equal("x", seen.x[0], prepare(CAT, explain.scaled(trained, side)))
    assert seen.x.shape == (1, 3, side, side) and (seen.as_trained is seen.x) == (size == 64)
    assert seen.photo.shape == (max(side, 384), max(side, 384), 3) and seen.photo.dtype == np.uint8
    assert seen.zoom == max(side, 384) / side and seen.name == str(CAT)


def test_a_photo_is_turned_unless_it_is_asked_not_to_be():
    picture, exif = Image.new("RGB", (90, 60), "white"), Image.Exif()
    picture.paste("black", (0, 0, 45, 60))
    exif[274] = 6  # a quarter turn to the right: what lies left comes to lie on top
    file = io.BytesIO()
    picture.save(file, "PNG", exif=exif)
    turned, as_stored = (explain.look(model_of(PRESETS["official"]), file.getvalue(), 64, exif=exif) for exif in (True, False))
    assert turned.name == as_stored.name == "photo"
    assert turned.photo[:150].max() == 0 and turned.photo[-150:].min() == 255
    assert as_stored.photo[:, :150].max() == 0 and as_stored.photo[:, -150:].min() == 255


def test_what_is_no_photo_is_said(tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no image")
    with pytest.raises(ImageError, match="not an image"):
        explain.look(model_of(PRESETS["official"]), bad)
    with pytest.raises(FileNotFoundError):
        explain.look(model_of(PRESETS["official"]), tmp_path / "none.jpg")


def test_what_a_program_hands_over_is_looked_at_as_its_file_is():
    model = model_of(Preprocessing(64, 70))
    from_file, opened = explain.look(model, CAT), explain.look(model, Image.open(CAT))
    assert_bit_equal("a picture", opened.x, from_file.x)
    assert_bit_equal("its array", explain.look(model, np.asarray(Image.open(CAT))).photo, from_file.photo)
    assert opened.name == "photo" and explain.look(model, Image.open(CAT), name="cat").name == "cat"
