"""The page in Chromium: its numbers against `exact`, and everything that a hand can do to it."""

import re

import numpy as np
import pytest
from support.tab import LAPTOP, Opened

from minivan import image, lka, page, paths, shipped
from minivan.reference import softmax

pytestmark = [pytest.mark.slow, pytest.mark.browser]

HASH_PAUSE = 500  # milliseconds, in which the address follows what is shown
STEPS = {
    "u": paths.GATED,
    "near": f"{paths.UNIT}.conv0",
    "far": f"{paths.UNIT}.conv_spatial",
    "attention": paths.FACTOR,
    "gated": paths.UNIT,
}
PLACES = [
    "block1.0&channel=25&place=16,3",
    "block1.2&channel=0&place=0,0",
    "block2.1&channel=40&place=11,5",
    "block4.1&channel=255&place=2,2",
    "block1.0&channel=3&place=1,4",  # no digits do: what rounding costs is a term of its own
]


def number(text):
    return float(text.replace("\u2212", "-").replace("+", ""))


def shown(tab, selector):
    return number(tab.inner_text(selector))


def place_of(address):
    block, channel, row, column = re.match(r"([\w.]+)&channel=(\d+)&place=(\d+),(\d+)", address).groups()
    return block, int(channel), int(row), int(column)


def rows(tab, table):
    """A sum as the page writes it: the terms, and what they come to."""
    values = [number(text) for text in tab.locator(f"{table} .sum").first.locator("td.value").all_inner_texts()]
    return values[:-1], values[-1]


def test_the_footer_says_that_the_bits_are_pythons(opened):
    tab = opened.open()
    assert "largest difference 0." in tab.inner_text("#agreement")


def test_it_begins_where_the_sentence_says_most(opened):
    tab = opened.load()
    assert tab.inner_text("#hook-where") == "block1.0, channel 2, row 14, column 7"
    assert "23 × 23 places, of which 399 are on the map" in tab.inner_text("#hook-hint")  # rows 3 to 23, columns 0 to 18


def test_the_answer_is_pythons(opened, layers, model):
    tab = opened.open()
    probabilities = softmax(layers["head"].astype(np.float64))
    best = np.argsort(-probabilities)[:5]
    assert tab.locator("#answer .label").all_inner_texts() == [model.card.label(i).short for i in best]
    assert tab.locator("#answer .p").all_inner_texts() == [f"{100 * probabilities[i]:.1f} %" for i in best]
    assert tab.locator("#stages .label").all_inner_texts() == tab.locator("#answer .label").all_inner_texts()


def test_an_answer_that_is_not_sure_says_where_the_limit_lies(opened, model):
    tab = opened.open("photo=astronaut&block=block1.0&channel=25&place=16,3", "astronaut")
    assert f"not sure: below {model.card.not_sure:.0%}".replace("%", " %") in tab.inner_text("#answer")


def at(tab, address):
    """Go to another view of the open page."""
    tab.evaluate("address => { location.hash = address; }", f"photo=coffee&block={address}")
    block, channel, row, column = place_of(address)
    tab.wait_for_function(
        "where => document.getElementById('hook-where').textContent === where",
        arg=f"{block}, channel {channel}, row {row}, column {column}",
    )
    return block, channel, row, column


def test_every_number_at_a_place_is_that_of_exact(opened, layers):
    tab = opened.open()
    for address in PLACES:
        block, *place = at(tab, address)
        for step, path in STEPS.items():
            value = layers[f"{block}.{path}"][tuple(place)]
            assert shown(tab, f"#value-{step}") == pytest.approx(value, abs=5.01e-4), (address, step)


