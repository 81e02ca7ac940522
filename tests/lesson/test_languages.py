"""The lesson in Chinese: what the English one says, with the same numbers, on 80 columns."""

import argparse
import collections
import functools
import io
import re
import string
import sys
import unicodedata

import pytest
from support.page import told

from minivan.cli import main
from minivan.cli.lka import add_arguments, narrowed
from minivan.lesson import chapters, photo, surroundings_chapter, texts, which_chapter, wording
from minivan.lesson.language import Language
from minivan.lesson.numbers import numbers
from minivan.typesetting import width

NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]\d+)?")
WORD = re.compile(r"\*([\w-]+)\*")
KERNELS = [(21, 3, 64, 56), (7, 2, 1, 14), (1, 1, 1, 1), (12, 3, 2, 5), (99, 1, 64, 300), (300, 300, 1, 9), (5, 5, 3, 20)]


WALK = photo.walk


@functools.cache
def walked():
    return WALK(photo.bundled_model(), photo.example())


@pytest.fixture(autouse=True)
def one_walk(monkeypatch):
    monkeypatch.setattr(photo, "walk", lambda *_: walked())


def other_walks():
    """The same walk as other weights could have made it: each choice of a sentence the other way."""
    w = walked()
    gone, kept = ({"label": label, "probability": 0.25} for label in ("sea slug", w["answer"]["label"]))
    hand = w["by_hand"] | {"near_on_map": 9, "far_on_map": 49}
    names = ("as trained", "which", "where", "fixed levels", "fixed numbers")
    for apart, opened, rank, right in ((0.0, gone, 1, (9, 8, 5, 7, 6)), (3e-15, kept, 3, (9, 6, 5, 7, 4))):
        yield w | {
            "furthest_apart": apart,
            "answer_with_open_gates": opened,
            "by_hand": hand,
            "answers_without": {"which": opened, "where": opened},
            "variance": w["variance"] | {"shown_rank": rank},
            "measured": {"images": 11, "right": dict(zip(names, right, strict=True))},
        }


computed = functools.cache(numbers)


def page(language, kernel, walk):
    return list(chapters.lesson(computed(*kernel), walk, language))


@pytest.fixture(scope="module")
def pages():
    """Pages in both languages, for several kernels and walks."""
    walks = [walked(), *other_walks(), None, None, None, None]
    cases = list(zip(KERNELS, walks, strict=True))
    return {code: [page(Language(code), *case) for case in cases] for code in texts.LANGUAGES}


def test_each_text_is_there_in_both_languages_with_the_same_values_numbers_and_terms():
    for key, (english, chinese) in texts.TEXTS.items():
        named = [{name for _, name, _, _ in string.Formatter().parse(text) if name} for text in (english, chinese)]
        assert named[0] == named[1], key
        bare = [re.sub(r"\{[^}]*\}", " ", text) for text in (english, chinese)]
        assert sorted(NUMBER.findall(bare[0])) == sorted(NUMBER.findall(bare[1])), key
        assert len(WORD.findall(english)) == len(WORD.findall(chinese)), key
        assert english.isascii() and english.strip() and chinese.strip(), key
        doubtful = [c for c in chinese if unicodedata.east_asian_width(c) == "A"]  # one column here, two there
        assert not doubtful, (key, doubtful)


def test_no_key_stands_in_two_chapters():
    modules = (texts.frame, texts.price, texts.kernel, texts.gate, texts.photo, texts.surroundings, texts.which)
    assert sum(len(module.TEXTS) for module in modules) == len(texts.TEXTS)


def test_every_text_is_said_somewhere(monkeypatch):
    said = set()
    lines = Language.lines
    monkeypatch.setattr(Language, "lines", lambda self, key, **values: said.add(key) or lines(self, key, **values))
    language = Language("zh")
    for kernel, walk in zip(KERNELS, [walked(), *other_walks(), None, None, None, None], strict=True):
        page(language, kernel, walk)
    for own, around in ((1, 1), (1, -2), (-2, 1)):
        surroundings_chapter.verdict(own, around, language)
    for stages in ([0.1, 0.9], [0.1, 0.2], [0.8, 0.9]):
        which_chapter.shares(stages, language)
    for smallest in (1, 1e6, 1e10, 1e13, 1e16):
        wording.narrow_unit(smallest, language)
    assert texts.TEXTS.keys() - said == {"pause", "plotted", "border.some"}


def test_both_languages_print_the_same_numbers(pages):
    for kernel, english, chinese in zip(KERNELS, pages["en"], pages["zh"], strict=True):
        found = [set(NUMBER.findall("\n".join(lines))) for lines in (english, chinese)]
        assert found[0] == found[1], (kernel, found[0] ^ found[1])


def test_chinese_keeps_80_columns_and_no_line_begins_with_what_closes(pages):
    for lines in pages["zh"]:
        assert max(map(width, lines)) <= 80
        assert not [line for line in lines if line.strip()[:1] in tuple("，。、；：）！？")]
        assert not [line for line in lines if re.search(r"[\u4e00-\u9fff][A-Za-z0-9`]|[A-Za-z0-9%][\u4e00-\u9fff]", line)]
        assert not [line for line in lines if re.search(r"[\u4e00-\u9fff][,;:!?(]|[,;:!?)][\u4e00-\u9fff]", line)]
        assert "{" not in "".join(lines) and "None" not in "".join(lines)


def test_each_starred_word_is_explained_before_it_is_used(pages):
    whole = "\n".join(pages["zh"][0]).split("\n\n\n", 1)[1]
    prose = "".join(
        line for line in whole.splitlines() if not line.startswith(("?", "（本章")) and not re.match(r"\d+\. ", line)
    )
    words = collections.Counter(WORD.findall(prose))
    assert len(words) >= 29
    for word in words:
        if len(word) > 1:  # a single character is a part of many words
            assert prose.index(word) == prose.index(f"*{word}*") + 1, word


def test_the_command_knows_the_languages_there_are():
    add_arguments(parser := argparse.ArgumentParser())
    (lang,) = (action for action in parser._actions if "--lang" in action.option_strings)
    assert lang.choices == texts.LANGUAGES and lang.default == "en"


def test_a_value_too_many_or_too_few_is_an_error():
    for values in ({}, {"K": 1}, {"K": 1, "d": 1, "C": 1}):
        with pytest.raises(KeyError):
            Language("zh")("opening.title", **values)


def test_the_command_tells_the_lesson_in_chinese_and_pauses_in_it(monkeypatch):
    assert told("--lang", "zh", "--chapter", 9)[0] == "9. 门控：相乘"
    asked = []
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda prompt: asked.append(prompt) or "q")
    assert main(["lka", "--lang", "zh"]) == 0 and asked == ["  [回车：继续；q：结束] "]


def test_a_terminal_without_chinese_characters_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert main(["lka", "--lang", "zh"]) == 2
    assert sys.stdout.buffer.getvalue() == b""
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "ascii" in err and "PYTHONIOENCODING=utf-8" in err


def test_a_narrow_terminal_breaks_paragraphs_anew(pages):
    for code in texts.LANGUAGES:
        for columns in (30, 50):
            lines = narrowed(pages[code][0], columns)
            prose = [line for line in lines if line[:1].strip() and line.strip("=-")]
            assert all(width(line) <= columns or " " not in line for line in prose)
        assert narrowed(narrowed(pages[code][0], 40), 78) == narrowed(pages[code][0], 78)
