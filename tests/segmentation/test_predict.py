"""Photos in, masks out: any photo and any size, what a segmentation says, how it looks, and what cannot be used."""

import html.parser
import io
import json

import numpy as np
import pytest
from PIL import Image
from support.scenes import NAMES, PALETTE, network, photo

import minivan
from minivan.image import ImageError, read_indices
from minivan.predict import Unusable, find_images
from minivan.segmentation import Segmentation, drawing, identity, segment
from minivan.segmentation.predict import AHEAD, Scaling, checked_side, scaled_ahead

pytestmark = pytest.mark.loop


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def found(model):
    return segment(photo(), model)


def test_every_pixel_has_a_class_and_shares_add_up(found):
    assert found.mask.shape == (60, 90) and found.mask.dtype == np.uint8 and found.scaled == (96, 64)
    counts = [int((found.mask == index).sum()) for index in range(4)]
    assert sum(count > 0 for count in counts) >= 3
    assert {area.name: area.pixels for area in found.areas} == {NAMES[i]: n for i, n in enumerate(counts) if n}
    assert [area.pixels for area in found.areas] == sorted((n for n in counts if n), reverse=True)
    assert sum(found.shares().values()) == pytest.approx(1)
    said = json.loads(json.dumps(found.as_dict()))
    assert (said["width"], said["height"], said["seen"], said["engine"]) == (90, 60, [96, 64], "numpy")
    assert [each["pixels"] for each in said["classes"]] == [area.pixels for area in found.areas]


@pytest.mark.parametrize("size", [(300, 40), (40, 300), (120, 1), (1, 1), (5, 31)], ids=str)
def test_a_photo_of_any_shape_has_a_mask_of_its_shape(model, size):
    """What is smaller than the network's least is enlarged or padded."""
    assert segment(photo(*size), model).mask.shape == size[::-1]
    assert segment(photo(*size), model, side="full").mask.shape == size[::-1]


def test_a_photo_is_the_same_whatever_it_comes_as(model, found, tmp_path):
    data = io.BytesIO()
    photo().save(data, "PNG")
    (tmp_path / "a.png").write_bytes(data.getvalue())
    alpha = photo(mode="RGBA")
    turned = photo().rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter to the left: shown turned back
    turned.save(tmp_path / "turned.png", exif=exif)
    for source in (tmp_path / "a.png", data.getvalue(), np.asarray(photo()), alpha, tmp_path / "turned.png"):
        assert np.array_equal(segment(source, model).mask, found.mask)
    assert segment(tmp_path / "turned.png", model, how=minivan.image.Reading(exif=False)).mask.shape == (90, 60)
    grey = segment(photo(mode="L"), model).mask
    deep = Image.fromarray(np.asarray(photo(mode="L"), np.uint16) * 257)
    assert np.array_equal(segment(deep, model).mask, grey)


def test_the_network_sees_a_scaled_photo_padded_with_zeros(model):
    seen = []

    class Watched(type(model)):
        def __call__(self, x, hook=None):
            seen.append(x)
            return super().__call__(x, hook)

    watched = Watched(model.backbone, model.tensors, model.card)
    segment(photo(70, 50), watched)
    x, settings = seen[0][0], model.card.preprocessing
    scaled = photo(70, 50).resize((89, 64), Image.Resampling.BILINEAR)
    assert x.shape == (3, 64, 96) and not x[:, :, 89:].any()
    assert np.array_equal(x[:, :, :89], minivan.image.normalise(scaled, settings.mean, settings.std))
    segment(photo(70, 50), watched, side="full")
    assert seen[1].shape == (1, 3, 64, 96) and not seen[1][0, :, 50:].any()


