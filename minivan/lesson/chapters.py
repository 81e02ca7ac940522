"""The lesson: its chapters in order, with what is asked before each and what changes it. Lines have at most 78 columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..typesetting import width
from . import gate_chapter, kernel_chapters, photo_chapter, price_chapters, surroundings_chapter, which_chapter
from .language import Language
from .numbers import Numbers
from .pictures import paragraph


@dataclass(frozen=True)
class Chapter:
    """One chapter: `tell` makes its lines of the numbers, or of the walked photo where it is `on_photo`.

    The texts NAME.title, NAME.question, which is to be answered before reading on, and NAME.why, which says why the other
    options change nothing, stand in `minivan.lesson.texts.frame`.
    """

    name: str
    tell: Callable[[Numbers, Language], Iterator[str]]
    changes_with: tuple[str, ...]  # of the options -K, -d, -C, --size and --image
    on_photo: bool = False


EVERY = ("-K", "-d", "-C", "--size")
CHAPTERS = (  # in the order in which each needs the ones before
    Chapter("words", price_chapters.words, ("-C", "--size")),
    Chapter("neighbours", price_chapters.neighbours, ("-K", "--size")),
    Chapter("prices", price_chapters.prices, EVERY),
    Chapter("three_steps", kernel_chapters.three_steps, ("-K", "-d", "-C")),
    Chapter("widths", price_chapters.cost_table, ("-K", "-d")),
    Chapter("best_d", kernel_chapters.why_this_d, ("-K", "-d")),
    Chapter("square", kernel_chapters.true_square, ("-K", "-d")),
    Chapter("border", kernel_chapters.border, ("-K", "-d", "--size")),
    Chapter("gate", gate_chapter.gate, ()),
    Chapter("photo", photo_chapter.chapter, ("--image",), on_photo=True),
    Chapter("surroundings", surroundings_chapter.chapter, ("--image",), on_photo=True),
    Chapter("which", which_chapter.chapter, ("--image",), on_photo=True),
)
ENGLISH = Language()


def parts(
    n: Numbers, walked: Numbers | None = None, only: int | None = None, say: Language = ENGLISH
) -> Iterator[tuple[list[str], list[str]]]:
    """Yield the lesson chapter by chapter: the lines that ask, and the lines that answer.

    `n` is what `minivan.lesson.numbers.numbers` made; `walked`, what `minivan.lesson.photo.walk` returned, is needed by the
    chapters about a photo, which are left out without it. `only` is the number of the one chapter that is wanted.
    """
    for number, chapter in enumerate(CHAPTERS, start=1):
        numbers = walked if chapter.on_photo else n
        if numbers is None or only not in (None, number):
            continue
        asked = heading(number, chapter, say)
        if number == 1 and only is None:
            asked = [*opening(n, walked, say), *asked]
        yield asked, ["", *chapter.tell(numbers, say)]


def lesson(n: Numbers, walked: Numbers | None = None, say: Language = ENGLISH) -> Iterator[str]:
    """Yield all lines of the lesson. The arguments are those of `parts`."""
    for asked, answered in parts(n, walked, say=say):
        yield from (*asked, *answered)


def opening(n: Numbers, walked: Numbers | None, say: Language) -> Iterator[str]:
    """Yield the title, what to know before reading, and the contents."""
    title = say("opening.title", K=n["K"], d=n["d"])
    yield from (title, "=" * width(title), "")
    yield from paragraph(say("opening.advice"))
    yield ""
    for number, chapter in enumerate(CHAPTERS, start=1):
        if walked is not None or not chapter.on_photo:
            yield f"  {number:>2}  {say(f'{chapter.name}.title')}"


def heading(number: int, chapter: Chapter, say: Language) -> list[str]:
    """Return a chapter's heading with the air around it, what changes it, and its question."""
    line = f"{number}. {say(f'{chapter.name}.title')}"
    if chapter.changes_with == EVERY:
        changes = say("heading.with", options=say.listed(chapter.changes_with))
    elif chapter.changes_with:
        options, why = say.listed(chapter.changes_with), say(f"{chapter.name}.why")
        changes = say("heading.with_why", options=options, why=why)
    else:
        changes = say("heading.never", why=say(f"{chapter.name}.why"))
    return ["", "", line, "-" * width(line), "", *paragraph(changes), "", f"? {say(f'{chapter.name}.question')}"]
