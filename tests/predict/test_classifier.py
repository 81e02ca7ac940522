"""Photos in, answers out, in one line of Python; and how answers look."""

import base64
import copy
import html.parser
import io
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.networks import random_tensors

import minivan
from minivan import van
from minivan.card import Card, Label, Preprocessing
from minivan.checkpoint import Weights, list_models, write
from minivan.image import ImageError, prepare
from minivan.predict import Answer, Classifier, Guess, Unusable, guesses
from minivan.predict.classifier import Answers, classify
from minivan.variants import Config

pytestmark = pytest.mark.loop

CONFIG = Config((4, 6), (1, 1), (1, 1), classes=3)
LABELS = tuple(Label("", name) for name in ("tabby, tabby cat", "cup", "<b>rocket</b>"))


@pytest.fixture(scope="module")
def classifier():
    return Classifier(van.VAN(CONFIG, random_tensors(CONFIG, 3), "numpy", Card("tiny", Preprocessing(32, 36), LABELS)), top_k=2)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Three photos; the folder is the current one."""
    monkeypatch.chdir(tmp_path)
    numbers = np.random.default_rng(0)
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(numbers.integers(0, 255, (40, 50, 3), np.uint8)).save(name)
    return [Path("a.png"), Path("b.png"), Path("c.png")]


def test_a_photo_gives_an_answer_whatever_it_comes_as(classifier, photos):
    path = photos[0]
    card = classifier.model.card
    expected = guesses(card, classifier.model(prepare(path, card.preprocessing)[None])[0], 2)
    data = path.read_bytes()
    with path.open("rb") as file, Image.open(path) as opened:
        sources = [path, str(path), data, bytearray(data), file, opened, np.asarray(Image.open(path))]
        answers = [classifier(source) for source in sources]
        together = classifier(source for source in [*sources, opened])
    assert all(isinstance(answer, Answer) and answer.top == expected for answer in [*answers, *together])
    assert [answer.image for answer in answers] == ["a.png"] * 2 + ["photo"] * 2 + ["a.png"] * 2 + ["photo"]
    assert [answer.image for answer in together[2:4]] == ["photo[2]", "photo[3]"] and isinstance(together, list)
    assert (answers[0].label, answers[0].probability) == (expected[0].label, expected[0].probability)
    assert len(classifier(path, top_k=1).top) == 1 and len(classifier.embed(path)) == 6


def test_what_cannot_be_used_is_raised_for_one_and_told_for_many(classifier, photos):
    Path("bad.png").write_bytes(b"no image")
    wrong = {
        "bad.png": (ImageError, "bad.png: not an image"),
        "none.png": (FileNotFoundError, "none.png"),
        "-": (FileNotFoundError, os.path.join(os.curdir, "-")),
        ".": (ImageError, "a folder is no file to read; minivan.predict.classify(model, path) goes through folders"),
        "https://example.org/a.png": (ImageError, "minivan downloads no photos"),
    }
    for source, (kind, said) in wrong.items():
        with pytest.raises(kind, match=re.escape(said)):
            classifier(source)
        with pytest.raises(kind, match=re.escape(said)):
            classifier.embed([photos[0], source])
    answers = classifier([photos[0], *wrong, photos[1]])
    assert [type(answer) for answer in answers] == [Answer, *[Unusable] * 5, Answer]
    assert all(answer.fault and answer.top == () for answer in answers[1:-1])
    assert repr(answers).splitlines()[2] == "<Unusable none.png: no such file or folder>"
    for source in (3, None, [photos[0], 3]):
        with pytest.raises(TypeError, match=r"^an image is a path, bytes, .* or an array, not a"):
            classifier(source)
    assert classifier([]) == [] and classifier.embed([]).shape == (0, 6)


@pytest.mark.parametrize("name", ["top_k", "batch_size", "threads"])
def test_a_setting_that_cannot_be_is_a_line(classifier, name):
    with pytest.raises(ValueError, match=f"^{name} is a whole number of at least 1, got 0$"):
        Classifier(classifier.model, **{name: 0})


def test_a_classifier_travels_and_says_what_it_is(classifier, photos):
    wide = Classifier(classifier.model, size=64, top_k=1, batch_size=2, threads=1)
    assert repr(wide) == "<Classifier tiny (VAN, 3 classes), 64 pixels, engine numpy, top_k 1>"
    expected = wide(photos)
    for moved in (pickle.loads(pickle.dumps(wide)), copy.deepcopy(wide), copy.copy(wide)):
        assert repr(moved) == repr(wide) and vars(moved).keys() == vars(wide).keys()
        assert [answer.top for answer in moved(photos)] == [answer.top for answer in expected]
    assert pickle.loads(pickle.dumps(expected)) == expected and type(expected[:]) is list
    np.testing.assert_array_equal(wide.embed(photos)[1], wide.embed(photos[1]))


def test_the_weights_of_the_last_call_stay_loaded_until_their_file_changes(photos, monkeypatch):
    reads, load = [], minivan.checkpoint.load
    monkeypatch.setattr(minivan.checkpoint, "load", lambda *asked: reads.append(asked) or load(*asked))
    path = Path("w.safetensors")
    for seed in (3, 4):
        write(Weights(CONFIG, random_tensors(CONFIG, seed), Card("w", Preprocessing(32, 36))), path)
        first, again = (classify(photos[0], model=path, engine="numpy") for _ in range(2))
        assert first.top == again.top and len(reads) == seed - 2
    assert classify(photos[0], model=path, engine="numpy", size=64).top != again.top and len(reads) == 2


def answer_of(**more):
    top = (Guess(0, "", "tabby, tabby cat", 0.75), Guess(2, "", "<b>rocket</b>\x1b[2J", 0.2), Guess(1, "", "x" * 90, 0.05))
    return Answer("<i>.jpg\n", "weights", "numpy", 12.34, top, **more)


def test_an_answer_reads_well_in_a_terminal(monkeypatch):
    long, rocket = f"{'x' * 16} ... {'x' * 16}", r"<b>rocket</b>\x1b[2J"
    assert repr(answer_of()) == rf"<Answer <i>.jpg\n: tabby 75.0%, {rocket} 20.0%, {long} 5.0%>"
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), "latin-1"))
    assert str(answer_of(sure=False)).splitlines() == [
        r"<i>.jpg\n",
        f" 1  {'tabby, tabby cat':<37}   75.0%  {'#' * 18}",
        f" 2  {rocket:<37}   20.0%  #####",
        f" 3  {long}    5.0%  #",
        "    not sure - weights - engine numpy - 12 ms",
    ]
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), "utf-8"))
    told = str(answer_of(activation="sigmoid", notes=("turned",)))
    assert told.count("█") == 24 and told.endswith(
        "    each class for itself (sigmoid) · weights · engine numpy · 12 ms · turned"
    )


class Seen(html.parser.HTMLParser):
    """What a browser makes of HTML: its tags, those still open, what they link to, its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.links, self.words = set(), [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.links += [value for name, value in attributes if name in ("src", "href")]
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += f" {data}"


def test_an_answer_in_a_notebook_is_small_escaped_and_needs_nothing_else(classifier):
    rows, columns = np.mgrid[0:255:36j, 0:255:50j]
    answer = classifier(np.uint8(np.stack([columns, rows, 0 * rows], axis=2)))
    seen = Seen(answer._repr_html_())
    assert seen.tags == {"div", "b", "img"} and not seen.open and len(answer._repr_html_()) < 10_000
    (link,) = seen.links
    with Image.open(io.BytesIO(base64.b64decode(link.removeprefix("data:image/jpeg;base64,")))) as small:
        sees = np.stack([columns, rows, 0 * rows], axis=2)[2:34, 9:41]
        assert small.size == (32, 32) and np.abs(np.asarray(small, int) - sees).mean() < 4
    hostile = Seen(answer_of()._repr_html_())
    assert hostile.tags == {"div", "b"} and r"<b>rocket</b>\x1b[2J" in hostile.words and r"<i>.jpg\n" in hostile.words
    many = Answers([answer_of(), Unusable("<u>", "a & b"), *[answer_of()] * 30])
    listed = Seen(many._repr_html_())
    assert listed.tags == {"div", "b"} and not listed.open and "and 12 more" in listed.words and "a & b" in listed.words
    assert "thumbnail" not in answer.as_dict() and answer.thumbnail


def test_which_names_there_are(home):
    """What is published, what is bundled, and what was fetched."""
    assert list_models() == ["b0", "b1", "b2", "b3", "b4", "van_b0_tiny_imagenet200"]
    assert list_models("b[12]") == ["b1", "b2"] and list_models("B*") == list_models("*", here=True)[1:] == []
    (home / "weights").mkdir(parents=True)
    write(Weights(CONFIG, random_tensors(CONFIG), Card("van_b6_mine")), home / "weights" / "van_b6_mine.safetensors")
    assert minivan.list_models(here=True) == ["b6", "van_b0_tiny_imagenet200", "van_b6_mine"]
    assert [minivan.load(name, "numpy").card.name for name in ("b6", "van_b6_mine")] == ["van_b6_mine"] * 2
