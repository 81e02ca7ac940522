"""What a header says is found without a decoder, in few steps and little memory; what costs too much never starts one."""

import importlib
import io
import struct
import tracemalloc
import zlib

import pytest
from PIL import Image
from support import ROOT
from support.pictures import GIF_PICTURE, GIF_START, bmp, chunk, encode, photo, png, segment, tiff, valid_files

from minivan import image
from minivan.image import ImageError, bounds, decoding, headers, kinds
from minivan.image.bounds import LARGEST_HELD, Steps
from minivan.image.headers import jpeg, webp
from minivan.image.headers.bmp import LARGEST_PACKED
from minivan.image.headers.jpeg import LARGEST_WORK
from minivan.image.headers.png import LARGEST_TEXT
from minivan.image.headers.tiff import LARGEST_DIRECTORY, LARGEST_XMP
from minivan.image.profiles import LARGEST_PROFILE
from minivan.input import amount
from minivan.predict.ahead import WAITING

pytestmark = pytest.mark.loop

JPEG = encode(Image.new("RGB", (64, 64)), "JPEG")
PROGRESSIVE = encode(Image.new("RGB", (3000, 3000)), "JPEG", progressive=True)
LARGE = encode(Image.new("L", (9000, 9000)), "JPEG")
SCAN = b"\xff\xda\0\x08\1\1\0\0\x3f\0"
LAST_SCAN = PROGRESSIVE[PROGRESSIVE.rindex(b"\xff\xda") : -2]
ZEROS = zlib.compress(bytes(100))


def rgb_tiff(width, height, samples=3, **more):
    tags = {256: (4, [width]), 257: (4, [height]), 258: (3, [8] * samples), 259: (3, [8]), 262: (3, [2]), 277: (3, [samples])}
    return tiff({**tags, **more.get("tags", {})}, ZEROS)


def box(name, *parts):
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), name) + body


def avif(width, height, properties=b"", brand=b"avif"):
    """An AVIF or HEIC file without a picture: the sizes that it states, and which properties it says are whose."""
    size = box(b"ispe", struct.pack(">III", 0, width, height))
    return box(b"ftyp", brand + bytes(4) + brand) + box(b"meta", bytes(4), box(b"iprp", box(b"ipco", size), properties))