def test_what_is_shown_adds_up_to_the_digit_shown(opened):
    tab = opened.open()
    for address in PLACES:
        at(tab, address)
        for step in ("near", "far", "mixed"):
            terms, total = rows(tab, f"#{step}-sum")
            assert round(sum(terms), 3) == total, (address, step)
        terms = [number(text) for text in tab.locator("#waterfall .p").all_inner_texts()]
        assert round(sum(terms[:-1]), 6) == terms[-1]
        assert [number(text) for text in tab.locator("#sentence b").all_inner_texts()] == terms
        *places, attention = (number(text) for text in tab.locator("#who-said p >> nth=0 >> b").all_inner_texts())
        assert round(sum(places), 6) == attention
        factors = re.fullmatch(r"(\S+) × (\S+) = (\S+)", tab.inner_text("#gate .product"))
        u, by, gated = map(number, factors.groups())
        assert abs(u * by - gated) < 5e-4, address
    assert tab.locator("#waterfall .rounding").count() == 1


def test_the_split_is_exact(opened, layers, model):
    """A place's share is how much the attention falls when that place of u, in all channels, becomes zero."""
    address = PLACES[0]
    tab = opened.open(f"photo=coffee&block={address}")
    block, channel, row, column = place_of(address)
    u, unit = layers[f"{block}.{paths.GATED}"].copy(), f"{block}.{paths.UNIT}"

    def attention(u):
        ops, tensors = model.engine.ops, model.tensors
        near = ops.conv2d(u[None], tensors[f"{unit}.conv0.weight"], tensors[f"{unit}.conv0.bias"], padding=2, groups=len(u))
        far = ops.conv2d(
            near,
            tensors[f"{unit}.conv_spatial.weight"],
            tensors[f"{unit}.conv_spatial.bias"],
            padding=9,
            dilation=3,
            groups=len(u),
        )
        return ops.conv2d(far, tensors[f"{unit}.conv1.weight"], tensors[f"{unit}.conv1.bias"])[0, channel, row, column]

    whole, alone = attention(u), u.copy()
    alone[:, row, column] = 0
    place, _, constant, total = (number(text) for text in tab.locator("#waterfall .p").all_inner_texts())
    assert place == pytest.approx(whole - attention(alone), abs=6e-3)
    assert constant == pytest.approx(attention(np.zeros_like(u)), abs=6e-3)
    assert total == pytest.approx(whole, abs=6e-3)


def test_the_mouse_moves_one_cursor_and_a_click_holds_it(opened):
    tab = opened.open()
    tab.locator("#map-near .map").hover(position={"x": 5, "y": 5})
    tab.wait_for_function("() => location.hash.includes('place=0,0')")
    tab.locator("#map-near .map").click(position={"x": 100, "y": 100})
    opened.drawn()
    held = tab.inner_text("#hook-where")
    tab.locator("#map-far .map").hover(position={"x": 5, "y": 5})
    opened.drawn()
    assert tab.inner_text("#hook-where") == held
    assert tab.inner_text("#path-place") in tab.inner_text("#hook-where")
    tab.keyboard.press("Tab")
    tab.locator("#map-far .map").press("Escape")
    tab.locator("#map-far .map").hover(position={"x": 6, "y": 6})
    tab.wait_for_function("() => location.hash.includes('place=0,0')")


def test_the_keys_do_what_the_mouse_does(opened):
    tab = opened.open(f"photo=coffee&block={PLACES[0]}")
    tab.locator("#map-attention .map").press("ArrowUp")
    tab.locator("#map-u .map").press("ArrowRight")
    tab.wait_for_function("() => location.hash.includes('place=15,4')")
    assert tab.inner_text("#live").startswith("row 15, column 4: ")
    tab.locator("#far-grid .kernel").press("ArrowLeft")
    assert tab.locator("#tap-window .sum").count() == 0
    tab.locator("#far-grid .kernel").press("Enter")
    tab.wait_for_selector("#tap-window .sum")
    terms, total = rows(tab, "#tap-window")
    assert round(sum(terms), 3) == total
    tab.locator("#far-grid .kernel").press("Escape")
    tab.wait_for_function("() => !document.querySelector('#tap-window .sum')")
    tab.locator("#channel-on").press("Enter")
    tab.wait_for_function("() => location.hash.includes('channel=26')")


