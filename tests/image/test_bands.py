"""Images of other channels than a photo's three: grey photos, .npy arrays, and TIFF files of many bands."""

import io
import itertools
import random

import numpy as np
import pytest
from PIL import Image
from support import EXAMPLES
from support.pictures import encode
from support.tiffs import DEFLATE, LONG, SHORT, bands_tiff

from minivan import image
from minivan.card import Preprocessing
from minivan.image import Bands, ImageError, bounds
from minivan.image.headers import tiff_bands

pytestmark = pytest.mark.loop

CAT = EXAMPLES / "cat.jpg"
DTYPES = ["u1", "i1", "u2", "i2", "u4", "f2", "f4", "f8"]


def settings(channels, crop=40, resize=50, mean=0.0, std=1.0):
    return Preprocessing(crop, resize, (mean,) * channels, (std,) * channels)


def npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def some(shape=(50, 60, 4), dtype="f4", seed=0):
    values = np.random.default_rng(seed).normal(scale=40, size=shape)
    return values.astype(dtype) if np.dtype(dtype).kind != "u" else np.abs(values).astype(dtype)


def values_of(data, channels):
    """Return a picture's bands as they were decoded, (H, W, C)."""
    picture = image.examine(data, channels).decode()
    assert isinstance(picture, Bands)
    return np.stack([np.asarray(plane) for plane in picture.planes], axis=2)


# arrays


@pytest.mark.parametrize("dtype", [*DTYPES, ">f4", ">u2", "i8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_is_read_in_every_dtype_and_order_with_its_channels_first_or_last(dtype, order):
    array = some(dtype=dtype)
    last = values_of(npy(np.asarray(array, order=order)), 4)
    first = values_of(npy(np.asarray(array.transpose(2, 0, 1), order=order)), 4)
    assert last.dtype == (np.uint8 if dtype == "u1" else np.float32)
    assert np.array_equal(last, array.astype(last.dtype)) and np.array_equal(first, last)


def test_one_channel_needs_no_axis():
    array = some((50, 60))
    for shape in ((50, 60), (50, 60, 1), (1, 50, 60)):
        assert np.array_equal(values_of(npy(array.reshape(shape)), 1)[..., 0], array)


@pytest.mark.parametrize(
    ("shape", "channels", "words"),
    [
        ((50, 60, 4), 13, r"\(50, 60, 4\), and the network takes 13 channels: \(H, W, 13\) or \(13, H, W\)"),
        ((40, 60, 40), 40, "its first axis or its last may be the channels; trim one side"),
        ((50, 60), 4, r"of the shape \(50, 60\); an image of 4 channels is \(H, W, 4\) or \(4, H, W\)"),
        ((50, 60), 3, "an image of 3 channels is"),
        ((1, 4, 50, 60), 4, r"of the shape \(1, 4, 50, 60\)"),
        ((50, 60, 4), 3, "the network takes 3 channels"),
        ((50, 60, 3), 1, r"the network takes 1 channel: \(H, W, 1\) or \(1, H, W\), or \(H, W\)"),
        ((0, 60, 4), 4, "it is 60 x 0 pixels large"),
        ((4,), 4, r"of the shape \(4,\)"),
        ((), 1, r"of the shape \(\)"),
    ],
)
def test_an_array_of_another_shape_is_refused_with_what_is_wanted(shape, channels, words):
    with pytest.raises(ImageError, match=words):
        image.examine(npy(np.zeros(shape, np.float32)), channels)


@pytest.mark.parametrize("array", [np.zeros((9, 9, 4), complex), np.zeros((9, 9, 4), bool), np.full((9, 9, 4), "a")])
def test_bands_are_whole_or_floating_numbers(array):
    with pytest.raises(ImageError, match=r"bands are whole or floating numbers|not an \.npy file of numbers"):
        image.examine(npy(array), 4)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_what_is_no_finite_float32_is_refused(value):
    array = some(dtype="f8")
    array[3, 4, 1] = value
    with pytest.raises(ImageError, match="infinite or no numbers"):
        image.prepare(npy(array), settings(4))


def test_an_array_that_is_cut_off_or_pickled_is_refused():
    whole = npy(some())
    for data in (whole[:40], whole[:-1], whole[:6], npy(np.array([{}], object), allow_pickle=True)):
        with pytest.raises(ImageError, match=r"not an \.npy file of numbers, or a damaged one"):
            image.examine(data, 4)


def test_an_array_that_takes_too_much_memory_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(bounds, "LARGEST_HELD", 1 << 20)
    with pytest.raises(ImageError, match=r"300 x 300 pixels in this NumPy array file take .* of memory to decode"):
        image.examine(npy(np.zeros((300, 300), np.uint8)), 1)


def test_what_bands_take_is_what_the_table_of_robustness_says():
    array = some((40, 37, 5), "u2")
    for data, each, files in ((npy(array), 12 + 4 * 5, 2), (bands_tiff(array), 4 + 5 * (4 + 5 * 2), 6)):
        assert image.examine(data, 5).look.held == 40 * 37 * each + files * len(data)


# from bands to the network's input


def test_eight_bits_in_an_array_are_prepared_as_the_photo_is_to_the_bit():
    photo, three = Image.open(CAT).convert("RGB"), settings(3, mean=0.4, std=0.3)
    assert np.array_equal(image.prepare(npy(np.asarray(photo)), three), image.prepare(encode(photo), three))


def test_other_numbers_are_taken_as_they_are_and_resized_band_by_band():
    array, wanted = some(), Preprocessing(40, 50, (1, 2, 3, 4), (5, 6, 7, 8))
    got = image.prepare(npy(array), wanted)
    assert got.shape == (4, 40, 40) and got.dtype == np.float32
    for i in range(4):
        band = Image.fromarray(array[..., i]).resize((60, 50), Image.Resampling.BICUBIC).crop((10, 5, 50, 45))
        np.testing.assert_array_equal(got[i], (np.asarray(band) - np.float32(i + 1)) / np.float32(i + 5))


def test_a_small_image_is_padded_with_zeros_as_a_photo_is():
    got = image.prepare(npy(np.ones((20, 20, 4), np.float32)), settings(4, crop=40, resize=20))
    assert got[:, 10:30, 10:30].min() == 1 and got.sum() == 4 * 20 * 20


def test_a_photo_becomes_grey_for_one_channel_by_itu_r_601():
    colours = np.random.default_rng(0).integers(0, 256, (50, 60, 3)).astype(np.uint8)
    exact = (colours.astype(float) @ [299, 587, 114]) / 1000
    assert np.abs(values_of(encode(Image.fromarray(colours)), 1)[..., 0] - exact).max() <= 0.501
    grey = Image.fromarray(colours[..., 0])
    assert np.array_equal(values_of(encode(grey), 1)[..., 0], colours[..., 0])
    assert image.prepare(encode(grey), settings(1, mean=0.5, std=0.5)).shape == (1, 40, 40)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "CMYK"])
