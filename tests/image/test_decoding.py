"""Decoding, orientation, resizing, cropping, normalising; and every mode an image file can have."""

import errno
import io
import os
import struct
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageOps
from support import ROOT
from support.pictures import chunk, encode, photo, png, png_header, valid_files
from support.tiff_photos import photo_tiff

from minivan import image
from minivan.card import PRESETS, Preprocessing
from minivan.image import ImageError

pytestmark = pytest.mark.loop

CAT = ROOT / "examples" / "cat.jpg"


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


def half(picture):
    """Return a picture whose right half is opaque."""
    alpha = picture.getchannel("A")
    alpha.paste(255, (picture.width // 2, 0, picture.width, picture.height))
    picture.putalpha(alpha)
    return picture


def bmp_with_alpha(picture):
    """A BMP file of 32 bits with a mask for transparency, as clipboards write it."""
    pixels = np.asarray(picture)[::-1, :, [2, 1, 0, 3]].tobytes()
    header = struct.pack("<IiiHHIIiiII", 124, *picture.size, 1, 32, 3, len(pixels), 0, 0, 0, 0)
    header += struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(64)
    return b"BM" + struct.pack("<IHHI", 138 + len(pixels), 0, 0, 138) + header + pixels


@pytest.mark.parametrize(
    "kind", ["PNG", "PNG grey", "PNG palette", "BMP", "WEBP", "TIFF", "TIFF multiplied", "TIFF 12", "AVIF", "JPEG2000"]
)
def test_transparency_that_is_zero_everywhere_is_none(kind):
    """One pixel that is not makes it transparency."""
    grey, where = kind in ("PNG grey", "TIFF 12"), (0, 0)
    colour = (90,) if grey else (200, 100, 50)

    def made(*shown):
        picture = Image.new("LA" if grey else "RGBA", (24, 16), (*colour, 0))
        for place in shown:
            picture.putpixel(place, (*colour, 255))
        if kind == "PNG palette":
            indices = Image.fromarray(np.asarray(picture.getchannel("A")) // 255).convert("P")
            indices.putpalette([*colour] * 3)
            return encode(indices, transparency=bytes([0, 255] if shown else [0, 0, 0]))
        if kind == "BMP":
            return bmp_with_alpha(picture)
        if kind.startswith("TIFF "):
            array, extra = np.asarray(picture), [1 if "multiplied" in kind else 2]
            if kind == "TIFF 12":
                return photo_tiff((array * (4095 / 255)).astype("u2"), 1, bits=12, changed={338: extra})
            return photo_tiff(array, 2, changed={338: extra})
        more = {"WEBP": dict(lossless=True, exact=True), "AVIF": dict(quality=100, subsampling="4:4:4")}.get(kind, {})
        return encode(picture, kind.split()[0], **more)

    examined = image.examine(made())
    assert np.abs(np.asarray(examined.decode()).astype(int) - colour).max() <= 3
    assert examined.notes == ["its transparency is 0 everywhere and counts as none"]
    seen = np.asarray(image.decode(made(where))).astype(int)
    assert np.abs(seen[0, 0] - colour).max() <= 90 and np.abs(seen[8, 12] - 255).max() <= 3


def test_transparency_lies_over_white():
    assert np.asarray(image.decode(encode(half(Image.new("RGBA", (4, 3), (10, 20, 30, 0))))))[0, 1:3].tolist() == [
        [255] * 3,
        [10, 20, 30],
    ]
    assert only_colour(encode(Image.new("RGBA", (3, 3), (10, 20, 30, 255)))) == (10, 20, 30)
    assert np.asarray(image.decode(encode(half(Image.new("LA", (4, 3), (10, 0))))))[0, 1:3, 0].tolist() == [255, 10]
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


def test_a_decompression_bomb_is_an_error():
    with pytest.raises(ImageError, match="20000 x 20000 = 400,000,000 pixels is more than the limit of 178,956,970"):
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


def test_a_large_picture_is_converted_in_strips_to_the_same(monkeypatch):
    """Of every mode; the strips' rows do not divide the height."""
    from minivan.image import bounds, preparing

    pictures = [photo(mode, (50, 37)) for mode in ("RGBA", "LA", "I;16", "I", "F", "1", "P", "CMYK")]
    palette, keyed = photo("P", (50, 37)), photo("RGB", (50, 37))
    palette.info["transparency"], keyed.info["transparency"] = 5, keyed.getpixel((3, 3))
    pictures += [palette, keyed]
    whole = [image.to_rgb(picture).tobytes() for picture in pictures]
    normal = image.normalise(keyed, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    monkeypatch.setattr(bounds, "STRIP", 50 * 5)
    monkeypatch.setattr(preparing, "STRIP", 50 * 5)
    assert [image.to_rgb(picture).tobytes() for picture in pictures] == whole
    assert image.normalise(keyed, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)).tobytes() == normal.tobytes()


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
def test_every_orientation_in_every_kind_of_file_is_that_of_pillow(kind, number):
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "a maker", number
    data = encode(photo(), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    with Image.open(io.BytesIO(data)) as opened:
        opened.load()
        expected = ImageOps.exif_transpose(opened).convert("RGB")
    got = image.decode(data)
    assert (got.size, got.tobytes()) == (expected.size, expected.tobytes())
    assert image.decode(data, exif=False).size == photo().size


def test_decoding_leaves_the_warning_filters_of_others_and_says_nothing():
    """Odd metadata of every kind; in threads too, where Python's own way to silence warnings is no way."""
    files = list(valid_files().values())
    files.append(png(9, 9, before=chunk(b"acTL", bytes(8)) * 2))  # Pillow warns of such a film
    files.append(encode(photo(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff"))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        filters = list(warnings.filters)
        with ThreadPoolExecutor(4) as pool:
            for work in [pool.submit(image.decode, data) for data in files * 3]:
                work.exception()
        assert warnings.filters == filters and not said, said


def test_a_file_is_read_once_and_never_mapped(tmp_path, monkeypatch):
    """A file cut short while it is read ended the process with SIGBUS, where Pillow had mapped it."""
    monkeypatch.setattr("mmap.mmap", lambda *a, **k: pytest.fail("a file was mapped"))
    for suffix, kind in ((".pgm", "PPM"), (".bmp", "BMP"), (".tif", "TIFF")):
        photo("L", (300, 300)).save(tmp_path / f"a{suffix}", kind)
        assert image.decode(tmp_path / f"a{suffix}").size == (300, 300)


def test_no_decoder_but_those_of_the_kinds_that_are_read_is_imported():
    """A PostScript file by the name of a photo starts nothing: Pillow would have run Ghostscript."""
    code = """
import subprocess, sys
subprocess.Popen = None
from minivan import image
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\\n%%BoundingBox: 0 0 9 9\\n%%EndComments\\nshowpage\\n"
for data in (POSTSCRIPT, b"\\x0a\\5\\1\\x08" + bytes(200)):
    try:
        image.decode(data)
    except image.ImageError as error:
        print(error)
print(sorted(name for name in sys.modules if name.endswith("ImagePlugin")))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    first, second, plugins = done.stdout.splitlines()
    assert "a PostScript file is nothing that minivan reads" in first and "not an image" in second and plugins == "[]"


def test_where_nothing_more_can_be_started_the_image_is_not_blamed(tmp_path, monkeypatch):
    from minivan.image import apart, decoding

    def refused(*arguments, **named):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    photo("L", (30, 30)).save(tmp_path / "a.tif", compression="tiff_lzw")
    with monkeypatch.context() as patch:
        patch.setattr(apart.subprocess, "Popen", refused)
        with pytest.raises(image.ImageError, match="process of its own, which cannot be started: Resource temporarily"):
            image.decode(tmp_path / "a.tif")
    monkeypatch.setattr(decoding, "startable", lambda most: 1)
    monkeypatch.setattr(decoding, "_load", lambda *given: int("as libavif: Decoding of color planes failed"))
    photo("L", (30, 30)).save(tmp_path / "a.png")
    with pytest.raises(image.ImageError, match=r"where the system starts no thread, .*: .*Decoding of color planes failed"):
        image.decode(tmp_path / "a.png")


def test_no_source_is_read_beyond_the_limit(tmp_path, monkeypatch):
    from minivan.image import decoding

    monkeypatch.setattr(decoding, "LARGEST_FILE", 1000)
    (tmp_path / "a.png").write_bytes(bytes(1001))
    with pytest.raises(OSError, match="more than 1000 bytes"):
        image.decode(tmp_path / "a.png")
    with pytest.raises(OSError, match="more than 1000 bytes"):
        image.decode(io.BytesIO(bytes(1001)))
    with pytest.raises(ImageError, match="more than the limit for an image file"):
        image.decode(bytes(1001))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"P1\n3 2\n101\n0 #x\n1 0", [0, 255, 0, 255, 0, 255]),
        (b"P2 3 1 9 0 3#comment\n 9", [0, 85, 255]),
        (b"P2 2 1 999 0 999", [0, 255]),
        (b"P5 2 1 100 \x32\x65", [128, 255]),  # 101 of 100 counts as 100
        (b"P5#c\n2 1\n#d\n255\n\1\2", [1, 2]),
    ],
)
def test_samples_on_other_scales_and_as_text(text, expected):
    assert np.asarray(image.decode(text))[..., 0].ravel().tolist() == expected


@pytest.mark.parametrize(
    "text", [b"P2 2 1 9 1 10", b"P2 2 1 9 1 -1", b"P2 2 1 9 1", b"P2 2 1 0 1 1", b"P2 2 x", b"P3 0 5 9 1", b"P5 9 9 9 1"]
)
def test_wrong_samples_are_an_error(text):
    with pytest.raises(ImageError):
        image.decode(text)
