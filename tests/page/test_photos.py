"""Photos that somebody drops on the page: the answers of `classify`, and one line for what is no photo."""

import io

import numpy as np
import pytest
from PIL import Image
from support import ROOT, profiles

from minivan import image
from minivan.reference import softmax

pytestmark = [pytest.mark.slow, pytest.mark.browser]

EXAMPLES = ROOT / "examples"


def file(name, data):
    kind = {"svg": "image/svg+xml", "png": "image/png"}.get(name.rpartition(".")[2], "image/jpeg")
    return {"name": name, "mimeType": kind, "buffer": data}


def drop(opened, name, data):
    opened.tab.evaluate("() => { document.body.dataset.ready = ''; }")
    opened.tab.set_input_files("#chooser", file(name, data))
    opened.shown(name)


def shown(tab):
    labels, shares = (tab.locator(f"#answer .{kind}").all_inner_texts() for kind in ("label", "p"))
    return labels, [float(share.removesuffix(" %")) for share in shares]


def by_python(model, source):
    probabilities = softmax(model(image.prepare(source, model.card.preprocessing)[None])[0].astype(np.float64))
    best = np.argsort(-probabilities)[:5]
    return [model.card.label(i).short for i in best], [100 * probabilities[i] for i in best]


@pytest.mark.parametrize(("name", "orientation"), [("cat.jpg", None), ("four.jpg", None), ("cat.jpg", 8)])
def test_a_jpeg_has_classifys_answer(opened, model, name, orientation):
    """One that its EXIF turns, too."""
    data = (EXAMPLES / name).read_bytes()
    if orientation:
        made, exif = io.BytesIO(), Image.Exif()
        exif[0x0112] = orientation
        Image.open(io.BytesIO(data)).save(made, "JPEG", quality=92, exif=exif)
        name, data = "turned.jpg", made.getvalue()
    tab = opened.open()
    drop(opened, name, data)
    labels, shares = shown(tab)
    wanted = by_python(model, data)
    assert labels == wanted[0] and np.abs(np.subtract(shares, wanted[1])).max() <= 0.5
    assert "decode JPEG differently" in tab.inner_text("#agreement")


def png(picture, **settings):
    made = io.BytesIO()
    picture.save(made, "PNG", **settings)
    return made.getvalue()


def test_a_png_is_turned_as_its_exif_says_and_its_pixels_are_pythons(opened, model):
    exif = Image.Exif()
    exif[0x0112] = 6  # what is up lies on the right
    data = png(Image.open(EXAMPLES / "cat.jpg").convert("RGB"), exif=exif)
    tab = opened.open()
    drop(opened, "turned.png", data)
    labels, shares = shown(tab)
    wanted = by_python(model, data)
    assert labels == wanted[0] and shares == [float(f"{share:.1f}") for share in wanted[1]]


def test_transparent_pixels_lie_over_white(opened, model):
    picture = Image.open(EXAMPLES / "coffee.jpg").convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size).point(lambda v: 255 * (v > 127)))
    data = png(picture)
    tab = opened.open()
    drop(opened, "clear.png", data)
    labels, shares = shown(tab)
    wanted = by_python(model, data)
    assert labels[0] == wanted[0][0] and abs(shares[0] - wanted[1][0]) <= 0.5


def test_a_profile_is_heeded_as_classify_heeds_it(opened, model):
    """What telephones and cameras write: numbers that mean other colours than sRGB's."""
    picture = Image.open(EXAMPLES / "four.jpg").convert("RGB")
    tab = opened.open()
    for kind, space in (("PNG", "Adobe RGB"), ("JPEG", "Display P3")):
        data, name = profiles.with_profile(picture, kind, profiles.profile(space)), f"{space}.{kind.lower()}"
        drop(opened, name, data)
        labels, shares = shown(tab)
        wanted = by_python(model, data)
        assert labels == wanted[0] and np.abs(np.subtract(shares, wanted[1])).max() <= 0.5, name
    unheeded = by_python(model, profiles.with_profile(picture, "JPEG", profiles.profile("sRGB")))
    assert abs(unheeded[1][0] - wanted[1][0]) > 2  # without its profile the last one is another photo