def test_a_photo_is_refused_where_other_channels_are_wanted(mode):
    kind = "TIFF" if mode == "CMYK" else "PNG"
    with pytest.raises(ImageError, match=r"the network takes 13 channels: give them as an .npy array, \(H, W, 13\)"):
        image.examine(encode(Image.new(mode, (9, 9)), kind), 13)


def test_an_array_is_no_photo():
    with pytest.raises(ImageError, match="bands of numbers, where a photo is wanted"):
        image.decode(npy(np.zeros((9, 9, 3), np.float32)))


def test_normalising_takes_a_mean_and_a_deviation_for_each_band():
    with pytest.raises(ValueError, match="zip"):
        image.normalise(image.examine(npy(some()), 4).decode(), (0, 0, 0), (1, 1, 1))


def test_a_person_sees_the_first_three_bands_or_one_in_grey():
    shown = image.examine(npy(some((50, 60, 5))), 5).decode().shown()
    assert shown.mode == "RGB" and shown.size == (60, 50) and np.asarray(shown).min() == 0 and np.asarray(shown).max() == 255
    two = np.asarray(image.examine(npy(np.full((50, 60, 2), 7.0, np.float32)), 2).decode().shown())
    assert two.shape == (50, 60, 3) and (two == two[..., :1]).all()
    eight = some((50, 60, 4), "u1")
    assert np.array_equal(image.examine(npy(eight), 4).decode().shown(), eight[..., :3])


# TIFF


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["<", ">"])
def test_bands_of_a_tiff_are_read_however_they_lie(dtype, order):
    array = some((40, 37, 5), dtype)
    for planar, (tile, rows) in itertools.product((False, True), ((16, None), (None, 7), (None, None))):
        got = values_of(bands_tiff(array, planar, tile, rows, order=order), 5)
        assert np.array_equal(got, array.astype(got.dtype)), (planar, tile, rows)


