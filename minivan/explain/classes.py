"""Which class a person means: by index, WordNet id or name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from ..card import Label
from ..errors import suggestion

NEAR = 5  # near matches that an error lists


def choose(text: str, labels: Sequence[Label], classes: int) -> int:
    """Return the index of the class that `text` names: '7', 'n02123045', 'tabby' or 'tabby cat', in any case.

    `labels` are the classes' labels in index order, empty where names are not known. Raises ValueError for a class that
    is unknown, with the near matches, and for a name that two classes share, with their WordNet ids.
    """
    wanted = " ".join(text.lower().split())
    if wanted.removeprefix("-").isdecimal():
        if not 0 <= int(wanted) < classes:
            raise ValueError(f"class {wanted} is not among the {classes} classes, 0 to {classes - 1}")
        return int(wanted)
    if not labels:
        raise ValueError(f"these weights carry no class names: give the class by its index, 0 to {classes - 1}, not {text!r}")
    names = {index: [name.strip().lower() for name in label.name.split(",")] for index, label in enumerate(labels)}
    found = [i for i, label in enumerate(labels) if wanted in (label.wnid.lower(), label.name.lower(), *names[i])]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"several classes are called {text!r}: {', '.join(labels[i].wnid for i in found)}")
    near = _near(wanted, labels, names)
    shown = "python -m minivan classify shows names in use"
    raise ValueError(f"no class of these {classes} is called {text!r}; {suggestion(near, shown)}")


def choose_classes(classes: Iterable[int | str], labels: Sequence[Label], count: int) -> list[int]:
    """Return the indices of several classes, each an index or what `choose` takes; ValueError as there."""
    return [choose(str(each), labels, count) for each in classes]


def _near(wanted: str, labels: Sequence[Label], names: dict[int, list[str]]) -> list[str]:
    """Return short names: first the classes with the wanted word among theirs, then those spelled alike."""
    containing = [i for i, every in names.items() if any(wanted in name.split() for name in every)]
    spelled = {spelling: i for i, label in enumerate(labels) for spelling in (*names[i], label.wnid.lower())}
    alike = [spelled[name] for name in difflib.get_close_matches(wanted, list(spelled), n=2 * NEAR, cutoff=0.6)]
    return [labels[i].short for i in dict.fromkeys(containing + alike)][:NEAR]