def test_the_window_of_a_tap_is_that_of_its_place(opened, layers):
    tab = opened.open(f"photo=coffee&block={PLACES[0]}")
    block, channel, row, column = place_of(PLACES[0])
    tab.locator("#far-grid .tap").nth(3 * 7 + 4).click()  # one to the right of the middle: three columns on
    tab.wait_for_selector("#tap-window .sum")
    _, total = rows(tab, "#tap-window")
    assert total == pytest.approx(layers[f"{block}.{STEPS['near']}"][channel, row, column + 3], abs=5.01e-4)
    side = tab.locator("#map-near .map").bounding_box()["width"] / 24
    tab.locator("#map-near .map").click(position={"x": (column + 0.5) * side, "y": (row + 0.5) * side})  # the cursor is held
    tab.locator("#map-near .map").click(position={"x": (column + 6.5) * side, "y": (row - 2.5) * side})  # and a dot is opened
    tab.wait_for_function("() => document.querySelector('#tap-window h4').textContent.includes('13, 9')")
    off = tab.locator("#far-grid .tap.off").count()
    assert off == 49 - 6 * 5  # row 16 of 24 and column 3: one row of taps below the map, two columns to its left


def test_a_finger_opens_a_tap_and_closes_it(browser, written):
    """On the map, where there is no pointer that a click could hold, and in the grid below it."""
    context = browser.new_context(viewport={"width": 375, "height": 812}, has_touch=True, reduced_motion="reduce")
    opened = Opened(context, written)
    tab = opened.load(f"#photo=coffee&block={PLACES[0]}")
    _, _, row, column = place_of(PLACES[0])
    near = tab.locator("#map-near .map")
    side = near.bounding_box()["width"] / 24
    near.tap(position={"x": (column + 6.5) * side, "y": (row - 2.5) * side})  # two taps to the right, one up
    tab.wait_for_selector("#tap-window .sum")
    assert "13, 9" in tab.inner_text("#tap-window h4") and tab.inner_text("#hook-where").endswith(f"row {row}, column {column}")
    tab.locator("#far-grid .tap").nth(2 * 7 + 5).tap()
    tab.wait_for_function("() => !document.querySelector('#tap-window .sum')")
    near.tap(position={"x": 0.5 * side, "y": 0.5 * side})
    tab.wait_for_function("() => document.getElementById('hook-where').textContent.endsWith('row 0, column 0')")
    assert opened.complaints == []
    context.close()


def test_a_link_reopens_the_same_view(opened):
    address = "photo=cat&block=block1.0&channel=3&place=2,20&whatif=mean&lang=zh"
    tab = opened.load(f"#{address}", "cat")
    tab.wait_for_timeout(HASH_PAUSE)
    assert tab.evaluate("location.hash") == f"#{address}"
    said = tab.inner_text("main")
    tab.reload()
    opened.shown("cat")
    tab.wait_for_function("said => document.querySelector('main').innerText === said", arg=said)


def test_a_link_that_asks_for_what_there_is_not_opens_the_page_all_the_same(opened):
    tab = opened.load("#photo=<img>&block=block9.9&channel=99999&place=-1,x&whatif=no&lang=xx&__proto__=1")
    tab.wait_for_function("() => location.hash.includes('block=block1.0')")


def test_another_address_in_an_open_page_is_followed(opened):
    tab = opened.open("photo=coffee&block=block4.1&channel=255&place=2,2")
    tab.evaluate("location.hash = 'block=block1.1'")
    tab.wait_for_function("() => location.hash.includes('block=block1.1&channel=31&place=2,2')")
    tab.evaluate("location.hash = 'photo=cat&block=block2.0&channel=7&place=1,2'")
    opened.shown("cat")
    assert tab.inner_text("#hook-where") == "block2.0, channel 7, row 1, column 2"


