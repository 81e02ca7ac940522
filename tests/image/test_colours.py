"""What a file says of its colours is what is seen: profiles in every kind of file, and spaces named by numbers."""

import io
import struct
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL._util import DeferredError
from support import EXAMPLES, ROOT
from support.pictures import encode, photo
from support.profiles import (
    NAMES,
    SPACES,
    curve,
    grey_profile,
    in_segments,
    in_srgb,
    inks_profile,
    numbers,
    packed,
    png_with,
    profile,
    to_d50,
    with_profile,
    written,
)

from minivan import image
from minivan.image import ImageError, profiles

pytestmark = pytest.mark.loop

LEVELS = 1.6  # LittleCMS computes 8 bits with whole numbers: rounding, and one level beyond it
PHOTO = photo(size=(40, 30))
SMOOTH = Image.open(EXAMPLES / "cat.jpg").convert("RGB").resize((60, 40))
P3 = SPACES["Display P3"]
CODES_P3, CODES_SRGB = bytes([12, 13, 0, 1]), bytes([1, 13, 0, 1])


def seen(data, **how):
    return np.asarray(image.decode(data, **how)).astype(float)


def noted(data):
    """Return what is seen of a file, and the notes on it."""
    examined = image.examine(data)
    return np.asarray(examined.decode()).astype(float), examined.notes


def difference(got, expected):
    return np.abs(got - expected).max()


@pytest.mark.parametrize("name", SPACES)
def test_the_colours_of_a_profile_are_those_that_its_numbers_mean(name):
    data = with_profile(PHOTO, "PNG", profile(name))
    assert difference(seen(data), in_srgb(PHOTO, SPACES[name])) <= LEVELS
    assert np.array_equal(seen(data, icc=False), PHOTO)
    if name != "sRGB":
        assert difference(np.asarray(PHOTO).astype(float), in_srgb(PHOTO, SPACES[name])) > 15


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "JPEG2000"])
def test_a_profile_is_found_in_every_kind_of_file(kind):
    picture = SMOOTH.quantize(200) if kind == "GIF" else SMOOTH
    plain = seen(with_profile(picture, kind, profile("sRGB")))
    got, notes = noted(with_profile(picture, kind, profile("ProPhoto")))
    assert difference(got, in_srgb(plain, SPACES["ProPhoto"])) <= LEVELS and not notes
    assert np.array_equal(seen(with_profile(picture, kind, profile("ProPhoto")), icc=False), plain)


def test_a_profile_in_many_segments_in_any_order_is_one():
    data, icc = encode(SMOOTH, "JPEG", quality=100), profile("ProPhoto")
    whole = seen(with_profile(SMOOTH, "JPEG", icc), icc=True)
    data = encode(SMOOTH, "JPEG", quality=100, subsampling=0)
    for change in (lambda parts: parts, lambda parts: parts[::-1], lambda parts: [*parts, parts[0]]):
        assert np.array_equal(seen(data[:2] + in_segments(icc, 100, change) + data[2:]), whole)
    got, notes = noted(data[:2] + in_segments(icc, 100, lambda parts: parts[1:]) + data[2:])
    assert np.array_equal(got, seen(data)) and notes == [
        "its colour profile is not used: it is damaged: some of its parts are missing"
    ]


@pytest.mark.parametrize("mode", ["L", "LA", "1", "I;16", "F"])
def test_grey_of_a_profile_is_grey(mode):
    """A grey profile, and one of colours, whose red, green and blue are then the same."""
    picture = photo(mode, (40, 30))
    kind = "TIFF" if mode in ("F", "I;16") else "PNG"
    plain = seen(encode(picture, kind))
    for icc in (grey_profile(1.0), written(b"RGB ", linear_tags())):
        assert difference(seen(encode(picture, kind, icc_profile=icc)), in_srgb(plain, (*SPACES["sRGB"][:4], 1.0))) <= LEVELS


def linear_tags():
    """Return the tags of sRGB's profile with straight curves."""
    names, icc = [b"rXYZ", b"gXYZ", b"bXYZ"], profile("sRGB")
    places = {icc[i : i + 4]: struct.unpack(">II", icc[i + 4 : i + 12]) for i in range(132, 132 + 12 * 7, 12)}
    points = {name: icc[places[name][0] : sum(places[name])] for name in names}
    return points | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve(1.0))


