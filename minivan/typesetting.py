"""Text in a terminal's columns: how wide characters are, and where a line may end.

Chinese, Japanese and Korean characters take two columns, and a line may end between any two of them, but for punctuation: what
closes does not begin a line, what opens does not end one. Between such a character and a Latin word stands a space.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

NEVER_FIRST = frozenset("，。、；：！？）】》」』”’％…,.;:!?)]%")
NEVER_LAST = frozenset("（【《「『“‘([")
STARRED = re.compile(r"\*[^*\s]+\*")  # a word in stars stays whole


def is_wide(character: str) -> bool:
    """Whether a character takes two columns."""
    return unicodedata.east_asian_width(character) in "WF"


def width(text: str) -> int:
    """Return how many columns a text takes."""
    return len(text) if text.isascii() else sum(1 + is_wide(character) for character in text)


def to_left(text: str, columns: int) -> str:
    """Return a text with spaces behind it up to so many columns."""
    return text + " " * (columns - width(text))


def to_right(text: str, columns: int) -> str:
    """Return a text with spaces before it up to so many columns."""
    return " " * (columns - width(text)) + text


def joined(texts: Iterable[str]) -> str:
    """Put lines or sentences one behind the other: with a space between them, where their language has one there."""
    whole = ""
    for text in texts:
        whole += " " * bool(whole and text and _spaced(whole[-1], text[0])) + text
    return whole


def wrapped(text: str, columns: int) -> list[str]:
    """Break a text into lines of at most so many columns, between words or wide characters; a longer word stays whole."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        for k, piece in enumerate(_pieces(word)):
            longer = f"{line} {piece}" if line and k == 0 else line + piece
            if line and width(longer) > columns:
                lines.append(line)
                longer = piece
            line = longer
    return [*lines, line] if line else lines


def _spaced(before: str, after: str) -> bool:
    """Whether a space parts two characters that a line end parted: no wide punctuation, and not both of them wide."""
    wide = [character for character in (before, after) if is_wide(character)]
    return len(wide) < 2 and all(character.isalnum() for character in wide)


def _pieces(word: str) -> Iterator[str]:
    """Yield the parts of a word within which no line ends."""
    if word.isascii():
        yield word
        return
    starred = {k for match in STARRED.finditer(word) for k in range(match.start() + 1, match.end())}
    start = 0
    for k in range(1, len(word)):
        before, after = word[k - 1], word[k]
        parts = (is_wide(before) or is_wide(after)) and before not in NEVER_LAST and after not in NEVER_FIRST
        if parts and k not in starred:
            yield word[start:k]
            start = k
    yield word[start:]
