"""The trained comparison: its task needs reach, its variants are what they say, its sentences follow the figures."""

import itertools
import sys

import numpy as np
import pytest
from support import EXAMPLES
from support.judge import torch
from tolerances import FLOAT64

from minivan import initial, paths
from minivan.van import VAN

FOLDER = EXAMPLES / "training"
sys.path.insert(0, str(FOLDER))

import compare_lka  # noqa: E402
import comparison  # noqa: E402
import drawings  # noqa: E402

FIGURES = comparison.read()
UNIT = f"{paths.block(1, 0)}.{paths.UNIT}"
PAIRS = list(itertools.product(range(len(drawings.KINDS)), range(drawings.LINES)))  # a mark's kinds and lines


@pytest.fixture(scope="module")
def model():
    """A network of the comparison whose every weight has its say."""
    tensors = {name: tensor + np.float32(0.1) for name, tensor in initial.tensors(compare_lka.CONFIG, 5).items()}
    tensors |= {name: np.ones_like(tensor) for name, tensor in tensors.items() if name.endswith(paths.LAYER_SCALES)}
    return VAN(compare_lka.CONFIG, tensors, "numpy")


def test_one_mark_says_nothing_and_both_say_all():
    x, targets = drawings.draw(8000, np.random.default_rng(0))
    assert x.shape == (8000, 1, 32, 32) and x.dtype == np.float32 and targets.sum() == 4000
    edges = [x[:, 0, :, column].reshape(8000, drawings.LINES, -1) for column in (0, 31)]
    kinds = drawings.KINDS - drawings.KINDS.mean()
    left, right = (np.einsum("nlp,kp->nkl", edge, kinds).reshape(8000, -1).argmax(1) for edge in edges)
    assert ((left == right) == targets).mean() == 1
    for mark in (left, right):
        yes, no = (np.bincount(mark[targets == target], minlength=32) for target in (1, 0))
        assert ((yes - no) ** 2 / (yes + no)).sum() < 62  # chi squared of 32 is larger once in a thousand
    kind, line = left // 8 != right // 8, left % 8 != right % 8
    assert not (kind & line).any() and 0.22 < kind.mean() < 0.28 and 0.22 < line.mean() < 0.28
    assert (drawings.KINDS.sum(1) == 2).all() and drawings.NOISE < 0.2


def test_a_mark_shows_in_one_column_of_the_first_map(model):
    seen = {}
    marks = drawings.marked([(0, 1), (2, 5), (0, 1)], [(1, 2), (1, 2), (3, 6)])
    model(marks, hook=lambda path, array: seen.update({path: array}))
    one, left, right = seen["patch_embed1.proj"]
    assert set(np.flatnonzero((one != left).any((0, 1)))) == {0} and set(np.flatnonzero((one != right).any((0, 1)))) == {7}


def mixed(model, hook=None):
    """How far a logit of four pairs of marks is from a sum of what each mark gives."""
    logits = model(drawings.marked([(0, 3), (1, 4), (0, 3), (1, 4)], [(0, 3), (1, 4), (1, 4), (0, 3)]), hook=hook)
    return abs(logits[0] + logits[1] - logits[2] - logits[3]).max()


def test_a_near_kernel_only_ever_adds_the_marks_up(model):
    kept = {}

    def near_only(path, array):
        kept[path] = array
        return kept[f"{UNIT}.conv0"] if path == f"{UNIT}.conv_spatial" else None

    assert mixed(model) > 1e-4 and mixed(model, near_only) < 1e-6


def test_the_figures_are_whole_and_the_costs_are_the_variants_own():
    assert set(FIGURES["runs"]) == set(comparison.VARIANTS)
    for runs in FIGURES["runs"].values():
        assert set(runs) == {str(seed) for seed in comparison.SEEDS}
        assert all(len(run["losses"]) == FIGURES["recipe"]["epochs"] and 0 <= run["accuracy"] <= 1 for run in runs.values())
    assert {name: FIGURES["recipe"][name] for name in compare_lka.RECIPE} == compare_lka.RECIPE
    C, places = 16, 64
    hands = {
        "LKA": (C * (25 + 49 + C) + 3 * C, C * (25 + 49 + C + 1), 11),
        "near kernel only": (C * (25 + C) + 2 * C, C * (25 + C + 1), 2),
        "without dilation": (C * (25 + 49 + C) + 3 * C, C * (25 + 49 + C + 1), 5),
        "without the gate": (C * (25 + 49 + C) + 3 * C, C * (25 + 49 + C), 11),
        "dense 21 x 21": (C * C * 441 + C, C * C * 441 + C, 10),
        "3 x 3 stack": (C * (8 * 9 + C) + 9 * C, C * (8 * 9 + C), 8),
    }
    for variant, (parameters, products, reach) in hands.items():
        assert FIGURES["costs"][variant] == {"parameters": parameters, "multiply_adds": products * places, "reach": reach}