def test_transparent_pixels_and_palettes_have_a_profile_too():
    """What is transparent lies over white after its colour was made sRGB, whatever says that it is transparent."""
    icc, rgba = profile("ProPhoto"), photo("RGBA", (40, 30))
    pixels = np.asarray(rgba).astype(float)
    alpha = pixels[..., 3:] / 255
    expected = in_srgb(pixels[..., :3], SPACES["ProPhoto"]) * alpha + 255 * (1 - alpha)
    assert difference(seen(encode(rgba, icc_profile=icc)), expected) <= LEVELS
    palette = SMOOTH.quantize(50)
    flat = np.asarray(palette.convert("RGB"))
    assert difference(seen(encode(palette, icc_profile=icc)), in_srgb(flat, SPACES["ProPhoto"])) <= LEVELS
    clear = encode(palette, icc_profile=icc, transparency=3)
    expected = np.where(np.asarray(palette)[..., None] == 3, 255, in_srgb(flat, SPACES["ProPhoto"]))
    assert difference(seen(clear), expected) <= LEVELS
    key = tuple(map(int, np.asarray(PHOTO)[3, 4]))
    keyed = seen(encode(PHOTO, icc_profile=icc, transparency=key))
    assert keyed[3, 4].tolist() == [255, 255, 255] and (keyed != 255).any()


@pytest.mark.parametrize("tag", [b"A2B0", b"A2B1"])
@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_inks_are_what_their_profile_says(kind, tag):
    """Of a profile without the table of the relative intent, the perceptual one is used."""
    for inks, lab in (
        ((0, 0, 0, 0), (100, 0, 0)),
        ((255, 0, 0, 0), (70, -60, -60)),
        ((0, 255, 0, 0), (70, 60, 0)),
        ((9, 9, 9, 255), (0, 0, 0)),
    ):
        data = encode(Image.new("CMYK", (16, 16), inks), kind, icc_profile=inks_profile(tag))
        assert difference(seen(data)[8, 8], srgb_of(*lab)) <= 3, inks
    assert difference(seen(encode(Image.new("CMYK", (9, 9), 0), kind, icc_profile=b"none")), 255) == 0


@pytest.mark.parametrize("lab", [(50, 0, 0), (60, 20, -30), (30, -15, 20), (100, 0, 0)])
def test_lab_is_what_its_numbers_say(lab):
    stored = (round(lab[0] * 2.55), lab[1] + 128, lab[2] + 128)
    got = seen(encode(Image.merge("LAB", [Image.new("L", (9, 9), value) for value in stored]), "TIFF"))
    assert difference(got, srgb_of(stored[0] / 2.55, *lab[1:])) <= LEVELS


