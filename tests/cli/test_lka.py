"""python -m minivan lka: what it prints is what minivan.lka and the network compute, on a page of 80 plain columns."""

import json
import re
import sys

import numpy as np
import pytest
from PIL import Image

from minivan import geometry, lka
from minivan.cli import main
from minivan.lesson import chapters, pictures
from minivan.lesson.numbers import numbers

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


@pytest.fixture(scope="module")
def text():
    return "\n".join(told())


def told(*arguments):
    """Run the command and return its standard output, line by line."""
    import contextlib
    import io

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["lka", *map(str, arguments)]) == 0
    return out.getvalue().splitlines()


def words(text):
    """Undo the line breaks of a page."""
    return " ".join(text.split())


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
    assert headings == [str(i) for i in range(1, 11)]
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
    ]
    text = text.split("\n", 1)[1]  # the title says 'kernel' before anything can be explained
    for term in terms:
        starred = text.index(f"*{term}*")
        plain = re.search(rf"(?<![*\w]){term}s?(?![*\w])", text)
        headed = re.search(rf"^\d+\. .*\b{term}\b", text, re.MULTILINE)  # a heading may announce the word it explains
        assert plain is None or starred < plain.start() or (headed and headed.start() <= plain.start()), term


def test_the_pictures_show_the_taps(text):
    picture = [line[2:47].split() for line in text.splitlines() if re.match(r"  ([.#@] ){22}[.#@]", line)]
    near, far = np.array(picture[:23]) != ".", np.array(picture[23:46]) != "."
    masks = lka.read_by(21, 3)
    np.testing.assert_array_equal(near, masks["local"])
    np.testing.assert_array_equal(far, masks["dilated"])
    digits = [line[2:47].split() for line in text.splitlines() if re.match(r"  (\d ){22}\d", line)]
    np.testing.assert_array_equal(np.array(digits, int), lka.footprint(21, 3))


def test_json_is_one_object_with_the_same_numbers():
    lines = told("--json")
    assert len(lines) == 1
    n = json.loads(lines[0])
    assert n["support"] == 23 and n["optimum"]["best_d"] == 3 and n["border"]["differ"] == n["border"]["foreseen"] > 0
    assert [row["parameters"]["lka"] for row in n["paper_table"]] == [3392, 8832, 25856, 84480, 300032]
    assert n["photo"]["furthest_apart"] < 1e-12  # two float64 computations of the same sums
    assert n["photo"]["by_hand"]["conv1"] == pytest.approx(n["photo"]["network"]["conv1"], abs=1e-12)
    assert np.array(n["photo"]["attention_map"]).shape == tuple(n["photo"]["map"])


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


def test_another_photo_is_followed_and_a_bad_one_is_one_line(tmp_path, capsys):
    Image.effect_noise((90, 70), 60).save(tmp_path / "noise.png")
    assert "Now noise.png, through" in words("\n".join(told("--image", tmp_path / "noise.png")))
    (tmp_path / "text.jpg").write_text("not an image")
    for name in ("text.jpg", "missing.jpg"):
        assert main(["lka", "--image", str(tmp_path / name)]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and err.startswith(f"minivan: {tmp_path / name}: ")


def test_plot_writes_a_figure(tmp_path):
    assert told("--plot", tmp_path / "out.png")[-1] == f"The pictures are in {tmp_path / 'out.png'}."
    with Image.open(tmp_path / "out.png") as figure:
        assert figure.size[0] >= 1000 and len(figure.convert("RGB").getcolors(1 << 20)) > 100


@pytest.mark.parametrize("path", ["figure.txt", "missing/figure.png"])
def test_a_plot_that_cannot_be_written_is_one_line(tmp_path, capsys, path):
    assert main(["lka", "--plot", str(tmp_path / path)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and path in err and not list(tmp_path.iterdir())


def test_a_plot_without_matplotlib_is_one_line_that_says_how_to_get_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["lka", "--plot", str(tmp_path / "out.png")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "Matplotlib" in err and "pip install" in err


@pytest.mark.parametrize("arguments", [["-K", "0"], ["-K", "x"], ["-d", "0"], ["--size", "-3"], ["-C", "1e9"], ["--huh"]])
def test_a_wrong_call_exits_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["lka", *arguments])
    assert exit_.value.code == 2 and "Traceback" not in capsys.readouterr().err


def test_a_dilation_beyond_the_kernel_exits_2(capsys):
    assert main(["lka", "-K", "5", "-d", "6"]) == 2
    assert capsys.readouterr().err == "minivan: the dilation d is a whole number from 1 to K = 5; got 6\n"


def test_what_cannot_be_had_is_said_before_anything_is_computed(monkeypatch):
    monkeypatch.setattr("minivan.lesson.numbers.numbers", lambda *_: pytest.fail("the numbers were computed"))
    assert main(["lka", "--image", "missing.jpg"]) == 2
    monkeypatch.setattr("minivan.lesson.photo.walk", lambda *_: pytest.fail("the photo was walked"))
    for arguments in (["--plot", "figure.txt"], ["--plot", "no folder/figure.png"], ["-K", "5", "-d", "6"]):
        assert main(["lka", *arguments]) == 2


@pytest.mark.parametrize("kept", [True, False])
def test_damaged_weights_are_not_blamed_on_the_photo(tmp_path, monkeypatch, capsys, kept):
    monkeypatch.setattr("minivan.checkpoint.hub.bundled_folder", lambda: tmp_path)
    if kept:
        (tmp_path / "van.safetensors").write_bytes(b"cut short")
    assert main(["lka"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and str(tmp_path) in err and "coffee" not in err


def test_the_papers_kernel_is_the_networks():
    """The lesson's K and d lead to the kernels that the network has."""
    K, d = geometry.LARGE_KERNEL, geometry.CONV_SPATIAL.dilation
    assert (lka.local_side(d), lka.dilated_side(K, d)) == (geometry.CONV0.side, geometry.CONV_SPATIAL.side)
    assert lka.best_dilation(K) == d
    assert lka.support(K, d) == 1 + 2 * (geometry.CONV0.reach + geometry.CONV_SPATIAL.reach)


def test_characters():
    assert pictures.bar(0, 10, 30) == "" and pictures.bar(0.001, 10, 30) == "#" and pictures.bar(10, 10, 30) == "#" * 30
    assert pictures.signed(np.array([[-1, -0.5, 0, 0.5, 1]]), 1.0, 10) == ["==--  ++##"]
    assert pictures.grey(np.array([[0.0, 0.55, 1.0]]), 4) == [" +@"]
    assert pictures.grid(np.full((1, 81), "."), 80) == []
