"""What a person is told when something cannot be done: one line each, and safe to show in a terminal."""

from __future__ import annotations

import os
import re
from collections.abc import Collection

LONGEST_QUOTE = 80  # characters of a name from a file that a message repeats
LONGEST_REASON = 2000  # characters of a message, the names of the user's own files included
NO_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # Unicode's Cc, Zl, Zp and Cs


class WrongCall(Exception):
    """A command that cannot be carried out as it was called, or has nothing to judge; the message is one line."""


class NoCompiler(WrongCall, ImportError):
    """Numba cannot be imported, and the engines fast and exact are nothing without it; the message is one line."""


class CannotCompute(WrongCall, RuntimeError):
    """This process cannot compute as it was started or set up; the message is one line that says what would help."""


TOO_LATE = "Python is ending and loads no code any more: have the model answer once before, and it answers to the very end"


def printable(text: object) -> str:
    """Return text as one line that a terminal can show: control characters and lone surrogates as their codes."""
    text = str(text)
    return text if text.isprintable() else "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def is_line(text: str) -> bool:
    """Tell whether a text is one line: nothing in it ends a line, is half a character, or makes a terminal do something.

    Spaces that do not break, joiners and marks of direction are text, although `printable` shows their codes.
    """
    return NO_LINE.search(text) is None


def one_line(text: str) -> str:
    """Return text as the one line that `is_line` takes it for: characters that it does not take become their codes."""
    return NO_LINE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def quote(name: object) -> str:
    """Return a name read from a file as it may stand in a message: quoted, escaped, cut to 80 characters or fewer."""
    if isinstance(name, int) and name.bit_length() > 4 * LONGEST_QUOTE:  # Python refuses to write out the longest
        return f"an integer of {name.bit_length()} bits"
    if not isinstance(name, (str, int, float, type(None))):
        kind = type(name).__name__
        return f"{'an' if kind[0] in 'AEIOUaeiou' else 'a'} {kind}"
    if not isinstance(name, str):
        return repr(name)
    most = LONGEST_QUOTE
    while len(quoted := repr(name if len(name) <= most else f"{name[:most]}...")) > 2 * LONGEST_QUOTE:
        most //= 2
    return quoted


def shown(name: str) -> str:
    """Return a name read from a file as it may stand in a message without quotes: on one line, its middle left out if long."""
    return printable(shortened(name, LONGEST_QUOTE))


def shortened(text: str, most: int) -> str:
    """Return a text without its middle where it has more characters than `most`."""
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-(most // 2) :]}"


def suggestion(near: Collection[str], otherwise: str) -> str:
    """Return how a sentence about an unknown name goes on: with the names near it, or with `otherwise` where there are none."""
    return f"near it are {', '.join(near)}" if near else otherwise


def reason(error: BaseException) -> str:
    """Return why something failed as one line that leaves out which file it is about."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(shortened(str(error), LONGEST_REASON).split()) or type(error).__name__


def sentence(error: BaseException, about: object = "") -> str:
    """Return an error as one line: its reason after the file it is about.

    `about` names the file where an OSError does not.
    """
    if not about and isinstance(error, OSError) and error.strerror and isinstance(error.filename, (str, bytes)):
        about = os.fsdecode(error.filename)
    return f"{about}: {reason(error)}" if about else reason(error)
