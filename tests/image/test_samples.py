"""Samples of every number of bits are what the file says: TIFF photos from a writer of the tests' own, and PNG's keys."""

import itertools
import random
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image
from support.pictures import chunk, encode, photo, tiff
from support.tiff_photos import DEFLATE, DIFFERENCES, LZMA, LZW, PACKBITS, RAW, photo_tiff

from minivan import image
from minivan.image import ImageError, bounds, decoding

pytestmark = pytest.mark.loop

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, INKS = 0, 1, 2, 5
COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, INKS: 4}
BITS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 20, 24, 31, 32)


def seen(data):
    return np.asarray(image.decode(data)).astype(int)


def drawn(shape, bits, seed=0):
    values = np.random.default_rng(seed).integers(0, 1 << bits, shape, np.uint64)
    return values.astype("u1" if bits <= 8 else "u2" if bits <= 16 else "u4")


def shown(scaled, photometric, alpha=None):
    """Return what a person sees of samples in 0..255, not rounded: RGB (H, W, 3)."""
    if photometric == INKS:
        bands = np.ascontiguousarray(np.rint(scaled).astype(np.uint8).transpose(2, 0, 1))
        return np.asarray(Image.merge("CMYK", list(map(Image.fromarray, bands))).convert("RGB")).astype(float)
    colours = 255 - scaled if photometric == WHITE_IS_ZERO else scaled
    colours = np.repeat(colours, 3, axis=2) if colours.shape[2] == 1 else colours
    return colours if alpha is None else colours * alpha + 255 * (1 - alpha)


def judge(draw, compressions):
    """Write a photo of samples drawn at random, and compare every pixel of it."""
    photometric, bits = draw.choice([*COLOURS]), draw.choice(BITS)
    further = draw.choice([0, 0, 1, 2]) if photometric != INKS else 0
    kind = draw.choice([0, 2]) if further else 0  # of the first further sample: unsaid, or transparency
    shape = draw.randint(1, 40), draw.randint(1, 40), COLOURS[photometric] + further
    array = drawn(shape, bits, draw.randrange(1 << 16))
    tile, rows = draw.choice([(None, None), (None, 7), (16, None)])
    said = dict(
        bits=bits,
        planar=draw.random() < 0.4,
        tile=tile,
        rows=rows,
        compression=draw.choice(compressions),
        order=draw.choice("<>"),
    )
    extra = {338: [kind, *[0] * (further - 1)]} if further else {}
    if said["compression"] in (LZW, DEFLATE, LZMA) and bits in (8, 16, 32):
        extra[317] = [draw.choice([1, DIFFERENCES])]
    if draw.random() < 0.2:
        extra[266] = [2]  # bits in the other order
    data = photo_tiff(array, photometric, changed=extra, **said)
    scaled = array.astype(float) * 255 / ((1 << bits) - 1)
    colours = scaled[..., : COLOURS[photometric]]
    expected = shown(colours, photometric, scaled[..., COLOURS[photometric], None] / 255 if kind else None)
    if photometric == BLACK_IS_ZERO and shape[2] > 2:  # a network of three channels is given bands then
        with pytest.raises(ImageError, match="bands"):
            image.decode(data)
        return
    off = np.abs(seen(data) - expected).max()
    assert off <= 0.5 + bool(kind) + 1e-6, (photometric, further, kind, said, extra, off)


@pytest.mark.parametrize("seed", range(4))
def test_every_pixel_of_a_tiff_photo_is_what_its_samples_say(seed):
    draw = random.Random(seed)
    for _ in range(60):
        judge(draw, [RAW])


def test_every_pixel_of_a_packed_tiff_photo_is_what_its_samples_say():
    draw = random.Random(9)
    for _ in range(6):
        judge(draw, [LZW, DEFLATE, PACKBITS, LZMA])


@pytest.mark.slow
def test_every_pixel_of_many_packed_tiff_photos_is_what_its_samples_say():
    draw = random.Random(10)
    for _ in range(50):
        judge(draw, [LZW, DEFLATE, PACKBITS, LZMA])


