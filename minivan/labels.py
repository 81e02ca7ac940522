"""Class names: a WordNet id and a list of names for each index."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Label(NamedTuple):
    """One class: `wnid` is its WordNet id ('n07920052'), `name` its names, the usual one first ('espresso')."""

    wnid: str
    name: str

    @property
    def short(self) -> str:
        return self.name.split(",")[0].strip()


def read_labels(path: str | Path) -> tuple[Label, ...]:
    """Read class names in index order, one line a class: 'wnid<TAB>names', or names alone.

    Raises ValueError for a file that is not UTF-8 text or has an empty line, with the line's number.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: class names must be UTF-8 text, one class a line") from None
    labels = []
    for number, line in enumerate(lines, start=1):
        wnid, tab, name = line.partition("\t")
        wnid, name = (wnid.strip(), name.strip()) if tab else ("", wnid.strip())
        if not name:
            raise ValueError(f"{path}, line {number}: no class name")
        labels.append(Label(wnid, name))
    return tuple(labels)


def imagenet1k() -> tuple[Label, ...]:
    """The 1,000 classes of ImageNet-1k (ILSVRC 2012) in index order."""
    return read_labels(Path(__file__).parent / "imagenet1k.tsv")