def test_what_an_address_leaves_out_is_as_in_a_page_just_opened(opened):
    tab = opened.open(f"photo=coffee&block={PLACES[0]}&whatif=mean")
    tab.locator("#map-u .map").press("ArrowUp")
    tab.locator("#far-grid .tap").nth(24).click()
    tab.wait_for_selector("#tap-window .sum")
    opened.open(f"photo=coffee&block={PLACES[0]}")
    assert tab.locator("#tap-window .sum").count() == 0
    assert tab.is_checked("[name='change'][value='none']")
    assert "follows" in tab.inner_text("#held")


def test_a_chip_opens_a_block_and_a_tile_its_channel(opened):
    tab = opened.open()
    tab.set_viewport_size({"width": 1280, "height": 600})
    tab.locator("#overview").scroll_into_view_if_needed()
    tab.click("[data-block='block3.4']")
    tab.wait_for_function("() => location.hash.includes('block=block3.4')")
    assert 0 <= tab.locator("#strip").bounding_box()["y"] < 400  # it opens before one's eyes
    tab.click("#tiles .tile >> nth=0")
    channel = tab.get_attribute("#tiles .tile >> nth=0", "data-channel")
    tab.wait_for_function("channel => location.hash.includes(`channel=${channel}&`)", arg=channel)


def test_a_gap_turns_red(opened):
    tab = opened.open()
    assert "23 × 23" in tab.inner_text("#footprint-said")
    tab.locator("#slider-near").fill("2")
    assert tab.locator("#footprint .gap").count() == 20**2 - 14**2
    assert tab.locator("#footprint-said.gap").count() == 1


def test_the_curve_of_costs_is_drawn_to_scale_from_zero(opened):
    tab = opened.open()
    heights = tab.evaluate(
        """() => {
            const bottom = Number(document.querySelector("#cost-curve .axis").getAttribute("y1"));
            const circles = [...document.querySelectorAll("#cost-curve .paper circle")];
            return circles.map((circle) => bottom - Number(circle.getAttribute("cy")));
        }"""
    )
    counts = [lka.spatial_weights(21, d) for d in range(1, 9)]
    assert heights == pytest.approx([heights[0] * count / counts[0] for count in counts])
    assert {str(max(counts)), str(min(counts))} <= set(tab.locator("#cost-curve .count").all_text_contents())


def test_the_class_map_adds_up_to_the_logit(opened, layers, model):
    tab = opened.open()
    tab.select_option("#cam-rival", "")
    mean, bias, logit = (number(text) for text in tab.locator("#cam-said b.number").all_inner_texts())
    assert logit == pytest.approx(layers["head"].max(), abs=5.01e-3)
    assert round(mean + bias, 6) == logit


def test_the_class_map_has_places_of_its_own(opened, layers, model):
    """It lies on the last stage, 3 x 3: pointing at it says what a place says, and leaves the block's cursor where it is."""
    tab = opened.open(f"photo=coffee&block={PLACES[0]}")
    tab.select_option("#cam-rival", "")
    best = int(np.argmax(layers["head"]))
    says = np.einsum("c,chw->hw", model.tensors["head.weight"][best].astype(np.float64), layers["norm4"])
    there = tab.inner_text("#hook-where")
    box = tab.locator("#cam-photo .map").bounding_box()
    tab.locator("#cam-photo .map").hover(position={"x": box["width"] - 4, "y": box["height"] / 2})
    assert tab.inner_text("#cam-place").startswith("Row 1, column 2 ")
    assert number(re.search(r"says (\S+)\.$", tab.inner_text("#cam-place"))[1]) == pytest.approx(says[1, 2], abs=5.01e-3)
    tab.locator("#cam-photo .map").press("ArrowUp")
    assert tab.inner_text("#live").startswith("Row 0, column 2 ") and tab.locator("#cam-numbers .picked").count() == 1
    opened.drawn()
    assert tab.inner_text("#hook-where") == there


