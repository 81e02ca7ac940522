"""Rows of answers as files that other programs read: CSV, JSON lines, Parquet. One row an image, usable or not.

CSV and Parquet have the same columns; a JSON line is what `classify --json` prints, with the fault. Nothing is held but some
thousand rows at a time.
"""

from __future__ import annotations

import csv
import functools
import importlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from ..errors import one_line, reason
from ..output import check_ending, replacing
from .ahead import batches

ENDINGS = (".csv", ".jsonl", ".parquet")
ROWS_AT_ONCE = 10_000  # a row group of Parquet's
FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # what a cell begins with that a spreadsheet computes
GUESS = {"label": "string", "probability": "float64", "index": "int32", "wnid": "string"}  # of each rank
AFTER = {
    "sure": "bool_", "model": "string", "version": "string", "engine": "string", "activation": "string",
    "milliseconds": "float64",
}  # fmt: skip
Row = Mapping[str, Any]


def check(path: str | os.PathLike[str]) -> None:
    """Raise ValueError for a file name whose ending is none of ENDINGS, or whose kind of file cannot be written here."""
    check_ending(path, ENDINGS, "rows are")
    if _ending(path) == ".parquet":
        pyarrow()


def write(path: str | os.PathLike[str], rows: Iterable[Row], ranks: int, about: Mapping[str, Any]) -> None:
    """Write rows into a file, with columns for so many classes; its ending decides how. Raises ValueError and OSError.

    `about` says what made them; it stands in a Parquet file's metadata under 'minivan', and nowhere in the others.
    """
    check(path)
    with replacing(path) as file:
        WRITERS[_ending(path)](file, rows, ranks, about)


def write_rows(file: BinaryIO, rows: Iterable[Row], ranks: int, about: Mapping[str, Any]) -> None:
    """Write rows into an open file, as `write` does into one of the ending .parquet."""
    _parquet(file, rows, ranks, about)


@functools.cache
def columns(ranks: int) -> dict[str, str]:
    """Return the columns of CSV and Parquet in their order, name -> type as pyarrow calls it. Nobody changes it."""
    guesses = {f"{name}_{rank}": kind for rank in range(1, ranks + 1) for name, kind in GUESS.items()}
    return {"image": "string", "fault": "string", **guesses, **AFTER, "notes": "string"}


def flat(row: Row, ranks: int) -> dict[str, Any]:
    """Return a row as one value for each of `columns`, None for what there is none of; texts are of one line each."""
    guesses = [guess.get(name) for guess in row["top"][:ranks] for name in GUESS]
    guesses += [None] * (ranks * len(GUESS) - len(guesses))
    values = [row["image"], row["fault"], *guesses, *map(row.get, AFTER), "; ".join(row["notes"])]
    return {name: _cell(value) for name, value in zip(columns(ranks), values, strict=True)}


def _cell(value: Any) -> Any:
    if not isinstance(value, str) or (value and value.isascii() and value.isprintable()):
        return value
    return one_line(value) or None


def harmless(name: str, value: Any) -> Any:
    """Return a cell of CSV that no spreadsheet takes for a formula: a path gets ./ before it, any other text an apostrophe."""
    if not isinstance(value, str) or value == "-" or not value.startswith(FORMULA):
        return {True: "true", False: "false"}[value] if isinstance(value, bool) else value
    return f"./{value}" if name == "image" else f"'{value}"


def _csv(file: BinaryIO, rows: Iterable[Row], ranks: int, about: Mapping[str, Any]) -> None:
    text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
    try:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns(ranks))
        for row in rows:
            writer.writerow(harmless(name, value) for name, value in flat(row, ranks).items())
    finally:
        text.detach()  # it would close the file


def _json_lines(file: BinaryIO, rows: Iterable[Row], ranks: int, about: Mapping[str, Any]) -> None:
    for row in rows:
        file.write(json.dumps(row).encode("ascii") + b"\n")


def _parquet(file: BinaryIO, rows: Iterable[Row], ranks: int, about: Mapping[str, Any]) -> None:
    arrow = pyarrow()
    schema = arrow.schema([(name, getattr(arrow, kind)()) for name, kind in columns(ranks).items()])
    flattened = ([flat(row, ranks) for row in group] for group in batches(rows, ROWS_AT_ONCE))
    write_parquet(file, schema, about, (arrow.RecordBatch.from_pylist(group, schema=schema) for group in flattened))


def write_parquet(file: BinaryIO, schema: Any, about: Mapping[str, Any], made: Iterable[Any]) -> None:
    """Write pyarrow's record batches as a Parquet file's row groups; `about` goes into its metadata."""
    parquet = importlib.import_module("pyarrow.parquet")
    schema = schema.with_metadata({"minivan": json.dumps(about)})
    with parquet.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer:
        for batch in made:
            writer.write_batch(batch)


def stored_batches(parquet: Any, columns: list[str] | None = None) -> Iterator[Any]:
    """Return the batches of rows of a pyarrow.parquet.ParquetFile; of one without rows older versions raise OSError."""
    found: Iterator[Any] = parquet.iter_batches(columns=columns) if parquet.metadata.num_rows else iter(())
    return found


def pyarrow() -> Any:
    """Import the library that reads and writes Parquet; ValueError where it cannot be had."""
    try:
        return importlib.import_module("pyarrow")
    except ModuleNotFoundError as error:
        if error.name != "pyarrow":
            raise ValueError(f"pyarrow cannot be imported: {reason(error)}") from None
        raise ValueError("Parquet needs the package pyarrow: pip install '.[parquet]' from a clone of minivan") from None
    except Exception as error:  # as one that was built for another NumPy
        raise ValueError(f"pyarrow cannot be imported: {reason(error)}") from None


def _ending(path: str | os.PathLike[str]) -> str:
    return os.path.splitext(path)[1].lower()


WRITERS: dict[str, Callable[[BinaryIO, Iterable[Row], int, Mapping[str, Any]], None]] = {
    ".csv": _csv,
    ".jsonl": _json_lines,
    ".parquet": _parquet,
}
