"""The languages of the lesson: each text by its key, with its numbers filled in.

What is said is chosen by the chapters, from the numbers, once for all languages; a language only says it. A text names the
values that stand in it, `{support}`, and all languages name the same ones. Whole numbers are written here, with commas
between thousands; of others the chapters make text. `{taps:weight|weights}` is the word that goes with a number, where a
language has two.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any

from .. import typesetting
from .texts import LANGUAGES, TEXTS


class Language:
    """One of LANGUAGES: `say("gate.kernel", left="-1")` returns that text in it."""

    def __init__(self, code: str = "en") -> None:
        self.code = code
        self._texts = {key: texts[LANGUAGES.index(code)] for key, texts in TEXTS.items()}
        self._filled = _Filled()

    def __call__(self, key: str, **values: int | str) -> str:
        """Return a text with these values in it, on one line; raises KeyError for one too many or too few."""
        return typesetting.joined(line.strip() for line in self.lines(key, **values).splitlines())

    def lines(self, key: str, **values: int | str) -> str:
        """Return a text, as `say` does, with the line ends that it has: the heading of a column."""
        return self._filled.format(self._texts[key], **values)

    def listed(self, items: Sequence[int | str]) -> str:
        """Return 'a, b and c'."""
        *others, last = (f"{item:,}" if isinstance(item, int) else item for item in items)
        return self("lists.and", others=self.lines("lists.between").join(others), last=last) if others else last

    def characters(self) -> str:
        """Return all characters that the texts of this language are written in."""
        return "".join(sorted(set("".join(self._texts.values()))))


class _Filled(string.Formatter):
    """Fills values into a text, and takes amiss what the text leaves out."""

    def format_field(self, value: Any, format_spec: str) -> str:
        if "|" in format_spec:
            one, many = format_spec.split("|")
            return one if value == 1 else many
        return f"{value:,}" if isinstance(value, int) else str(value)

    def check_unused_args(self, used_args: set[int | str], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        if unused := kwargs.keys() - used_args:
            raise KeyError(f"not in the text: {', '.join(sorted(unused))}")
