"""The configuration that OpenMMLab's libraries keep beside the weights: Python text, of which the literals alone are read.

`Config.pretty_text` of MMEngine and of mmcv writes out everything that a file inherits, so that what is wanted stands there as
`name = value` with dictionaries, lists, texts and numbers. Nothing is executed, and nothing parses it but this.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .budget import Budget

LONGEST_TEXT = 1 << 17  # characters; such a text has some ten thousand
DEEPEST = 60  # brackets in one another
TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+|\#[^\n]*|\\\r?\n)
      | (?P<text>[rbu]?'(?:[^'\\\n]|\\.)*'|[rbu]?"(?:[^"\\\n]|\\.)*")
      | (?P<number>[+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<name>[^\W\d]\w*)
      | (?P<mark>[][(){},=:])""",
    re.VERBOSE,
)
CLOSING = {"(": ")", "[": "]", "{": "}"}
CONSTANTS = {"True": True, "False": False, "None": None}


class _Unreadable(Exception):
    """Something that is no literal."""


def read(text: object, budget: Budget) -> dict[str, Any]:
    """Return the values of a configuration by their names, up to the first that is no literal; {} for what is no text.

    Lists and tuples are lists. CheckpointError where it takes more than the file's budget.
    """
    if not isinstance(text, str) or len(text) > LONGEST_TEXT:
        return {}
    budget.step(len(text))  # each may be a token of its own
    budget.hold(40 * len(text))  # an empty dictionary in a list takes 72 bytes for its three characters
    found: dict[str, Any] = {}
    tokens = _Tokens(text)
    try:
        while tokens.kind:
            name = tokens.take("name")
            tokens.take("mark", "=")
            found[name] = _value(tokens, 0)
    except _Unreadable:
        pass
    return found


def within(values: object, path: str) -> Any:
    """Return what lies at a path of keys, 'test_dataloader.dataset.pipeline'; None where nothing does."""
    for key in path.split("."):
        values = values.get(key) if isinstance(values, dict) else None
    return values


class _Tokens:
    """The text's tokens, one of which is looked at; its kind is '' at the end."""

    def __init__(self, text: str) -> None:
        self.rest = self._split(text)
        self.kind, self.token = next(self.rest)

    def _split(self, text: str) -> Iterator[tuple[str, str]]:
        at = 0
        while at < len(text):
            match = TOKEN.match(text, at)
            if match is None:
                break
            at = match.end()
            if match.lastgroup != "space":
                yield match.lastgroup or "", match[0]
        yield ("" if at == len(text) else "other"), ""

    def take(self, kind: str, token: str = "") -> str:
        if self.kind != kind or token not in ("", self.token):
            raise _Unreadable
        taken = self.token
        self.kind, self.token = next(self.rest, ("", ""))
        return taken

    def passes(self, token: str) -> bool:
        """Take a mark if it is the next one, and tell whether it is."""
        there = self.kind == "mark" and self.token == token
        if there:
            self.take("mark")
        return there


def _value(tokens: _Tokens, depth: int) -> Any:
    if depth > DEEPEST:
        raise _Unreadable
    if tokens.kind == "text":
        parts = []
        while tokens.kind == "text":
            parts.append(tokens.take("text").lstrip("rbu")[1:-1])
        return "".join(parts)
    if tokens.kind == "number":
        return _number(tokens.take("number"))
    if tokens.kind == "name":
        name = tokens.take("name")
        if name == "dict":
            tokens.take("mark", "(")
            return _pairs(tokens, ")", "=", depth)
        if name in CONSTANTS:
            return CONSTANTS[name]
        raise _Unreadable
    opening = tokens.take("mark")
    if opening == "{":
        return _pairs(tokens, "}", ":", depth)
    if opening not in CLOSING:
        raise _Unreadable
    items = []
    while not tokens.passes(CLOSING[opening]):
        items.append(_value(tokens, depth + 1))
        if not tokens.passes(","):
            tokens.take("mark", CLOSING[opening])
            break
    return items


def _pairs(tokens: _Tokens, closing: str, between: str, depth: int) -> dict[Any, Any]:
    """Return what stands inside dict(...) or {...}."""
    found: dict[Any, Any] = {}
    while not tokens.passes(closing):
        key = tokens.take("name") if between == "=" else _value(tokens, depth + 1)
        if not isinstance(key, (str, int, float)):
            raise _Unreadable
        tokens.take("mark", between)
        found[key] = _value(tokens, depth + 1)
        if not tokens.passes(","):
            tokens.take("mark", closing)
            break
    return found


def _number(text: str) -> float | int:
    try:
        return int(text) if text.lstrip("+-").isdecimal() and len(text) < 20 else float(text)
    except ValueError:
        raise _Unreadable from None