@pytest.mark.parametrize(
    ("packing", "mode", "off"),
    [("group3", "1", 0), ("group4", "1", 0), ("zstd", "RGB", 0), ("jpeg", "RGB", 5), ("jpeg", "L", 5)],
)
def test_a_tiff_photo_is_read_whatever_it_is_packed_with(packing, mode, off):
    """By a writer that knows these packings; of those that lose something, `off` levels on average."""
    picture = photo(mode, (40, 30)).resize((120, 90), Image.Resampling.NEAREST)
    got = seen(encode(picture, "TIFF", compression=packing, **({"quality": 95} if packing == "jpeg" else {})))
    assert np.abs(got - np.asarray(picture.convert("RGB"))).mean() <= off


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i2", "i4"])
@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO, RGB])
@pytest.mark.parametrize("order", ["<", ">"])
def test_signed_and_floating_samples_are_stretched_from_their_least_to_their_greatest(dtype, photometric, order):
    """Floating ones in 0..1 are taken as they are; all colours are stretched alike."""
    shape = (12, 9, COLOURS[photometric])
    grey = drawn(shape, 8).astype(float) / 255
    grey.flat[:2] = 0, 1
    array = (grey if dtype[0] == "f" else np.rint(grey * 200 - 100)).astype(dtype)
    for offset, planar in itertools.product((0, -9) if dtype[0] == "f" else (0,), (False, True)):
        got = seen(photo_tiff((array + np.array(offset, dtype)), photometric, planar=planar, order=order))
        assert np.abs(got - shown(grey * 255, photometric)).max() <= (2 if dtype in ("f2", "i1", "i2", "i4") else 0.51)


def test_colours_that_are_multiplied_with_their_transparency_are_so_no_more():
    alpha = np.full((5, 6, 1), 0.5)
    colours = drawn((5, 6, 1), 7) / 255
    array = np.rint(np.concatenate([colours * alpha, alpha], axis=2) * 4095).astype("u2")
    got = seen(photo_tiff(array, BLACK_IS_ZERO, bits=12, changed={338: [1]}))
    assert np.abs(got - (colours * 127.5 + 127.5)).max() <= 2


@pytest.mark.parametrize(("kind", "bits"), [(2, 8), (1, 8), (2, 12)])
def test_transparent_inks_lie_over_white(kind, bits):
    """Where they are multiplied with their transparency, they do so already; 0 everywhere is no transparency."""
    inks, alpha = drawn((9, 7, 4), 8).astype(float), drawn((9, 7, 1), 8, seed=1).astype(float)
    most = (1 << bits) - 1
    scaled = np.concatenate([inks * (alpha / 255 if kind == 1 else 1), alpha], axis=2) / 255
    array = np.rint(scaled * most).astype("u1" if bits == 8 else "u2")
    got = seen(photo_tiff(array, INKS, bits=bits, changed={338: [kind]}))
    assert np.abs(got - shown(inks * alpha / 255, INKS)).max() <= 2
    array[..., 4] = 0
    examined = image.examine(photo_tiff(array, INKS, bits=bits, changed={338: [kind]}))
    colours = array[..., :4] * (255 / most)
    assert np.abs(np.asarray(examined.decode()).astype(int) - shown(colours, INKS)).max() <= 2
    assert examined.notes == ["its transparency is 0 everywhere and counts as none"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({262: [9]}, "ICC Lab"),
        ({262: [4]}, "a mask"),
        ({262: [32803]}, "a camera's raw values"),
        ({262: [6], 530: [2, 2]}, "photometric interpretation 6"),
        ({50706: [1], 258: [8] * 3}, r"raw values \(DNG\)"),
        ({254: [1], 330: [8], 258: [8] * 3}, "begins with a preview, 9 x 9 pixels"),
        ({258: [5, 6, 5]}, "5 and 6 bits|of bands of 5 and 6"),
        ({259: [50002]}, "compression 50002, JPEG XL"),
        ({259: [33003], 258: [8, 8, 8]}, "compression 33003, JPEG 2000"),
        ({259: [34887], 258: [8, 8, 8]}, "compression 34887, LERC"),
        ({259: [50001], 258: [8, 8, 8]}, "compression 50001, WebP"),
        ({259: [34661], 258: [1], 262: [1], 277: [1], 339: []}, "compression 34661, JBIG"),
        ({262: [5], 332: [2], 277: [3]}, "inks that are no CMYK"),
        ({339: [5, 5, 5]}, "format 5"),
    ],
)
def test_what_nobody_reads_is_refused_by_name(changed, words):
    with pytest.raises(ImageError, match=words) as error:
        image.decode(photo_tiff(drawn((9, 9, 3), 16), RGB, changed=changed))
    assert len(str(error.value).splitlines()) == 1 and "damaged" not in str(error.value)