def srgb_of(lightness, a, b):
    """Return a colour of CIE Lab, relative to D50, in sRGB, 0..255."""
    y = (lightness + 16) / 116
    f = np.array([y + a / 500, y, y - b / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.9642, 1, 0.8249]
    from support.profiles import to_d50

    linear = np.clip(np.linalg.solve(to_d50(SPACES["sRGB"]), xyz), 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)


# spaces that are named by numbers


def chromaticities(name):
    red, green, blue, white, _ = SPACES[name]
    return struct.pack(">8I", *(round(v * 100_000) for point in (white, red, green, blue) for v in point))


def gamma(exponent):
    return struct.pack(">I", round(100_000 / exponent))


@pytest.mark.parametrize(
    ("chunks", "space"),
    [
        ([(b"cICP", CODES_P3)], (*P3[:4], 0)),
        ([(b"cICP", CODES_P3), (b"iCCP", packed(profile("ProPhoto")))], (*P3[:4], 0)),
        ([(b"cICP", CODES_SRGB), (b"iCCP", packed(profile("ProPhoto")))], SPACES["sRGB"]),
        ([(b"cICP", bytes([2, 2, 0, 1])), (b"iCCP", packed(profile("ProPhoto")))], SPACES["ProPhoto"]),
        ([(b"iCCP", packed(profile("ProPhoto"))), (b"sRGB", b"\0")], SPACES["ProPhoto"]),
        ([(b"iCCP", b"icc\0\0damaged"), (b"gAMA", gamma(1.0))], (*SPACES["sRGB"][:4], 1.0)),
        ([(b"sRGB", b"\0"), (b"gAMA", gamma(1.0)), (b"cHRM", chromaticities("ProPhoto"))], SPACES["sRGB"]),
        ([(b"gAMA", gamma(1.0))], (*SPACES["sRGB"][:4], 1.0)),
        ([(b"gAMA", gamma(2.2))], SPACES["sRGB"]),
        ([(b"gAMA", gamma(1.8)), (b"cHRM", chromaticities("ProPhoto"))], SPACES["ProPhoto"]),
        ([(b"cHRM", chromaticities("Adobe RGB"))], (*SPACES["Adobe RGB"][:4], 0)),
        ([(b"gAMA", gamma(2.2)), (b"cHRM", chromaticities("sRGB"))], SPACES["sRGB"]),
    ],
)
def test_the_chunks_of_a_png_hold_in_the_order_of_their_precedence(chunks, space):
    assert difference(seen(png_with(PHOTO, *chunks)), in_srgb(PHOTO, space)) <= LEVELS
    assert difference(seen(png_with(PHOTO, *chunks[::-1])), in_srgb(PHOTO, space)) <= LEVELS


@pytest.mark.parametrize("body", [bytes(32), struct.pack(">8I", *[31270] * 8), b"\xff" * 32, b"short"])
def test_chromaticities_of_no_space_count_as_none(body):
    got, notes = noted(png_with(PHOTO, (b"cHRM", body)))
    assert np.array_equal(got, PHOTO) and len(notes) == (body != b"short")


def test_a_narrow_range_is_stretched():
    narrow = Image.fromarray(np.rint(np.asarray(SMOOTH) * (219 / 255) + 16).astype(np.uint8))
    assert difference(seen(png_with(narrow, (b"cICP", bytes([1, 13, 0, 0])))), np.asarray(SMOOTH)) <= LEVELS + 1


def test_a_profile_whose_codes_are_those_of_a_screen_is_one_as_others():
    data = with_profile(PHOTO, "PNG", profile("Display P3", 12, 13, 0, 1))
    assert difference(seen(data), in_srgb(PHOTO, P3)) <= LEVELS


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_photos_of_high_dynamic_range_are_refused_by_name(transfer, name):
    avif = encode(SMOOTH, "AVIF", quality=100)
    place = avif.index(b"colrnclx") + 8
    for data in (
        png_with(PHOTO, (b"cICP", bytes([9, transfer, 0, 1]))),
        png_with(PHOTO, (b"iCCP", b"x"), (b"cICP", bytes([2, transfer, 0, 1]))),
        avif[:place] + struct.pack(">HH", 9, transfer) + avif[place + 4 :],
        with_profile(PHOTO, "JPEG", profile("Display P3", 9, transfer, 0, 1)),
    ):
        with pytest.raises(ImageError, match=rf"high dynamic range \({name}, ITU-R BT.2100\).*: export it as SDR$"):
            image.decode(data)
        assert image.decode(data, icc=False).mode == "RGB"


def test_the_codes_of_an_avif_are_those_of_the_picture_that_is_shown():
    """They are no profile's, which holds where there are both."""
    data = encode(SMOOTH, "AVIF", quality=100, subsampling="4:4:4")
    place = data.index(b"colrnclx") + 8
    plain = seen(data)
    coded = data[:place] + struct.pack(">HH", 12, 13) + data[place + 4 :]
    assert difference(seen(coded), in_srgb(plain, (*P3[:4], 0))) <= LEVELS
    both = encode(SMOOTH, "AVIF", quality=100, subsampling="4:4:4", icc_profile=profile("ProPhoto"))
    place = both.index(b"colrnclx") + 8
    both = both[:place] + struct.pack(">HH", 12, 13) + both[place + 4 :]
    assert difference(seen(both), in_srgb(plain, SPACES["ProPhoto"])) <= LEVELS


# what is no profile, or none to use


def damaged_profiles():
    icc = profile("ProPhoto")
    table = inks_profile()
    place = table.index(b"mft2")
    return {
        "empty": b"",
        "no profile": b"text " * 99,
        "cut off": icc[:200],
        "another signature": icc.replace(b"acsp", b"ascp"),
        "of a device link": icc.replace(b"mntr", b"link"),
        "of another space": icc[:16] + b"6CLR" + icc[20:],
        "tags behind the end": icc.replace(icc[144:152], b"\xff" * 8, 1),
        "a curve of another type": icc.replace(b"para", b"mpet"),
        "no tags": written(b"RGB ", {b"desc": bytes(20)}),
        "no curves": written(b"RGB ", {b"rXYZ": b"XYZ \0\0\0\0" + bytes(12)}),
        "a black matrix": written(b"RGB ", {**dict.fromkeys((b"rXYZ", b"gXYZ"), b"XYZ \0\0\0\0" + bytes(12))}),
        "tags over one another": overlapping(icc),
        "inks": table,
        "a large table": table[: place + 10] + b"\xff" + table[place + 11 :],
        "too large": icc + bytes(5 << 20),
        "steps without an end": written(
            b"RGB ", {b"D2B0": b"mpet\0\0\0\0" + struct.pack(">HHI", 3, 3, 1 << 20), b"D2B1": b"mpet"}
        ),
    }


def overlapping(icc):
    entries = b"".join(name + struct.pack(">II", 0, len(icc)) for name in (b"rTRC", b"gTRC", b"bTRC"))
    return icc[:128] + struct.pack(">I", 3) + entries + icc[132 + len(entries) :]


@pytest.mark.parametrize("name", damaged_profiles())
def test_a_profile_that_cannot_be_used_counts_as_none_with_a_note(name):
    icc = damaged_profiles()[name]
    for kind in ("PNG", "TIFF"):
        data = png_with(PHOTO, (b"iCCP", packed(icc))) if kind == "PNG" else encode(PHOTO, kind, icc_profile=icc or b"\0")
        got, notes = noted(data)
        assert np.array_equal(got, PHOTO)
        assert len(notes) == 1 and notes[0].startswith("its colour profile is not used: ") and len(notes[0]) < 200


def test_a_damaged_profile_is_a_way_or_a_reason():
    """Some bytes of it changed, or its end cut off: it never escapes as an exception."""
    draw = np.random.default_rng(0)
    for icc in (profile("ProPhoto"), profile("Display P3"), inks_profile(), grey_profile(1.8)):
        for _ in range(60):
            damaged = bytearray(icc)
            for _ in range(draw.integers(1, 6)):
                damaged[draw.integers(0, len(icc))] = draw.choice([0, 1, 2, 127, 128, 255])
            made = profiles._way.__wrapped__(
                bytes(damaged[: draw.integers(100, len(icc) + 1)] if draw.random() < 0.2 else damaged)
            )
            assert made is None or isinstance(made, (str, profiles.Way))


def test_a_profile_never_reaches_littlecms_as_it_is(monkeypatch):
    """Only tags that lead to colours do, each a form of a fixed number of steps."""
    icc = written(b"RGB ", {b"D2B0": b"mpet" + bytes(40), b"cprt": b"text\0\0\0\0private", **linear_tags()})
    left = profiles.checked(icc)
    assert b"mpet" not in left and b"private" not in left and left.count(b"para") == 1
    assert profiles.checked(profile("ProPhoto") + bytes(1_000_000)) == profiles.checked(profile("ProPhoto"))


# what it costs


def test_what_is_srgb_already_is_left_as_it_is(monkeypatch):
    """Known by what it does to colours, not by its name: three makers' profiles, and codes."""
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    table = b"curv\0\0\0\0" + struct.pack(">I", 1024) + srgb_table(1024)
    third = written(b"RGB ", linear_tags() | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), table))
    monkeypatch.setattr(profiles.Way, "fits", lambda *_: pytest.fail("colours were computed"))
    for icc in (made, profile("sRGB"), third):
        assert np.array_equal(seen(with_profile(PHOTO, "PNG", icc)), PHOTO)
    assert np.array_equal(seen(encode(photo("L"), icc_profile=grey_profile(0))), seen(encode(photo("L"))))


