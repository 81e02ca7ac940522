"""The guided path in Chromium: eight steps, five questions, and a card that does not lie on what it speaks of."""

import json

import pytest
from support import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.browser]


def test_the_guided_path_asks_first_and_the_page_answers(opened):
    """All eight steps; of the five questions each choice is judged, and one of them is right."""
    tab = opened.open()
    found = {}
    for step in range(8):
        tab.locator(f"[data-step='{step}']").press("Enter")
        tab.wait_for_selector("#guide:focus")
        assert f"Step {step + 1} of 8" in tab.inner_text("#guide .count")
        for choice in range(tab.locator("[data-choice]").count()):
            tab.locator(f"[data-choice='{choice}']").press("Enter")
            tab.wait_for_function("() => /^(Yes|No)[.]/.test(document.getElementById('guide-answer').textContent)")
            tab.wait_for_selector(f"[data-choice='{choice}'].right, [data-choice='{choice}'].wrong")
            right = tab.get_attribute("#guide .right", "data-choice")
            assert found.setdefault(step, right) == right
            assert tab.inner_text("#guide-answer").startswith("Yes." if int(right) == choice else "No.")
            assert "{" not in tab.inner_text("#guide") and "undefined" not in tab.inner_text("#guide")
        if step in (1, 3, 7):
            told = {1: "24, 12, 6, 3: on 3 stages", 3: "= 23", 7: "442, 74, 178"}[step]
            assert told in tab.inner_text("#guide-answer")
        if step == 6:
            answer = tab.inner_text("#guide-answer")
    assert {step: right for step, right in found.items() if step != 6} == {1: "2", 3: "1", 5: "2", 7: "1"}
    measured = json.loads((ROOT / "minivan" / "page" / "figures.json").read_text(encoding="utf-8"))
    right = [f"{100 * measured['accuracy'][change] / measured['images']:.1f} %" for change in ("none", "mean")]
    assert f"Of {measured['images']} labelled images {right[0]} are right before, {right[1]} after." in answer
    assert "Changed after training" in answer
    tab.locator("#guide .shut").click()
    assert not tab.is_visible("#guide")
    tab.locator("#means").click()  # the same, further down
    tab.wait_for_selector("#means-answer .after .p")
    before, then = (tab.inner_text(f"#means-answer .{when} .label >> nth=0") for when in ("before", "after"))
    assert f"{then} {tab.inner_text('#means-answer .after .p >> nth=0')}" in answer
    assert found[6] == ("0" if before == then else "1")


@pytest.mark.parametrize("width", [1280, 375])
def test_the_card_of_the_path_does_not_lie_on_what_it_speaks_of(opened, width):
    """On a telephone it lies below: the beginning of a list, and a grid of which the last row may be covered."""
    tab = opened.open()
    tab.set_viewport_size({"width": width, "height": 812})
    for step, part in (("2", "#near-grid"), ("3", "#far-grid"), ("4", "#mixed-sum"), ("5", "#gate")):
        tab.locator(f"[data-step='{step}']").click()
        card, about = tab.locator("#guide").bounding_box(), tab.locator(part).bounding_box()
        beside = card["x"] >= about["x"] + about["width"] or card["x"] + card["width"] <= about["x"]
        path = tab.locator(".path").bounding_box()
        below = path["y"] + path["height"] <= about["y"] and about["y"] + min(about["height"], 150) <= card["y"]
        assert beside if width > 640 else below, (step, card, about)
    tab.locator("#guide .shut").click()
