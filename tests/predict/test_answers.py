"""From images to answers: the library under `minivan classify`."""

import json
import subprocess
import sys

import numpy as np
import pytest
from support import EXAMPLES, ROOT
from support.networks import random_tensors

import minivan
from minivan import reference
from minivan.card import Card, Label
from minivan.engines import EXACT, Engine
from minivan.image.kinds import READ
from minivan.predict import Answer, Guess, Unusable, answers, classify, find_images, guesses, make_ready
from minivan.predict.answers import BATCH
from minivan.van import VAN
from minivan.variants import VARIANTS, Config

pytestmark = pytest.mark.loop

NO_IMAGE = f"not an image that minivan reads: those are {READ}"
COFFEE, CAT = EXAMPLES / "coffee.jpg", EXAMPLES / "cat.jpg"
SMALL = Config((8, 8, 8, 8), (1, 1, 1, 1), (2, 2, 2, 2), classes=3)


@pytest.fixture(scope="module")
def model():
    return minivan.load(engine="exact")


def test_the_answers_are_what_the_command_prints(run, model):
    _, out, _ = run("classify", COFFEE, CAT, "--json", "--engine", "exact", "--top-k", 3)
    printed = [json.loads(line) for line in out.splitlines()]
    given = [answer.as_dict() for answer in classify(model, [COFFEE, str(CAT)], top_k=3)]
    for entry in (*printed, *given):
        assert entry.pop("milliseconds") > 0
    assert given == printed
    keys = ["image", "model", "engine", "top", "sure", "version", "activation", "notes"]
    assert [list(entry) for entry in given] == [keys] * 2


def test_one_path_is_enough_and_what_cannot_be_used_says_why(model, tmp_path):
    (answer,) = classify(model, COFFEE, top_k=1)
    assert isinstance(answer, Answer) and [guess.label for guess in answer.top] == ["espresso"]
    (tmp_path / "text.jpg").write_text("no image")
    first, second, third = classify(model, [tmp_path / "text.jpg", CAT, tmp_path / "missing.jpg"])
    assert first == Unusable(str(tmp_path / "text.jpg"), NO_IMAGE)
    assert isinstance(second, Answer) and third == Unusable(str(tmp_path / "missing.jpg"), "no such file or folder")


def test_probabilities_are_those_of_the_reference(model):
    x = minivan.image.prepare(CAT, model.card.preprocessing)
    expected = reference.softmax(model(x[None]))[0]
    (answer,) = classify(model, CAT, top_k=200)
    assert [guess.probability for guess in answer.top] == [expected[guess.index] for guess in answer.top]
    assert sorted(guess.index for guess in answer.top) == list(range(200))
    assert (np.diff([guess.probability for guess in answer.top]) <= 0).all()


class Counting:
    """A network compiled as a whole, which notes how many images it is given at once."""

    def __init__(self, config, tensors):
        self.classes, self.given = config.classes, []

    def __call__(self, x):
        self.given.append(len(x))
        return np.zeros((len(x), self.classes), np.float32)


def test_only_a_network_compiled_as_a_whole_is_given_several_images_at_once(tmp_path):
    for i in range(BATCH + 3):
        (tmp_path / f"{i:02}.jpg").write_bytes(COFFEE.read_bytes())
    images = find_images([tmp_path])
    whole = VAN(SMALL, random_tensors(SMALL), Engine("whole", ops=EXACT.ops, compile=Counting))
    assert len(list(answers(whole, images))) == BATCH + 3
    assert whole.plan.given == [BATCH, 3]
    slow = VAN(SMALL, random_tensors(SMALL), Engine("slow", ops=EXACT.ops, compile=Counting, one_by_one=True))
    next(answers(slow, images))
    assert slow.plan.given == [1]

    given = []

    class Ops:
        def __getattr__(self, name):
            if name == "global_average_pool":
                return lambda x: given.append(len(x)) or reference.global_average_pool(x)
            return getattr(reference, name)

    shown = VAN(SMALL, random_tensors(SMALL), Engine("fast", ops=Ops()))  # the name decides nothing
    list(answers(shown, images[:3]))
    assert given == [1, 1, 1]


