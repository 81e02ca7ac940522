"""docs/questions.md: every number in it is what minivan computes today."""

import json

import pytest
from support import ROOT

from minivan import lka
from minivan.card import PRESETS
from minivan.geometry import stage_sizes
from minivan.variants import VARIANTS, parameter_shapes

PAIR = (5, 1), (7, 3)


@pytest.fixture(scope="module")
def answers():
    """The page by its questions, each answer without its line breaks."""
    page = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")
    return {part.split("?", 1)[0]: " ".join(part.split()) for part in page.split("\n## ")[1:]}


@pytest.fixture(scope="module")
def accuracy():
    """The ablations' accuracies in per cent, by the change's name."""
    rows = json.loads((ROOT / "examples" / "ablations" / "results.json").read_text(encoding="utf-8"))
    return {row["name"]: f"{100 * row['right'] / row['images']:.1f} %" for row in rows}


def answer(answers, start):
    return next(text for question, text in answers.items() if question.startswith(start))


def test_the_gate(answers, accuracy):
    squeezed, told = answer(answers, "Why is there no sigmoid"), answer(answers, "Why multiply")
    assert f"from {accuracy['as trained']} to {accuracy['sigmoid on the attention']}," in squeezed
    assert f"from {accuracy['as trained']} to {accuracy['add instead of multiply']}." in told
    for text, published in ((squeezed, "75.2"), (told, "74.6")):
        assert f"{published} % against 75.4 %, published" in text


def test_the_three_steps(answers):
    side = lka.support(21, 3)
    told = answer(answers, "Why is a large kernel")
    assert f"{lka.chain_weights(*PAIR)} numbers decide the {side**2} weights of one {side} x {side} kernel" in told
    assert f"have {lka.lka_parameters(64, 21, 3):,} weights, a dense 21 x 21 {lka.dense_parameters(64, 21):,}" in told
    told = answer(answers, "Why does the paper's figure")
    small = lka.chain_support((5, 1), (5, 3))
    assert f"spans 3 x 4 + 1 = {lka.chain_support((5, 3))};" in told and f"read {small} x {small}." in told
    assert f"three are {lka.chain_support((7, 3))}, {7 * 3} and {lka.chain_support(*PAIR)}." in told and f"is {5 * 3};" in told


def test_the_formula_of_parameters(answers):
    told = answer(answers, "Is a C missing")
    *narrow, widest = [f"{lka.lka_parameters(C, 21, 3):,}" for C in (32, 64, 128, 256, 512)]
    assert f"that is {', '.join(narrow)} and {widest}," in told
    assert f"C = 32 would have {32 * lka.dilated_side(21, 3) ** 2 + lka.local_side(3) ** 2 + 32**2:,}." in told
    unit = [shape for name, shape in parameter_shapes(VARIANTS["b0"]) if name.startswith("block1.0.attn.spatial_gating_unit")]
    in_a_file = sum(a * b * c * d for a, b, c, d in (shape + (1,) * (4 - len(shape)) for shape in unit))
    assert f"has {in_a_file:,} parameters in a file" in told


def test_another_map(answers):
    told = answer(answers, "How do I choose")
    sides = (7, 14, 21, 28, 35)
    best = [lka.best_dilation(K) for K in sides]
    *reads, last = [str(lka.support(K, d)) for K, d in zip(sides, best, strict=True)]
    assert f"of d = {', '.join(map(str, best))} by" in told and f"reads {', '.join(reads)} and {last} places across" in told
    maps = [side for side, _ in stage_sizes(4, 224, 224)]
    met = [sum(0 <= place + tap < side for tap in range(-9, 10, 3)) ** 2 for side in maps for place in [side // 2]]
    assert "maps are {}, {}, {} and {} wide".format(*maps) in told and "at most {}, {}, {} and {} meet".format(*met) in told


def test_maps_and_preprocessing(answers):
    (last, _), (small, _) = stage_sizes(4, 224, 224)[-1], stage_sizes(4, 96, 96)[-1]
    assert f"{last} x {last} places at 224 x 224 and {small} x {small} at 96 x 96" in answer(answers, "Which layer")
    official, hf = PRESETS["official"], PRESETS["hf"]
    whites = [(1 - preset.mean[0]) / preset.std[0] for preset in (official, hf)]
    told = answer(answers, "Why do I measure 72 %")
    assert f"white pixel is {whites[0]:.2f}." in told and f"it is {whites[1]:.2f} in red" in told
    assert f"side is {official.resize} pixels, of which {official.crop} are cut out, not {hf.resize}." in told


def test_what_came_after(answers):
    told = answer(answers, "What came after")
    split = lka.lska_parameters(64, 21, 3)
    assert f"2 x 5 + 2 x 7 = {2 * 5 + 2 * 7} weights per channel instead of {lka.spatial_weights(21, 3)}," in told
    assert f"with the 1 x 1 {split:,} instead of {lka.lka_parameters(64, 21, 3):,}." in told
    d, ones = lka.best_dilation(29), 32 * 32
    assert f"less the 1 x 1's {ones:,} that is {(3008 - ones) // 32} weights" in told and (3008 - ones) % 32 == 0
    side = lka.support(29, d)
    assert f"its best d = {d} has {lka.spatial_weights(29, d)} and reads {side} x {side}." in told
    chain = (3, 1), (3, 3), (5, 7)
    reached = {0}
    for taps, dilation in chain:
        reached = {at + dilation * tap for at in reached for tap in range(taps)}
    wide = lka.chain_support(*chain)
    assert (
        reached == set(range(wide))
        and f"have {lka.chain_weights(*chain)} weights and read {wide} x {wide} without a gap" in told
    )


def test_each_question_names_where_it_was_asked(answers):
    asked = [text for question, text in answers.items() if not question.startswith("What came after")]
    assert len(asked) == 10 and all("https://github.com/Visual-Attention-Network/VAN-" in text for text in asked)