def test_in_a_list_what_cannot_be_used_says_why(model, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    several = segment([photo(), tmp_path / "bad.png", tmp_path / "none.png"], model)
    assert isinstance(several[0], Segmentation) and several[0].image == "photo[0]"
    assert [type(each) for each in several[1:]] == [Unusable, Unusable] and "not an image" in several[1].fault
    assert "photo[0]" in repr(several) and "not an image" in several._repr_html_()
    with pytest.raises(FileNotFoundError):
        segment(tmp_path / "none.png", model)
    with pytest.raises(ImageError, match="not an image"):
        segment(tmp_path / "bad.png", model)
    with pytest.raises(TypeError):
        segment(3, model)


def test_sides_and_weights_that_cannot_be(model):
    assert checked_side(None, 180) == 180 and checked_side("full", 180) is None and checked_side(64, None) == 64
    for side in (31, 8193, True, "all", 64.0):
        with pytest.raises(ValueError, match="the side is a whole number of pixels from 32 to 8192"):
            segment(photo(), model, side=side)
    with pytest.raises(ValueError, match="weights are for a head by itself"):
        segment(photo(), model, weights="b0")


def test_a_photo_too_narrow_to_be_padded_is_refused_before_it_is_decoded(model, monkeypatch):
    monkeypatch.setattr("minivan.segmentation.predict.LARGEST_PIXELS", 32 * 640)
    with pytest.raises(ImageError, match="641 x 1 pixels is too narrow: for the network it would be 672 x 32"):
        segment(photo(641, 1), model, side="full")


def test_two_photos_are_held_at_once(model, tmp_path, monkeypatch):
    """The one that is worked on and the next: the third is not begun before the first is done."""
    for name in "abcd":
        photo().save(tmp_path / f"{name}.png")
    begun = []
    ready = Scaling.ready
    monkeypatch.setattr(Scaling, "ready", lambda self, name, *rest: begun.append(name) or ready(self, name, *rest))
    photos = scaled_ahead(model, find_images([tmp_path]))
    next(photos)
    photos.close()
    assert AHEAD == 1 and len(begun) <= 2


def test_a_mask_is_a_png_of_indices_in_the_cards_colours(found, tmp_path):
    found.save_mask(tmp_path / "mask.png")
    assert np.array_equal(read_indices(tmp_path / "mask.png"), found.mask)
    with Image.open(tmp_path / "mask.png") as written:
        assert written.mode == "P" and written.size == (90, 60)
        assert written.getpalette()[:12] == [value for colour in PALETTE for value in colour]
    with pytest.raises(ValueError, match=r"ends in \.jpg; masks and overlays are written as \.png"):
        found.save_mask(tmp_path / "mask.jpg")
    assert [path.name for path in tmp_path.iterdir()] == ["mask.png"]


def test_an_overlay_has_the_classes_colours_and_a_legend_that_can_be_read(found):
    plain = np.asarray(found.overlay(1.0, legend=False))
    assert np.array_equal(plain, np.array(PALETTE, np.uint8)[found.mask])
    assert np.array_equal(np.asarray(found.overlay(0.0, legend=False)), np.asarray(photo()))
    whole = found.overlay()
    assert whole.width >= 90 and whole.height >= 60 + 21 * len(found.areas)  # lines of 14 pixels, in one column
    below = np.asarray(whole)[60:]
    for area in found.areas:
        assert (below == PALETTE[area.index]).all(axis=2).sum() >= 150  # a square of 14 pixels, but for its frame
    assert (below < 60).all(axis=2).sum() > 300  # text
    for wrong in (-0.1, 1.1):
        with pytest.raises(ValueError, match="an opacity is from 0 to 1"):
            found.overlay(wrong)


def test_a_legend_names_the_largest_classes_and_sums_up_the_others(model):
    from minivan.segmentation import Area

    areas = [Area(i, f"class {i}", 10, 0.025) for i in range(40)]
    palette = minivan.segmentation.card.own_palette(40)
    drawn = [drawing.with_legend(Image.new("RGB", (2000, 1500)), areas[:count], palette) for count in (24, 25)]
    names = ("道路", "groß", "class 7", "été", "ete")  # Pillow's own font has a box for what it has not
    named = [drawing.with_legend(Image.new("RGB", (9, 9)), [Area(7, name, 1, 1.0)], palette).tobytes() for name in names]
    assert named[0] == named[1] == named[2] != named[3] == named[4]
    assert drawn[0].width == 2000 and 1500 < drawn[0].height <= drawn[1].height < 1900


def test_how_it_looks_in_a_terminal_and_in_a_notebook(found):
    first = found.areas[0]
    assert repr(found).startswith(f"<Segmentation photo: {first.name} {first.share:.1%}, ")
    assert f"{first.share:6.1%}" in str(found) and "four, engine numpy" in str(found)
    page = found._repr_html_()
    html.parser.HTMLParser().feed(page)
    assert "data:image/jpeg;base64," in page and "rgb(70, 130, 180)" in page
    assert "<b>tree</b>" not in page and "&lt;b&gt;tree&lt;/b&gt;" in page


def test_what_made_a_mask_is_told_by_its_numbers(model):
    other = network(seed=4)
    first, second = identity(model), identity(other)
    assert first == identity(network()) and first["head"] == "four" and len(first["head_sha256"]) == 64
    assert first["head_sha256"] != second["head_sha256"] and first["weights_sha256"] != second["weights_sha256"]