def test_guesses_are_in_order_and_the_lower_index_wins_a_tie():
    card = Card("cups", labels=(Label("n1", "cup"), Label("n2", "mug"), Label("n3", "pot")))
    assert guesses(card, [0.0, 1.0, 1.0], 2) == (
        Guess(1, "n2", "mug", pytest.approx(np.e / (1 + 2 * np.e))),
        Guess(2, "n3", "pot", pytest.approx(np.e / (1 + 2 * np.e))),
    )
    assert [guess.label for guess in guesses(Card("nameless"), np.float32([3, 1]), 9)] == ["class 0", "class 1"]
    assert guesses(card, [1000.0, 0.0, -1000.0])[0].probability == 1.0


def test_by_sigmoid_each_class_has_a_probability_of_its_own_and_the_order_is_that_of_the_logits():
    card = Card("marks", activation="sigmoid")
    found = guesses(card, [60.0, -0.5, 70.0, -800.0])  # in float64 the first and the third are 1 both
    assert [guess.index for guess in found] == [2, 0, 1, 3]
    assert [guess.probability for guess in found] == [1.0, 1.0, pytest.approx(1 / (1 + np.exp(0.5)), rel=1e-15), 0.0]
    (single,) = guesses(card, np.float32([-2.0]))
    assert single.probability == pytest.approx(1 / (1 + np.exp(2)), rel=1e-7)


@pytest.mark.parametrize("logits", [[np.nan, 0], [np.inf, 0], [-np.inf, 0]])
def test_logits_that_are_no_numbers_are_damaged_weights(logits):
    with pytest.raises(ValueError, match="the weights cups give logits that are no numbers"):
        guesses(Card("cups"), logits)


@pytest.mark.parametrize("wrong", [([[0.0, 1.0]], 1), (0.0, 1), ([0.0, 1.0], 0)])
def test_what_guesses_cannot_be_made_from(wrong):
    with pytest.raises(ValueError):
        guesses(Card("cups"), *wrong)


def test_a_wrong_call_is_raised_before_any_image_is_read(model):
    with pytest.raises(ValueError, match="top_k"):
        classify(model, "missing.jpg", top_k=0)
    backbone = Config((8, 8, 8, 8), (1, 1, 1, 1), (2, 2, 2, 2), classes=0)
    bare = VAN(backbone, random_tensors(backbone), card=Card("bare"))
    with pytest.raises(ValueError, match="bare are a backbone without a head"):
        classify(bare, "missing.jpg")
    make_ready(bare)  # it has features


def test_getting_ready_is_one_pass_over_the_size_that_the_engine_takes():
    seen = []

    class Plan(Counting):
        def __call__(self, x):
            seen.append(x.shape)
            return super().__call__(x)

    for size, expected in ((None, (32, 32)), ((64, 96), (64, 96))):
        make_ready(VAN(SMALL, random_tensors(SMALL), Engine("sized", ops=EXACT.ops, compile=Plan, size=size)))
        assert seen.pop() == (1, 3, *expected) and not seen


def test_weights_are_described_in_words(model):
    assert str(model) == "van_b0_tiny_imagenet200 (VAN-B0, 200 classes)"
    assert str(VAN(SMALL, random_tensors(SMALL), card=Card("own"))) == "own (VAN, 3 classes)"
    b0 = VARIANTS["b0"]
    assert str(VAN(b0, random_tensors(b0), card=Card("b0"))) == "b0 (VAN-B0, 1000 classes)"


def test_importing_it_imports_nothing_large():
    code = "import sys, minivan.predict; assert not {'numpy', 'numba', 'PIL'} & set(sys.modules), set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
