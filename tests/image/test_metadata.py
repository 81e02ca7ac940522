"""What is no pixel refuses and turns no sound picture; what is one and is not there is said."""

import io
import itertools
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin
from support import EXAMPLES
from support.pictures import chunk, encode, photo, png, segment, turned

from minivan import image
from minivan.image import ImageError
from minivan.image.headers import jpeg

pytestmark = pytest.mark.loop

SMALL = Image.open(EXAMPLES / "cat.jpg").convert("RGB").resize((150, 100))
JPEGS = {
    "plain": encode(SMALL, "JPEG", quality=90),
    "progressive": encode(SMALL, "JPEG", quality=90, progressive=True),
    "restarting": encode(SMALL, "JPEG", quality=90, subsampling=0, restart_marker_rows=1),
    "grey": encode(SMALL.convert("L"), "JPEG"),
    "inks": encode(SMALL.convert("CMYK"), "JPEG"),
}
XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def seen(data, **how):
    return np.asarray(image.decode(data, **how)).astype(int)


@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_that_lacks_its_end_mark_alone_is_whole(name):
    data = JPEGS[name]
    for end in (data[:-2], data[:-1], data[:-2] + b"\xff\xff"):
        examined = image.examine(end)
        assert np.array_equal(examined.decode(), seen(data)) and not examined.notes


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_jpeg_that_lacks_pixels_is_read_when_asked_for_and_says_how_many(name, share):
    data = JPEGS[name]
    cut = data[: -max(10, int((len(data) - 700) * share))]
    with pytest.raises(ImageError, match=r"ends early: .* not all there.*; a whole copy of it can be read$"):
        image.decode(cut)
    examined = image.examine(cut)
    got, whole = np.asarray(examined.decode(image.Reading(truncated=True))).astype(int), seen(data)
    (note,) = examined.notes
    if name == "progressive":  # which lacks whole scans, or the end of its last one
        assert re.fullmatch(r"the file ends early: \d+\.\d% of its (rows|coefficients) are not all there.*", note)
        off = [np.abs(seen(data) - picture).mean() for picture in (got, whole.mean(axis=(0, 1)))]
        assert 0 < off[0] < off[1]
    else:
        percent = float(note.removeprefix("the file ends early: ").partition("%")[0])
        first = round(len(whole) * (1 - percent / 100))
        assert note.endswith("of its rows are not all there")
        off = next(i for i in range(len(whole)) if (got[i] != whole[i]).any())
        assert -2 <= off - first < 16  # filters look at neighbours; rows of blocks are 16 high at most


@pytest.mark.parametrize("name", JPEGS)
def test_zeros_at_the_end_of_a_jpeg_are_none_of_its_pixels(name):
    """As where a copy was not finished, whose place on the disk was taken before: libjpeg finds codes in them."""
    data = JPEGS[name]
    for share in (0.3, 0.7):
        cut = data[: 700 + int((len(data) - 700) * share)]
        for zeros in (len(data) - len(cut), 200_000):
            with pytest.raises(ImageError, match="ends early: "):
                image.decode(cut + bytes(zeros))
    for whole in (data, data[:-2]):
        examined = image.examine(whole + bytes(200_000))
        assert np.array_equal(examined.decode(), seen(data)) and not examined.notes


