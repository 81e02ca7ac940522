"""How the page looks at three sizes: its layout anywhere, its pixels where the browser and fonts of the kept ones drew it.

MINIVAN_KEEP_PICTURES=1 keeps what is drawn as tests/page/pictures/*.png, and the page's beginning as docs/pictures/explore.png:
look at each of them before it is committed.
"""

import io
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import ROOT
from support.tab import Opened

pytestmark = [pytest.mark.slow, pytest.mark.browser]

KEPT = Path(__file__).parent / "pictures"
RECORD = KEPT / "drawn_by.json"
README = ROOT / "docs" / "pictures" / "explore.png"
SIZES = {"phone": (375, 812), "laptop": (1280, 900), "projector": (1920, 1080)}
SHRUNK = 3  # screen pixels to one of a kept picture: it shows every part, and no edge of a letter decides
COLOURS = 96  # of a kept picture
NEAR, MOST_ELSEWHERE = 48, 0.004  # of 255; the share of pixels that may be further away: a caret, an edge that moved by half


def drawn_by(browser, tab):
    """Return what decides about pixels: the browser's version, and how wide its fonts write two texts."""
    width = """text => {
        const context = document.createElement("canvas").getContext("2d");
        context.font = `40px ${getComputedStyle(document.body).fontFamily}`;
        return context.measureText(text).width;
    }"""
    widths = [round(tab.evaluate(width, text), 2) for text in ("Attention 0.33", "注意力")]
    return {"chromium": browser.version, "widths": widths}


@pytest.fixture(scope="module", params=SIZES)
def seen(request, browser, written):
    width, height = SIZES[request.param]
    context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce")
    tab = Opened(context, written).load()
    tab.evaluate("() => { document.getElementById('agreement').textContent = ''; }")  # it says how many milliseconds went by
    yield request.param, tab
    context.close()


def boxes(tab, *selectors):
    found = [tab.locator(selector).first.bounding_box() for selector in selectors]
    return [(round(box["x"]), round(box["y"]), round(box["width"]), round(box["height"])) for box in found]


def test_nothing_is_wider_than_the_window(seen):
    size, tab = seen
    assert tab.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]


def test_the_beginning_is_on_the_first_screen(seen):
    """A photo, and the sentence of its numbers; on a phone the one above the other."""
    size, tab = seen
    photo, sentence, answer = boxes(tab, "#hook-photo .map", "#sentence", "#answer")
    if size == "phone":
        assert photo[1] + photo[3] <= sentence[1] < answer[1]
        assert photo[0] >= 10 and photo[0] + photo[2] <= 365
    else:
        assert photo[0] + photo[2] <= sentence[0] < sentence[0] + sentence[2] <= answer[0]
        assert max(y + height for _, y, _, height in (photo, sentence, answer)) <= SIZES[size][1]


def test_the_five_maps_are_in_a_row_and_square(seen):
    size, tab = seen
    maps = boxes(tab, *(f"#map-{step} .map" for step in ("u", "near", "far", "attention", "gated")))
    assert all(abs(width - height) <= 1 for _, _, width, height in maps)
    tops, lefts = [y for _, y, _, _ in maps], [x for x, _, _, _ in maps]
    if size == "phone":
        assert len(set(lefts)) == 1 and tops == sorted(tops)
    else:
        assert max(tops) - min(tops) <= 1 and lefts == sorted(lefts)


def test_no_text_is_cut_off_or_lies_on_another(seen):
    """Labels that are wider than their box and hidden beyond it, but for names, which end in an ellipsis."""
    _, tab = seen
    cut = tab.evaluate(
        """() => [...document.querySelectorAll("button, h1, h2, h3, h4, p, figcaption, td, th, label, .group, .name")]
            .filter((each) => each.offsetParent && each.scrollWidth > each.clientWidth + 1 && each.clientWidth > 1)
            .filter((each) => getComputedStyle(each).display !== "inline" && !each.classList.contains("thumb"))
            .map((each) => each.textContent)"""
    )
    assert cut == []


def keep_for_the_readme(tab):
    width = tab.evaluate("document.documentElement.clientWidth")
    head = Image.open(io.BytesIO(tab.screenshot(clip={"x": 0, "y": 0, "width": width, "height": 600}))).convert("RGB")
    head.quantize(256, dither=Image.Dither.NONE).save(README, optimize=True)


