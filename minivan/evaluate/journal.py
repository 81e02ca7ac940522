"""The journal of an evaluation: which images and which network it is of, and a line for each image.

An image has one place in the arrays, so that nothing can be counted twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import quote
from ..predict.journal import Journal

NAME = "journal.jsonl"


@contextmanager
def opened(folder: Path, identity: Mapping[str, Any]) -> Iterator[tuple[Journal, list[dict[str, Any]]]]:
    """Open the journal of a folder, or begin it; give it with the lines that it has already.

    Raises ValueError where it is that of another evaluation, saying in what, where another process writes it, or where it is
    no journal; OSError where it cannot be read or written.
    """
    path = folder / NAME
    if os.path.lexists(path) and not os.path.isfile(path):
        raise ValueError(f"{path} is no file: choose another folder")
    with Journal(path, {"minivan": "evaluation", **identity}) as journal:
        _check(path, journal.said, journal.about)
        yield journal, [line for _, line in journal.lines()]


def _check(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise ValueError where a journal is that of another evaluation."""
    for what in (*wanted, *found):
        if found.get(what) != wanted.get(what):
            other = f"the evaluation of another {what.replace('_', ' ')}, {quote(_short(found.get(what)))}"
            here = quote(_short(wanted.get(what)))
            raise ValueError(f"{path.parent} holds {other} and not {here}: choose another folder, or remove this one")


def _short(value: Any) -> Any:
    """Return a value as it is told: whatever has parts as its JSON."""
    return json.dumps(value) if isinstance(value, (dict, list)) else value