def srgb_table(size):
    from support.profiles import light

    return np.rint(light(np.linspace(0, 1, size), 0) * 65535).astype(">u2").tobytes()


def test_where_blue_is_that_of_srgb_tables_do_what_littlecms_does(monkeypatch):
    """Within one level of it, and nearer to what the numbers mean. Other blues, curves and tags are left to it."""
    p3 = {name: b"XYZ \0\0\0\0" + numbers(*column) for name, column in zip(NAMES, to_d50(P3).T, strict=True)}
    curves = (curve(0), curve(2.2), b"curv\0\0\0\0\0\0\0\1\2\x33", b"curv\0\0\0\0" + struct.pack(">I", 1024) + srgb_table(1024))
    colours = np.random.default_rng(0).integers(0, 256, (211, 311, 3), np.uint8)
    colours[:9] >>= 3
    for i, trc in enumerate(curves):
        found = profiles._way(profiles.checked(written(b"RGB ", p3 | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), trc))))
        assert found.tables
        got = np.asarray(found.of(Image.fromarray(colours))).astype(float)
        littlecms = np.asarray(found.transform.apply(Image.fromarray(colours)))
        assert difference(got, in_srgb(colours, (*P3[:4], (0, 2.2, 2 + 51 / 256, 0)[i]))) <= 0.6
        assert difference(got, littlecms) <= 1
    assert profiles._way(profile("Adobe RGB")).tables and not profiles._way(profile("ProPhoto")).tables
    second = b"para\0\0\0\0\0\1\0\0" + numbers(2.2, 1, 0)
    assert not profiles._way(written(b"RGB ", p3 | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), second))).tables
    wrong = profiles.shared_blue.tables(profile("Adobe RGB"))
    monkeypatch.setattr(profiles.shared_blue, "tables", lambda _: wrong)
    assert not profiles._way.__wrapped__(profile("Display P3")).tables


