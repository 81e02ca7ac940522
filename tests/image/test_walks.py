"""What a file can hide from a walk, or have it read again and again: nothing, in counted calls and bytes."""

import io
import resource
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image
from support.pictures import chunk, encode, photo, png, segment, tiff, turned

from minivan import image
from minivan.image import child
from minivan.image.bounds import Steps
from minivan.image.headers import jpeg, ppm
from minivan.image.headers import tiff as tiffs

pytestmark = pytest.mark.loop

PROGRESSIVE = encode(Image.new("L", (64, 64), 77), "JPEG", progressive=True)
TABLE = b"\xff\xc4\0\x14\x10\1" + bytes(15) + b"\xe0"
SCAN = b"\xff\xda\0\x08\1\1\1\0\x3f\x10\x7f\xfe"


class Counted(bytes):
    """Bytes that count how many of them were taken out in slices."""

    taken = 0

    def __getitem__(self, key):
        found = super().__getitem__(key)
        if isinstance(key, slice):
            Counted.taken += len(found)
        return found


@pytest.mark.parametrize(
    "before",
    [b"\xff\1", b"\xff\2", b"\xff\xbf", b"\xff\xd0", b"\xff\xd7", b"\xff\xd8", b"\xff\xff\1", b"\xff\0", b"\xff\xff\0"],
    ids=lambda before: before.hex(),
)
def test_no_marker_hides_scans_of_a_jpeg(before):
    """Of markers without a length, what follows is no length: libjpeg goes on at the next byte."""
    data = PROGRESSIVE[:-2] + TABLE + SCAN * 66 + before + b"\xfe\xfe" + SCAN * 700 + bytes(65_278) + b"\xff\xd9"
    assert jpeg.count_scans(data, data.index(b"\xff\xda"), Steps()) == data.count(b"\xff\xda")


def test_a_comment_between_scans_is_passed_over():
    comment = b"\xff" + segment(0xFE, SCAN * 100)  # a marker may have bytes FF before it
    data = PROGRESSIVE[:-2] + TABLE + SCAN * 66 + comment + SCAN + b"\xff\xd9" + SCAN * 9
    assert jpeg.count_scans(data, data.index(b"\xff\xda"), Steps()) == data.count(b"\xff\xda") - 109


@pytest.mark.parametrize("end", [b"\0\xff\xd9", b"\0", b"", b"\xd9"], ids=lambda end: end.hex())
def test_a_run_of_bytes_that_no_marker_ends_is_passed_over_once(end):
    """As erased flash leaves it. A search for markers that begins anew at each byte of it would take hours."""
    data = PROGRESSIVE[:-2] + b"\xff" * (1 << 20) + end
    assert image.decode(data) == image.decode(PROGRESSIVE)


def test_exif_in_several_segments_is_one():
    body = turned(6).tobytes()
    data = encode(photo(), "JPEG")
    data = data[:2] + segment(0xE1, body[:20]) + segment(0xE1, b"Exif\0\0" + body[20:]) + data[2:]
    assert image.examine(data).look.exif == body.removeprefix(b"Exif\0\0")
    assert image.decode(data).size == (16, 24)


def test_texts_of_a_png_are_unpacked_once(monkeypatch):
    calls = []
    monkeypatch.setattr(zlib, "decompressobj", lambda make=zlib.decompressobj: calls.append(1) or make())
    packet = zlib.compress(b'tiff:Orientation="6"')
    profile = zlib.compress(b"\nexif\n8\n" + turned(3).tobytes().hex().encode())
    texts = b"".join(
        chunk(b"zTXt", b"XML:com.adobe.xmp\0\0" + packet)
        + chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + packet)
        + chunk(b"zTXt", b"Raw profile type exif\0\0" + profile)
        + chunk(b"zTXt", b"Comment\0\0" + packet)
        for _ in range(50)
    )
    look = image.examine(png(9, 9, before=texts)).look
    assert len(calls) == 2
    assert b"Orientation" in look.xmp and look.exif == turned(3).tobytes().removeprefix(b"Exif\0\0")


def grey_tiff(compression):
    tags = {256: (4, [8]), 257: (4, [8]), 258: (3, [8]), 262: (3, [1]), 277: (3, [1])}
    tags |= {} if compression is None else {259: (3, [compression])}
    return tiff(tags, bytes(64))


