"""The lesson: its chapters in order. Each turns numbers of `minivan.lesson.numbers` into lines of at most 78 columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from . import gate_chapter, kernel_chapters, photo_chapter, price_chapters, surroundings_chapter
from .numbers import Numbers
from .pictures import paragraph


def lesson(n: Numbers, walked: Numbers | None = None) -> Iterator[str]:
    """Yield the lesson's lines from the numbers that `minivan.lesson.numbers.numbers` made.

    `walked`, what `minivan.lesson.photo.walk` returned, adds the last chapter, about a photo.
    """
    title = f"Large kernel attention, K = {n['K']}, d = {n['d']}"
    yield from (title, "=" * len(title), "")
    yield from paragraph(
        """Every number below was computed a moment ago on this machine. No earlier knowledge is needed: a word in
        *stars* is explained where it stands. Once you know what they mean, change K, d, C and the size with -K, -d, -C
        and --size, and read it again."""
    )
    for number, (title, chapter) in enumerate(CHAPTERS.items(), start=1):
        yield from heading(number, title)
        yield from chapter(n)
    if walked is not None:
        yield from heading(len(CHAPTERS) + 1, photo_chapter.TITLE)
        yield from photo_chapter.chapter(walked)
        yield from heading(len(CHAPTERS) + 2, "Its own place, and everything else")
        yield from surroundings_chapter.chapter(walked)


def heading(number: int, text: str) -> list[str]:
    """Return a chapter's heading with the air around it."""
    line = f"{number}. {text}"
    return ["", "", line, "-" * len(line), ""]


CHAPTERS: dict[str, Callable[[Numbers], Iterator[str]]] = {  # in the order in which each needs the one before
    "The words": price_chapters.words,
    "Why attention needs many neighbours": price_chapters.neighbours,
    "What looking far costs": price_chapters.prices,
    "Three cheap steps instead of one dear one": kernel_chapters.three_steps,
    "The bill for other widths": price_chapters.cost_table,
    "Which d is best": kernel_chapters.why_this_d,
    "How far it really sees": kernel_chapters.true_square,
    "The same thing in one step": kernel_chapters.border,
    "The gate: multiply": gate_chapter.gate,
}
