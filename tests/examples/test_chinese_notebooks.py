"""The lessons in Chinese: the same code and outputs as in English; in the prose the same numbers, code, formulas and links."""

import re
import sys
from collections import Counter

import nbformat
import pytest
from support import ROOT

EXAMPLES = ROOT / "examples"
sys.path.insert(0, str(EXAMPLES))

import build  # noqa: E402

TRANSLATED = [source for source in build.sources() if build.translation_path(source).exists()]
HAN = r"[\u4e00-\u9fff]"
SAME = {  # what is the same in both languages, in any order
    "number": re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?"),
    "code": re.compile(r"`[^`]+`"),
    "formula": re.compile(r"\$[^$]+\$"),
    "link": re.compile(r"\]\([^)]*\)"),
    "heading": re.compile(r"^#+ ", re.MULTILINE),
    "item": re.compile(r"^(?:- |\d+\. )", re.MULTILINE),
}


def translation(source):
    return build.translation_path(source).read_text(encoding="utf-8")


@pytest.fixture(scope="module", params=TRANSLATED, ids=lambda source: source.stem)
def pair(request):
    """An English lesson without outputs, and the same in Chinese; it raises where a paragraph has changed since."""
    english = build.parse(request.param)
    return english, build.chinese(english, translation(request.param), request.param.stem)


def test_what_is_no_language_is_the_same(pair):
    for english, chinese in zip(*(lesson.cells for lesson in pair), strict=True):
        if english.cell_type == "code":
            assert english == chinese
            continue
        for kind, pattern in SAME.items():
            found = [Counter(pattern.findall(cell.source)) for cell in (english, chinese)]
            assert found[0] == found[1], (kind, chinese.source[:60], found[0] - found[1], found[1] - found[0])


def test_the_chinese_is_set_as_chinese_is(pair):
    for cell in pair[1].cells:
        if cell.cell_type == "markdown":
            text = re.sub(r"`[^`]*`|\$[^$]*\$", "`", cell.source)
            assert re.search(HAN, text)
            assert not re.search(rf"{HAN}\n{HAN}", text)  # a browser would show a gap
            assert not re.search(rf"{HAN}[A-Za-z0-9`]|[A-Za-z0-9%`]{HAN}|{HAN}[,;:!?(]|[,;:!?)]{HAN}", text)
            for before, bold, after in re.findall(r"(.?)\*\*([^*]+)\*\*(.?)", text):  # else Markdown shows the stars
                assert bold[-1].isalnum() or not after.isalnum(), bold
                assert bold[0].isalnum() or bold[0] == "`" or not before.isalnum(), bold


@pytest.mark.parametrize("source", TRANSLATED, ids=lambda source: source.stem)
def test_the_committed_notebook_has_the_english_one_s_code_and_outputs(source):
    english = nbformat.read(build.notebook_path(source), as_version=4)
    committed = nbformat.read(build.chinese_path(source), as_version=4)
    assert committed == build.chinese(english, translation(source), source.stem)


def test_a_changed_paragraph_or_a_missing_one_is_named():
    source = TRANSLATED[0]
    english = build.parse(source)
    english.cells[0].source += " More."
    with pytest.raises(ValueError, match=rf"was translated as .* stamp it {build.stamp(english.cells[0])}"):
        build.chinese(english, translation(source), source.stem)
    del english.cells[0]
    with pytest.raises(ValueError, match="text cells, where the English lesson has"):
        build.chinese(english, translation(source), source.stem)


def test_each_lesson_in_chinese_is_listed():
    page = (EXAMPLES / "README.zh.md").read_text(encoding="utf-8")
    assert re.findall(r"\((\S+\.zh\.ipynb)\)", page) == [build.chinese_path(source).name for source in TRANSLATED]
    assert len(TRANSLATED) >= 12 and {path.stem for path in (EXAMPLES / "sources" / "zh").iterdir()} == {
        source.stem for source in TRANSLATED
    }
