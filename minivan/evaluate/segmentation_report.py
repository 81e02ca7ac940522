"""The files of a finished evaluation of masks: summary.json and tables."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..output import replacing
from .report import SUMMARY, write_table
from .segmentation import SegmentationEvaluation


def write_segmentation(found: SegmentationEvaluation, folder: str | os.PathLike[str]) -> None:
    """Write an evaluation's files into a folder, each whole or not at all.

    summary.json, per_class.csv, per_photo.csv and confusion.csv, whose rows are the right classes and whose columns are the
    answers, in pixels. Raises OSError where one cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = found.overlap.names
    confusion = [["", *names], *([name, *row] for name, row in zip(names, found.overlap.confusion.tolist(), strict=True))]
    tables: dict[str, Iterable[Sequence[Any]]] = {
        "per_class.csv": _per_class(found), "per_photo.csv": _per_photo(found), "confusion.csv": confusion,
    }  # fmt: skip
    for name, lines in tables.items():
        write_table(folder / name, lines)
    with replacing(folder / SUMMARY) as file:  # the last: where it stands, the others do
        file.write(json.dumps(found.as_dict(), indent=1, allow_nan=False).encode())


def _per_class(found: SegmentationEvaluation) -> Iterator[Sequence[Any]]:
    yield "index", "name", "iou", "accuracy", "pixels", "answered", "both"
    for each in found.overlap.per_class:
        shares = ("" if share is None else f"{share:.6f}" for share in (each.iou, each.accuracy))
        yield each.index, each.name, *shares, each.pixels, each.answered, each.both


def _per_photo(found: SegmentationEvaluation) -> Iterator[Sequence[Any]]:
    yield "photo", "pixels", "right", "ignored", "same", "fault"
    for place, name in enumerate(found.names):
        if (each := found.photos.get(place)) is None:
            yield name, "", "", "", "", found.faults.get(place, "")
        else:
            yield name, each.pixels, each.right, each.ignored, "" if each.same is None else each.same, ""
