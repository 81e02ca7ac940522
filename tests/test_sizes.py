"""The input's size is the caller's where he says one: in Python, and on the command line. And what is made of any input."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from support import EXAMPLES
from support.networks import images, random_tensors
from tolerances import PRINTED

import minivan
from minivan.card import PRESETS, Card, Preprocessing
from minivan.engines import NUMPY
from minivan.evaluate import evaluate
from minivan.predict import guesses
from minivan.van import VAN
from minivan.variants import Config

CONFIG = Config((4, 6), (1, 1), (1, 1), classes=3)


def test_pooled_features_are_what_the_head_reads():
    model, x = VAN(CONFIG, random_tensors(CONFIG), "numpy"), images(2, 40)
    seen = {}
    model(x, hook=lambda path, array: seen.setdefault("found", array) if path == "pool" else None)
    assert (model.embed(x).dtype, model.embed(x).shape) == (np.float32, (2, 6))
    assert np.abs(model.embed(x) - seen["found"]).max() < PRINTED


def test_another_size_changes_how_photos_are_prepared_and_nothing_else():
    model = VAN(CONFIG, random_tensors(CONFIG), "numpy", Card("sized", PRESETS["official"]))
    wide = model.with_size(np.int64(288))
    assert (wide.card.preprocessing.crop, wide.card.preprocessing.resize) == (288, 319)  # 248 for each 224
    assert model.card.preprocessing == PRESETS["official"] and wide.tensors is model.tensors
    assert repr(wide) == "<VAN sized (VAN, 3 classes), 288 pixels, engine numpy>"
    for size in (31, 2049, True, 96.0, "96", (96, 96), None):
        with pytest.raises(ValueError, match=r"the input size is a whole number of pixels from 32 to 2048.*; got "):
            model.with_size(size)
    narrow = VAN(CONFIG, model.tensors, replace(NUMPY, name="narrow", size=(64, 64)))
    assert narrow.with_size(64).card.preprocessing.crop == 64
    with pytest.raises(ValueError, match=r"the engine narrow takes \(64, 64\) pixels alone, not 96 x 96"):
        narrow.with_size(96)


def test_commands_take_a_size_and_refuse_an_absurd_one_in_a_line(run, tmp_path):
    coffee, numpy = EXAMPLES / "coffee.jpg", ("--engine", "numpy")
    status, out, err = run("classify", coffee, "--size", 128, *numpy, "--json")
    model = minivan.load(engine="numpy", size=128)
    assert (status, err) == (0, "") and model.card.preprocessing.crop == 128
    expected = guesses(model.card, model(minivan.image.prepare(coffee, model.card.preprocessing)[None])[0])
    assert [round(guess.probability, 6) for guess in expected] == [each["probability"] for each in json.loads(out)["top"]]
    for command in (("classify",), ("evaluate",), ("embed", "-o", tmp_path / "x.npy"), ("similar", tmp_path / "x.npy")):
        for size in (31, 2049):
            status, out, err = run(*command, coffee, "--size", size, *numpy)
            assert (status, out) == (2, "") and len(err.splitlines()) == 1
            assert err.startswith("minivan: --size: the input size is a whole number of pixels from 32 to 2048")


def test_an_evaluation_and_the_engine_beside_it_see_the_chosen_size(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    numbers = np.random.default_rng(0)
    for label in "01":
        (tmp_path / "photos" / label).mkdir(parents=True)
        for name in "ab":
            Image.fromarray(numbers.integers(0, 255, (70, 80, 3), np.uint8)).save(tmp_path / "photos" / label / f"{name}.png")
    model = VAN(CONFIG, random_tensors(CONFIG, 5), "numpy", Card("sized", Preprocessing(48, 54)))
    seen = set()
    monkeypatch.setattr(VAN, "checked", lambda self, x, check=VAN.checked: seen.add(x.shape[2:]) or check(self, x))
    found = evaluate(model.with_size(64), "photos", against="numpy")
    assert seen == {(64, 64), (32, 32)}  # the latter is the black image that readies a network
    assert found.agreement.same.count == 4
