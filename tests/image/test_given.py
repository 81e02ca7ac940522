"""Pictures that a program hands over: of Pillow's they are what the file of them is, arrays what they say."""

import io
import os

import numpy as np
import pytest
from PIL import Image, ImageCms
from support.compare import assert_bit_equal

from minivan.card import Preprocessing
from minivan.image import ImageError, prepare

WANTED = Preprocessing(32, 36)
PIXELS = np.random.default_rng(3).integers(0, 256, (40, 60, 3), np.uint8)


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return {"exif": exif.tobytes()}


def coloured():
    return {"icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()[:-1] + b"\0"}


@pytest.mark.parametrize(
    ("mode", "ending", "more"),
    [
        ("RGB", "JPEG", {}), ("RGB", "JPEG", turned()), ("RGB", "PNG", turned()), ("RGB", "TIFF", {"tiffinfo": {274: 3}}),
        ("RGB", "PNG", coloured()), ("CMYK", "JPEG", {}), ("L", "PNG", {}), ("RGBA", "PNG", {}), ("LA", "PNG", {}),
        ("P", "GIF", {"transparency": 3}), ("1", "PNG", {}), ("I;16", "PNG", {}),
    ],
)  # fmt: skip
def test_what_pillow_opened_is_what_its_file_is(mode, ending, more):
    if mode == "I;16":
        picture = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257)
    elif mode in ("RGBA", "LA"):
        picture = Image.fromarray(np.dstack([PIXELS, PIXELS[..., 0]])).convert(mode)
    else:
        picture = Image.fromarray(PIXELS).convert(mode)
    file = io.BytesIO()
    picture.save(file, ending, **more)
    for exif in (True, False)[: 1 if ending == "TIFF" else 2]:  # Pillow turns these itself
        expected = prepare(file.getvalue(), WANTED, exif=exif)
        with Image.open(file) as opened:
            assert_bit_equal("not loaded yet", prepare(opened, WANTED, exif=exif), expected)
            before = opened.mode, opened.size, opened.tobytes(), dict(opened.info)
            assert_bit_equal("loaded", prepare(opened, WANTED, exif=exif), expected)
            assert (opened.mode, opened.size, opened.tobytes(), dict(opened.info)) == before


def test_a_transparency_that_nobody_wrote_stays_the_caller_s():
    picture = Image.fromarray(np.dstack([PIXELS, np.zeros_like(PIXELS[..., 0])]))
    notes = []
    assert_bit_equal("opaque", prepare(picture, WANTED, notes=notes), prepare(PIXELS, WANTED))
    assert len(notes) == 1 and picture.getchannel("A").getextrema() == (0, 0)


def test_arrays_are_photos_or_bands():
    def png(array):
        file = io.BytesIO()
        Image.fromarray(array).save(file, "PNG")
        return file.getvalue()

    for array in (PIXELS, PIXELS[::-1, ::2], PIXELS.transpose(1, 0, 2), PIXELS[..., 1]):
        assert_bit_equal("photo", prepare(array, WANTED), prepare(png(np.ascontiguousarray(array)), WANTED))
    grey = Preprocessing(32, 36, (0.5,), (0.5,))
    assert_bit_equal("grey", prepare(PIXELS, grey), prepare(png(PIXELS), grey))
    four, held = np.random.default_rng(4).normal(size=(40, 60, 4)), io.BytesIO()
    np.save(held, four)
    bands = Preprocessing(32, 36, (0.0,) * 4, (1.0,) * 4)
    assert_bit_equal("bands", prepare(four, bands), prepare(held.getvalue(), bands))
    for kind in (bytearray, memoryview):
        assert_bit_equal("bytes", prepare(kind(png(PIXELS)), WANTED), prepare(PIXELS, WANTED))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (PIXELS / 255, "the dtype float64: a photo's array is uint8 (H, W, 3), RGB, or (H, W), grey"),
        (PIXELS.transpose(2, 0, 1), "an array of the shape (3, 40, 60)"),
        (PIXELS.transpose(2, 0, 1).astype(np.float32), "what is prepared already goes to the model itself, model(x)"),
        (PIXELS[None], "an array of the shape (1, 40, 60, 3)"),
        (PIXELS[:0], "an array of the shape (0, 60, 3)"),
        (Image.new("L", (1, 170_000)), "is too narrow"),
        (Image.open(io.BytesIO(b"P6 40 60 255\n")), "damaged image"),
        (np.array([[None]]), "the dtype object"),
    ],
    ids=["floating", "channels first", "prepared", "a batch", "empty", "narrow", "no pixels", "objects"],
)
def test_what_is_no_photo_is_one_line(source, said):
    with pytest.raises(ImageError) as error:
        prepare(source, WANTED)
    assert said in str(error.value) and len(str(error.value).splitlines()) == 1


def test_what_is_no_image_at_all_is_a_type_error():
    for source, kind in (([PIXELS], "a list"), (None, "a NoneType"), (3, "an int")):
        with pytest.raises(TypeError, match=f"^an image is a path, bytes, an open file, .* or an array, not {kind}$"):
            prepare(source, WANTED)


def test_an_orientation_in_damaged_exif_data_turns_nothing():
    picture = Image.fromarray(PIXELS)
    picture.info["exif"] = b"Exif\0\0II*\0" + os.urandom(3)
    assert_bit_equal("as it is", prepare(picture, WANTED), prepare(PIXELS, WANTED))