@pytest.mark.parametrize(
    ("dtype", "planar", "tile", "predictor"),
    [("u2", False, 16, 2), ("f4", False, None, 3), ("f4", True, 16, 3), ("u1", True, None, 2), ("i2", False, None, 1)],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_packed_bands_are_unpacked_and_their_differences_added_up(dtype, planar, tile, predictor, order):
    array = some((20, 37, 2), dtype)
    got = values_of(bands_tiff(array, planar, tile, None if tile else 7, DEFLATE, predictor, order), 2)
    assert np.array_equal(got, array.astype(got.dtype))


def test_a_tiff_of_four_colours_has_four_bands_where_four_are_wanted_and_is_a_photo_where_three_are():
    array = some((40, 37, 4), "u1")
    data = bands_tiff(array, changed={262: (SHORT, [2]), 338: (SHORT, [0])})
    assert np.array_equal(values_of(data, 4), array)
    assert np.array_equal(image.decode(data), array[..., :3])


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_tiff_of_another_number_of_bands_is_refused(channels):
    with pytest.raises(ImageError, match=f"a TIFF file of 4 bands, and the network takes {channels} channel"):
        image.examine(bands_tiff(some((40, 37, 4))), channels)
    with pytest.raises(ImageError, match="of 200 bands"):
        image.examine(bands_tiff(some((4, 4, 200))), channels)


def test_the_number_that_a_file_states_for_no_data_is_one_of_its_values_with_a_note():
    array = some((40, 37, 5), "i2")
    array[:2, :3, 1] = -77
    data = bands_tiff(array, changed={42113: (SHORT, np.frombuffer(b"-77\0", "<u2").tolist())})
    examined = image.examine(data, 5)
    got = np.stack([np.asarray(plane) for plane in examined.decode().planes], axis=2)
    count = int((array == -77).sum())
    assert np.array_equal(got, array)
    assert examined.notes == [f"{count} of its values are -77, which the file states for no data: they are taken as they are"]


def test_two_hundred_bands_are_read():
    array = some((33, 34, 200), "u2")
    assert np.array_equal(values_of(bands_tiff(array, planar=True), 200), array)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({279: None}, "without all the strips or tiles"),
        ({279: (LONG, [9])}, "without all the strips or tiles"),
        ({273: (LONG, [1 << 30])}, "without all the strips or tiles"),
        ({278: (LONG, [5])}, "without all the strips or tiles"),
        ({278: (LONG, [0])}, "without all the strips or tiles"),
        ({256: (LONG, [1 << 31])}, "more than the limit of"),
        ({257: (LONG, [0])}, "it is 37 x 0 pixels large"),
        ({258: (SHORT, [32, 32, 32, 16])}, "bands of 16 and 32 bits"),
        ({258: (SHORT, [40] * 4)}, "bands of 40 bits"),
        ({258: (SHORT, [12] * 4), 317: (SHORT, [2]), 339: (SHORT, [1] * 4)}, "differences of 12 bits"),
        ({339: (SHORT, [5] * 4)}, r"format 5, which minivan does not read: save them as an \.npy array"),
        ({259: (SHORT, [7])}, "compression 7, predictor 1"),
        ({317: (SHORT, [9])}, "compression 1, predictor 9"),
        ({262: (SHORT, [5])}, "no bands"),
    ],
)
def test_a_damaged_or_odd_tiff_is_refused_in_one_line(changed, words):
    with pytest.raises(ImageError, match=words) as error:
        image.prepare(bands_tiff(some((40, 37, 4)), changed=changed), settings(4))
    assert len(str(error.value).splitlines()) == 1


def test_strips_that_lie_over_one_another_are_refused():
    half = some((40, 37, 4)).nbytes // 2
    over = {273: (LONG, [8] * 40), 279: (LONG, [half] * 40)}
    with pytest.raises(ImageError, match="lie over one another"):
        image.examine(bands_tiff(some((40, 37, 4)), rows=1, changed=over), 4)


def test_more_strips_than_the_limit_of_steps_are_refused():
    array = np.zeros((200_001, 1, 2), np.uint8)
    with pytest.raises(ImageError, match="more than 200,000 pieces"):
        image.examine(bands_tiff(array, rows=1), 2)


def test_every_cut_of_a_file_is_refused_in_one_line():
    whole = bands_tiff(some((12, 9, 4), "u2"), tile=16, planar=True)
    for length in range(8, len(whole) - 4, 7):  # its last four bytes say that no other picture follows
        with pytest.raises(ImageError) as error:
            image.prepare(whole[:length], settings(4))
        assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("make", [lambda array: npy(array), bands_tiff, lambda array: bands_tiff(array, True, 16)])
def test_damaged_files_are_bands_or_one_line(make):
    whole, rng = make(some((9, 11, 4), "u2")), random.Random(0)
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            at = (
                rng.randrange(len(data)) if rng.random() < 0.2 else rng.choice([*range(80), *range(len(data) - 200, len(data))])
            )
            data[at] = rng.choice([0, 1, 2, 4, 255, rng.randrange(256)])
        try:
            assert isinstance(image.examine(bytes(data), 4).decode(), Bands)
        except ImageError as error:
            assert len(str(error).splitlines()) == 1


def test_lists_of_many_values_are_not_read_beyond_the_limit_of_steps():
    many = {258: (SHORT, [16] * 200_001)}
    with pytest.raises(ImageError, match="more than 200,000 pieces"):
        image.examine(bands_tiff(some((9, 11, 4), "u2"), changed=many), 4)


def test_a_tiff_that_says_how_it_is_to_be_turned_is_turned():
    array = some((40, 37, 4))
    data = bands_tiff(array, changed={274: (SHORT, [6])})
    assert np.array_equal(values_of(data, 4), np.rot90(array, -1))
    assert np.asarray(image.examine(data, 4).decode(image.Reading(exif=False)).planes[0]).shape == (40, 37)


def test_the_packings_that_are_read_are_those_that_know_nothing_of_pixels():
    assert not tiff_bands.PACKINGS & {6, 7, 34712, 34887, 50001, 50002}  # JPEG, JPEG 2000, LERC, WebP, JPEG XL
