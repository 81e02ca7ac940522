"""The files of a finished evaluation: summary.json, tables, and pictures where Matplotlib is there."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..explain.figure import MissingPlots, save
from ..output import replacing
from .figures import draw_confusion, draw_reliability
from .result import FIRST, Evaluation
from .statistics import confusion

SUMMARY = "summary.json"
WIDEST = 2000  # classes of a confusion matrix in a table
PICTURES = {"confusion.png": draw_confusion, "reliability.png": draw_reliability}


def write(found: Evaluation, folder: str | os.PathLike[str]) -> list[str]:
    """Write an evaluation's files into a folder, each whole or not at all; return what a person should know of them.

    summary.json, per_class.csv, confusion.csv (rows are the right classes, columns the answers), predictions.csv and, of a
    comparison, differences.csv; confusion.png and reliability.png need Matplotlib. Raises OSError where one cannot be written.
    """
    folder, remarks = Path(folder), list[str]()
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in _tables(found).items():
        write_table(folder / name, lines)
    classes, matrix = confusion(found.targets[found.judged], found.answers.top[found.judged])
    if len(classes) <= WIDEST:
        names = [found.label(index) for index in classes]
        rows = ([name, *row] for name, row in zip(names, matrix.tolist(), strict=True))
        write_table(folder / "confusion.csv", [["", *names], *rows])
    else:
        wide = f"confusion.csv would have {len(classes):,} columns, more than {WIDEST:,}"
        remarks.append(f"{wide}: predictions.csv says the same image by image")
    for name, draw in PICTURES.items():
        try:
            save(draw(found), folder / name)
        except MissingPlots as error:
            remarks.append(f"{' and '.join(PICTURES)} are not drawn: {error}")
            break
    with replacing(folder / SUMMARY) as file:  # the last: where it stands, the others do
        file.write(json.dumps(found.as_dict(), indent=1, allow_nan=False).encode())
    return remarks


def _tables(found: Evaluation) -> dict[str, Iterable[Sequence[Any]]]:
    """Return the tables by the names of their files."""
    tables: dict[str, Iterable[Sequence[Any]]] = {"per_class.csv": _per_class(found), "predictions.csv": _predictions(found)}
    return {**tables, "differences.csv": _differences(found)} if found.against else tables


def _per_class(found: Evaluation) -> Iterator[Sequence[Any]]:
    yield "index", "wnid", "name", "images", "top1", "top5", "top1_rate", "low", "high", "taken_for", "taken"
    for each in found.per_class:
        taken = "" if each.taken_for is None else found.label(each.taken_for)
        share, five = each.top1, each.top5.count if found.classes > FIRST else ""
        rates = [f"{value:.6f}" for value in (share.rate, *share.interval)]
        yield each.index, *found.card.label(each.index), share.of, share.count, five, *rates, taken, each.taken or ""


def _predictions(found: Evaluation) -> Iterator[Sequence[Any]]:
    yield "path", "label_index", "label", "index", "name", "probability", "rank", "right", "fault"
    for i, path in enumerate(found.paths):
        target = int(found.targets[i])
        label = [target, found.label(target)] if target >= 0 else ["", ""]
        if not found.judged[i]:
            yield path, *label, "", "", "", "", "", found.faults.get(i, "")
            continue
        top, rank, probability = int(found.answers.top[i]), int(found.answers.rank[i]), found.answers.probability[i]
        yield path, *label, top, found.label(top), f"{probability:.6f}", rank + 1, int(rank == 0), ""


def _differences(found: Evaluation) -> Iterator[Sequence[Any]]:
    yield "path", "label_index", "label", "index", "name", "probability", "other_index", "other_name", "other_probability"
    assert found.against is not None
    for i in found.differing:
        both = []
        for answers in (found.answers, found.against.answers):
            both += [int(answers.top[i]), found.label(int(answers.top[i])), f"{answers.probability[i]:.6f}"]
        yield found.paths[i], int(found.targets[i]), found.label(int(found.targets[i])), *both


def write_table(path: Path, lines: Iterable[Sequence[Any]]) -> None:
    """Write a table with commas between its cells, UTF-8."""
    with replacing(path) as file:
        text = io.TextIOWrapper(file, "utf-8", "backslashreplace", newline="")
        csv.writer(text, lineterminator="\n").writerows(lines)
        text.detach()  # which writes what is left, and leaves the file open