def test_answers_stay_when_the_language_changes(opened):
    tab = opened.open()
    tab.locator("#means").click()
    tab.wait_for_selector("#means-answer .after .p")
    tab.locator("#poke").click(position={"x": 20, "y": 20})
    tab.wait_for_selector("#poke-reach .reaches")
    tab.click("[data-language='zh']")
    opened.drawn()
    for answer in ("#means-answer", "#poke-reach"):
        assert "改动后" in tab.inner_text(answer) and "after" not in tab.inner_text(answer)
    tab.click("[data-language='en']")


def test_painting_over_the_photo_reaches_further_with_every_stage(opened, model):
    tab = opened.open()
    tab.evaluate(
        """() => {
            const { left, top } = document.getElementById("poke").getBoundingClientRect();
            let y = Math.ceil(top + 50); // a whole pixel, which lies in the first half of a row of the photo
            while (Math.abs(((0.64 * (y - top)) % 1) - 0.25) > 0.2) y += 1;
            const place = { clientX: Math.round(left + 60), clientY: y, detail: 1 };
            document.getElementById("poke").dispatchEvent(new MouseEvent("click", place));
        }"""
    )
    column = "Array.from(document.getElementById('poke').getContext('2d').getImageData(38, 0, 1, 96).data)"
    grey = [round(255 * mean) for mean in model.card.preprocessing.mean]
    assert (np.array(tab.evaluate(column)).reshape(96, 4)[:, :3] == grey).all(axis=1).sum() == 14
    tab.wait_for_selector("#poke-reach .reaches")
    shares = [re.search(r"(\d+) of (\d+)", text).groups() for text in tab.locator("#poke-reach figcaption").all_inner_texts()]
    reached = [int(touched) / int(every) for touched, every in shares]
    assert reached == sorted(reached) and reached[-1] == 1


def test_the_first_step_of_the_path_finds_a_channel_that_turns_over_some_places_and_not_others(opened, layers):
    tab = opened.open()
    block, alike, *_ = at(tab, "block1.0&channel=2&place=14,7")
    attention = layers[f"{block}.{paths.FACTOR}"]
    assert (attention[alike] < 0).all()
    tab.locator("[data-step='0']").press("Enter")
    opened.drawn()
    channel = int(re.search(r"\d+", tab.inner_text("#path-channel"))[0])
    assert 0.2 < (attention[channel] < 0).mean() < 0.8
    tab.locator("#guide .shut").click()


def test_a_light_page_shows_every_number_of_its_photo(browser, model, layers, tmp_path):
    file = tmp_path / "light.html"
    size = page.write(file, model, [page.look(model, "coffee", image.decode(shipped.photo("coffee.jpg")))], light=True)
    assert size < 2_000_000
    context = browser.new_context(viewport=LAPTOP, reduced_motion="reduce")
    opened = Opened(context, file)
    tab = opened.load("#block=block4.1&channel=255&place=2,2&whatif=sigmoid")
    for step, path in STEPS.items():
        assert shown(tab, f"#value-{step}") == pytest.approx(layers[f"block4.1.{path}"][255, 2, 2], abs=5.01e-4)
    assert not tab.is_visible("#choose") and not tab.is_visible(".trained")
    tab.wait_for_function("() => location.hash.includes('place=2,2') && !location.hash.includes('whatif')")
    assert "LKA computed here" in tab.inner_text("#agreement") and "research and education" in tab.inner_text("footer")
    tab.evaluate(
        """() => {
            window.drop = new DragEvent("drop", { dataTransfer: new DataTransfer(), bubbles: true, cancelable: true });
            document.body.dispatchEvent(window.drop);
        }"""
    )
    assert tab.evaluate("window.drop.defaultPrevented") and "a full page takes any photo" in tab.inner_text("#drop-said")
    assert opened.complaints == []
    context.close()
