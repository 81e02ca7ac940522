"""Which class a person means: by index, WordNet id or name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

from ..card import Label
from ..errors import quote, shortened, suggestion

MEANT, ALIKE = 8, 5  # classes that an error lists: of such a thing, or spelled alike
TELLING = 4  # letters at the end of a word that tell what it is: of fewer it may be chance, as in police
UNRELATED = 4  # beyond the nearest to the farthest kin
MOST_DIGITS = 20  # of an index: Python takes its time for long ones

Spellings = Mapping[str, Sequence[int]]


def choose(text: str, labels: Sequence[Label], classes: int, known: Spellings | None = None) -> int:
    """Return the index of the class that `text` names: '7', 'n02123045', 'tabby' or 'tabby cat', in any case.

    `labels` are the classes' labels in index order, empty where names are not known; `known` is what `spellings` makes of
    them, for whoever asks often. Raises ValueError for a class that is unknown, with the near matches, and for a name that two
    classes share, with their WordNet ids.
    """
    wanted = plain(text)
    if wanted.removeprefix("-").isdecimal():
        if len(wanted) > MOST_DIGITS or not 0 <= int(wanted) < classes:
            raise ValueError(f"class {shortened(wanted, MOST_DIGITS)} is not among the {classes} classes, 0 to {classes - 1}")
        return int(wanted)
    if not labels:
        said = f"these weights carry no class names: give the class by its index, 0 to {classes - 1}"
        raise ValueError(f"{said}, not {quote(text)}")
    found = (spellings(labels) if known is None else known).get(wanted, ())
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"several classes are called {quote(text)}: {', '.join(labels[i].wnid for i in found)}")
    near = _near(wanted, labels)
    shown = "python -m minivan classify shows names in use"
    raise ValueError(f"no class of these {classes} is called {quote(text)}; {suggestion(near, shown)}")


def plain(text: str) -> str:
    """Return a name as it is compared: in small letters, one blank between its words."""
    return " ".join(text.lower().split())


def spellings(labels: Sequence[Label]) -> dict[str, list[int]]:
    """Return the WordNet ids and names that classes go by, in small letters, each with the indices of those classes."""
    found: dict[str, list[int]] = {}
    for index, label in enumerate(labels):
        for name in {label.wnid.lower(), label.name.lower(), *_names(label)}:
            found.setdefault(name, []).append(index)
    return found


def _names(label: Label) -> list[str]:
    return [name.strip().lower() for name in label.name.split(",")]


def choose_classes(classes: Iterable[int | str], labels: Sequence[Label], count: int) -> list[int]:
    """Return the indices of several classes, each an index or what `choose` takes; ValueError as there."""
    return [choose(str(each), labels, count) for each in classes]


def _near(wanted: str, labels: Sequence[Label]) -> list[str]:
    """Return names near the wanted one: those that mean such a thing, and those spelled alike only where none does.

    First come those that the wanted word ends, as a cat is what an Egyptian cat is, then those that have it elsewhere, then
    those in which it ends a word: a lifeboat. Of a class's names the first ones count more.
    """
    names = {index: _names(label) for index, label in enumerate(labels)}
    ranked = {index: min((_kinship(wanted, name), place) for place, name in enumerate(every)) for index, every in names.items()}
    meant = sorted((index for index in ranked if ranked[index][0] < UNRELATED), key=lambda index: ranked[index])
    if meant:
        shown = [labels[index].name.split(",")[ranked[index][1]].strip() for index in meant[:MEANT]]
        return [*shown, *([f"{len(meant) - MEANT} more"] if len(meant) > MEANT else [])]
    spelled = {spelling: i for i, label in enumerate(labels) for spelling in (*names[i], label.wnid.lower())}
    alike = [spelled[name] for name in difflib.get_close_matches(wanted, list(spelled), n=2 * ALIKE, cutoff=0.6)]
    return [labels[i].short for i in dict.fromkeys(alike)][:ALIKE]


def _kinship(wanted: str, name: str) -> int:
    """Return how near in meaning a class's name is to some words, 1 the nearest; UNRELATED where nothing tells that it is."""
    wanted, name = _words(wanted), _words(name)
    if not wanted.strip():
        return UNRELATED
    if wanted in name:
        return 1 if name.endswith(wanted) else 2
    return 3 if len(wanted.strip()) >= TELLING and wanted.lstrip() in name else UNRELATED


def _words(text: str) -> str:
    """Return a text's words with a blank around each, in the singular."""
    return " ".join(["", *map(_singular, re.findall(r"\w+", text)), ""])


def _singular(word: str) -> str:
    """Return a word without the ending of several: cats are looked for among cats."""
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