def repeated(tag, times):
    """A BigTIFF file whose directory has one tag of 400 kB many times."""
    plain = [(256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    plain += [(273, 4, 1, 16), (277, 3, 1, 1), (278, 4, 1, 8), (279, 4, 1, 64)]
    entries = b"".join(struct.pack("<HHQQ", *entry) for entry in [*plain, *[(tag, 1, 400_000, 16)] * times])
    start = b"II+\0\x08\0\0\0" + struct.pack("<Q", 16 + 400_000) + bytes(400_000)
    return start + struct.pack("<Q", len(plain) + times) + entries + bytes(8)


@pytest.mark.parametrize("tag", [tiffs.XMP, tiffs.ORIENTATION, 320])
def test_a_tag_is_read_once(tag):
    data = Counted(repeated(tag, 500))
    Counted.taken = 0
    tiffs.walk(data, Steps())
    assert Counted.taken <= 3 * len(data)


def test_the_values_of_a_directory_are_bounded_together(monkeypatch):
    monkeypatch.setattr(tiffs, "LARGEST_DIRECTORY", 1000)
    sizes = {256: (4, [8]), 257: (4, [8])}
    image.examine(tiff({**sizes, 320: (3, [1] * 300)}, bytes(64)))
    with pytest.raises(image.ImageError, match="a TIFF file whose directory has more than"):
        image.examine(tiff({**sizes, 320: (3, [1] * 300), 347: (1, [1] * 500)}, bytes(64)))


@pytest.mark.parametrize("compression", [0, 1, 2, 5, 32771, 32773, 32809, 65535, None])
def test_only_raw_tiff_files_are_decoded_in_this_process(compression):
    """As Pillow sees it: everything but the compression 1, or none said, goes to libtiff, which prints."""
    assert tiffs.walk(grey_tiff(compression), Steps()).apart == (compression not in (1, None))


def test_bits_without_blanks_are_looked_at_in_blocks(monkeypatch):
    monkeypatch.setattr(ppm, "BLOCK", 1000)
    bits = np.random.default_rng(0).integers(0, 2, (300, 300), np.uint8)
    digits = (bits + ord("0")).tobytes()
    blanks = b"\n".join(digits[i : i + 7] for i in range(0, len(digits), 7))
    commented = b"".join(digits[i : i + 900] + b"# 1 is black\n" for i in range(0, len(digits), 900))
    for text in (digits, blanks, commented):
        tracemalloc.start()
        try:
            made = image.examine(b"P1 300 300\n" + text).look.parts
            assert tracemalloc.get_traced_memory()[1] <= 6 * len(text) + 30 * 1000
        finally:
            tracemalloc.stop()
        with Image.open(io.BytesIO(b"".join(made))) as picture:
            np.testing.assert_array_equal(np.asarray(picture), 255 * (1 - bits))


def grey_ppm(magic, largest, sample, side=1200):
    return b"%s %d %d %d\n" % (magic, side, side, largest) + sample * side**2 * (3 if magic in (b"P3", b"P6") else 1)


@pytest.mark.parametrize(
    "data",
    [
        grey_ppm(b"P6", 254, b"\1"),
        grey_ppm(b"P5", 999, b"\0\1"),
        grey_ppm(b"P2", 255, b"1 "),
        grey_ppm(b"P3", 999, b"1 "),
        grey_ppm(b"P2", 999, b"999\n# a comment\n", 300),
        b"P1 2000 2000\n" + b"01" * 2_000_000,
        b"P2 178956970 1 65534\n" + b"1 " * 99,
        png(9, 9, before=chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n8\n" + b"00" * (1 << 19)))),
        PROGRESSIVE[:2] + segment(0xE1, b"Exif\0\0" + bytes(60_000)) * 30 + PROGRESSIVE[2:],
        repeated(320, 9),
        png(9, 9, before=chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(5 << 20)))),
    ],
    ids=lambda data: data[:20].decode("latin1"),
)
def test_a_walk_holds_no_more_than_is_taken_for_it(data):
    tracemalloc.start()
    try:
        if b"178956970" in data:
            with pytest.raises(image.ImageError, match="truncated"):
                image.examine(data)
        else:
            image.examine(data)
        assert tracemalloc.get_traced_memory()[1] + len(data) <= image.walked(len(data))
    finally:
        tracemalloc.stop()


def test_limits_that_a_system_does_not_know_are_left_out(monkeypatch):
    """As on macOS, whose processes have no limit of addresses; the others are set."""
    asked = []

    def setrlimit(what, limits):
        asked.append(what)
        if what == resource.RLIMIT_AS:
            raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    child.limit(1 << 30, 30)
    assert asked == [resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_CORE]
