"""Decoding, orientation, resizing, cropping, normalising; and every mode an image file can have."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from support import ROOT

from minivan import image
from minivan.card import PRESETS, Preprocessing
from minivan.image import ImageError

pytestmark = pytest.mark.loop

CAT = ROOT / "examples" / "cat.jpg"


def encode(picture, kind="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def only_colour(data):
    """Return the RGB value of an image that has one value everywhere."""
    pixels = np.asarray(image.decode(data))
    assert pixels.ndim == 3 and pixels.dtype == np.uint8
    assert (pixels == pixels[0, 0]).all()
    return tuple(int(v) for v in pixels[0, 0])


def test_presets_are_the_published_ones():
    official, hf = PRESETS["official"], PRESETS["hf"]
    assert (official.crop, official.resize, official.mean, official.std) == (224, 248, (0.5,) * 3, (0.5,) * 3)
    assert (hf.crop, hf.resize) == (224, 256)
    assert hf.mean == (0.485, 0.456, 0.406) and hf.std == (0.229, 0.224, 0.225)


@pytest.mark.parametrize("preset", PRESETS)
def test_prepare_is_resize_crop_and_normalise(preset):
    """The photo is 451 x 300: the longer side is cut to whole pixels, and the crop's offset is rounded."""
    settings = PRESETS[preset]
    photo = Image.open(CAT).convert("RGB")
    width = int(settings.resize * 451 / 300)
    resized = np.asarray(photo.resize((width, settings.resize), Image.Resampling.BICUBIC), np.float64)
    top, left = round((settings.resize - 224) / 2), round((width - 224) / 2)
    expected = (resized[top : top + 224, left : left + 224] / 255 - settings.mean) / settings.std
    got = image.prepare(CAT, settings)
    assert got.dtype == np.float32 and got.shape == (3, 224, 224) and got.flags.c_contiguous
    np.testing.assert_allclose(got, expected.transpose(2, 0, 1), atol=1e-6)


@pytest.mark.parametrize(("size", "expected"), [((451, 300), (372, 248)), ((300, 451), (248, 372)), ((7, 7), (248, 248))])
def test_the_shorter_side_is_scaled_and_the_other_truncated(size, expected):
    assert image.resize(Image.new("RGB", size), 248).size == expected


def test_a_crop_is_central_and_pads_with_zeros():
    picture = Image.new("RGB", (4, 2), (9, 9, 9))
    pixels = np.asarray(image.centre_crop(picture, 4))[..., 0]
    assert pixels.tolist() == [[0] * 4, [9] * 4, [9] * 4, [0] * 4]
    row = Image.fromarray(np.arange(5, dtype=np.uint8)[None].repeat(5, 0)).convert("RGB")
    assert np.asarray(image.centre_crop(row, 3))[0, :, 0].tolist() == [1, 2, 3]


def test_exif_orientation_is_applied_unless_it_is_switched_off():
    picture = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter: what a phone held upright writes
    data = encode(picture, exif=exif)
    assert image.decode(data).size == (2, 3)
    assert image.decode(data, exif=False).size == (3, 2)
    assert np.asarray(image.decode(data))[0, :, 0].tolist() == [120, 0]


def test_greyscale_and_one_bit():
    assert only_colour(encode(Image.new("L", (3, 3), 77))) == (77, 77, 77)
    assert only_colour(encode(Image.new("1", (3, 3), 1))) == (255, 255, 255)


def test_sixteen_bits_are_scaled_not_clipped():
    for value, expected in [(0, 0), (257, 1), (32896, 128), (65535, 255)]:
        picture = Image.fromarray(np.full((3, 3), value, np.uint16))
        assert only_colour(encode(picture)) == (expected,) * 3
        assert only_colour(encode(picture, "TIFF")) == (expected,) * 3