def test_four_seeds_of_five_say_the_same():
    runs = FIGURES["runs"]
    whole = comparison.summaries(runs)
    for left_out in comparison.SEEDS:
        others = comparison.summaries(runs, [seed for seed in comparison.SEEDS if seed != left_out])
        for variant in comparison.VARIANTS:
            assert comparison.sentence(others, variant) == comparison.sentence(whole, variant), (variant, left_out)


def test_a_sentence_follows_its_figures():
    made = {variant: comparison.summed([99.0, 97.0]) for variant in comparison.VARIANTS}
    assert (made["LKA"].mean, made["LKA"].spread) == (98, pytest.approx(2**0.5))
    published = {
        "near kernel only": 74.1,
        "without the gate": 74.3,
        "added": 74.6,
        "with a sigmoid": 75.2,
    }
    said = comparison.sentence(made, "added")
    assert said.startswith("added: from most seeds it learns, as well as LKA (in the paper it does worse): and yet ")
    for figures, outcome in (([50.0, 51.0, 90.0], "guesses"), ([50.0, 70.0, 98.5], "learns")):
        made["added"], made["LKA"] = comparison.summed(figures), comparison.summed([99.0, 98.0, 97.0])
        said = f"added: from most seeds it {outcome}, worse than LKA (as in the paper): a sum"
        assert comparison.sentence(made, "added").startswith(said)
    made["LKA"] = comparison.summed([49.0, 50.0, 51.0])
    assert comparison.sentence(made, "LKA").startswith("LKA: from most seeds it guesses: ")
    assert "better than LKA (in the paper it does worse): and yet" in comparison.sentence(made, "added")
    assert all(v.published < comparison.VARIANTS["LKA"].published for n, v in comparison.VARIANTS.items() if n in published)
    assert comparison.agreement(made, "dense 21 x 21") == "the paper has no accuracy of it"
    assert published | {"LKA": 75.4} == {n: v.published for n, v in comparison.VARIANTS.items() if v.published is not None}


@pytest.fixture(scope="module")
def variants():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    import lka_variants

    yield lka_variants
    torch.set_num_threads(threads)


def test_what_a_variant_learns_is_what_it_costs(variants):
    """Each variant's gradients reach so many parameters; as written, LKA is the network itself."""
    x = torch.tensor(drawings.draw(4, np.random.default_rng(0))[0])
    others = None
    for variant in comparison.VARIANTS:
        begun = variants.beginning(compare_lka.CONFIG, variant, 0)
        tensors = {name: torch.tensor(tensor, requires_grad="running" not in name) for name, tensor in begun.items()}
        logits = variants.Classifier(compare_lka.CONFIG, variant)(variants.Operators(), x, tensors)
        logits[:, 0].sum().backward()
        learned = sum(tensor.numel() for tensor in tensors.values() if tensor.grad is not None)
        others = learned - FIGURES["costs"]["LKA"]["parameters"] if others is None else others
        assert learned - others == FIGURES["costs"][variant]["parameters"], variant
        if variant == "LKA":
            np.testing.assert_allclose(VAN(compare_lka.CONFIG, begun)(x.numpy()), logits.detach(), atol=1e-5)
        if variant == "dense 21 x 21":  # the sum that leaves out what lies off the map is the whole one
            u = torch.randn(2, 16, 8, 8, dtype=torch.float64)
            own = {"dense.weight": torch.randn(16, 16, 21, 21, dtype=torch.float64), "dense.bias": torch.randn(16).double()}
            whole = torch.nn.functional.conv2d(u, own["dense.weight"], own["dense.bias"], padding=10)
            np.testing.assert_allclose(variants.dense({variants.GATED: u}, own), whole, atol=FLOAT64 * 1e3)


@pytest.mark.once
@pytest.mark.parametrize("variant", ["LKA", "without dilation"])
def test_a_training_repeats_what_was_found(variant, variants):
    """Equal bits on the machine that made the figures; elsewhere rounding differs, and a training makes it larger."""
    kept, found = FIGURES["runs"][variant]["0"], compare_lka.train(variant, 0)
    np.testing.assert_allclose(found["losses"][:2], kept["losses"][:2], rtol=1e-3)
    assert abs(found["accuracy"] - kept["accuracy"]) < 0.05