PROPERTIES = bytes(range(1, 128))
GIVEN = b"".join(struct.pack(">HB", item, 127) + PROPERTIES for item in range(4_000))
TILED = {324: (4, [8]), 325: (4, [len(ZEROS)])}
HOSTILE = {  # name -> file, and what is said of it
    "many scans": (PROGRESSIVE[:-2] + LAST_SCAN * 400 + b"\xff\xd9", "in 410 scans takes too long"),
    "scans without an end mark": (LARGE[:-2] + SCAN * 12, "in 13 scans takes too long"),
    "many scans, not progressive": (LARGE[:-2] + SCAN * 100 + b"\xff\xd9", "in 101 scans takes too long"),
    "many segments": (JPEG[:2] + segment(0xE1, b"Exif\0\0") * 8_000 + JPEG[2:], "in more than 5,000 pieces"),
    "two frames": (JPEG[: JPEG.index(b"\xff\xda")] + JPEG[JPEG.index(b"\xff\xc0") :], "two frames"),
    "many chunks": (png(9, 9, before=chunk(b"abCd", b"") * 8_000), "in more than 5,000 pieces"),
    "16 bits and alpha": (png(13377, 13377, 16, 6), None),
    "GIF of many blocks": (GIF_START + b"!\xfe" + b"\1x" * 8_000 + b"\0" + GIF_PICTURE, "in more than 5,000 pieces"),
    "GIF of many extensions": (GIF_START + b"!\xf9\4\0\0\0\0\0" * 8_000 + GIF_PICTURE, "in more than 5,000 pieces"),
    "GIF of a large screen": (b"GIF89a" + b"\xff" * 4 + GIF_START[10:] + GIF_PICTURE, "65535 x 65535 = 4,294,836,225 pixels"),
    "packed BMP": (bmp(13000, 13000, 1, b"\0\0" * 13000), "limit for a packed BMP file"),
    "WebP canvas": (b"RIFF\0\0\0\0WEBPVP8X\n\0\0\0\0\0\0\0\0\x32\0\0\x32\0", "of memory to decode, more than the"),
    "strips": (rgb_tiff(10, 1000000, 1, tags={273: (4, [8] * 8_000), 278: (4, [1])}), "in more than 5,000 pieces"),
    "a large tile": (rgb_tiff(10, 10, tags={322: (4, [20000]), 323: (4, [20000]), **TILED}), "decode to 400,000,000 pixels"),
    "tiles beside the picture": (
        rgb_tiff(1, 100000, tags={322: (4, [65536]), 323: (4, [16]), 324: (4, [8] * 6250), 325: (4, [9] * 6250)}),
        "decode to 6,553,600,000 pixels",
    ),
    "many samples": (rgb_tiff(9, 9, 17), "17 samples a pixel"),
    "a value that is not there": (rgb_tiff(9, 9, tags={273: (4, [8]), 320: (3, [1] * 700)})[:-600], "tag 320 has 700 values"),
    "PPM comments": (b"P6\n" + b"#\n" * 400_000 + b"4 4 255\n" + bytes(48), "header ends too early"),
    "plain PPM comments": (b"P3\n4 4 255\n" + b"#\n" * 8_000 + b"1 " * 48, "in more than 5,000 pieces"),
    "one long number": (b"P3\n4 4 255\n" + b"1" * 5_000_000, "a number without an end"),
    "plain, too large": (b"P2\n178956970 1 255\n1", "truncated"),
    "too many tiles": (
        b"\xff\x4f\xff\x51" + struct.pack(">HHIIIIIIIIH", 41, 0, 9000, 9000, 0, 0, 8, 8, 0, 0, 1) + b"\7\1\1",
        "in more than 5,000 pieces",
    ),
    "AVIF": (avif(12288, 12288), "of memory to decode, more than the limit"),
    "HEIC": (avif(8000, 8000, brand=b"heic"), "of memory to decode, more than the limit"),
    "HEIC of many boxes": (avif(48, 48, box(b"free") * 8_000, brand=b"heic"), "in more than 5,000 pieces"),
    "HEIC of many parts": (
        avif(48, 48, box(b"ipma", struct.pack(">II", 0, 0)), brand=b"heic")
        + box(b"meta", bytes(4), box(b"iref", bytes(4), box(b"dimg", struct.pack(">HH", 0, 9_000), bytes(18_000)))),
        "in more than 5,000 pieces",
    ),
    "AVIF of many properties": (avif(48, 48, box(b"ipma", struct.pack(">II", 0, 4_000), GIVEN)), None),
    "AVIF of many pictures": (avif(48, 48, box(b"ipma", struct.pack(">II", 0, 9_000), b"\0\1\0" * 9_000)), "more than 5,000"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_costs_too_much_is_refused_before_a_decoder_starts(name, monkeypatch):
    """The walk keeps a small multiple of the file, and counts its steps; nothing is decoded."""
    data, said = HOSTILE[name]
    monkeypatch.setattr(decoding, "_decoded", lambda look: pytest.fail("a decoder was started"))
    monkeypatch.setattr(decoding, "decoded_apart", lambda look: pytest.fail("a decoder was started"))
    monkeypatch.setattr(bounds, "LARGEST_STEPS", 5_000)  # as many as there are take seconds while memory is traced
    steps = Steps()
    monkeypatch.setattr(decoding, "Steps", lambda: steps)
    tracemalloc.start()
    try:
        if said is None:
            assert image.examine(data).look.held <= LARGEST_HELD
        else:
            with pytest.raises(ImageError, match=said) as error:
                image.examine(data)
            assert "\n" not in str(error.value) and len(str(error.value)) < 300
        assert tracemalloc.get_traced_memory()[1] <= 6 * len(data) + (1 << 20)
    finally:
        tracemalloc.stop()
    assert steps.taken <= 5_000 + 1_300_000  # what goes beyond ends the walk; strips are counted at once


@pytest.mark.parametrize("name", valid_files())
def test_a_walk_finds_the_size_that_the_decoder_finds(name):
    data = valid_files()[name]
    look = image.examine(data).look
    assert name.startswith(look.kind)
    kind = kinds.KINDS[look.kind]
    with getattr(importlib.import_module(kind.module), kind.decoder)(io.BytesIO(data)) as opened:
        size = opened.size
    assert (look.width, look.height) in (size, size[::-1])
    assert image.decode(data).size in (size, size[::-1])


@pytest.mark.parametrize("name", valid_files())
def test_a_header_cut_short_is_an_error(name):
    data = valid_files()[name]
    for length in range(1, min(len(data), 700)):
        try:
            image.examine(data[:length])
        except ImageError as error:
            assert "\n" not in str(error)


def test_what_is_no_pixel_never_reaches_a_decoder():
    """Comments, profiles, thumbnails and further pictures: the decoder is given a file without them."""
    private = b"private words"
    rgb = photo()
    files = {
        "JPEG": encode(rgb, "JPEG", comment=private, icc_profile=private, xmp=private),
        "PNG": png(9, 9, before=chunk(b"tEXt", b"key\0" + private) + chunk(b"iCCP", b"p\0\0" + zlib.compress(private))),
        "GIF": encode(rgb.quantize(9), "GIF", comment=private),
    }
    for kind, data in files.items():
        parts = b"".join(image.examine(data).look.parts)
        assert private not in parts and b"iCCP" not in parts, kind
    two = encode(photo("L"), "TIFF", save_all=True, append_images=[photo("L", (99, 99))], description="private words")
    look = image.examine(two).look
    with Image.open(io.BytesIO(b"".join(look.parts))) as left:
        assert left.n_frames == 1 and 270 not in left.tag_v2


def test_what_is_not_read_is_named():
    for first, said in (
        (b"%PDF-1.7", "a PDF is nothing that minivan reads: it reads JPEG, PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "a PostScript file is nothing"),
        (b"\xff\x0a", "a JPEG XL file, which minivan does not read: export it as JPEG or PNG"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "a camera's raw file, which minivan does not read: export it as JPEG or PNG"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isomiso2", "a film is nothing"),
        (b"  <svg xmlns", "an SVG drawing is nothing"),
        (b"PK\3\4", "a zip file is nothing"),
        (b"version https://git-lfs.github.com", "a pointer of Git LFS"),
        (b"hello", "not an image that minivan reads: those are JPEG"),
    ):
        with pytest.raises(ImageError, match=said):
            kinds.recognise(first)


def test_every_kind_has_a_walk_and_a_decoder():
    assert list(headers.WALKS) == list(kinds.KINDS)
    assert bounds.LARGEST_PIXELS * bounds.RGB <= LARGEST_HELD  # the largest picture can be held, and turned
    assert 2 * bounds.LARGEST_PIXELS * bounds.RGB <= LARGEST_HELD


def test_the_documentation_states_the_limits_and_counts():
    text = (ROOT / "docs" / "robustness.md").read_text(encoding="utf-8")
    for said in (
        f"| {amount(bounds.LARGEST_FILE)} | bytes of one file",
        f"| {bounds.LARGEST_PIXELS:,} | pixels of one picture, of a JPEG file after reduced decoding",
        f"Pillow decodes in Python, {LARGEST_PACKED:,};",
        f"| {bounds.LARGEST_STEPS:,} | segments",
        f"| {LARGEST_WORK:,} | pixels times scans",
        f"| {amount(LARGEST_HELD)} | bytes that one picture holds",
        f"| {amount(WAITING)} | prepared images",
        f"| {amount(image.walked(0))} and {image.walked(1) - image.walked(0)} times the file | bytes that reading",
        f"| {amount(LARGEST_DIRECTORY)} | bytes of all values in the directory",
        f"| {amount(LARGEST_TEXT)} | bytes of EXIF, and of XMP",
        f"| {amount(LARGEST_PROFILE)} | bytes of a colour profile",
        f"| {bounds.LONGEST} s | reading and decoding one image",
        f"| {bounds.LONGEST} s | waiting for memory",
        f"| {len(HOSTILE)} kinds of hostile headers",
        f"| {len(valid_files())} sound files",
    ):
        assert said in text
    assert {LARGEST_TEXT, jpeg.LARGEST_METADATA, webp.LARGEST_METADATA, LARGEST_XMP} == {1 << 20}
