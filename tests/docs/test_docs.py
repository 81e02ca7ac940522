"""What the documentation says in numbers is what the code holds."""

import ast
import re
import subprocess
import sys
import tomllib

import pytest
from support import ROOT

import minivan
from minivan import explain, lka
from minivan.card import PRESETS
from minivan.checkpoint import SOURCES, downstream, hdf5, keras, onnx_file, shards
from minivan.checkpoint.inert import NAMES
from minivan.checkpoint.layouts import LAYOUTS
from minivan.engines import auto
from minivan.explain.choices import METHODS, TABLE
from minivan.oracle import vectors

pytestmark = pytest.mark.loop

DOCS = ROOT / "docs"
PAGES = [*ROOT.glob("*.md"), *DOCS.glob("*.md"), *(ROOT / "examples").rglob("README*.md"), *(ROOT / "weights").glob("*.md")]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def table(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table of a page whose first line holds `heading`, without its two head lines."""
    lines = iter(page.splitlines())
    next(line for line in lines if line.startswith("|") and heading in line)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows[1:]


def test_the_readme_is_short():
    assert len(text("README.md").splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readme_s_speeds_are_those_of_the_measured_table():
    xeon = text("docs/performance.md").partition("### Intel(R) Xeon(R)")[2]
    case = slice(0, 4)  # a variant, pixels, images at once, threads; the cells behind are a least time, and (a median)
    float32, bfloat16 = (
        {tuple(row[case]): [cell.partition(" (")[0] for cell in row[4:]] for row in table(xeon, f"| {precision} | pixels")}
        for precision in ("float32", "bfloat16")
    )
    shown = table(text("README.md"), "OpenVINO")
    assert len(shown) == 6 and shown == table(text("README.zh.md"), "OpenVINO")
    for row in shown:
        fast, *peers, ahead = float32[tuple(row[case])][:5]
        fast_bfloat16, openvino, _, ahead_bfloat16 = bfloat16[tuple(row[case])][:4]
        assert row[4:] == [f"**{fast}**", *peers, ahead, f"**{fast_bfloat16}**", openvino, ahead_bfloat16]
        assert float(ahead) == pytest.approx(min(map(float, peers)) / float(fast), abs=0.02)  # of times that are rounded here


def test_the_table_of_sources():
    rows = table(text("docs/checkpoints.md"), "SHA-256")
    assert len(rows) == len(SOURCES)
    for (variant, library, file, _, known), source in zip(rows, SOURCES, strict=True):
        assert (variant, library) == (source.variant, source.library)
        assert re.search(r"\((.*)\)", file)[1] == source.url
        digits = re.search(r"`([0-9a-f]+)…?`", known)
        assert source.sha256.startswith(digits[1]) and source.sha256 if digits else not source.sha256


def test_the_table_of_layouts():
    rows = table(text("docs/checkpoints.md"), "LayerNorm eps")
    assert [row[0].strip("`") for row in rows] == list(LAYOUTS)
    for name, _, _, eps, preset, _ in rows:
        layout = LAYOUTS[name.strip("`")]
        assert float(eps.partition(",")[0]) == layout.layer_norm_eps and preset.strip("`") == layout.preset
    page = text("docs/checkpoints.md")
    assert f"own eps, {downstream.LAYER_NORM_EPS:g}" in page
    assert f"at most {shards.MOST_SHARDS} shards" in page and f"{keras.TFVAN_EPS:.3e} for both norms" in page
    security = text("SECURITY.md")
    assert f"ONNX: a file has {(onnx_file.LARGEST + 1) >> 30} GiB at most" in security
    assert f"deflated, than {hdf5.LARGEST_GROWTH} times as many" in security


def test_the_presets():
    for name, resize, crop, mean, std in table(text("docs/checkpoints.md"), "shorter side to"):
        preset = PRESETS[name.strip("`")]
        assert (int(resize), int(crop)) == (preset.resize, preset.crop)
        assert tuple(map(float, mean.split(","))) == preset.mean and tuple(map(float, std.split(","))) == preset.std


def test_the_parameters_of_three_forms():
    page = text("docs/lessons.md")
    forms = [lka.dense_parameters, lka.mobilenet_parameters, lambda C, K: lka.lka_parameters(C, K, 3)]
    for row, form in zip(table(page, "parameters of 21 x 21"), forms, strict=True):
        assert [int(cell.replace(",", "")) for cell in row[1:]] == [form(C, 21) for C in (32, 64, 128, 256, 512)]


def test_the_theoretical_receptive_fields():
    model = minivan.load()
    last = {field.path: field.side for field in explain.theoretical(model.config)}
    sides = [last[f"block{i}.{depth - 1}"] for i, depth in enumerate(model.config.depths, 1)]
    assert [int(row[1].replace(",", "")) for row in table(text("docs/explain.md"), "can see")] == sides


def test_the_numbers_in_sentences():
    fuzz = dict(re.findall(r"^(CASES|MORE|MOST) = ([\d_]+)", text("tests/checkpoint/test_fuzz.py"), re.MULTILINE))
    page = text("docs/checkpoints.md")
    assert f"{5 * int(fuzz['CASES']):,} damaged files" in page and f"{5 * int(fuzz['MORE']):,} more" in page
    assert f"{5 * int(fuzz['MOST']):,} behind `long`" in " ".join(page.split())
    assert round(len(NAMES), -1) == int(re.search(r"a table of about (\d+)", " ".join(page.split()))[1])
    count = len(list(vectors.known_cases()))
    assert f"writes {count} small test vectors" in text("docs/oracle.md") and f"{count} test vectors" in text("CHANGELOG.md")


def test_the_readme_s_count_of_methods():
    numbers = ("six", "seven", "eight", "nine", "ten")
    assert f"{numbers[len(METHODS) - 6].capitalize()} methods, class maps" in text("README.md")


def test_how_each_method_s_figure_is_read():
    assert [row[:2] for row in table(text("docs/explain.md"), "a figure of it")] == [[f"`{m.name}`", m.shows] for m in TABLE]


def test_what_auto_reckons_with():
    rows = [row[1] for row in table(text("docs/engines.md"), "seconds, on two cores")]
    compiling = [f"{part.compile_seconds:.0f}" for part in (auto.NETWORK, auto.SEGMENTATION)]
    assert rows == [f"{1e9 * auto.NUMPY:.2f}", f"{1e9 * auto.FAST:.2f}", f"{auto.LOAD:.2f}", *compiling]
    works = [auto.multiply_adds(minivan.load().config, side, side) / 1e9 for side in (96, 224)]
    assert "a b0 takes {:.2f} x 10^9 at 96 x 96, {:.2f} x 10^9 at 224 x 224".format(*works) in text("docs/engines.md")
    for page in ("docs/engines.md", "README.md"):
        assert f"about {auto.COMPILE:.0f} s, once" in " ".join(text(page).split())


def test_the_example_of_an_engine_of_one_s_own(monkeypatch, capsys):
    example = re.search(r"```python\n(.*?)```", text("docs/engines.md"), re.DOTALL)[1]
    assert len([line for line in example.splitlines() if line]) <= 10
    monkeypatch.chdir(ROOT)
    exec(example, {})
    assert capsys.readouterr().out.strip()


def test_the_examples_of_the_api_print_what_they_say(monkeypatch, capsys):
    """One after the other, as a reader would type them; after a `print` stands what it prints."""
    examples = re.findall(r"```python\n(.*?)```", text("docs/api.md"), re.DOTALL)
    monkeypatch.chdir(ROOT)
    known, checked = {}, 0
    for example in examples:
        exec(example, known)
        printed = iter(capsys.readouterr().out.splitlines())
        for said in re.findall(r"^print\(.*\)  # (.+)$", example, re.MULTILINE):
            assert next(printed) == said
            checked += 1
    assert checked >= 10


def test_every_public_module_is_in_the_reference():
    named = set(re.findall(r"automodule:: minivan\.(\w+)", text("docs/api.md")))
    assert named >= set(minivan._MODULES)


@pytest.mark.slow
def test_the_picture_of_the_rooms_shows_what_is_imported():
    subprocess.run([sys.executable, DOCS / "draw_architecture.py", "--check"], check=True)


def test_the_first_version_of_the_changelog_is_this_one():
    assert re.search(r"^## (\d[\d.]*)", text("CHANGELOG.md"), re.MULTILINE)[1] == minivan.__version__


def _for_the_index():
    """Return the function of hatch_build.py, which imports hatchling only for the class below it."""
    tree = ast.parse(text("hatch_build.py"))
    tree.body = [node for node in tree.body if not isinstance(node, ast.ClassDef) and "hatchling" not in ast.unparse(node)]
    names = {}
    exec(compile(tree, "hatch_build.py", "exec"), names)
    return names["for_the_index"]


def test_what_minivan_needs_beside_other_tools():
    declared = tomllib.loads(text("pyproject.toml"))["project"]["dependencies"]
    needs = next(row for row in table(text("docs/compared.md"), "pytorch-grad-cam") if row[0] == "needs")
    assert set(needs[1].lower().split(", ")) == {each.partition(">")[0] for each in declared}


def test_the_index_s_readme_has_addresses_or_no_links():
    convert, readme = _for_the_index(), text("README.md")
    link = r"\]\((?!https?://)"
    assert re.search(link, readme)
    there = convert(readme, "https://example.org/o/r/", "9.9")
    assert not re.search(link, there)
    assert "](https://example.org/o/r/raw/v9.9/examples/figures/four_gradcam.png)" in there
    assert "](https://example.org/o/r/blob/v9.9/docs/oracle.md)" in there
    nowhere = convert(readme, None, "9.9")
    assert not re.search(link, nowhere)
    assert "*Picture, in the source distribution as examples/figures/four_gradcam.png: Grad-CAM of Egyptian cat and " in nowhere