def test_a_raw_file_of_canon_is_told_by_its_first_bytes():
    """Its first directory has a preview, and no tag that says so."""
    said = {256: (4, [4]), 257: (4, [4]), 258: (3, [8]), 262: (3, [1]), 273: (4, [0]), 278: (4, [4]), 279: (4, [16])}
    data = tiff(said, b"CR\2\0" + bytes(4))
    with pytest.raises(ImageError, match="begins with a preview, 4 x 4 pixels"):
        image.decode(data)
    assert seen(data.replace(b"CR", b"CS")).shape == (4, 4, 3)


def test_a_photo_with_smaller_copies_of_itself_is_read():
    for changed in ({254: [0], 330: [8]}, {254: [1]}, {330: [8]}):
        values = drawn((9, 9, 3), 8)
        assert np.array_equal(seen(photo_tiff(values, RGB, changed=changed)), values)


def wide(kind, width=1 << 17):
    """Return a file of one row."""
    if kind == "floating":
        return b"Pf\n%d 1\n-1.0\n" % width + np.linspace(-5, 900, width, dtype="<f4").tobytes()
    return photo_tiff(drawn((1, width, 1), 12), BLACK_IS_ZERO, bits=12)


@pytest.mark.parametrize("kind", ["12 bits", "floating"])
def test_a_row_that_is_longer_than_a_strip_holds_no_more_than_is_stated(kind, monkeypatch):
    """Its pixels are the same, and what NumPy holds of it is less than what all of it is said to take."""
    data = wide(kind)
    whole = image.decode(data)
    monkeypatch.setattr(bounds, "STRIP", 1 << 13)
    examined = image.examine(data)
    tracemalloc.start()
    try:
        assert examined.decode() == whole
        assert tracemalloc.get_traced_memory()[1] <= examined.look.held
    finally:
        tracemalloc.stop()


def test_damaged_photos_of_odd_samples_are_a_picture_or_one_line():
    whole, draw = photo_tiff(drawn((9, 11, 3), 12), RGB, bits=12, planar=True, rows=4), random.Random(0)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            data[draw.randrange(max(0, len(data) - 250), len(data))] = draw.choice([0, 1, 2, 4, 255, draw.randrange(256)])
        try:
            assert image.decode(bytes(data)).mode == "RGB"
        except ImageError as error:
            assert len(str(error).splitlines()) == 1


PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))  # Adam7


def png_of(values, bits, colour, key=(), interlaced=False):
    """Return a PNG file of samples (H, W, C) of so many bits, of which one colour may be transparent."""
    height, width, _ = values.shape
    lines = []
    for top, left, down, across in PASSES if interlaced else ((0, 0, 1, 1),):
        part = values[top::down, left::across]
        digits = (part.reshape(len(part), -1)[..., None] >> np.arange(bits - 1, -1, -1)) & 1
        rows = np.packbits(digits.astype(np.uint8).reshape(len(part), -1), axis=1)
        lines += [b"\0" + row.tobytes() for row in rows] if part.size else []
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, int(interlaced)))
    said = chunk(b"tRNS", struct.pack(f">{len(key)}H", *key)) if key else b""
    return b"\x89PNG\r\n\x1a\n" + head + said + chunk(b"IDAT", zlib.compress(b"".join(lines))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("count", "keyed"), [(3, False), (4, False), (3, True)])
