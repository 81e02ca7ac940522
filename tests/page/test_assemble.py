"""The page's file: one policy, no network, and nothing that comes from elsewhere is markup."""

import dataclasses
import hashlib
import html.parser
import json
import re
import runpy
from base64 import b64decode, b64encode

import numpy as np
import pytest
from PIL import Image
from support import ROOT
from support.networks import random_tensors

import minivan
from minivan import geometry, image, lka, page, shipped
from minivan.card import Card, Label, Preprocessing
from minivan.checkpoint import bundled
from minivan.cli.explore import GALLERY
from minivan.page import assemble
from minivan.page.contents import Photo, as_file, describe, weights
from minivan.reference import softmax
from minivan.variants import Config

pytestmark = pytest.mark.loop

HOSTILE = "</script><script>alert(1)</script><!-- & \"'"
SHAPE = Config((4, 8), (1, 1), (2, 2), classes=3)
TOLD = (ROOT / "docs" / "explore.md").read_text(encoding="utf-8")
MODULES = sorted(path.name for path in assemble.HERE.glob("*.js"))


class Elements(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.found, self.texts = [], []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        self.texts.append("")

    def handle_endtag(self, tag):
        self.handle_starttag("", {})  # what follows is no part of it

    def handle_data(self, data):
        if self.texts:
            self.texts[-1] += data

    def named(self, name):
        return [(attributes, text) for (tag, attributes), text in zip(self.found, self.texts, strict=True) if tag == name]


@pytest.fixture(scope="module")
def network():
    card = Card("tiny", Preprocessing(64, 64), (Label("", HOSTILE), Label("", "cat, tom"), Label("", "dog")))
    tensors = {name: tensor * np.float32(1.0001) for name, tensor in random_tensors(SHAPE).items()}  # float16 holds few of them
    return minivan.VAN(SHAPE, tensors, "numpy", card)


@pytest.fixture(scope="module")
def elements(network, tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "page.html"
    size = page.write(file, network, [Photo(HOSTILE, bytes(3 * 64 * 64), b"jpeg", np.zeros(3, np.float32))])
    assert file.stat().st_size == size
    parser = Elements()
    parser.feed(file.read_text(encoding="utf-8"))
    return parser


def test_no_name_becomes_markup(elements):
    scripts = elements.named("script")
    assert [attributes.get("id") for attributes, _ in scripts] == ["description", "engine", "weights", None]
    description = json.loads(scripts[0][1])
    assert description["labels"] == [HOSTILE.split(",")[0].strip(), "cat", "dog"]
    assert description["photos"][0]["name"] == HOSTILE


def test_the_policy_names_the_script_and_the_style_and_no_network(elements):
    policy = next(a["content"] for a, _ in elements.named("meta") if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules.pop("default-src") == "'none'"
    for rule, text in (("script-src", elements.named("script")[-1][1]), ("style-src", elements.named("style")[0][1])):
        digest = b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules.pop(rule) == f"'sha256-{digest}'"
    assert rules == {"img-src": "data: blob:", "worker-src": "blob:", "base-uri": "'none'", "form-action": "'none'"}


def test_the_weights_are_those_of_the_network(elements, network, tmp_path):
    from minivan.checkpoint import safetensors_file

    (tmp_path / "weights").write_bytes(b64decode(elements.named("script")[2][1]))
    with safetensors_file.open_safetensors(tmp_path / "weights") as (stored, _, _):
        assert {name: tensor.read().tobytes() for name, tensor in stored.items()} == {
            name: np.ascontiguousarray(tensor, np.float32).tobytes() for name, tensor in network.tensors.items()
        }


def test_numbers_that_float16_holds_are_written_so(network):
    halved = {name: tensor.astype(np.float16).astype(np.float32) for name, tensor in network.tensors.items()}
    assert b'"F32"' not in as_file(weights(minivan.VAN(SHAPE, halved, "numpy", network.card)))
    assert b'"F16"' not in as_file(weights(network))


@pytest.mark.parametrize(
    ("config", "wanted", "activation", "message"),
    [
        ({"classes": 0}, {}, "softmax", "without a head"),
        ({"channels": 1}, {"mean": [0.5], "std": [0.5]}, "softmax", "takes images of 1 channel: name weights for photos"),
        ({}, {}, "sigmoid", "these weights want sigmoid: name weights"),
        ({}, {"interpolation": "bilinear"}, "softmax", "these weights want bilinear: convert them"),
    ],
    ids=["no head", "one channel", "sigmoid", "bilinear"],
)
def test_a_network_whose_answers_would_not_be_classifys_is_refused_in_one_line(config, wanted, activation, message):
    """Before anything is computed: the page's browser resizes by bicubic interpolation, and makes probabilities by softmax."""
    shape = dataclasses.replace(SHAPE, **config)
    card = Card("tiny", Preprocessing(64, 64, **wanted), activation=activation)
    network = minivan.VAN(shape, random_tensors(shape), "numpy", card)
    for refuse in (page.check, lambda model: page.look(model, "", Image.new("RGB", (9, 9))), lambda model: describe(model, [])):
        with pytest.raises(ValueError, match=message) as raised:
            refuse(network)
        assert "\n" not in str(raised.value)


def test_weights_that_no_page_holds_are_refused(network, monkeypatch):
    monkeypatch.setattr("minivan.page.contents.MOST_WEIGHTS", 1000)
    with pytest.raises(ValueError, match=r"more than a page holds, 1000 bytes"):
        weights(network)


def test_every_module_is_in_the_page_after_those_that_it_imports():
    assert sorted({*assemble.PAGE, *assemble.ENGINE}) == MODULES
    for names in (assemble.PAGE, assemble.ENGINE):
        for at, name in enumerate(names):
            imported = {f"{match[2]}.js" for match in assemble.IMPORT.finditer(assemble.part(name))}
            assert imported <= set(names[:at]), name
            lines = assemble.part(name).splitlines()
            assert len(lines) <= 400
            assert name == "texts.js" or [line for line in lines if len(line) > 128] == [], name


def test_lines_may_end_as_on_windows(monkeypatch, tmp_path):
    wanted = assemble.script(assemble.PAGE)
    for name in MODULES:
        (tmp_path / name).write_bytes((assemble.HERE / name).read_bytes().replace(b"\n", b"\r\n"))
    monkeypatch.setattr(assemble, "HERE", tmp_path)
    assert assemble.script(assemble.PAGE) == wanted and "\nimport " not in wanted


@pytest.mark.parametrize("name", MODULES)
def test_no_module_makes_markup_or_code_of_text_or_asks_for_anything(name):
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|fetch\(|XMLHttpRequest|https?://(?!www\.w3\.org/2000/svg|github\.com/huggingface/safetensors#format)"
    assert not re.search(forbidden, assemble.part(name))


def table():
    """The page's texts, key -> (English, Chinese)."""
    entries = re.findall(
        r"^  (\w+): \[\s*\"((?:[^\"\\]|\\.)*)\",\s*\"((?:[^\"\\]|\\.)*)\",?\s*\],$", assemble.part("texts.js"), re.MULTILINE
    )
    found = {key: texts for key, *texts in entries}
    keys = re.findall(r"^  (\w+): ", assemble.part("texts.js"), re.MULTILINE)
    assert keys == list(found), "an entry is written otherwise, or twice"
    return found


def test_every_text_is_there_in_both_languages():
    for key, (english, chinese) in table().items():
        assert sorted(re.findall(r"\{\w+\}", english)) == sorted(re.findall(r"\{\w+\}", chinese)), key
        assert english and chinese, key


NUMBERED = {  # texts with sizes that nothing fills in -> what they say of the network's own kernels
    "does_near": ["{near} × {near}"],
    "does_far": ["{far} × {far}", "{d}"],
    "does_attention": ["{mix} × {mix}"],
    "near_grid": ["{near} × {near}"],
    "far_grid": ["{far} × {far}"],
    "cost_mobilenet": ["{mix} × {mix}"],
    "change_taps5": ["5 × 5"],
    "change_taps3": ["3 × 3"],
    "strip_lead": ["{mlp} × {mlp}"],
    "guide_shrink_text": ["{reads} × {reads}"],
    "guide_near_text": ["{near} × {near}"],
    "guide_far_text": ["{far} × {far}", "{far} × {d} = {K}"],
    "guide_far_0": ["{K} × {K}"],
    "guide_far_1": ["{reads} × {reads}"],
    "guide_far_2": ["49 × 49"],
    "guide_far_answer": ["{out}", "2 × ({out} + {inner}) + 1 = "],
    "guide_mix_text": ["{mix} × {mix}"],
    "guide_cost_text": ["{K} / d"],
}


def test_sizes_that_nothing_fills_in_are_the_networks_own():
    near, far, K = geometry.CONV0, geometry.CONV_SPATIAL, geometry.LARGE_KERNEL
    own = {"near": near.side, "far": far.side, "mix": geometry.POINTWISE.side, "mlp": geometry.DWCONV.side, "K": K}
    own |= {"d": far.dilation, "reads": lka.support(K, far.dilation), "out": far.reach, "inner": near.reach}
    texts = {key: [text.replace(" x ", " × ") for text in both] for key, both in table().items()}
    for key, parts in NUMBERED.items():
        assert all(part.format(**own) in text for part in parts for text in texts[key]), key
    assert {key for key, (english, _) in texts.items() if re.search(r"\d [×/] [\dd]|\d \+ ", english)} == NUMBERED.keys()


def test_the_gallerys_photos_do_what_is_said_of_them():
    """The two that work are right; of the two that fail the network is sure of the one and not of the other."""
    model = minivan.load(bundled()[0], engine="numpy")
    looked = [page.look(model, name, image.decode(shipped.photo(f"{name}.jpg"))) for name in GALLERY]
    coffee, cat, rocket, astronaut = (softmax(photo.logits.astype(np.float64)) for photo in looked)
    assert [model.card.label(int(each.argmax())).short for each in (coffee, cat)] == ["espresso", "Egyptian cat"]
    assert coffee.max() > cat.max() > model.card.not_sure
    assert rocket.max() >= model.card.not_sure > astronaut.max()


def offered():
    """The changes that the page offers."""
    return re.findall(r'"(\w+)"', re.search(r"export const CHANGES = \[(.*?)\];", assemble.part("whatif.js"), re.DOTALL)[1])


def guide():
    """The steps of the guided path: name -> how many choices its question has."""
    steps = re.search(r"const STEPS = \[(.*?)\n\];", assemble.part("guide.js"), re.DOTALL)[1].splitlines()
    lines = [line for line in steps if "name:" in line]
    choices = [re.search(r"choices: (\d)", line) for line in lines]
    names = [re.search(r'name: "(\w+)"', line)[1] for line in lines]
    return {name: int(found[1]) if found else 0 for name, found in zip(names, choices, strict=True)}


def filled():
    """Keys that the code puts together: how -> all that come of it."""
    asking, steps = [name for name, choices in guide().items() if choices], ("u", "near", "far", "attention", "gated")
    return {
        "change_{}": offered(),
        "slider_{}": ("K", "d", "near", "C", "side"),
        "step_{}": steps,
        "rule_{}": ("paper", "least"),
        "cost_{}": ("lka", "mobilenet", "self", "dense"),
        "guide_{}": guide(),
        "guide_{}_text": guide(),
        "guide_{}_answer": asking,
        "guide_{}_{}": [f"{name}_{i}" for name, choices in guide().items() for i in range(choices)],
    }


VARIABLE = {  # keys that come by way of a variable; each stands in the code as a text
    *(
        "turns",
        "turns_amplifies",
        "dims",
        "amplifies",
        "this_place",
        "neighbourhood",
        "constant",
        "attention",
        "before",
        "after",
    ),
    *("likely", "all_classes", "dropped", "reading", "too_large", "too_narrow", "invisible", "no_image", "not_computed"),
}


def test_every_text_is_asked_for_and_none_is_left_over():
    code = "".join(assemble.part(name) for name in (*MODULES, "page.html") if name != "texts.js")
    calls = r"\b(?:t|sentence)\(\s*(?:[^()\"`]*\?\s*)?"
    asked = {*re.findall(r"data-(?:text|label)=\"(\w+)\"", code), *re.findall(calls + r'"(\w+)"', code)}
    asked |= set(re.findall(calls + r'"\w+"\s*:\s*"(\w+)"', code))
    templates = re.findall(calls + r"`([^`]*)`", code) + re.findall(r"\"data-text\": `([^`]*)`", code)
    assert {re.sub(r"\$\{[^}]*\}", "{}", template) for template in templates} == set(filled())
    asked |= {key.format(*value.split("_")) for key, values in filled().items() for value in values}
    assert [key for key in VARIABLE if f'"{key}"' not in code] == []
    assert sorted(asked | VARIABLE | set(GALLERY.values())) == sorted(table())


def test_every_change_has_its_accuracy():
    assert sorted(json.loads(assemble.part("figures.json"))["accuracy"]) == sorted(offered())
    assert offered()[0] == "none" and len(offered()) == 1 + 11 and "eleven changes" in TOLD


def test_accuracies_are_those_of_the_ablations_and_one_more():
    script = runpy.run_path(str(ROOT / "benchmarks" / "page.py"))
    accuracy = json.loads(assemble.part("figures.json"))["accuracy"]
    assert set(accuracy) == set(script["CHANGES"])
    assert {change: accuracy[change] for change in script["MEASURED"]} == script["measured"]()


def test_the_documentation_counts_the_steps_of_the_path():
    asking = [name for name, choices in guide().items() if choices]
    assert (len(guide()), len(asking)) == (8, 5) and "eight steps; five ask for a guess" in TOLD


def test_accuracies_and_terms_are_shown_for_the_weights_that_they_belong_to(network):
    described = describe(network, [])
    assert described["figures"] is None and described["bundled"] is False
    card = dataclasses.replace(network.card, file=bundled()[0])  # a card that names the bundled weights' file
    described = describe(minivan.VAN(SHAPE, network.tensors, "numpy", card), [])
    assert described["figures"]["images"] == 1000 and described["bundled"] is True