def test_a_photo_without_a_profile_does_not_import_what_computes_colours():
    code = "import sys; from minivan import image; image.decode('examples/cat.jpg'); print('PIL.ImageCms' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_profile_is_looked_at_once_for_many_photos(monkeypatch):
    calls = []
    monkeypatch.setattr(ImageCms, "buildTransform", lambda *a, real=ImageCms.buildTransform: calls.append(1) or real(*a))
    profiles._way.cache_clear()
    files = [with_profile(photo(size=(9, 9 + i)), "PNG", profile("Adobe RGB")) for i in range(5)]
    assert len({image.decode(data).size for data in files}) == 5 and len(calls) == 1


def test_where_pillow_has_no_littlecms_a_note_says_so(monkeypatch):
    monkeypatch.setattr(ImageCms, "core", DeferredError.new(ImportError("as Pillow has it then")))
    profiles._way.cache_clear()
    got, notes = noted(with_profile(PHOTO, "PNG", profile("Adobe RGB")))
    profiles._way.cache_clear()
    assert np.array_equal(got, PHOTO) and "without LittleCMS" in notes[0]


def test_colours_are_computed_where_the_picture_is(monkeypatch):
    """In place, so that a profile takes no memory of a picture's size."""
    opened = []
    monkeypatch.setattr(
        profiles.Way,
        "of",
        lambda self, picture, real=profiles.Way.of: opened.append((picture, real(self, picture))) or opened[-1][1],
    )
    image.decode(with_profile(PHOTO, "PNG", profile("Adobe RGB")))
    assert any(before is after for before, after in opened if before.size == PHOTO.size)


@pytest.mark.parametrize("name", ["Display P3", "Adobe RGB", "ProPhoto"])
@pytest.mark.slow
def test_labelled_photos_of_other_spaces_have_the_classes_of_those_of_srgb(name):
    """At most one in a hundred changes its likeliest class, by rounding: as one in ten to one in three does without."""
    import minivan
    from minivan import labelled

    model = minivan.load(engine="fast")
    settings = model.card.preprocessing
    icc = profile(name)
    there, srgb = ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB")
    store = ImageCms.buildTransform(srgb, there, "RGB", "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC)
    source = labelled.given()
    changed = 0
    names = labelled.names(source)[::4]
    for first in range(0, len(names), 50):
        plain, stored = [], []
        for data in labelled.files(source, names[first : first + 50]):
            picture = image.decode(data)
            plain.append(image.prepare(encode(picture), settings))
            stored.append(image.prepare(encode(store.apply(picture), icc_profile=icc), settings))
        changed += int((model(np.stack(plain)).argmax(1) != model(np.stack(stored)).argmax(1)).sum())
    print(f"{name}: {changed} of {len(names)}")
    assert changed <= len(names) / 100