def test_floating_point_images():
    assert only_colour(encode(Image.fromarray(np.full((3, 3), 0.5, np.float32)), "TIFF")) == (128, 128, 128)
    wide = Image.fromarray(np.array([[-1000.0, 3000.0]], np.float32))
    assert np.asarray(image.decode(encode(wide, "TIFF")))[0, :, 0].tolist() == [0, 255]
    with pytest.raises(ImageError, match="infinite"):
        image.decode(encode(Image.fromarray(np.full((2, 2), np.inf, np.float32)), "TIFF"))


def test_a_palette_is_looked_up():
    picture = Image.new("P", (3, 3), 1)
    picture.putpalette([0, 0, 0, 10, 20, 30])
    assert only_colour(encode(picture)) == (10, 20, 30)


def test_transparency_lies_over_white():
    assert only_colour(encode(Image.new("RGBA", (3, 3), (10, 20, 30, 0)))) == (255, 255, 255)
    assert only_colour(encode(Image.new("RGBA", (3, 3), (10, 20, 30, 255)))) == (10, 20, 30)
    assert only_colour(encode(Image.new("LA", (3, 3), (10, 0)))) == (255, 255, 255)
    palette = Image.new("P", (3, 3), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert only_colour(encode(palette, transparency=1)) == (255, 255, 255)
    assert only_colour(encode(Image.new("RGB", (3, 3), (1, 2, 3)), transparency=(1, 2, 3))) == (255, 255, 255)


def test_cmyk_is_converted():
    red, green, blue = only_colour(encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100))
    assert red > 240 and green < 15 and blue < 15


def test_of_an_animation_the_first_frame_is_used():
    frames = [Image.new("RGB", (4, 4), colour) for colour in [(200, 0, 0), (0, 200, 0)]]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert only_colour(data) == (200, 0, 0)


def png_header(width, height):
    """A PNG that claims a size and has no pixels."""
    chunks = b""
    for kind, body in [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", b""), (b"IEND", b"")]:
        chunks += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_a_decompression_bomb_is_an_error():
    with pytest.raises(ImageError, match="400,000,000 pixels is more than the limit of 178,956,970"):
        image.decode(png_header(20000, 20000))


@pytest.mark.parametrize("cut", [10, 300, 20000])
def test_a_truncated_photo_is_an_error(cut):
    with pytest.raises(ImageError) as error:
        image.decode(CAT.read_bytes()[:cut])
    assert "\n" not in str(error.value)


def test_what_is_no_image_is_an_error(tmp_path):
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("this is not a photo")
    with pytest.raises(ImageError, match="empty"):
        image.decode(tmp_path / "empty.jpg")
    with pytest.raises(ImageError, match="not an image"):
        image.decode(tmp_path / "text.jpg")
    with pytest.raises(FileNotFoundError):
        image.decode(tmp_path / "missing.jpg")


def test_a_damaged_photo_never_escapes_as_another_exception():
    rng = np.random.default_rng(0)
    pristine = {kind: encode(Image.open(CAT).resize((60, 40)), kind) for kind in ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"]}
    for kind, data in pristine.items():
        for _ in range(40):
            damaged = bytearray(data)
            for place in rng.integers(0, len(data), 8):
                damaged[place] = rng.integers(0, 256)
            try:
                picture = image.decode(bytes(damaged[: rng.integers(1, len(data) + 1)]))
            except ImageError as error:
                assert str(error) and "\n" not in str(error), kind
            else:
                assert picture.mode == "RGB"


def test_a_hairline_is_not_blown_up_beyond_memory():
    with pytest.raises(ImageError, match="too narrow"):
        image.prepare(encode(Image.new("RGB", (60000, 1))), PRESETS["official"])


NAN = float("nan")


@pytest.mark.parametrize(
    "wrong", [dict(crop=0), dict(resize=10**5), dict(std=(1, 0, 1)), dict(mean=(0, 0)), dict(mean=(0, 0, NAN))]
)
def test_impossible_preprocessing_is_refused(wrong):
    with pytest.raises(ValueError):
        Preprocessing(**wrong)
