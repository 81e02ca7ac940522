"""The lesson: its chapters in order, with what is asked before each and what changes it. Lines have at most 78 columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from . import gate_chapter, kernel_chapters, photo_chapter, price_chapters, surroundings_chapter, which_chapter
from .numbers import Numbers
from .pictures import paragraph


@dataclass(frozen=True)
class Chapter:
    """One chapter: `tell` makes its lines of the numbers, or of the walked photo where it is `on_photo`."""

    title: str
    question: str  # to be answered before reading on
    tell: Callable[[Numbers], Iterator[str]]
    changes_with: tuple[str, ...]  # of the options -K, -d, -C, --size and --image
    why: str  # the others change nothing
    on_photo: bool = False


TRAINED = "trained weights have their own K, d and C"
CHAPTERS = (  # in the order in which each needs the ones before
    Chapter(
        "The words",
        "A network looks at a photo: how many numbers has it in hand at a time?",
        price_chapters.words,
        ("-C", "--size"),
        "-K and -d come later",
    ),
    Chapter(
        "Why attention needs many neighbours",
        "How many layers of 3 x 3 before the middle of the map hears of its edges?",
        price_chapters.neighbours,
        ("-K", "--size"),
        "only how wide the kernel is called matters here",
    ),
    Chapter(
        "What looking far costs",
        "The map gets twice as wide and high: how many times the work, for each?",
        price_chapters.prices,
        ("-K", "-d", "-C", "--size"),
        "",
    ),
    Chapter(
        "Three cheap steps instead of one dear one",
        "Which positions could be left out, and still nothing be missed?",
        kernel_chapters.three_steps,
        ("-K", "-d", "-C"),
        "weights are the same at every position, however many there are",
    ),
    Chapter(
        "The bill for other widths",
        "With many channels, what costs more: looking far, or mixing channels?",
        price_chapters.cost_table,
        ("-K", "-d"),
        "the paper's five widths are listed, and positions multiply all alike",
    ),
    Chapter(
        "Which d is best",
        "A small d or a large one: which kernel grows with which?",
        kernel_chapters.why_this_d,
        ("-K", "-d"),
        "channels and positions multiply every row alike",
    ),
    Chapter(
        "How far it really sees",
        "How many positions wide is the square that one number depends on?",
        kernel_chapters.true_square,
        ("-K", "-d"),
        "every channel reads the same square, on a map of any size",
    ),
    Chapter(
        "The same thing in one step",
        "Can one kernel of that size replace steps 1 and 2, everywhere?",
        kernel_chapters.border,
        ("-K", "-d", "--size"),
        "one channel shows what all do",
    ),
    Chapter(
        "The gate: multiply",
        "Twice the input: how many times the output?",
        gate_chapter.gate,
        (),
        "six positions are few enough to check by hand",
    ),
    Chapter(
        "The same on a photo",
        "Are attention values numbers from 0 to 1?",
        photo_chapter.chapter,
        ("--image",),
        TRAINED,
        on_photo=True,
    ),
    Chapter(
        "Its own place, and everything else",
        "Who decides how much a place matters: the place, or its surroundings?",
        surroundings_chapter.chapter,
        ("--image",),
        TRAINED,
        on_photo=True,
    ),
    Chapter(
        "Where, or which?",
        "What does attention say more about: where it is, or which channel it is?",
        which_chapter.chapter,
        ("--image",),
        TRAINED,
        on_photo=True,
    ),
)


def parts(n: Numbers, walked: Numbers | None = None, only: int | None = None) -> Iterator[tuple[list[str], list[str]]]:
    """Yield the lesson chapter by chapter: the lines that ask, and the lines that answer.

    `n` is what `minivan.lesson.numbers.numbers` made; `walked`, what `minivan.lesson.photo.walk` returned, is needed by the
    chapters about a photo, which are left out without it. `only` is the number of the one chapter that is wanted.
    """
    for number, chapter in enumerate(CHAPTERS, start=1):
        numbers = walked if chapter.on_photo else n
        if numbers is None or only not in (None, number):
            continue
        asked = heading(number, chapter)
        if number == 1 and only is None:
            asked = [*opening(n, walked), *asked]
        yield asked, ["", *chapter.tell(numbers)]


def lesson(n: Numbers, walked: Numbers | None = None) -> Iterator[str]:
    """Yield all lines of the lesson. The arguments are those of `parts`."""
    for asked, answered in parts(n, walked):
        yield from (*asked, *answered)


def opening(n: Numbers, walked: Numbers | None) -> Iterator[str]:
    """Yield the title, what to know before reading, and the contents."""
    title = f"Large kernel attention, K = {n['K']}, d = {n['d']}"
    yield from (title, "=" * len(title), "")
    yield from paragraph(
        """Every number below was computed a moment ago on this machine. No earlier knowledge is needed: a word in
        *stars* is explained where it stands. Each chapter begins with a question: answer it before you read on. Once you
        know what the words mean, change K, d, C and the size with -K, -d, -C and --size, and read it again; --chapter tells
        one chapter alone."""
    )
    yield ""
    for number, chapter in enumerate(CHAPTERS, start=1):
        if walked is not None or not chapter.on_photo:
            yield f"  {number:>2}  {chapter.title}"


def heading(number: int, chapter: Chapter) -> list[str]:
    """Return a chapter's heading with the air around it, what changes it, and its question."""
    line = f"{number}. {chapter.title}"
    if not chapter.changes_with:
        changes = f"No option changes this chapter: {chapter.why}."
    else:
        *others, last = chapter.changes_with
        options = f"{', '.join(others)} and {last}" if others else last
        changes = f"This changes with {options}{'; ' if chapter.why else ''}{chapter.why}."
    return ["", "", line, "-" * len(line), "", *paragraph(f"({changes})"), "", f"? {chapter.question}"]
