"""The configuration that OpenMMLab's libraries keep beside the weights: Python text, of which the literals alone are read.

`Config.pretty_text` of MMEngine and of mmcv writes out everything that a file inherits, so that what is wanted stands there as
`name = value` with dictionaries, lists, texts and numbers. Nothing is executed.

The standard library's `ast.parse` is not for texts that a stranger wrote. On a thread with 512 KiB of stack, as macOS gives
them, 100,000 signs of minus end the process (CPython 3.11 and 3.13; its documentation warns of it); an f-string of 131,072
characters takes 3.11 five seconds, as the time grows with the square; and any text 500 to 900 bytes for each character.
"""

from __future__ import annotations

import re
from typing import Any

from .budget import Budget

LONGEST_TEXT = 1 << 17  # characters; such a text has some ten thousand
DEEPEST = 60  # brackets in one another
TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+|\#[^\n]*|\\\r?\n)
      | (?P<long>[rbu]?(?:'''[\s\S]*?'''|\"\"\"[\s\S]*?\"\"\"))
      | (?P<text>[rbu]?(?:'(?:[^'\\\n]|\\.)*+'|"(?:[^"\\\n]|\\.)*+"))
      | (?P<number>[+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<name>[^\W\d]\w*)
      | (?P<mark>[][(){},=:])
      | (?P<other>['"\\][^\n]*|[^\n])""",
    re.VERBOSE,
)
CLOSING = {"(": ")", "[": "]", "{": "}"}
CONSTANTS = {"True": True, "False": False, "None": None}


class _Unreadable(Exception):
    """Something that is no literal."""


def read(text: object, budget: Budget) -> dict[str, Any]:
    """Return the values that a configuration gives to names, those that are literals; {} for what is no text.

    Lists and tuples are lists, keys of dictionaries are text. Whatever else the text says is passed over. CheckpointError where
    it takes more than the file's budget.
    """
    if not isinstance(text, str) or len(text) > LONGEST_TEXT:
        return {}
    budget.step(2 * len(text))  # each may be a token of its own
    budget.hold(40 * len(text))  # an empty dictionary in a list takes 72 bytes for its three characters
    found: dict[str, Any] = {}
    tokens = _Tokens(text)
    while tokens.kind:
        start, first = tokens.start, tokens.token
        try:
            name, value = _assignment(tokens)
            found[name] = value
        except _Unreadable:
            found.pop(first, None)  # it may have another value from here on
            tokens.skip(start)
    return found


def within(values: object, path: str) -> Any:
    """Return what lies at a path of keys, 'test_dataloader.dataset.pipeline'; None where nothing does."""
    for key in path.split("."):
        values = values.get(key) if isinstance(values, dict) else None
    return values


class _Tokens:
    """The text's tokens, one of which is looked at; its kind is '' at the end."""

    def __init__(self, text: str) -> None:
        self.text, self.end, self.depth = text, 0, 0  # how many brackets are open
        self.move()

    def move(self) -> None:
        """Look at the next token."""
        self.kind, self.token, self.ends_statement = "", "", self.end == 0
        while match := TOKEN.match(self.text, self.end):
            self.start, self.end = match.span()
            if match.lastgroup != "space":
                self.kind, self.token = match.lastgroup or "", match[0]
                self.depth += (self.token in CLOSING) - (self.token in CLOSING.values())
                return
            self.ends_statement = self.ends_statement or (match[0][0] != "\\" and "\n" in match[0])
        self.ends_statement = True

    def skip(self, start: int) -> None:
        """Look at the next statement that begins a line, after the one at `start`."""
        while self.kind and (self.start == start or self.depth > 0 or self.text[self.start - 1] != "\n"):
            self.move()
        self.depth = 0

    def take(self, kind: str, token: str = "") -> str:
        if self.kind != kind or token not in ("", self.token):
            raise _Unreadable
        taken = self.token
        self.move()
        return taken

    def passes(self, token: str) -> bool:
        """Take a mark if it is the next one, and tell whether it is."""
        there = self.kind == "mark" and self.token == token
        if there:
            self.take("mark")
        return there


def _assignment(tokens: _Tokens) -> tuple[str, Any]:
    """Return a name and its value, where a statement gives a literal to a name and does nothing else."""
    name = tokens.take("name")
    tokens.take("mark", "=")
    value = _value(tokens, 0)
    if not tokens.ends_statement:
        raise _Unreadable
    return name, value


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


def _pairs(tokens: _Tokens, closing: str, between: str, depth: int) -> dict[str, Any]:
    """Return what stands inside dict(...) or {...}."""
    found: dict[str, Any] = {}  # a file could choose numbers that all collide
    while not tokens.passes(closing):
        key = tokens.take("name") if between == "=" else _value(tokens, depth + 1)
        if isinstance(key, (list, dict)):
            raise _Unreadable
        tokens.take("mark", between)
        found[str(key)] = _value(tokens, depth + 1)
        if not tokens.passes(","):
            tokens.take("mark", closing)
            break
    return found


def _number(text: str) -> float | int:
    try:
        return int(text) if text.lstrip("+-").isdecimal() and len(text) < 20 else float(text)
    except ValueError:
        raise _Unreadable from None
