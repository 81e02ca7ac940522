"""What if, in Chromium: each change against Python, the maps made flat, and all of it by the keyboard."""

import re
import runpy

import numpy as np
import pytest
from support import ROOT

from minivan import image, paths
from minivan.reference import softmax

pytestmark = [pytest.mark.slow, pytest.mark.browser]

START = "photo=coffee&block=block1.0&channel=25&place=16,3"


@pytest.fixture(scope="module")
def changed(model):
    """Return the likeliest class and its probability with a change, as Python has them: benchmarks/page.py's hooks."""
    hook = runpy.run_path(str(ROOT / "benchmarks" / "page.py"))["changed"]
    x = image.prepare(ROOT / "examples" / "coffee.jpg", model.card.preprocessing)[None]

    def answer(change):
        probabilities = softmax(model(x, hook=hook(model, change))[0].astype(np.float64))
        best = int(np.argmax(probabilities))
        return model.card.label(best).short, f"{100 * probabilities[best]:.1f} %"

    return answer


def after(tab, element):
    tab.wait_for_selector(f"{element} .after .p")
    return tab.inner_text(f"{element} .after .label >> nth=0"), tab.inner_text(f"{element} .after .p >> nth=0")


def test_each_change_that_is_chosen_gives_pythons_answer(opened, changed):
    tab = opened.open(START)
    for change in ("sigmoid", "taps3", "dilation5"):
        tab.locator(f"[name='change'][value='{change}']").check()
        opened.drawn()
        tab.wait_for_function("() => document.querySelector('#change-answer .after')")
        assert after(tab, "#change-answer") == changed(change), change
        assert tab.inner_text("#path-change") == tab.inner_text(f"label:has([value='{change}'])").strip()
    tab.wait_for_function("() => location.hash.includes('whatif=dilation5')")
    tab.locator("[name='change'][value='none']").check()
    opened.drawn()
    assert not tab.is_visible("#path-change") and tab.locator("#change-answer .after").count() == 0


def test_the_keys_choose_a_change_and_move_a_slider(opened, changed):
    tab = opened.open(START)
    tab.locator("[name='change'][value='none']").focus()
    tab.keyboard.press("ArrowDown")
    assert after(tab, "#change-answer") == changed("one")
    tab.locator("#slider-K").focus()
    tab.keyboard.press("ArrowRight")
    assert tab.inner_text("#out-K") == "22" and "22 × 22" in tab.inner_text("#footprint-said")
    tab.keyboard.press("ArrowLeft")
    assert "21 × 21" in tab.inner_text("#footprint-said")


def test_the_maps_become_flat_before_ones_eyes_and_come_back(opened, changed):
    """By the keyboard: the tiles are those of the network in which each map, in all blocks, is its mean."""
    tab = opened.open(START)
    labels = "[...document.querySelectorAll('#tiles .tile')].map((tile) => tile.title)"
    trained = tab.evaluate(labels)
    tab.locator("#means").press("Enter")
    assert after(tab, "#means-answer") == changed("mean")
    flat = tab.evaluate(labels)
    assert [label.split(":")[0] for label in flat] == [label.split(":")[0] for label in trained]
    assert all(label.endswith("spread 0.00") for label in flat) and flat != trained
    assert tab.inner_text("#means").startswith("Give every place")
    tab.locator("#means").press("Enter")
    tab.wait_for_function("() => !document.querySelector('#means-answer .after')")
    assert tab.evaluate(labels) == trained


def test_the_keys_paint_and_open_a_tile(opened, model):
    """The brush begins in the middle: what is painted there reaches what Python says, in the last stage and in the answer."""
    tab = opened.open(START)
    tab.locator("#unpoke").press("Enter")
    tab.locator("#poke").press("ArrowRight")
    tab.locator("#poke").press("Enter")
    tab.wait_for_selector("#poke-reach .reaches")
    x = image.prepare(ROOT / "examples" / "coffee.jpg", model.card.preprocessing)[None]
    painted = x.copy()
    painted[:, :, 48 - 7 : 48 + 7, 52 - 7 : 52 + 7] = 0
    found = {}
    for name, images in (("before", x), ("after", painted)):
        layers = found[name] = {}
        layers["head"] = model(images, hook=lambda path, array, kept=layers: kept.__setitem__(path, array[0]))[0]
    for stage, path in enumerate(paths.norms(4), start=1):
        apart = found["after"][path].astype(np.float64) - found["before"][path]
        touched = int((np.sqrt((apart**2).mean(axis=0)) > 0.01).sum())
        said = tab.locator("#poke-reach figcaption").nth(stage - 1).inner_text()
        assert int(re.search(r": (\d+) of", said)[1]) == pytest.approx(touched, abs=1), path  # some lie at 0.01 to a bit
    assert "more than 0.01" in tab.inner_text("#poke-reach .note")
    probabilities = softmax(found["after"]["head"].astype(np.float64))
    assert after(tab, "#poke-reach")[1] == f"{100 * probabilities.max():.1f} %"
    tab.locator("#unpoke").press("Enter")
    tile = tab.locator("#tiles .tile").nth(3)
    channel = tile.get_attribute("data-channel")
    tile.press("Enter")
    tab.wait_for_function("channel => location.hash.includes(`channel=${channel}&`)", arg=channel)
