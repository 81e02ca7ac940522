"""The class for a teacher: slides in step with the notebooks, cells that refute, a key whose numbers are computed again."""

import contextlib
import io
import itertools
import re
import sys

import numpy as np
import pytest
from support import EXAMPLES

TEACHING = EXAMPLES / "teaching"
sys.path.insert(0, str(TEACHING))

import slides  # noqa: E402

BLOCK = re.compile(r"```python\n(.*?)```\n```text\n(.*?)```", re.DOTALL)


def read(name):
    return (TEACHING / name).read_text(encoding="utf-8")


def test_the_committed_slides_are_what_the_notebooks_show_today():
    page = slides.page()
    assert read("slides.html") == page, "python examples/teaching/slides.py makes them again"
    assert not re.search(r"(src|href)=\"(?!data:)", page) and "http" not in page  # no network, no other file
    assert len(page) < 1_500_000
    made = slides.slides()
    assert page.count("<section") == len(made) and all(slide.claim in page for slide in made)
    assert len(slides.misconceptions()) == 5


def test_a_figure_or_a_number_that_is_gone_is_noticed():
    for missing in (lambda: slides.figure("03", "no such cell", ""), lambda: slides.printed("04", r"(no such line)")):
        with pytest.raises(ValueError, match="not enough values"):
            missing()


def test_the_plan_takes_ninety_minutes_and_shows_every_slide_once():
    rows = re.findall(r"^\| (\d+) to (\d+) \| ([\d, ]+) \|", read("plan.md"), re.MULTILINE)
    starts, ends = ([int(row[i]) for row in rows] for i in (0, 1))
    assert starts[0] == 0 and ends[-1] == 90 and ends[:-1] == starts[1:]
    shown = [int(number) for *_, numbers in rows for number in numbers.split(",")]
    assert shown == list(range(1, len(slides.slides()) + 1))
    for name in re.findall(r"\]\(([\w.]+)\)", read("plan.md")):
        assert (TEACHING / name).exists()


@pytest.mark.slow
def test_every_cell_refutes_its_misconception(monkeypatch):
    monkeypatch.chdir(EXAMPLES)
    blocks, names = BLOCK.findall(read("misconceptions.md")), {}
    assert len(blocks) == 5
    for code, said in blocks:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(code, names)
        assert re.sub(r"\d+", "N", out.getvalue()) == re.sub(r"\d+", "N", said)
        pairs = [[int(n) for n in re.findall(r"\d+", text)] for text in (out.getvalue(), said)]
        np.testing.assert_allclose(*pairs, atol=1)  # a per cent that another processor rounds the other way


def multiplied(side, channels, reads):
    """Weights, counted one by one: `reads(i, j)` tells which of a kernel's places has one, for so many pairs of channels."""
    return channels * sum(reads(i, j) for i, j in itertools.product(range(side), repeat=2))


def key_numbers():
    """The numbers of the key, by problem, each by counting or brute force, without minivan's formulas."""
    kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    columns = np.tile([10, 20, 30], (3, 1))
    yield 1, [(kernel * 80).sum(), (kernel * columns).sum(), (kernel * (columns + 100)).sum()]
    sides, side = [], 96
    for k, stride, padding in ((7, 4, 3), (3, 2, 1), (3, 2, 1), (3, 2, 1)):
        side = len(range(-padding, side + padding - k + 1, stride))
        sides.append(side)
    yield 2, sides
    far = len(range(0, 13, 3))  # weights 3 apart that fit into 13
    depthwise = multiplied(13, 96, lambda i, j: 1)
    yield 3, [depthwise * 96, depthwise + 96 * 96, multiplied(far, 96, lambda i, j: 1) + 96 * 25 + 96 * 96]
    reached = {3 * i + j for i in range(far) for j in range(5)}
    yield 4, [len(reached), next(n for n in range(1, 99) if 2 * n + 1 >= len(reached))]
    cost = {
        rule: {d: len(range(0, 13, d)) ** 2 + rule(d) ** 2 for d in range(1, 14)} for rule in (lambda d: 2 * d - 1, lambda d: d)
    }
    yield 5, [number for each in cost.values() for number in min((weights, d) for d, weights in each.items())[::-1]]
    frame = {-1, -2}  # rows outside in which the 5 x 5 leaves something
    yield 6, [row for row in range(60) if any(row + 3 * tap in frame for tap in range(-3, 4))]
    u, doubled = 1.0, 2.0
    for _ in range(4):
        u, doubled = u * u, doubled * doubled
    yield 7, [3 * -1, -2 * 0.5, 0.5 * 4, 2 * 2, doubled / u]
    places, C = 48 * 48, 64
    projections, scores = 4 * places * C * C, places * places * C
    yield 8, [projections + 2 * scores, places * (C * 49 + C * 25 + C * C + 2 * C * C)]


def test_the_key_has_the_numbers_that_counting_gives():
    parts = dict(zip(range(1, 9), re.split(r"^\d\. ", read("key.md"), flags=re.MULTILINE)[1:], strict=True))
    asked = re.findall(r"^(\d)\. \*\*", read("problems.md"), re.MULTILINE)
    assert asked == [str(number) for number in parts]
    for problem, numbers in key_numbers():
        bold = ", ".join(re.findall(r"\*\*(.*?)\*\*", parts[problem]))
        found = [float(number.replace(",", "")) for number in re.findall(r"-?\d+(?:,\d{3})*", bold)]
        assert found == [float(number) for number in numbers], problem
