"""What is taken from the attention is what the page says, and the page is what was measured."""

import json
import sys

import numpy as np
import pytest
from support import EXAMPLES, ROOT
from support.labelled import source
from support.networks import images, random_tensors
from support.page import words

import minivan
from minivan import explain
from minivan.checkpoint.hub import bundled
from minivan.van import VAN
from minivan.variants import Config

FOLDER = EXAMPLES / "ablations"
sys.path.insert(0, str(FOLDER))

import ablate  # noqa: E402
import where_or_which  # noqa: E402

MEASURED = json.loads(where_or_which.MEASURED.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def model():
    return minivan.load(bundled()[0], engine="exact")


def test_each_change_takes_away_what_it_says():
    rng = np.random.default_rng(0)
    a, fixed = rng.standard_normal((3, 4, 5, 6)) + 2, rng.standard_normal((4, 5, 6))
    changed = {name: np.broadcast_to(change(a, fixed), a.shape) for name, change in where_or_which.CHANGES.items()}
    parts = {name: explain.attention_variance(values) for name, values in changed.items()}
    lost = {
        "which": {"places"},
        "fixed levels": {"images"},
        "fixed maps": {"images"},
        "fixed numbers": {"images", "places"},
        "one number": {"channels", "images", "places"},
    }
    for name, zero in lost.items():
        for part in ("channels", "images", "places"):
            assert (getattr(parts[name], part) < 1e-12) == (part in zero), (name, part)
    assert all(explain.attention_variance(each).between_channels < 1e-12 for each in changed["where"])  # in a photo
    np.testing.assert_array_equal(changed["as trained"], a)
    np.testing.assert_allclose(changed["where"][:, 0], a.mean(axis=1))
    np.testing.assert_allclose(changed["fixed levels"].std(axis=(2, 3)), a.std(axis=(2, 3)))
    np.testing.assert_allclose(changed["fixed numbers"][0, :, 0, 0], fixed.mean(axis=(1, 2)))
    assert set(where_or_which.TOLD) == set(where_or_which.CHANGES) == set(MEASURED["right"])


def test_putting_back_what_was_there_changes_no_bit_and_everything_else_something():
    config = Config((8, 16), (1, 2), (2, 2), classes=5)
    small, x = VAN(config, random_tensors(config, seed=1), "numpy"), images(4, 32)
    fixed = where_or_which.fixed_attention(small, x)
    mean = explain.attention_maps(small, x)["block2.1"].astype(float).mean(axis=0)
    np.testing.assert_allclose(fixed["block2.1"], mean)
    for name, change in where_or_which.CHANGES.items():
        same = where_or_which.logits(small, x, change, fixed).tobytes() == small(x).tobytes()
        assert same == (name == "as trained"), name
    split = where_or_which.variances(small, x)
    for block, factors in explain.attention_maps(small, x).items():
        np.testing.assert_allclose(split[block], explain.attention_variance(factors), atol=1e-12)


def test_the_page_is_made_from_what_was_measured_with_these_weights(model):
    assert (FOLDER / "where_or_which.md").read_text(encoding="utf-8") == where_or_which.report(model, MEASURED)
    assert MEASURED["weights_sha256"] == model.card.sha256 != "" and MEASURED["images"] == 1000
    assert list(MEASURED["variance"]) == [
        f"block{i}.{j}" for i, depth in enumerate(model.config.depths, 1) for j in range(depth)
    ]
    assert all(sum(shares.values()) == pytest.approx(1, abs=2e-4) for shares in MEASURED["variance"].values())
    drawn = where_or_which.draw(MEASURED)
    assert [text.get_text() for text in drawn.axes[1].texts] == [f"{right / 10:.1f}" for right in MEASURED["right"].values()]


def test_the_sentences_follow_the_numbers():
    turned = MEASURED | {"right": MEASURED["right"] | {"which": 100, "fixed levels": 500, "as trained": 600}}
    assert "More is lost with which channel than with where" in words(where_or_which.told(MEASURED))
    assert "More is lost with where than with which channel" in words(where_or_which.told(turned))
    assert "they lose 10.0" in words(where_or_which.told(turned))


def test_the_lessons_page_quotes_it():
    page = words((ROOT / "docs" / "lessons.md").read_text(encoding="utf-8"))
    for name in where_or_which.CHANGES:
        said, _ = where_or_which.TOLD[name]
        assert f"| {said} | {where_or_which.percent(MEASURED, name)} |" in page, name


@pytest.mark.once
def test_a_part_of_the_images_gives_what_was_measured(model):
    source()  # skipped without the labelled photographs
    x, targets = ablate.photographs(model, 1000)
    fixed = where_or_which.fixed_attention(model, x[-where_or_which.AVERAGED :])
    for name in ("which", "fixed levels"):
        logits = where_or_which.logits(model, x[:100], where_or_which.CHANGES[name], fixed)
        assert (logits.argmax(1) == targets[:100]).sum() == MEASURED["right_of_first_100"][name], name
