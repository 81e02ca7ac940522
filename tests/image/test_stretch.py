"""Floating numbers and those with a sign: what is black and white, and what is no data."""

import numpy as np
import pytest
from PIL import Image
from support.pictures import encode
from support.tiff_photos import photo_tiff

from minivan import image
from minivan.image import ImageError, bounds

pytestmark = pytest.mark.loop

LEVELS = np.random.default_rng(0).integers(0, 256, (40, 30)).astype(np.float64)
LEVELS.flat[30:32] = 0, 255
LARGEST = float(np.finfo("f4").max)
NO_DATA = 42113


def seen(array, stated=None):
    """Return grey levels (H, W) that are seen of an array, and the notes; the file says which number is no data."""
    data = photo_tiff(array[..., None], 1)
    if stated is not None:
        data = encode(Image.fromarray(array.astype("f4")), "TIFF", tiffinfo=ascii_tag(stated))
    examined = image.examine(data)
    return np.asarray(examined.decode()).astype(int)[..., 0], examined.notes


def ascii_tag(text):
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    info = ImageFileDirectory_v2()
    info[NO_DATA], info.tagtype[NO_DATA] = text, 2
    return info


@pytest.mark.parametrize("number", [-LARGEST, LARGEST, -np.finfo("f8").max, np.nan, np.inf, -np.inf, -9999, -99999, -32768])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("scale", "offset"), [(1 / 255, 0), (1, 0), (2, -100)])
def test_no_data_are_black_and_take_no_part(number, dtype, scale, offset):
    with np.errstate(over="ignore"):
        array = (LEVELS * scale + offset).astype(dtype)
        array[0] = number
    got, notes = seen(array)
    expected = LEVELS.copy()
    expected[0] = 0
    assert np.abs(got - expected).max() == 0
    assert notes[1] == "30 of its 1200 values are no data, and black"


@pytest.mark.parametrize(
    ("text", "number"), [("12.5", 12.5), ("-3.4028234663852886e+38", -LARGEST), ("0.1", 0.1), ("nan", np.nan)]
)
def test_the_number_that_a_file_states_is_no_data(text, number):
    array = LEVELS.astype("f4") * 3 - 100
    array[0] = number
    got, notes = seen(array, stated=text)
    expected = LEVELS.copy()
    expected[0] = 0
    expected[np.float32(array) == np.float32(number)] = 0
    assert np.abs(got - expected).max() == 0 and "no data" in notes[1]


@pytest.mark.parametrize("text", ["", "none", "1e999"])
def test_a_statement_that_is_no_number_is_none(text):
    got, _ = seen(LEVELS.astype("f4"), stated=text or " ")
    assert np.array_equal(got, LEVELS)


@pytest.mark.parametrize(
    ("scale", "offset", "said"),
    [
        (1 / 255, 0, "shown on the scale from 0 to 1"),
        (0.5, 0, "shown on the scale from 0 to 255"),
        (3, 0, "stretched from black to white"),
    ],
)
def test_scales_are_known_and_said(scale, offset, said):
    got, notes = seen((LEVELS * scale + offset).astype("f4"))
    assert len(notes) == 1 and notes[0].endswith(said)
    assert np.abs(got - (LEVELS / 2 if scale == 0.5 else LEVELS)).max() <= 0.51


def test_a_customary_number_among_the_others_is_one_of_them():
    array = (LEVELS * 257 - 32768).astype("i2")
    got, notes = seen(array)
    assert np.abs(got - LEVELS).max() == 0 and len(notes) == 1


@pytest.mark.parametrize(("dtype", "number"), [("i2", 32767), ("i2", -32768), ("i4", -(2**31)), ("i4", 2**31 - 1)])
def test_the_extremes_of_whole_numbers_are_no_data_where_they_lie_apart(dtype, number):
    array = (LEVELS * 3 - 100).astype(dtype)
    array[0] = number
    got, notes = seen(array)
    expected = LEVELS.copy()
    expected[0] = 0
    assert np.abs(got - expected).max() == 0 and notes[1] == "30 of its 1200 values are no data, and black"


def test_two_numbers_are_black_and_white_though_one_is_an_extreme():
    array = np.where(LEVELS > 99, 32767, 0).astype("i2")
    got, notes = seen(array)
    assert np.array_equal(got, np.where(LEVELS > 99, 255, 0)) and len(notes) == 1


def test_nothing_but_no_data_is_refused():
    for number in (np.nan, np.inf, -LARGEST):
        with pytest.raises(ImageError, match="every value is infinite, no number, or stands for none"):
            seen(np.full((3, 3), number, "f4"))
    assert seen(np.full((3, 3), 7.5, "f4"))[0].tolist() == [[8] * 3] * 3


def test_colours_are_stretched_alike_and_lack_data_each_for_itself():
    array = np.stack([LEVELS * 2, LEVELS, LEVELS], axis=2).astype("f4")
    array[0, :, 1] = np.nan
    array[0, :, 0] = 510
    got = np.asarray(image.decode(photo_tiff(array, 2))).astype(int)
    assert got[0, 5].tolist()[:2] == [255, 0] and np.abs(got[1:, :, 0] - LEVELS[1:]).max() == 0
    assert np.abs(got[1:, :, 1] - LEVELS[1:] / 2).max() <= 0.5


def test_strips_are_stretched_alike(monkeypatch):
    array = (LEVELS * 3 - 7).astype("f4")
    whole, notes = seen(array)
    monkeypatch.setattr(bounds, "STRIP", 70)
    assert np.array_equal(seen(array)[0], whole) and seen(array)[1] == notes