def test_what_is_transparent_everywhere_is_refused(opened):
    """Nothing of it reaches the page; a picture that is white all over is one."""
    tab, clear = opened.open(), Image.open(EXAMPLES / "cat.jpg").convert("RGBA")
    clear.putalpha(0)
    tab.set_input_files("#chooser", file("unseen.png", png(clear)))
    tab.wait_for_function("() => document.getElementById('drop-said').textContent.startsWith('unseen.png is transparent')")
    assert tab.inner_text("#path-photo") == "coffee"
    drop(opened, "white.png", png(Image.new("RGBA", (96, 96), "white")))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("empty.jpg", b""),
        ("text.jpg", b"no image at all"),
        ("broken.jpg", b"\xff\xd8\xff\xe0" + bytes(100)),
        ("drawn.svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)' width='9' height='9'/>"),
    ],
)
def test_what_is_no_image_is_one_line_and_the_page_stays(opened, name, data):
    tab = opened.open()
    tab.set_input_files("#chooser", file(name, data))
    tab.wait_for_function(f"() => document.getElementById('drop-said').textContent.startsWith('{name} is no image')")
    assert tab.inner_text("#path-photo") == "coffee"


def test_whatever_else_goes_wrong_is_said_too(opened):
    tab = opened.open()
    tab.evaluate(
        """() => {
            const { toDataURL } = HTMLCanvasElement.prototype;
            HTMLCanvasElement.prototype.toDataURL = () => {
                HTMLCanvasElement.prototype.toDataURL = toDataURL;
                throw new Error("no memory");
            };
        }"""
    )
    tab.set_input_files("#chooser", file("large.png", png(Image.new("RGB", (96, 96), "teal"))))
    tab.wait_for_function("() => document.getElementById('drop-said').textContent.includes('taken apart (no memory)')")
    assert tab.inner_text("#path-photo") == "coffee"


def test_a_hostile_name_is_text(opened):
    name = "<img src=x onerror=alert(1)>&amp;\u202egpj.png"
    tab = opened.open()
    drop(opened, name, png(Image.new("RGB", (96, 96), "teal")))
    assert tab.inner_text("#path-photo") == name
    assert tab.locator("main img[src='x'], nav img").count() == 0
    tab.set_input_files("#chooser", file("<b>bold</b>.png", b"x"))
    tab.wait_for_function("() => document.getElementById('drop-said').textContent.startsWith('<b>bold</b>.png is no image')")


def test_a_second_photo_of_the_same_name_gets_a_number(opened):
    tab = opened.open()
    tab.set_input_files("#chooser", file("coffee", png(Image.new("RGB", (96, 96), "teal"))))
    opened.shown("coffee (2)")
    assert {"coffee", "coffee (2)"} <= set(tab.locator("#gallery bdi").all_inner_texts())
    opened.open()
    assert tab.inner_text("#answer .label >> nth=0") == "espresso"


def test_a_link_to_a_photo_that_was_dropped_elsewhere_says_so(opened):
    tab = opened.open("photo=holiday.jpg&block=block1.0&channel=25&place=16,3")
    assert "holiday.jpg, a photo that this file does not hold" in tab.inner_text("#drop-said")
    tab.locator("#gallery .thumb").first.press("Enter")
    tab.wait_for_function("() => document.getElementById('drop-said').textContent === ''")


def test_a_photo_may_be_dropped_anywhere(opened):
    tab = opened.open()
    data = list(png(Image.open(EXAMPLES / "cat.jpg").resize((120, 96))))
    tab.evaluate(
        """data => {
            const dropped = new DataTransfer();
            dropped.items.add(new File([new Uint8Array(data)], "dropped.png"));
            document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: dropped, bubbles: true, cancelable: true }));
        }""",
        data,
    )
    opened.shown("dropped.png")
    assert "has not left this computer" in tab.inner_text("#photo-note")
