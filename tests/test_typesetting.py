"""Lines of Chinese and of English: what they measure, where they end, and that they can be put together again."""

import pytest

from minivan.typesetting import NEVER_FIRST, NEVER_LAST, joined, to_left, to_right, width, wrapped

pytestmark = pytest.mark.loop

MIXED = (
    "经过 *深度卷积*（depthwise convolution），每个通道都有 25 个权重；`minivan.lka` 算出 1,600。"
    "输出（见下）读 23 x 23 个位置。"
)


def test_a_wide_character_takes_two_columns():
    assert width("大核 LKA") == 8 and width("") == 0 and width("é") == 1
    assert to_left("图", 4) + "|" == "图  |" and to_right("图", 4) == "  图"


@pytest.mark.parametrize("columns", range(24, 100, 7))
def test_lines_end_where_they_may_and_lose_nothing(columns):
    lines = wrapped(MIXED, columns)
    assert max(map(width, lines)) <= columns and joined(lines) == MIXED
    assert not any(line[0] in NEVER_FIRST or line[-1] in NEVER_LAST for line in lines)
    assert all(line.count("*") % 2 == 0 for line in lines)  # a word in stars stays whole
    assert min(map(width, lines[:-1])) > columns - 24  # and no line ends for want of a place where it may


def test_english_is_broken_between_words():
    assert wrapped("one two-three four", 9) == ["one", "two-three", "four"] and wrapped("", 9) == []
    assert joined(["One.", "Two."]) == "One. Two." and joined(["一。", "二。"]) == "一。二。" and joined(["用", "K"]) == "用 K"