def test_it_looks_as_it_did(seen, browser, tmp_path):
    size, tab = seen
    now = Image.open(io.BytesIO(tab.screenshot(full_page=True))).convert("RGB").reduce(SHRUNK)
    if os.environ.get("MINIVAN_KEEP_PICTURES"):
        KEPT.mkdir(exist_ok=True)
        now.quantize(COLOURS, dither=Image.Dither.NONE).save(KEPT / f"{size}.png", optimize=True)
        if size == "laptop":
            keep_for_the_readme(tab)
        RECORD.write_text(json.dumps(drawn_by(browser, tab), indent=1) + "\n", encoding="utf-8")
    if drawn_by(browser, tab) != json.loads(RECORD.read_text(encoding="utf-8")):
        return  # another browser or other fonts: the layout is asserted above
    now.save(tmp_path / f"{size}.png")
    kept = Image.open(KEPT / f"{size}.png").convert("RGB")
    assert now.size == kept.size, tmp_path
    far = np.abs(np.asarray(now, int) - np.asarray(kept, int)).max(axis=2) > NEAR
    rows = SHRUNK * np.flatnonzero(far.any(axis=1))
    assert far.mean() <= MOST_ELSEWHERE, f"{far.mean():.2%} of {size} have changed, in rows {rows}: {tmp_path}"


def test_a_saved_section_is_headed_by_the_changes_that_it_shows(opened):
    """And by whatever the photo is called, even what no XML may hold."""
    tab = opened.open("photo=coffee&block=block1.0&channel=25&place=16,3&whatif=sigmoid")
    tab.evaluate(
        """() => {
            const { serializeToString } = XMLSerializer.prototype;
            XMLSerializer.prototype.serializeToString = function (picture) {
                window.heading = picture.querySelector("body > p").textContent;
                return serializeToString.call(this, picture);
            };
        }"""
    )

    def heading(section):
        with tab.expect_download():
            tab.locator(f"#{section} .save").press("Enter")
        return tab.evaluate("window.heading")

    assert "sigmoid" in heading("whatif")
    assert not any(word in heading(section) for section in ("chain", "channels") for word in ("sigmoid", "its mean"))
    tab.locator("#means").press("Enter")
    tab.wait_for_selector("#means-answer .after .p")
    assert "its mean" in heading("channels")
    tab.evaluate("() => { document.querySelector('#block h2').textContent = 'a\\x01b\\ud800c\\uffff'; }")
    assert "block1.0" in heading("block")
    tab.evaluate("() => { Image.prototype.decode = () => Promise.reject(new Error('no memory')); }")
    tab.locator("#block .save").press("Enter")
    tab.wait_for_function("() => document.querySelector('#block .save').textContent.includes('(no memory)')")
    tab.evaluate("() => { Image.prototype.decode = () => new Promise(() => {}); }")
    tab.locator("#block .save").press("Enter")
    tab.wait_for_function("() => document.querySelector('#block .save').textContent === 'Save as PNG'")


SAVED = {"phone": "hook", "laptop": "whatif", "projector": "chain"}  # a section at each size


def test_a_section_is_saved_as_it_looks(seen, tmp_path):
    """At twice the size, below a line that says of what it is: photo, maps and marks, sums, what is ticked and chosen."""
    size, tab = seen
    section = SAVED[size]
    tab.locator("#same-scale").check()
    tab.locator("#slider-near").fill("2")
    with tab.expect_download() as download:
        tab.locator(f"#{section} .save").press("Enter")
    view = re.search(r"block=(.*?)&channel=(\d+)&place=(\d+),(\d+)", tab.evaluate("location.hash"))
    assert download.value.suggested_filename == f"minivan-coffee-{'-'.join(view.groups())}-{section}.png"
    download.value.save_as(tmp_path / "saved.png")
    tab.evaluate("() => document.activeElement.blur()")
    tab.evaluate("() => { document.querySelector('.path').style.position = 'static'; }")  # not over what is looked at
    shown = Image.open(io.BytesIO(tab.locator(f"#{section}").screenshot())).convert("RGB")
    with Image.open(tmp_path / "saved.png") as picture:
        assert picture.format == "PNG" and picture.width == 2 * tab.evaluate("document.documentElement.clientWidth")
        saved = picture.convert("RGB").reduce(2)
    left, above = (saved.width - shown.width) // 2, saved.height - shown.height
    saved = saved.crop((left, above, left + shown.width, saved.height))
    near = [np.asarray(each.reduce(6), int) for each in (shown, saved)]
    far = np.abs(near[0] - near[1]).max(axis=2) > NEAR
    assert far.mean() < 0.02, (f"{far.mean():.2%} of {section} are otherwise", tmp_path)
