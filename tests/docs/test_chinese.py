"""The Chinese pages say what the English ones say: the same commands, numbers, code and links, in the glossary's terms."""

import re
import unicodedata
from collections import Counter

import pytest
from support import ROOT

from minivan.lesson.texts import TEXTS

pytestmark = pytest.mark.loop

PAIRS = (("README.md", "README.zh.md"), ("docs/questions.md", "docs/questions.zh.md"))
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)*")
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)]*)\)")
HAN = r"[\u4e00-\u9fff]"
ABOUT_CHINESE = ("术语的译法见", "`python -m minivan lka")  # how a paragraph begins that has no namesake in English


def sections(name):
    """Return a page's sections, without their headings and what only one language says."""
    text = (ROOT / name).read_text(encoding="utf-8")
    paragraphs = [part for part in text.split("\n\n") if not part.startswith(ABOUT_CHINESE)]
    return [part.partition("\n")[2] for part in "\n\n".join(paragraphs).split("\n## ")]


def prose(section):
    return FENCED.sub("", section)


@pytest.fixture(scope="module", params=PAIRS, ids=lambda pair: pair[0])
def pair(request):
    english, chinese = map(sections, request.param)
    assert len(english) == len(chinese) >= 10
    return list(zip(english, chinese, strict=True))[int("questions" in request.param[0]) :]  # the questions' own introduction


def test_the_numbers_are_the_same_in_each_section(pair):
    for english, chinese in pair:
        found = [Counter(NUMBER.findall(LINK.sub("]", prose(text)))) for text in (english, chinese)]
        assert found[0] == found[1], (chinese[:60], found[0] - found[1], found[1] - found[0])


def test_links_and_pictures_lead_to_the_same_places(pair):
    for english, chinese in pair:
        ours, theirs = (
            sorted(link.replace(".zh.md", ".md") for link in LINK.findall(prose(text))) for text in (english, chinese)
        )
        assert ours == theirs, chinese[:60]


def test_commands_are_the_same_and_so_is_code_in_sentences(pair):
    for english, chinese in pair:
        blocks = [
            [re.sub(r" +# .*$", "", block, flags=re.MULTILINE) for block in FENCED.findall(s)] for s in (english, chinese)
        ]
        assert blocks[0] == blocks[1]
        assert not Counter(re.findall(r"`[^`]+`", prose(english))) - Counter(re.findall(r"`[^`]+`", prose(chinese)))


def test_the_chinese_start_page_lists_the_pages_that_the_english_one_lists():
    english, chinese = (
        re.findall(r"^\| \[.*?\]\((\w+(?:\.zh)?\.md)\) \|", (ROOT / "docs" / name).read_text(encoding="utf-8"), re.MULTILINE)
        for name in ("index.md", "index.zh.md")
    )
    translated = [page for page in english if (ROOT / "docs" / page.replace(".md", ".zh.md")).exists()]
    assert len(english) >= 20 and translated == ["questions.md"]
    own, others = chinese[:2], chinese[2:]
    assert own == ["questions.zh.md", "glossary.zh.md"] and others == [page for page in english if page not in translated]


def chinese_pages():
    names = [name for _, name in PAIRS] + ["docs/index.zh.md", "examples/README.zh.md"]
    lessons = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "examples" / "sources" / "zh").glob("*.md")}
    return (
        lessons
        | {name: (ROOT / name).read_text(encoding="utf-8") for name in names}
        | {
            "lka --lang zh": "\n\n".join(chinese for _, chinese in TEXTS.values()),
            "the page": (ROOT / "minivan" / "page" / "texts.js").read_text(encoding="utf-8"),
        }
    )


def glossary():
    rows = re.findall(r"^\| (.*) \|$", (ROOT / "docs" / "glossary.zh.md").read_text(encoding="utf-8"), re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")] for row in rows if "---" not in row][1:]


def test_the_glossary_s_terms_are_the_ones_in_use():
    rows = glossary()
    assert len(rows) >= 40 and all(len(row) == 4 for row in rows)
    everything = "".join(chinese_pages().values())
    for _, term, others, _ in rows:
        for other in filter(None, others.split("、")):
            assert other not in everything, f"{other}, where the glossary has {term}"


def test_a_word_in_stars_is_the_glossary_s():
    terms = {english.split()[0].lower(): chinese for english, chinese, *_ in reversed(glossary())}
    terms |= {f"{english}{end}": chinese for english, chinese in terms.items() for end in ("s", "es")}
    for key, (english, chinese) in TEXTS.items():
        ours, theirs = (re.findall(r"\*([\w-]+)\*", text) for text in (english, chinese))
        named = [terms[word.lower()] for word in ours if word != "stars"]
        assert sorted(named) == sorted(word for word in theirs if word != "星号"), key


@pytest.mark.parametrize(
    "name", [*(name for _, name in PAIRS), "docs/index.zh.md", "docs/glossary.zh.md", "examples/README.zh.md"]
)
def test_lines_end_where_no_gap_is_seen(name):
    """A browser shows a line's end as a space: it stands at a space, or after a full-width mark, whose own half is empty."""
    text = FENCED.sub("", (ROOT / name).read_text(encoding="utf-8"))
    assert not re.search(rf"{HAN}\n{HAN}", text)
    assert not re.search(rf"{HAN}[A-Za-z0-9`]|[A-Za-z0-9%`]{HAN}|{HAN}[,;:!?(]|[,;:!?)]{HAN}", LINK.sub("]", text))
    for line in text.splitlines():
        columns = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)
        assert columns <= 128 or line.startswith("|"), line
