"""The lesson's page: what it says is what minivan.lka and the network compute, on a page of 80 plain columns."""

import dataclasses
import functools
import re

import numpy as np
import pytest
from support import EXAMPLES, ROOT
from support.page import told, words

from minivan import image, lka, paths
from minivan.lesson import chapters, photo, surroundings, which, which_chapter
from minivan.lesson.numbers import numbers
from minivan.van import VAN

COMBINATIONS = [
    (21, 3, 64, 56),
    (7, 2, 32, 14),
    (1, 1, 1, 1),
    (21, 1, 8, 7),
    (21, 21, 16, 28),
    (99, 5, 64, 300),
    (12, 3, 2, 5),
    (999, 23, 65536, 4096),
    (300, 300, 1, 9),
]


@pytest.fixture(scope="module", autouse=True)
def one_walk():
    """The walk through the network, half a second, is the same on every page: it knows neither K nor d."""
    with pytest.MonkeyPatch.context() as patch:
        walked = functools.cache(lambda real=photo.walk: real(photo.bundled_model(), photo.example()))
        patch.setattr(photo, "walk", lambda *_: walked())
        yield


@pytest.fixture(scope="module")
def text():
    return "\n".join(told())


@pytest.mark.parametrize(("K", "d", "C", "size"), COMBINATIONS)
def test_every_page_is_ascii_within_80_columns_and_says_its_numbers(K, d, C, size):
    lines = told("-K", K, "-d", d, "-C", C, "--size", size)
    assert max(map(len, lines)) <= 80 and "\n".join(lines).isascii() and "\x1b" not in "\n".join(lines)
    page, n = words("\n".join(lines)), numbers(K, d, C, size)
    for number in (
        n["positions"],
        lka.dense_parameters(C, K),
        lka.lka_parameters(C, K, d),
        lka.self_attention_multiply_adds(C, size * size),
        lka.support(K, d) ** 2,
        n["border"]["equal"],
    ):
        assert f"{number:,}" in page, number
    assert f"holds at d = {lka.continuous_best_dilation(K):.4f}" in page
    assert "None" not in page and "nan" not in page and "{" not in page
    assert not re.search(r"(?<![\d,.x] )(?<![\d,.])1 (positions|weights|channels|scores|layers|outputs|ways)\b", page)


def test_what_holds_for_the_papers_kernel_is_not_said_of_others(text):
    for arguments, absent in {
        (21, 21): ("Looking far is nearly free", "that only"),
        (1, 1): ("starts high", "layers will do"),
        (999, 1): ("Looking far is nearly free",),
    }.items():
        page = words("\n".join(chapters.lesson(numbers(*arguments, C=64, size=8))))
        assert not any(claim in page for claim in absent), arguments
    assert all(claim in words(text) for claim in ("Looking far is nearly free", "starts high: 205 times", "3 layers will do"))
    assert "that only" in text


def test_the_papers_table_is_on_the_page(text):
    for C in (32, 64, 128, 256, 512):
        row = rf"{C} +{lka.dense_parameters(C, 21):,} +{lka.mobilenet_parameters(C, 21):,} +{lka.lka_parameters(C, 21, 3):,} "
        assert re.search(row, text), C


def test_chapters_come_in_the_articles_order_and_every_term_is_explained_before_its_chapter_is_over(text):
    headings = re.findall(r"^(\d+)\. .*\n-+$", text, re.MULTILINE)
    assert headings == [str(i) for i in range(1, 13)]
    terms = [
        "layers",
        "map",
        "positions",
        "channels",
        "convolution",
        "weight",
        "kernel",
        "padding",
        "parameter",
        "Training",
        "multiply-add",
        "Attention",
        "Self-attention",
        "transformers",
        "dense",
        "LKA",
        "linear",
        "quadratic",
        "depthwise",
        "dilated",
        "pointwise",
        "derivative",
        "gate",
        "sigmoid",
        "softmax",
        "bias",
        "classes",
        "blocks",
        "stages",
        "SENet",
        "variance",
    ]
    text = text.split("\n\n\n", 1)[1]  # the title and the contents have words before anything can be explained
    for term in terms:
        starred = text.index(f"*{term}*")
        plain = re.search(rf"(?<![*\w]){term}s?(?![*\w])", text)
        headed = re.search(rf"^\d+\. .*\b{term}\b", text, re.MULTILINE)  # a heading may announce the word it explains
        assert plain is None or starred < plain.start() or (headed and headed.start() <= plain.start()), term


def test_a_chapter_changes_with_what_it_says_and_with_nothing_else():
    usual = {"-K": 21, "-d": 3, "-C": 64, "--size": 56}
    told = [answered for _, answered in chapters.parts(numbers(*usual.values()))]
    assert len(told) == sum(not chapter.on_photo for chapter in chapters.CHAPTERS)
    for option, other in {"-K": 16, "-d": 2, "-C": 32, "--size": 40}.items():
        changed = [answered for _, answered in chapters.parts(numbers(*(usual | {option: other}).values()))]
        for chapter, before, after in zip(chapters.CHAPTERS, told, changed, strict=False):
            assert (before != after) == (option in chapter.changes_with), (chapter.name, option)


