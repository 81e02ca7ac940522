"""Which of a network's classes a dataset's labels mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ..card import Card
from ..errors import quote, shown
from ..explain.classes import MOST_DIGITS, Spellings, choose, plain, spellings

TOLD = 3  # labels that are no class, in one line


class UnknownClasses(ValueError):
    """Labels that are none of the weights' classes; the message is one line that names some, with the classes near them."""


def indices(labels: Iterable[str], card: Card, classes: int, skip_unknown: bool = False) -> dict[str, int]:
    """Return the index of the class that each label means, by WordNet id, name or index; labels that mean none are left out.

    A name may be one of several that a class has, in any case, with `_` for a blank. Numbers are names where each is the name
    of a class, and one of them no index: as of classes that are called 1, 2 and 3. Raises UnknownClasses unless
    `skip_unknown`, and always where no label means a class; ValueError for a name or an id that several classes share, and
    for a number that is the index of one class and the name of another.
    """
    counted = Counter(label for label in labels if label)
    wnids, known = Counter(label.wnid for label in card.labels), spellings(card.labels)
    unique = {label.wnid: index for index, label in enumerate(card.labels) if label.wnid and wnids[label.wnid] == 1}
    found, unknown = _numbers_that_are_names(counted, known, classes), dict[str, str]()
    for label in counted:
        if label in found:
            continue
        if label in unique and not label.isdecimal():
            found[label] = unique[label]
            continue
        if len(unknown) >= TOLD and not _is_any(label, known):  # to find out what is near takes milliseconds
            unknown[label] = ""
            continue
        try:
            found[label] = _meant(label, card, classes, known)
        except _Ambiguous:
            raise
        except ValueError as error:
            unknown[label] = str(error)
    if unknown and (not found or not skip_unknown):
        raise UnknownClasses(_said(unknown, counted, card, bool(found)))
    return found


def _numbers_that_are_names(labels: Iterable[str], known: Spellings, classes: int) -> dict[str, int]:
    """Return the classes that numbers among the labels name, where they can be nothing but names; else nothing."""
    numbers = [label for label in labels if label.isdecimal()]
    named = {number: known.get(number, ()) for number in numbers}
    if any(len(places) != 1 for places in named.values()) or all(_is_index(number, classes) for number in numbers):
        return {}
    return {number: places[0] for number, places in named.items()}


class _Ambiguous(ValueError):
    """A label that means several classes."""


def _is_any(label: str, known: Spellings) -> bool:
    """Tell whether a label is the name of a class, of several, or a number."""
    return _is_number(plain(label)) or any(plain(spelling) in known for spelling in _spelled(label))


def _is_number(wanted: str) -> bool:
    return wanted.removeprefix("-").isdecimal()


def _is_index(number: str, classes: int) -> bool:
    return len(number) <= MOST_DIGITS and 0 <= int(number) < classes


def _spelled(label: str) -> dict[str, None]:
    """Return a label as a name may be spelled that has the `_` itself, or a blank."""
    return dict.fromkeys([label, label.replace("_", " ")])


def _meant(label: str, card: Card, classes: int, known: Spellings) -> int:
    """Return the index of the class that a label means. _Ambiguous for one that means several, ValueError for none."""
    wanted = plain(label)
    if _is_number(wanted):
        return _numbered(wanted, card, classes, known)
    for spelling in _spelled(label):
        try:
            return choose(spelling, card.labels, classes, known)
        except ValueError as error:
            if str(error).startswith("several"):
                raise _Ambiguous(str(error)) from None
            unknown = error
    raise unknown


def _numbered(number: str, card: Card, classes: int, known: Spellings) -> int:
    """Return the class that a number means: by its index, or by its name where no class has that index."""
    named = known.get(number, ())
    if not named:
        return choose(number, card.labels, classes)
    meant = sorted({*named, int(number)}) if _is_index(number, classes) else named
    if len(meant) > 1:
        others = " and ".join(f"class {index}, {quote(card.label(index).short)}" for index in meant)
        raise _Ambiguous(f"{quote(number)} is an index and a name, of {others}: give labels that mean one class each")
    return meant[0]


def _said(unknown: dict[str, str], counted: Counter[str], card: Card, some: bool) -> str:
    """Return one line on labels that are no class: how many, the first of them with what is near, and what to do."""
    named = ", ".join(f"{quote(label)} ({_near(unknown[label])})" for label in list(unknown)[:TOLD])
    more = f" and {len(unknown) - TOLD} more" if len(unknown) > TOLD else ""
    counts = f"{len(unknown)} of the dataset's {len(counted)} classes are none of {shown(card.name)}"
    if not card.labels:
        return f"{counts}, whose classes have no names: label the images by their indices; {quote(next(iter(unknown)))} is none"
    images = sum(counted[label] for label in unknown)
    advice = f"; --skip-unknown leaves out their {images:,} {'image' if images == 1 else 'images'}" if some else ""
    return f"{counts}: {named}{more}{advice}"


def _near(said: str) -> str:
    """Return what `choose` says of the classes near an unknown one, without the rest."""
    near = said.partition("near it are ")[2]
    return f"near it: {near}" if near else "none is near it" if "; " in said else said
