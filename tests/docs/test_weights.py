"""Sentences about the bundled weights: what they say follows from the weights' card, and from what they answer."""

import re

import pytest
from support import EXAMPLES, ROOT

import minivan
from minivan import explain, geometry
from minivan.checkpoint.hub import bundled
from minivan.image import prepare
from minivan.predict import guesses


def text(path):
    return " ".join((ROOT / path).read_text(encoding="utf-8").split())


@pytest.fixture(scope="module")
def model():
    return minivan.load(bundled()[0])


def test_sizes_are_those_of_the_card(model):
    crop, view = model.card.preprocessing.crop, explain.view_side(model.card.preprocessing)
    last = geometry.stage_sizes(model.config.stages, crop, crop)[-1][0]
    assert f"200 of ImageNet's classes, at {crop} x {crop} pixels" in text("README.md")
    page = text("docs/explain.md")
    assert f"trained on {crop} x {crop} pixels, where the last stage has {last} x {last} positions" in page
    assert f"the photo larger: at {view} x {view} ({view // 32} x {view // 32} positions)" in page
    assert f"shorter side to {model.card.preprocessing.resize} (bicubic), centre crop {crop}" in text("weights/README.md")
    assert f"--resize {model.card.preprocessing.resize} --crop {crop}" in text("weights/README.md")


def test_the_threshold_and_the_version_are_those_of_the_card(model):
    assert f"*not sure* below a probability of {model.card.not_sure}." in text("README.md")
    about = text("weights/README.md")
    assert f"Below {model.card.not_sure}, where most answers are wrong" in about
    assert f"--weights-version {model.card.version} --not-sure {model.card.not_sure}" in about
    assert f"| version | {model.card.version}, which the file says itself" in about
    lesson = text("examples/sources/06_a_photo_through_the_network.py")
    assert f"below a first probability of {model.card.not_sure} in about # one case of five" in lesson


def test_the_photographs_are_what_the_pages_call_them(model):
    said = {}
    for name in ("cat", "coffee", "rocket", "astronaut"):
        best = guesses(model.card, model(prepare(EXAMPLES / f"{name}.jpg", model.card.preprocessing)[None])[0], 1)[0]
        said[name] = f"{best.label.split(',')[0]} at {best.probability:.2f}"
        assert f"{name}.jpg is {said[name]}" in text("weights/README.md")
    assert f"`examples/rocket.jpg` is an {said['rocket']}. " in text("README.md")


def test_one_case_of_five_is_right_below_the_threshold():
    """The table of weights/README.md, which a slow test measures again, bears out the lesson's sentence."""
    rows = re.findall(
        r"^\| (?:below 0\.2|0\.2 to 0\.3) \| (\d+) \| (\d+) % \|$", (ROOT / "weights/README.md").read_text(), re.M
    )
    assert len(rows) == 2
    share = sum(int(n) * int(right) for n, right in rows) / sum(int(n) for n, _ in rows)
    assert 17 < share < 23


def test_the_recipe_has_the_facts_of_the_weights_page():
    recipe = text("docs/training.md").partition("## ")[2].partition("# Training a VAN")[0].partition("include")[0]
    known = re.findall(r"\d[\d.,]*\d|\d", text("weights/README.md"))
    told = re.findall(r"\d[\d.,]*\d|\d", recipe)
    assert len(told) > 20 and not [number for number in told if number not in known]