def test_each_chapter_is_listed_and_asks_one_line_before_it_answers(text):
    contents = text.split("\n\n\n")[0]
    for number, chapter in enumerate(chapters.CHAPTERS, 1):
        title, question = (chapters.ENGLISH(f"{chapter.name}.{part}") for part in ("title", "question"))
        assert f"  {number:>2}  {title}\n" in contents + "\n"
        assert re.search(rf"^{number}\. {re.escape(title)}\n-+\n\n\([^)]*\)\n\n\? {re.escape(question)}\n\n", text, re.M)
        assert len(question) <= 76


def test_what_the_best_d_rests_on(text):
    for d in (3, 4, 5):
        assert re.search(
            rf"^ +{d} +\S+ x \S+ +\S+ x \S+ +{lka.spatial_weights(21, d)} +{lka.tiling_weights(21, d)} ", text, re.M
        )
    assert "d = 5 with 50 weights, reading 25 positions across" in words(text) and "74 weights where 50 would do" in words(text)
    assert "Both rules choose d = 3 for this K" in words("\n".join(chapters.lesson(numbers(12, 3, 8, 8))))


def test_where_two_d_are_as_cheap_both_are_named():
    assert lka.spatial_weights(35, 4) == lka.spatial_weights(35, 5) == 130
    page = "\n".join(chapters.lesson(numbers(35, 5, 512, 4096)))
    assert page.count("<- fewest") == 2 and "d = 4 (as few: d = 5), where this lesson was asked for d = 5" in words(page)
    assert "(as few" not in words("\n".join(chapters.lesson(numbers(21, 3, 8, 8))))
    assert max(map(len, page.splitlines())) <= 80  # a large map's costs, too


def test_self_attention_is_compared_with_all_of_vans_attention(text):
    page = words(text)
    for side, where in ((28, "on the smallest of these maps"), (224, "on the largest")):
        ratio = lka.self_attention_multiply_adds(64, side**2) / (side**2 * (64 * (25 + 49 + 64) + 2 * 64 * 64))
        assert f"{ratio:.1f} times {'the work of VAN' + chr(39) + 's attention ' if side == 28 else ''}{where}" in page
    assert "the 441 positions" not in page and "529" not in page.split("7. How far it really sees")[0]


def test_each_of_the_three_sums_of_the_photo_adds_up(text):
    page = text.split("10. The same on a photo")[1].split("11. ")[0]
    sums = [float(s) for s in re.findall(r"^  .* = ([-+]\d+\.\d+)$", page, re.M)]
    results = [float(s) for s in re.findall(r"^  step \d.* ([-+]\d+\.\d+) +[-+]\d+\.\d+$", page, re.M)]
    assert len(sums) == 18 and len(results) == 3
    for i, result in enumerate(results):
        assert sum(sums[6 * i : 6 * i + 6]) == pytest.approx(result, abs=6e-5)  # six numbers of five digits


def test_the_pictures_show_the_taps(text):
    picture = [line[2:47].split() for line in text.splitlines() if re.match(r"  ([.#@] ){22}[.#@]", line)]
    near, far = np.array(picture[:23]) != ".", np.array(picture[23:46]) != "."
    masks = lka.read_by(21, 3)
    np.testing.assert_array_equal(near, masks["local"])
    np.testing.assert_array_equal(far, masks["dilated"])
    digits = [line[2:47].split() for line in text.splitlines() if re.match(r"  (\d ){22}\d", line)]
    np.testing.assert_array_equal(np.array(digits, int), lka.footprint(21, 3))


def test_the_photo_is_the_networks(text):
    import minivan
    from minivan import image, reference
    from minivan.checkpoint.hub import bundled
    from minivan.lesson import photo

    model = minivan.load(bundled()[0], engine="exact")
    x = image.prepare(photo.example(), model.card.preprocessing)[None]
    seen = {}
    probabilities = reference.softmax(model(x, hook=lambda path, array: seen.update({path: array})))[0]
    assert f"The network's answer is {model.card.label(int(probabilities.argmax())).short}," in words(text)
    assert f"with probability {probabilities.max():.3f}" in words(text)
    attentions = [array for path, array in seen.items() if path.endswith("spatial_gating_unit.conv1")]
    negative = sum((array < 0).sum() for array in attentions) / sum(array.size for array in attentions)
    assert f"{100 * negative:.0f} % are negative" in words(text)


def test_the_value_of_the_photo_is_split_without_a_remainder(text):
    page = text.split("11. Its own place, and everything else")[1]
    parts = [float(n) for n in re.findall(r"^  (?:the biases|its own position|everything else) +(\S+)$", page, re.M)]
    whole = float(re.search(r"together: the attention +(\S+)", page)[1])
    followed = re.search(r"mixed: the attention +(\S+)", text)[1]
    rings = [float(n) for n in re.findall(r"^ +\d+ +([-+]\d\.\d+) +\d\.\d+", page, re.M)]
    assert whole == float(followed) == pytest.approx(sum(parts), abs=2e-5) and len(rings) == 12
    assert rings[0] == parts[1] and sum(rings[1:]) == pytest.approx(parts[2], abs=12e-5)