@pytest.mark.parametrize("interlaced", [False, True])
def test_rounding_sixteen_bits_holds_no_more_than_is_stated(count, keyed, interlaced):
    """Pillow holds the picture, its lower bytes and its transparency meanwhile. Every level is there twice."""
    values = (np.arange(1 << 17) >> 1).reshape(512, 256, 1).repeat(count, axis=2)
    key = (777, 777, 777) if keyed else ()
    examined = image.examine(png_of(values, 16, 2 if count == 3 else 6, key, interlaced))
    tracemalloc.start()
    try:
        made = decoding._deep(examined.look)
        assert tracemalloc.get_traced_memory()[1] <= examined.look.held - (4 + 4 + 1) * examined.look.pixels
    finally:
        tracemalloc.stop()
    got = np.asarray(made)
    assert np.array_equal(got[..., :3], np.rint(values / 257)[..., :3])
    assert not keyed or np.array_equal(got[..., 3], 255 * (values[..., 0] != 777))


@pytest.mark.parametrize(("bits", "colour"), [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (8, 2), (16, 2)])
def test_the_transparent_key_of_a_png_is_compared_at_full_depth(bits, colour):
    values = drawn((7, 9, 3 if colour else 1), bits).astype(int)
    values[2, 3] = values[0, 0] ^ (1 if bits == 16 else 0)  # in 16 bits, a neighbour that is the same in 8
    key = values[0, 0].tolist()
    expected = shown(values * 255 / ((1 << bits) - 1), BLACK_IS_ZERO)
    expected[(values == key).all(axis=2)] = 255
    assert np.abs(seen(png_of(values, bits, colour, key)) - expected).max() <= 0.5


@pytest.mark.parametrize(
    ("kind", "photometric", "count"), [("PNG", RGB, 3), ("PNG", RGB, 4), ("TIFF", RGB, 3), ("TIFF", INKS, 4)]
)
def test_colours_of_sixteen_bits_are_rounded_unless_that_takes_too_much_memory(kind, photometric, count, monkeypatch):
    """Then their lower half is left out, as Pillow does."""
    values = drawn((7, 9, count), 16)
    data = png_of(values.astype(int), 16, 2 if count == 3 else 6) if kind == "PNG" else photo_tiff(values, photometric)
    colours, alpha = values[..., : COLOURS[photometric]], values[..., COLOURS[photometric] :] / 65535
    alpha, off = (alpha, 1.5) if alpha.size else (None, 0.5)
    assert np.abs(seen(data) - shown(colours / 257, photometric, alpha)).max() <= off
    monkeypatch.setattr(bounds, "LARGEST_HELD", image.examine(data).look.held - 1)
    assert np.abs(seen(data) - shown(colours // 256, photometric, alpha)).max() <= off


@pytest.mark.parametrize("transform", [0, 2])
def test_inks_of_a_jpeg_are_those_of_adobe(transform):
    """Inverted in the file, be they stored as they are or as YCCK, whose colours are of the inks."""
    inks = (200, 40, 10, 30)
    stored = inks
    if transform:
        colours = Image.new("RGB", (1, 1), inks[:3]).convert("YCbCr").getpixel((0, 0))
        stored = (*(255 - value for value in colours), inks[3])
    data = bytearray(encode(Image.new("CMYK", (16, 16), stored), "JPEG", quality=100))
    data[data.index(b"Adobe") + 11] = transform
    expected = np.asarray(Image.new("CMYK", (16, 16), inks).convert("RGB")).astype(int)
    assert np.abs(seen(bytes(data)) - expected).max() <= 3
