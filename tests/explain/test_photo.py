"""What is said of one photo: its classes with their maps, its attention, as JSON and in a line; from how many passes."""

import dataclasses

import numpy as np
import pytest
from support import EXAMPLES
from support.compare import assert_bit_equal
from support.engines import REFUSING, counting
from support.networks import images, random_tensors
from tolerances import JSON_DIGITS

from minivan import explain
from minivan.card import Card, Label, Preprocessing
from minivan.explain import photo
from minivan.van import VAN
from minivan.variants import Config

SMALL = Config((8, 16, 24, 32), (1, 1, 2, 1), (8, 8, 4, 4), classes=10)
NAMES = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu", "hen", "ibis, wader", "jay")
CARD = Card("small", Preprocessing(64, 70), tuple(Label(f"n{i:08}", name) for i, name in enumerate(NAMES)))


def model_of(engine="exact"):
    return VAN(SMALL, random_tensors(SMALL, seed=1), engine, CARD)


@pytest.fixture(scope="module")
def small():
    return model_of()


@pytest.fixture(scope="module")
def seen(small):
    return explain.look(small, EXAMPLES / "cat.jpg", explain.SMALLEST_VIEW, name="cat")


def test_probabilities_are_the_exact_softmax_and_ranks_count_the_likelier(small):
    logits = small(images(3, 32))
    chances = explain.probabilities(logits)
    assert_bit_equal("probabilities", chances, small.engine.ops.softmax(logits))
    for row in chances:
        order = np.argsort(-row)
        assert [explain.rank(row, int(index)) for index in order] == list(range(1, 11))
    assert explain.rank(np.float32([0.5, 0.5, 0.0]), 1) == 1


def test_three_lines_of_python_do_what_the_command_does(small, tmp_path):
    seen = explain.look(small, EXAMPLES / "cat.jpg")
    found = explain.photo_maps(small, seen, ["ibis", 2], "hirescam")
    drawn, smooth = explain.draw([found]), explain.draw([found], smooth=True)
    squares, blended = (each.axes[1].images[1].get_array() for each in (drawn, smooth))
    assert len(np.unique(squares)) == found.classes[0].maps["norm4"].size < len(np.unique(blended))
    assert "A square is one place" in drawn._supxlabel.get_text() and "are made up" in smooth._supxlabel.get_text()
    drawn.savefig(tmp_path / "out.png")
    assert (tmp_path / "out.png").stat().st_size > 10_000
    assert [each.label.short for each in found.classes] == ["ibis", "cat"]


@pytest.mark.parametrize("size", [192, 64])
def test_each_class_has_its_maps_probability_and_rank(small, size):
    seen = explain.look(small, EXAMPLES / "cat.jpg", size)
    chances = explain.probabilities(small(seen.as_trained))[0]
    found = explain.photo_maps(small, seen, ["cat", 8], "layercam", "all")
    assert [each.index for each in found.classes] == [2, 8]
    for each in found.classes:
        alone = explain.maps(small, seen.x, each.index, "layercam", explain.stages(small)).maps
        assert list(each.maps) == list(alone)
        for path, values in alone.items():
            assert_bit_equal(path, each.maps[path], values[0])
        assert each.probability == chances[each.index] and each.rank == explain.rank(chances, each.index)
        here = explain.probabilities(small(seen.x))[0]
        assert each.seen_probability == here[each.index] and each.seen_rank == explain.rank(here, each.index)
        assert each.label == CARD.labels[each.index]
    (top,) = explain.photo_maps(small, seen).classes
    assert top.index == chances.argmax() and top.rank == 1 and list(top.maps) == ["norm4"]


def test_a_photo_is_shown_as_large_as_its_class_is_recognised():
    """From 192 pixels down by 32 to the 64 of the training: the first size at which the answer is that of the training."""
    shrunk = set()
    for seed in range(6):
        engine, passes = counting()
        model = VAN(SMALL, random_tensors(SMALL, seed=seed), engine, CARD)
        seen = explain.look(model, EXAMPLES / "cat.jpg")
        assert [x.shape[2] for x in (seen.x, *seen.smaller)] == [192, 160, 128, 96, 64] and seen.smaller[-1] is seen.as_trained
        answers = [int(model(x)[0].argmax()) for x in (seen.x, *seen.smaller)]
        tries = answers.index(answers[-1])
        passes.clear()
        found = explain.photo_maps(model, seen, [3])
        assert found.seen.x is (seen.x, *seen.smaller)[tries] and found.shrunk == (tries > 0) and passes == [1] * (2 + tries)
        assert found.classes[0].maps["norm4"].shape == ((192 - 32 * tries) // 32,) * 2
        fixed = explain.photo_maps(model, explain.look(model, EXAMPLES / "cat.jpg", 192))
        assert fixed.seen.x.shape[2] == 192 and not fixed.shrunk
        assert ("take the map with care" in fixed.caution()) == (tries > 0)
        assert found.caution().startswith("Few places") == (tries > 0) == ("shown larger" in found.caution())
        shrunk.add(tries)
    assert len(shrunk) > 1 and 0 in shrunk, "both kinds of networks have been seen"


def test_what_is_said_of_several_photos_names_those_to_beware_of(small):
    seen = [explain.look(small, EXAMPLES / "cat.jpg", side, name=f"{side}.jpg") for side in (64, 192)]
    found = [explain.photo_maps(small, each, [1], "cam") for each in seen]
    how, few, *made = photo.told(found)
    assert how == found[0].sentence() and few == f"64.jpg: {found[0].caution()}"
    assert made[-2:] == [each.footnote() for each in found]
    assert photo.told(found[:1])[1] == found[0].caution()


def test_one_forward_pass_serves_all_classes():
    engine, passes = counting()
    model = model_of(engine)
    as_trained, larger = (explain.look(model, EXAMPLES / "cat.jpg", size) for size in (64, 192))
    assert passes == []
    for classes in ([], [3], ["cat", "dog", 7]):
        explain.photo_maps(model, as_trained, classes, layers="all")
        assert passes == [1], f"{classes} at the trained size"
        passes.clear()
        explain.photo_maps(model, larger, classes)
        assert passes == [1, 1], f"{classes}: the class at the trained size, the maps at the larger one"
        passes.clear()
    explain.photo_attention(model, larger, "all")
    assert passes == [1]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (dict(classes=["catt"]), "no class of these 10 is called 'catt'; near it are cat"),
        (dict(classes=["cat", 10]), "class 10 is not among the 10 classes"),
        (dict(method="grad-cam"), "no method is called 'grad-cam'"),
        (dict(layers="norm5"), "no layer is called 'norm5'; near it are norm"),
        (dict(layers="pool"), "pool has no positions"),
        (dict(method="cam", layers="norm2"), "cam is defined at norm4"),
    ],
)
def test_what_is_misspelt_is_said_before_anything_is_computed(arguments, said, seen):
    with pytest.raises(ValueError) as error:
        explain.photo_maps(model_of(REFUSING), seen, **arguments)
    assert said in str(error.value)


