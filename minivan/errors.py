"""What a person is told when something cannot be done: one line each, and safe to show in a terminal."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Collection

LONGEST_QUOTE = 80  # characters of a name from a file that a message repeats


class WrongCall(Exception):
    """A command that cannot be carried out as it was called, or has nothing to judge; the message is one line."""


class NoCompiler(WrongCall, ImportError):
    """Numba cannot be imported, and the engines fast and exact are nothing without it; the message is one line."""


class CannotCompute(WrongCall, RuntimeError):
    """This process cannot compute as it was started or set up; the message is one line that says what would help."""


def printable(text: object) -> str:
    """Return text as one line that a terminal can show: control characters and lone surrogates as their codes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def is_line(text: str) -> bool:
    """Tell whether a text is one line: nothing in it ends a line, is half a character, or makes a terminal do something.

    Spaces that do not break, joiners and marks of direction are text, although `printable` shows their codes.
    """
    return text.isprintable() or not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text)


def quote(name: object) -> str:
    """Return a name read from a file as it may stand in a message: quoted, escaped, cut to 80 characters."""
    if not isinstance(name, (str, int, float, type(None))):
        kind = type(name).__name__
        return f"{'an' if kind[0] in 'AEIOUaeiou' else 'a'} {kind}"
    if isinstance(name, str):
        name = name if len(name) <= LONGEST_QUOTE else f"{name[:LONGEST_QUOTE]}..."
    return repr(name)


def suggestion(near: Collection[str], otherwise: str) -> str:
    """Return how a sentence about an unknown name goes on: with the names near it, or with `otherwise` where there are none."""
    return f"near it are {', '.join(near)}" if near else otherwise


def reason(error: BaseException) -> str:
    """Return why something failed as one line that leaves out which file it is about."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def sentence(error: BaseException, about: object = "") -> str:
    """Return an error as one line: its reason after the file it is about.

    `about` names the file where an OSError does not.
    """
    if not about and isinstance(error, OSError) and error.strerror and isinstance(error.filename, (str, bytes)):
        about = os.fsdecode(error.filename)
    return f"{about}: {reason(error)}" if about else reason(error)
