"""The lessons run from their sources to what is committed, and the diagrams are what the model draws today."""

import itertools
import re
import sys

import matplotlib
import nbformat
import numpy as np
import pytest
from PIL import Image
from support import ROOT
from tolerances import FLOAT64, LESSON_ABSOLUTE, LESSON_RELATIVE

EXAMPLES = ROOT / "examples"
sys.path.insert(0, str(EXAMPLES))

import build  # noqa: E402
import draw_diagrams  # noqa: E402

LESSONS = [source.stem for source in build.sources()]
NUMBER = re.compile(r"[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:e[-+]?\d+)?")


@pytest.fixture(scope="module")
def model():
    import minivan
    from minivan.checkpoint.hub import bundled

    return minivan.load(bundled()[0], engine="numpy")


def committed(lesson):
    return nbformat.read(EXAMPLES / f"{lesson}.ipynb", as_version=4)


def source(lesson):
    return EXAMPLES / "sources" / f"{lesson}.py"


def printed(cell):
    """Return a cell's text outputs joined, and how many pictures it shows."""
    texts, pictures = [], 0
    for output in cell.get("outputs", ()):
        if output.output_type == "stream":
            assert output.name == "stdout", f"a warning in {cell.id}: {output.text}"
            texts.append(output.text)
        elif "image/png" in output.data:
            pictures += 1
        else:
            texts.append(output.data["text/plain"])
    return "".join(texts), pictures


def assert_same_text(ours, theirs, where):
    """The same words, and numbers equal up to what another processor's rounding may do to a printed digit."""
    assert re.sub(r"\s+", " ", NUMBER.sub("N", ours)) == re.sub(r"\s+", " ", NUMBER.sub("N", theirs)), where
    numbers = [[float(n.replace(",", "")) for n in NUMBER.findall(text)] for text in (ours, theirs)]
    np.testing.assert_allclose(*numbers, rtol=LESSON_RELATIVE, atol=LESSON_ABSOLUTE, err_msg=str(where))


def test_the_readme_lists_every_lesson():
    assert [f"{i:02d}" for i in range(1, 13)] == [lesson[:2] for lesson in LESSONS]
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"({lesson}.ipynb)" in readme for lesson in LESSONS)


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_committed_notebook_is_made_from_its_source(lesson):
    ours, theirs = build.parse(source(lesson)), committed(lesson)
    for mine, kept in itertools.zip_longest(ours.cells, theirs.cells):
        assert (mine.id, mine.cell_type, mine.source, mine.metadata) == (kept.id, kept.cell_type, kept.source, kept.metadata)
    text = source(lesson).read_text(encoding="utf-8")
    assert "you will be able to" in text and text.count("plt.show()") >= 2
    assert (EXAMPLES / f"{lesson}.ipynb").stat().st_size < 600_000


@pytest.mark.slow
@pytest.mark.parametrize("lesson", LESSONS)
def test_the_lesson_runs_to_its_committed_outputs(lesson):
    executed = build.execute(build.parse(source(lesson)))
    for mine, kept in zip(executed.cells, committed(lesson).cells, strict=True):
        (text, pictures), (kept_text, kept_pictures) = printed(mine), printed(kept)
        assert pictures == kept_pictures, (lesson, mine.id)
        if "timing" not in mine.metadata.get("tags", ()):
            assert_same_text(text, kept_text, (lesson, mine.id))


def test_the_comparison_of_outputs_can_fail():
    assert_same_text("0.931 espresso at 1e-16", "0.930 espresso at 3e-16", "rounding")
    for ours, theirs in (("0.931 espresso", "0.931 orange"), ("0.931 espresso", "0.831 espresso"), ("1 2", "1 2 3")):
        with pytest.raises(AssertionError):
            assert_same_text(ours, theirs, "a difference")


@pytest.fixture(scope="module")
def figures(model):
    with matplotlib.rc_context(draw_diagrams.STYLE):
        return {name: draw(model) for name, draw in draw_diagrams.DIAGRAMS.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", draw_diagrams.DIAGRAMS)
def test_the_committed_diagram_says_what_the_model_says(name, figures, tmp_path):
    with matplotlib.rc_context(draw_diagrams.STYLE):
        figures[name].savefig(tmp_path / "now.svg", metadata={"Date": None, "Creator": None})
    kept = (EXAMPLES / "diagrams" / f"{name}.svg").read_text(encoding="utf-8")
    texts = [re.findall(r"<!-- (.*?) -->", svg) for svg in ((tmp_path / "now.svg").read_text(encoding="utf-8"), kept)]
    assert texts[0] == texts[1] and len(texts[0]) > 5  # Matplotlib names every text it draws as a path in a comment
    with Image.open(EXAMPLES / "diagrams" / f"{name}.png") as picture:
        assert picture.width >= 1400


@pytest.mark.slow
@pytest.mark.parametrize("name", draw_diagrams.DIAGRAMS)
def test_no_text_of_a_diagram_overlaps_another_or_leaves_the_page(name, figures):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = figures[name]
    with matplotlib.rc_context(draw_diagrams.STYLE):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        found = figure.findobj(lambda artist: isinstance(artist, matplotlib.text.Text) and artist.get_text().strip())
        boxes = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in found if text.get_visible()]
    assert len(boxes) >= 5
    for text, box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, text
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        assert not a.overlaps(b), (one, other)


def test_the_footprint_is_measured_on_the_model_itself(model):
    from minivan import lka

    unit = "block1.0.attn.spatial_gating_unit"
    responses = draw_diagrams.impulse_responses(model)
    weights = [model.tensors[f"{unit}.{name}.weight"].astype(np.float64) for name in ("conv0", "conv_spatial")]
    middle = np.s_[:, 17 - 11 : 17 + 12, 17 - 11 : 17 + 12]
    composed = lka.equivalent_kernel(*weights, 3)[:, 0]
    np.testing.assert_allclose(responses["both"][middle], composed, atol=FLOAT64)
    assert np.count_nonzero(responses["both"]) == np.count_nonzero(responses["both"][middle])
    assert draw_diagrams.dilation_of(model) == 3


def test_the_residuals_that_the_block_diagram_draws_are_those_of_the_model(model):
    seen = {}
    x = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
    model(x, hook=lambda path, array: seen.update({path: array}))
    part = {path.removeprefix("block1.0."): array for path, array in seen.items() if path.startswith("block1.0")}
    scale = {i: model.tensors[f"block1.0.layer_scale_{i}"][:, None, None] for i in (1, 2)}
    operators = {  # target -> what the operator does with its residual
        "attn.spatial_gating_unit": lambda r: r * part["attn.spatial_gating_unit.conv1"],
        "attn": lambda r: r + part["attn.proj_2"],
        "layer_scale_1": lambda r: r + scale[1] * part["attn"],
        "block1.0": lambda r: r + scale[2] * part["mlp.fc2"],
    }
    halves = enumerate((["norm1"], ["block1.0"]))
    drawn = [(column, *pair) for column, half in halves for pair in draw_diagrams.residuals(half, "block1.0")]
    assert {target for _, _, target in drawn} == set(operators)
    for column, start, target in drawn:
        entry = (seen["patch_embed1.norm"], part["layer_scale_1"])[column]
        residual = entry if start == "x" else part[start]
        np.testing.assert_array_equal(operators[target](residual), part[target], err_msg=f"{start} -> {target}")