@pytest.mark.parametrize("name", JPEGS)
def test_zeros_before_the_end_mark_of_a_jpeg_are_none_of_its_pixels(name):
    """The share that is missing is said as if they were not there."""
    data = JPEGS[name]
    cut = data[: 700 + (len(data) - 700) // 3]
    with pytest.raises(ImageError, match="ends early: ") as plain:
        image.decode(cut)
    for zeros in (3_000, 200_000):
        with pytest.raises(ImageError) as error:
            image.decode(cut + bytes(zeros) + b"\xff\xd9")
        assert str(error.value) == str(plain.value)
    examined = image.examine(data[:-2] + bytes(200_000) + b"\xff\xd9")
    assert np.array_equal(examined.decode(), seen(data)) and not examined.notes


def black_below(mode):
    """A JPEG file with black below, whose codes end in zeros up to a byte's last bit, as one of eight does."""
    for width in range(50, 100):
        picture = Image.new(mode, (400, 480))
        picture.paste(SMALL.convert(mode).crop((0, 0, width, 50)))
        data = encode(picture, "JPEG", optimize=True, subsampling=0)
        if data.endswith(bytes(64) + b"\xff\xd9"):
            return data
    raise AssertionError("no such picture is found")


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_zeros_at_the_end_of_a_jpeg_may_be_its_pixels(mode):
    data = black_below(mode)
    for whole in (data, data[:-2]):
        examined = image.examine(whole)
        assert np.array_equal(examined.decode(), Image.open(io.BytesIO(data)).convert("RGB")) and not examined.notes
    with pytest.raises(ImageError, match="ends early: "):
        image.decode(data[:-3])


@pytest.mark.parametrize(("zeros", "times"), [(0, 3), (9_000, 7)])
def test_the_work_of_looking_at_an_end_is_counted(zeros, times, monkeypatch):
    """In pixels that are decoded, for each time that they may be."""
    data = encode(Image.new("RGB", (150, 100), (128,) * 3), "JPEG")[:-2] + bytes(zeros) + b"\xff\xd9"
    for less, words in ((0, ""), (1, "of 150 x 100 pixels in 1 scans takes too long to decode")):
        monkeypatch.setattr(jpeg, "LARGEST_WORK", times * 150 * 100 - less)
        if words:
            with pytest.raises(ImageError, match=f"^a JPEG file {words}$"):
                image.decode(data)
        else:
            image.decode(data)


def test_a_progressive_jpeg_that_lacks_whole_scans_is_not_whole():
    """Though no scan of it is cut: behind each lies what belongs to no pixel."""
    data = JPEGS["progressive"]
    starts = [i for i in range(len(data)) if data[i : i + 2] == b"\xff\xda"]
    assert len(starts) > 5
    for start in starts[1:]:
        tables = data.rindex(b"\xff\xc4", 0, start) if b"\xff\xc4" in data[start - 300 : start] else start
        for place in {start, tables}:
            with pytest.raises(ImageError, match="ends early"):
                image.decode(data[:place])


@pytest.mark.parametrize(("name", "share"), [*itertools.product(JPEGS, [0.5]), ("plain", 0.1), ("restarting", 0.1)])
def test_a_jpeg_that_was_cut_and_given_an_end_mark_is_not_whole(name, share):
    data = JPEGS[name]
    cut = data[: -int((len(data) - 700) * share)].rstrip(b"\xff") + b"\xff\xd9"
    with pytest.raises(ImageError, match=r"ends early: \d+\.\d% of its (rows|coefficients) are not all there"):
        image.decode(cut)
    examined = image.examine(cut)
    assert examined.decode(image.Reading(truncated=True)).size == SMALL.size and len(examined.notes) == 1


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_whose_last_pixels_are_grey_is_whole(mode):
    """It is looked at as one that was cut is, and nothing is found."""
    data = encode(Image.new(mode, (150, 100), (128,) * len(mode)), "JPEG")
    examined = image.examine(data)
    assert np.array_equal(examined.decode(), Image.open(io.BytesIO(data)).convert("RGB")) and not examined.notes


def test_the_share_of_scans_that_are_missing_is_said():
    """Of three colours 64 coefficients each; libjpeg's first scan has one of each, to its second last bit."""
    data = JPEGS["progressive"]
    first = data.index(b"\xff\xda")
    with pytest.raises(ImageError, match=r"100\.0% of its coefficients"):
        image.decode(data[: data.index(b"\xff\xda", first + 2)])
    last = data.rindex(b"\xff\xda")
    with pytest.raises(ImageError, match=r"32\.8% of its coefficients"):
        image.decode(data[:last])


def test_a_damaged_jpeg_is_no_unended_one():
    data = JPEGS["plain"][:-2].replace(b"\xff\xdb", b"\xff\xfe")  # without its tables
    with pytest.raises(ImageError, match="damaged image"):
        image.decode(data, truncated=True)


def test_of_an_unended_jpeg_one_picture_is_held_at_once(monkeypatch):
    """The one that the first attempt began is gone before the next begins."""
    alive, most = [], []

    class Counted(JpegImagePlugin.JpegImageFile):
        def __init__(self, *arguments):
            alive.append(1)
            most.append(len(alive))
            super().__init__(*arguments)

        def __del__(self):
            alive.pop()

    monkeypatch.setattr(JpegImagePlugin, "JpegImageFile", Counted)
    image.examine(JPEGS["plain"][:-2]).decode()
    assert most == [1, 1, 1]


# PNG


def wrong(name, body):
    made = chunk(name, body)
    return made[:-1] + bytes([made[-1] ^ 1])


@pytest.mark.parametrize("name", [b"pHYs", b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME", b"iCCP", b"gAMA", b"abCd"])
@pytest.mark.parametrize("place", [33, -12])
def test_a_wrong_checksum_of_what_is_no_pixel_is_ignored(name, place):
    data = encode(photo())
    assert np.array_equal(seen(data[:place] + wrong(name, b"\0" * 9) + data[place:]), photo())


def summed_wrongly(data, name):
    size = struct.unpack(">I", data[data.index(name) - 4 : data.index(name)])[0]
    place = data.index(name) + 4 + size
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize("name", [b"IHDR", b"PLTE", b"IDAT"])
def test_a_wrong_checksum_of_pixels_refuses(name):
    with pytest.raises(ImageError, match=f"a wrong checksum in the chunk {name.decode()} of a PNG file"):
        image.decode(summed_wrongly(encode(photo().quantize(9)), name))


@pytest.mark.parametrize("colours", ["a palette", "a key"])
def test_a_wrong_checksum_of_transparency_is_ignored(colours):
    palette = photo().quantize(9)
    data = encode(palette, transparency=bytes([0, 99])) if colours == "a palette" else encode(photo(), transparency=(1, 2, 3))
    assert np.array_equal(seen(summed_wrongly(data, b"tRNS")), seen(data))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_palette_that_is_a_suggestion_is_no_pixel(mode):
    """Its colours are for screens of few (PNG, 11.2.2)."""
    data = encode(photo(mode))
    assert np.array_equal(seen(data[:33] + wrong(b"PLTE", bytes(30)) + data[33:]), seen(data))


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"zTXt", b"workflow\0\0" + zlib.compress(b"step, " * 500_000)),
        chunk(b"zTXt", b"XML:com.adobe.xmp\0\0" + zlib.compress(b"step, " * 500_000)),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0damaged"),
        chunk(b"tEXt", b"words " * 500_000),
        chunk(b"eXIf", b"II*\0" + b"\xff" * 2_000_000),
        chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(6_000_000))),
    ],
)
def test_large_and_damaged_texts_are_passed_over(extra):
    data = encode(photo())
    assert np.array_equal(seen(data[:33] + extra + data[33:]), photo())


