"""What a person is told when something cannot be done: one line each, and safe to show in a terminal."""

from __future__ import annotations

import os

LONGEST_QUOTE = 80  # characters of a name from a file that a message repeats


class WrongCall(Exception):
    """A command that cannot be carried out as it was called, or has nothing to judge; the message is one line."""


def printable(text: object) -> str:
    """Return text as one line that a terminal can show: control characters and lone surrogates as their codes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def quote(name: object) -> str:
    """Return a name read from a file as it may stand in a message: quoted, escaped, cut to 80 characters."""
    if not isinstance(name, (str, int, float, type(None))):
        return f"a {type(name).__name__}"
    if isinstance(name, str):
        name = name if len(name) <= LONGEST_QUOTE else f"{name[:LONGEST_QUOTE]}..."
    return repr(name)


def sentence(error: BaseException, about: object = "") -> str:
    """Return an error as one line: an OSError's reason after the file it is about, any other's own words.

    `about` names the file where the error does not.
    """
    if isinstance(error, OSError) and error.strerror:
        place = about or (os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else "")
        return f"{place}: {error.strerror}" if place else error.strerror
    text = " ".join(str(error).split()) or type(error).__name__
    return f"{about}: {text}" if about else text
