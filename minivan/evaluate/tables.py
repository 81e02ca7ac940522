"""Tables of images and their classes: .csv with commas, .tsv with tabs."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .. import input
from ..errors import quote
from ..predict import Found

ENDINGS = (".csv", ".tsv")
LARGEST = 1 << 30  # bytes of a table
PATHS = ("path", "file", "filename", "file_name", "image", "image_path", "filepath")  # what a column of paths is called
LABELS = ("label", "class", "target", "wnid", "class_name", "category", "label_name")


class Row(NamedTuple):
    """One image and what the table calls its class."""

    path: str  # as it stands there, with '/'
    label: str
    image: Found


def rows(table: str, under: str = "", header: bool | None = None) -> Iterator[Row]:
    """Yield the images that a table lists, in its order; paths are relative to the folder of the file, or to `under` in it.

    The first line is a header where it names a column of paths and one of labels (see PATHS and LABELS); without one the first
    column has the paths and the second the labels. Raises ValueError, with the line's number, for a line without both; OSError
    where the file cannot be read.
    """
    folder = os.path.join(os.path.dirname(table) or os.curdir, under)
    separator = "," if table.lower().endswith(".csv") else "\t"
    try:
        text = io.StringIO(input.read(table, LARGEST, pipe=False).decode("utf-8-sig"), newline="")
    except UnicodeDecodeError:
        raise ValueError(f"{table}: a table must be UTF-8 text") from None
    reader = csv.reader(text, delimiter=separator, strict=True)
    columns: tuple[int, int] | None = None
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if columns is None:
                named = None if header is False else _columns(cells)
                columns = named or (0, 1)
                if named:
                    continue
            path, label = (cells[i].strip() if i < len(cells) else "" for i in columns)
            if not path or not label:
                raise ValueError(f"{table}, line {reader.line_num}: a path and a label, got {quote(separator.join(cells))}")
            name = os.path.join(folder, path)
            yield Row(path.replace(os.sep, "/"), label, Found(name, input.fault(name)))
    except csv.Error as error:
        raise ValueError(f"{table}, line {reader.line_num}: {error}") from None


def _columns(cells: Sequence[str]) -> tuple[int, int] | None:
    """Return the places of the columns of paths and labels that a header names; None where it is no header."""
    names = [cell.strip().lower() for cell in cells]
    path, label = (next((names.index(name) for name in known if name in names), None) for known in (PATHS, LABELS))
    return None if path is None or label is None else (path, label)