def test_a_misspelt_block_is_said_before_anything_is_computed(seen):
    with pytest.raises(ValueError, match="no block is called 'block9'"):
        explain.photo_attention(model_of(REFUSING), seen, "block9")


def test_json_of_maps(small, seen):
    found = explain.photo_maps(small, seen, ["ibis"], "cam")
    said, (each,) = found.as_dict(), found.classes
    assert {key: said[key] for key in ("image", "model", "method", "input")} == {
        "image": "cat", "model": "small", "method": "cam", "input": [explain.SMALLEST_VIEW] * 2,
    }  # fmt: skip
    (entry,) = said["classes"]
    assert [entry[key] for key in ("index", "wnid", "label", "rank")] == [8, "n00000008", "ibis, wader", each.rank]
    assert entry["probability"] == round(each.probability, 6)
    assert entry["as_seen"] == {"probability": round(each.seen_probability, 6), "rank": each.seen_rank}
    assert entry["maps"]["norm4"]["stride"] == 32
    np.testing.assert_allclose(entry["maps"]["norm4"]["values"], each.maps["norm4"], rtol=JSON_DIGITS)


def test_json_of_attention(small, seen):
    found = explain.photo_attention(small, seen, ["block1", "block3.1"])
    said = found.as_dict()
    assert list(said["blocks"]) == ["block1.0", "block3.1"] and said["blocks"]["block3.1"]["stride"] == 16
    factors, entry = found.factors["block3.1"], said["blocks"]["block3.1"]
    np.testing.assert_allclose([entry["lowest"], entry["highest"]], [factors.min(), factors.max()], rtol=JSON_DIGITS)
    np.testing.assert_allclose(entry["mean"], factors.mean(axis=0), rtol=JSON_DIGITS)
    assert list(entry["most_selective"]) == explain.most_selective(factors, 4).tolist()


@pytest.mark.parametrize(
    "method, layers, size, said",
    [
        ("gradcam", None, 192, "gradcam at norm4 · seen at 192 x 192 pixels, class and probability at 64 x 64 as trained"),
        ("hirescam", "all", 64, "hirescam at each stage's output · seen at 64 x 64 pixels"),
        ("layercam", ["norm1", "block2.0"], 64, "layercam at norm1, block2.0 · seen at 64 x 64 pixels"),
        ("smoothgrad", None, 64, "smoothgrad at the input · seen at 64 x 64 pixels"),
    ],
)
def test_the_footnote_says_what_was_seen(small, method, layers, size, said):
    seen = explain.look(small, EXAMPLES / "cat.jpg", size)
    assert explain.photo_maps(small, seen, [1], method, layers).footnote() == f"{said} · small (VAN, 10 classes)"


def test_a_backbone_has_attention_and_no_classes(seen):
    config = dataclasses.replace(SMALL, classes=0)
    model = VAN(config, random_tensors(config), card=CARD)
    assert list(explain.photo_attention(model, seen).factors) == ["block1.0", "block2.0", "block3.1", "block4.0"]
    with pytest.raises(ValueError, match="a backbone without a head: no class to look for, only attention"):
        explain.photo_maps(model, seen)


@pytest.mark.parametrize("size", [None, 64])
def test_weights_that_give_no_numbers_are_damaged(small, size):
    tensors = {name: np.full_like(t, np.nan) if name == "head.bias" else t for name, t in small.tensors.items()}
    model = VAN(SMALL, tensors, card=CARD)
    with pytest.raises(ValueError, match="the weights small give logits that are no numbers: they are damaged"):
        explain.photo_maps(model, explain.look(model, EXAMPLES / "cat.jpg", size))
