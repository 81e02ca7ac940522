"""Everything that commands print: one function for text, one for JSON, and no character that a terminal would obey.

Names of files, layers and classes come from elsewhere. A control character in one could move the cursor, a mark of direction
could turn a name around: they are shown as their codes, in JSON as its own escapes.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import printable
from ..typesetting import width, wrapped

if TYPE_CHECKING:
    from rich.console import Console

WIDEST = 1 << 20  # columns, where there is no terminal

_hushed = False  # whether --quiet asks for answers and faults alone


@contextlib.contextmanager
def hushed(quiet: bool) -> Iterator[None]:
    """Leave out in the block, where `quiet` is true, what is no answer and no fault: notes, progress, what was written."""
    global _hushed
    before, _hushed = _hushed, quiet
    try:
        yield
    finally:
        _hushed = before


def watched() -> bool:
    """Whether somebody may be shown on standard error how far a command is."""
    return not _hushed and sys.stderr.isatty()


def say_written(text: object, flush: bool = False) -> None:
    """Print on standard output what was written, and where, which is no answer to what was asked."""
    if not _hushed:
        say(text, flush)


def say(text: object = "", flush: bool = False, hang: int = 2) -> None:
    """Print text, of one line or several, on standard output.

    A terminal would break a long line within a word or a number: there it goes on `hang` columns further in than it began.
    """
    print("\n".join(fitted(printable(line), hang) for line in str(text).split("\n")), flush=flush)


def say_as_it_is(text: str) -> None:
    """Print text of minivan's own that another program reads: not a character of it is changed, on a terminal neither."""
    print(text)


def columns() -> int:
    """Return how many columns a line may have: the terminal's; where standard output is none, as many as it needs."""
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDEST


def fitted(line: str, hang: int = 2) -> str:
    """Return a line broken between words where it is longer than the terminal is wide; a longer word stays whole."""
    if width(line) <= (room := columns()):
        return line
    text = line.lstrip()
    further = " " * min(len(line) - len(text) + hang, room // 2)
    if width(text) > len(text):  # it has characters of two columns, between which no space stands
        first, *others = wrapped(text, room - len(further))
        return "\n".join([line[: len(line) - len(text)] + first, *(further + other for other in others)])
    import textwrap

    return textwrap.fill(line, room, subsequent_indent=further, break_on_hyphens=False, break_long_words=False)


def counted(number: int, one: str, several: str = "") -> str:
    """Return '1 image' or '1,000 images'."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def say_rows(headings: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> None:
    """Print a table with its headings, the columns `left` ranged left and the others right, two spaces between them.

    Where the terminal is too narrow, a row is a paragraph: its first cell, then each other one with its heading before it.
    """
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    if sum(widths) + 2 * (len(widths) - 1) > columns():
        for first, *others in rows:
            say_pairs(first, zip(headings[1:], others, strict=True))
        return
    for row in (headings, *rows) if any(headings) else rows:
        cells = (f"{cell:{'<' if k in left else '>'}{width}}" for k, (cell, width) in enumerate(zip(row, widths, strict=True)))
        say("  ".join(cells).rstrip())


def say_pairs(head: str, pairs: Iterable[tuple[str, str]]) -> None:
    """Print a line, and below it words with the numbers that belong to them, as many on a line as the terminal has room for."""
    say(head)
    line = ""
    for word, number in pairs:
        pair = f"  {word} {number}" if word else f"  {number}"
        if line and len(line + pair) > columns():
            say(line)
            line = ""
        if number:
            line += pair
    if line:
        say(line)


def complain(text: object) -> None:
    """Print one line on standard error, after the program's name."""
    _tell(f"minivan: {printable(text)}")


def complain_of_all(texts: Iterable[str]) -> None:
    """Print text of several lines on standard error as it is, such as a traceback, but for what no terminal shows."""
    for line in "".join(texts).rstrip("\n").split("\n"):
        _tell(printable(line))


def note(text: object) -> None:
    """Print one line on standard error that is no complaint, but worth knowing."""
    if not _hushed:
        _tell(f"note: {printable(text)}")


def note_all(about: object, remarks: Iterable[str]) -> None:
    """Print a line for each thing worth knowing about a file."""
    for remark in remarks:
        note(f"{about}: {remark}")


def _tell(line: str) -> None:
    """Print a line on standard error; where that is full or closed the answers go on, and the exit status tells the rest."""
    with contextlib.suppress(OSError, ValueError):  # ValueError: a stream that was closed
        print(line, file=sys.stderr)


def say_json(value: Any, flush: bool = False) -> None:
    """Print a value as one line of JSON, in which NaN and infinity are not; it raises ValueError for them."""
    import json

    text = json.dumps(value, ensure_ascii=not utf8(), allow_nan=False)
    if not text.isprintable():
        text = "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
    print(text, flush=flush)


def console(narrowest: int = 0) -> Console:
    """Return rich's console for standard output, of at least so many columns.

    A terminal's width is its own. Anywhere else a line is as long as it has to be: nothing is broken or cut there.
    """
    from rich.console import Console

    class Piped(Console):
        def on_broken_pipe(self) -> None:
            """rich would end the process with status 1, which is an answer here: nobody reads on, and the call was right."""
            raise BrokenPipeError

    made = Piped(highlight=False)
    made.width = max(made.width, narrowest) if sys.stdout.isatty() else WIDEST
    return made


def utf8() -> bool:
    """Whether standard output takes every character."""
    return (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")


def takes(characters: str) -> bool:
    """Whether standard output's encoding has all of these characters."""
    try:
        characters.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True