def test_where_or_which_is_what_the_network_has(text):
    page = text.split("12. Where, or which?")[-1]
    model, seen, rows = photo.bundled_model(), {}, []
    x = image.prepare(photo.example(), model.card.preprocessing)[None]
    model(x, hook=lambda path, array: seen.update({path: array[0].astype(float)}))
    for path, a in seen.items():
        if path.endswith("spatial_gating_unit.conv1"):
            rows.append((path.split(".attn")[0], a.mean(axis=(1, 2)).var(), a.var(), "{} x {} x {}".format(*a.shape)))
    for block, between, total, shape in rows:
        assert re.search(rf"^ +{block} +{shape} +{100 * between / total:.0f} %  #", page, re.M), block
    stages = [[row for row in rows if row[0].startswith(f"block{i}")] for i in (1, 2, 3, 4)]
    shares = [f"{100 * sum(b for _, b, _, _ in stage) / sum(t for _, _, t, _ in stage):.0f}" for stage in stages]
    assert f"Stage by stage it is {', '.join(shares[:3])} and {shares[3]} %." in words(page)
    for left in ("which", "where"):
        assert f"{photo.walk()['answers_without'][left]['probability']:.3f}" in words(page), left


def test_the_sentences_of_where_or_which_follow_the_numbers():
    for shares, said in {
        (0.9, 0.2): "Stage by stage it is 90 and 20 %. So attention says more about which channel it is in stage 1, and more "
        "about where in stage 2.",
        (0.9, 0.8, 0.6): "90, 80 and 60 %. In every stage attention says more about which channel it is than about where.",
        (0.1,): "it is 10 %. In every stage attention says more about where than about which channel it is.",
    }.items():
        assert words(which_chapter.shares(list(shares), chapters.ENGLISH)).endswith(said), shares
    right = {"as trained": 500, "which": 450, "where": 100, "fixed levels": 480, "fixed numbers": 90}
    assert "more to a photo's say in where, worth 5.0 points, than to its say in which channels, worth 2.0" in words(
        which_chapter.bought({"images": 1000, "right": right}, chapters.ENGLISH)
    )
    assert "in which channels, worth 9.0 points, than to its say in where, worth 5.0" in words(
        which_chapter.bought({"images": 1000, "right": right | {"fixed levels": 410}}, chapters.ENGLISH)
    )
    cat, cup = ({"label": label, "probability": 0.5} for label in ("cat", "cup"))
    assert (
        which_chapter.kept(cat, cat, chapters.ENGLISH).startswith("stays")
        and which_chapter.kept(cat, cup, chapters.ENGLISH) == "becomes cup at 0.500"
    )
    model = photo.bundled_model()
    assert which.measured(model) is not None
    for file in ("", str(photo.example())):  # none, and one with another digest
        card = dataclasses.replace(model.card, file=file)
        assert which.measured(VAN(model.config, model.tensors, "numpy", card)) is None


@pytest.fixture(scope="module")
def photographs():
    """u and the attention of the first block for every photo of the examples, and the three steps' parameters."""
    model = photo.bundled_model()
    unit = paths.branch(model.parameters, photo.UNIT)
    x = np.stack([image.prepare(path, model.card.preprocessing) for path in sorted(EXAMPLES.glob("*.jpg"))])
    seen = {}

    def keep(path, array):
        seen[path] = array.astype(np.float64)
        if path == f"{photo.UNIT}.conv1":
            raise StopIteration  # the rest of the network is not asked

    with pytest.raises(StopIteration):
        model(x, hook=keep)
    return seen[photo.GATED], seen[f"{photo.UNIT}.conv1"], unit


def test_how_often_a_place_is_overruled_and_what_docs_say_of_the_photos(photographs):
    u, attention, unit = photographs
    near, far, mix = (unit[step]["weight"] for step in ("conv0", "conv_spatial", "conv1"))
    added = {step: unit[step]["bias"][:, None, None] for step in unit}
    middle = near[:, 0, 2, 2] * far[:, 0, 3, 3]  # the one way from a place to itself
    own = np.einsum("oc,nchw->nohw", mix[:, :, 0, 0] * middle, u)
    biases = lka.depthwise(np.zeros(u.shape[1:]) + added["conv0"], far, 3) + added["conv_spatial"]
    bias = np.einsum("oc,chw->ohw", mix[:, :, 0, 0], biases) + added["conv1"]
    overruled = (own * (attention - bias) < 0).mean()
    found = surroundings.average(u, unit)
    assert found["overruled"] == pytest.approx(overruled, abs=1e-4) and found["by_distance"][0] == pytest.approx(
        abs(own).mean()
    )
    page = words((ROOT / "docs" / "lessons.md").read_text(encoding="utf-8"))
    assert f"{100 * overruled:.0f} % of the attention values of the first block are overruled" in page
    assert "| " + " | ".join(f"{value:.2f}" for value in found["by_distance"]) + " |" in page