# EXIF and XMP


def exif(*entries, behind=b""):
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + directory + bytes(4) + behind


ODD = {
    "a description of another type": exif((0x010E, 5, 1, 38), (0x0112, 3, 1, 6), behind=bytes(8)),
    "a pointer behind the end": exif((0x0112, 3, 1, 6), (0x011A, 5, 1, 4000)),
    "a type that is none": exif((0x010F, 99, 1 << 31, 7), (0x0112, 3, 1, 6)),
    "a folder within itself": exif((0x0112, 3, 1, 6), (0x8769, 4, 1, 8)),
    "many values": exif((0x0112, 3, 1, 6), (0x927C, 7, 0xFFFFFFFF, 8)),
    "a long number": exif((0x0112, 4, 1, 6)),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_an_orientation_holds_whatever_stands_beside_it(name, kind):
    data = encode(photo(), kind, **({"lossless": True} if kind == "WEBP" else {}))
    if kind == "JPEG":
        made = data[:2] + segment(0xE1, b"Exif\0\0" + ODD[name]) + data[2:]
    elif kind == "PNG":
        made = data[:33] + chunk(b"eXIf", ODD[name]) + data[33:]
    else:
        made = webp(data, b"EXIF", ODD[name])
    assert np.array_equal(seen(made), np.rot90(seen(data), -1))


def webp(data, name, body):
    """A lossless WebP file with one more chunk."""
    canvas = struct.pack("<I", 8 if name == b"EXIF" else 4) + b"".join(struct.pack("<I", n - 1)[:3] for n in photo().size)
    body += bytes(len(body) % 2)
    chunks = b"VP8X" + struct.pack("<I", 10) + canvas + data[12:] + name + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


@pytest.mark.parametrize("name", [b"EXIF", b"XMP ", b"odd "])
def test_a_webp_that_ends_in_its_metadata_is_whole(name):
    """They lie behind the pixels."""
    plain = encode(photo(), "WEBP", lossless=True)
    whole = webp(plain, name, bytes(400))
    place = whole.index(name)
    for data in (whole[:-200], whole[: place + 9], whole[: place + 4] + b"\xff" * 4 + whole[place + 8 :]):
        assert np.array_equal(seen(data), seen(plain))
        assert name not in b"".join(image.examine(data).look.parts)
    for size in (0, len(plain) - 20, len(plain) + 20, 0xFFFFFFFF):
        assert np.array_equal(seen(plain[:4] + struct.pack("<I", size) + plain[8:]), seen(plain))


def test_the_last_byte_of_a_webp_may_be_missing_where_it_belongs_to_no_chunk():
    """A chunk of an odd size has one more byte behind it, of no meaning."""
    data = encode(photo(size=(4, 9)), "WEBP", lossless=True)
    assert data[16] % 2 == 1 and np.array_equal(seen(data[:-1]), seen(data))


def test_of_a_webp_film_the_first_picture_is_all_that_is_needed():
    data = encode(photo(), "WEBP", save_all=True, append_images=[photo("L")], lossless=True)
    second = data.rindex(b"ANMF")
    for cut in (data, data[: second + 60], data[: second + 3], data[:second]):
        assert np.array_equal(seen(cut), photo())
        assert b"".join(image.examine(cut).look.parts).count(b"ANMF") == 1


def test_a_webp_of_a_few_bytes_is_said_to_have_no_picture():
    for name in (b"VP8X", b"VP8 ", b"VP8L"):
        with pytest.raises(ImageError, match="a WebP file without a picture"):
            image.decode(b"RIFF\x0c\0\0\0WEBP" + name + b"\0\0\0\0")


def test_the_end_of_a_png_and_of_a_gif_may_be_missing():
    png_file, gif = encode(SMALL), encode(SMALL.quantize(50), "GIF")
    for data in (png_file[:-1], png_file[:-12], png_file[:-12] + chunk(b"tEXt", b"key\0" + bytes(99))[:50]):
        assert np.array_equal(seen(data), SMALL)
    assert np.array_equal(seen(gif[:-1]), seen(gif))


def test_xmp_turns_nothing_where_the_container_has_its_own_rule():
    plain = encode(photo(), "WEBP", lossless=True)
    assert np.array_equal(seen(webp(plain, b"XMP ", XMP)), seen(plain))
    avif = encode(photo(), "AVIF", speed=10)
    assert np.array_equal(seen(encode(photo(), "AVIF", speed=10, xmp=XMP)), seen(avif))
    jpeg = encode(photo(), "JPEG")
    assert np.array_equal(seen(encode(photo(), "JPEG", xmp=XMP)), np.rot90(seen(jpeg), -1))
    assert np.array_equal(seen(encode(photo(), "JPEG", xmp=XMP, exif=turned(3))), np.rot90(seen(jpeg), 2))


def test_a_file_of_metadata_alone_is_no_picture():
    with pytest.raises(ImageError, match="without a picture"):
        image.decode(png(9, 9).replace(b"IDAT", b"tEXt"))
