"""Files of pooled features with the images' names, and the search for the nearest in them.

`features.npy` holds the numbers, float32 (N, C), for every program that reads NumPy's format; `features.npy.jsonl` beside it
says in its first line which weights made them, and has a line for each row. A Parquet file holds all of it: the columns `image`
and `features`, and in its metadata the same. Neither is ever in memory as a whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import npy
from ..errors import one_line, quote
from ..input import named, opened
from ..output import check_ending, replacing
from . import table
from .ahead import batches
from .embedding import Embedded
from .identity import differing, identity, plain

if TYPE_CHECKING:
    from ..van import VAN

ENDINGS = (".npy", ".parquet")
BESIDE = ".jsonl"  # what the name of the images' names adds to that of the numbers
KIND = "features"  # of minivan's file
ROWS_AT_ONCE = 8192
NPY_HEADER = 128  # bytes, room for any number of rows; a multiple of 64, as numpy/lib/format.py has it
FIRST_LINE = 1 << 14  # bytes of the line that says which weights: it is written twice, the second time with the number of rows
SHA256 = "sha256 of the numbers"
Vectors = npt.NDArray[np.float32]


class Neighbour(NamedTuple):
    """One image of an index, and how near it is."""

    image: str
    similarity: float  # the cosine of the angle between its features and the query's, -1 to 1
    row: int


def check(path: str | os.PathLike[str]) -> None:
    """Raise ValueError for a file name whose ending is none of ENDINGS, or whose kind of file cannot be written here."""
    check_ending(path, ENDINGS, "features are")
    if _is_parquet(path):
        table.pyarrow()


def write(path: str | os.PathLike[str], model: VAN, found: Iterable[Embedded]) -> int:
    """Write the features of images, those without any left out, and return how many rows that made.

    Raises ValueError for another ending and where no image has features, and OSError; nothing is written then.
    """
    check(path)
    about = {"minivan": KIND, **identity(model), "engine": model.engine.name}
    rows = ((image.image, image.features) for image in found if image.features is not None)
    width = model.config.dims[-1]
    return (_write_parquet if _is_parquet(path) else _write_npy)(os.fspath(path), about, rows, width)


def _write_npy(path: str, about: dict[str, Any], rows: Iterable[tuple[str, Vectors]], width: int) -> int:
    count, digest = 0, hashlib.sha256()
    with replacing(path + BESIDE) as names, replacing(path) as numbers:
        names.write(_first_line({}))
        numbers.write(bytes(NPY_HEADER))
        for image, features in rows:
            data = features.astype("<f4").tobytes()
            digest.update(data)
            numbers.write(data)
            names.write(json.dumps({"image": image}).encode("ascii") + b"\n")
            count += 1
        _some(count)
        names.seek(0)
        names.write(_first_line({**about, "rows": count, SHA256: digest.hexdigest()}))
        numbers.seek(0)
        numbers.write(_npy_header(count, width))
    return count


def _write_parquet(path: str, about: dict[str, Any], rows: Iterable[tuple[str, Vectors]], width: int) -> int:
    arrow = table.pyarrow()
    schema = arrow.schema([("image", arrow.string()), ("features", arrow.list_(arrow.float32(), width))])
    count = 0

    def groups() -> Iterator[Any]:
        nonlocal count
        for group in batches(rows, ROWS_AT_ONCE):
            count += len(group)
            numbers = arrow.array(np.concatenate([features for _, features in group]))
            lists = arrow.FixedSizeListArray.from_arrays(numbers, width)
            yield arrow.RecordBatch.from_arrays([arrow.array([one_line(image) for image, _ in group]), lists], schema=schema)

    with replacing(path) as file:
        table.write_parquet(file, schema, about, groups())
        _some(count)
    return count


def nearest(model: VAN, features: Vectors, path: str | os.PathLike[str], k: int = 10) -> list[Neighbour]:
    """Return the `k` images of an index whose features are nearest to some (C,), the nearest first; of equals the first.

    Raises ValueError for a file that is no index, or one that other weights or another preprocessing made, and OSError.
    """
    query = _unit(np.asarray(features, np.float64)[None])[0]
    with _Index.opened(os.fspath(path)) as index:
        index.check(model)
        best = np.empty((0, 2))  # similarity, row
        start = 0
        for vectors in index.vectors():
            similarities = _unit(vectors.astype(np.float64)) @ query
            rows = np.arange(start, start + len(vectors))
            best = np.concatenate([best, np.stack([similarities, rows], 1)])
            best = best[np.lexsort((best[:, 1], -best[:, 0]))[:k]]
            start += len(vectors)
        names = index.names({int(row) for _, row in best})
    return [Neighbour(names[int(row)], float(similarity), int(row)) for similarity, row in best]


def _unit(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return vectors (N, C) of length 1 in the same directions; one without a direction stays 0."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    made: npt.NDArray[np.float64] = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return made


class _Index:
    """An index that is being read, of either kind."""

    def __init__(self, path: str, file: IO[bytes], about: Mapping[str, Any]) -> None:
        self.path, self.file, self.about = path, file, about

    @staticmethod
    def opened(path: str) -> _Index:
        check_ending(path, ENDINGS, "features are")
        return (_ParquetIndex if _is_parquet(path) else _NpyIndex)(path)

    def __enter__(self) -> _Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def check(self, model: VAN) -> None:
        """Raise ValueError where something else than this model made the index."""
        if self.about.get("minivan") != KIND:
            raise self.no_index("minivan embed did not write it")
        wrong = differing({name: self.about.get(name) for name in identity(model)}, identity(model))
        if "sha256" in wrong:
            name = quote(self.about.get("weights"))
            raise ValueError(
                f"{self.path} is of other weights, {name}, not {quote(model.card.name)}: say --weights or embed anew"
            )
        if "preprocessing" in wrong:
            theirs: Any = self.about.get("preprocessing")
            advice = f"say --size {theirs['crop']}" if _is_other_size(model, theirs) else "embed anew"
            raise ValueError(f"{self.path} is of images prepared otherwise ({json.dumps(theirs)}): {advice}")

    def no_index(self, why: object) -> ValueError:
        return ValueError(f"{self.path} is no index of features: {why}")

    def vectors(self) -> Iterator[Vectors]:
        """Yield the features, some thousand rows at a time."""
        raise NotImplementedError

    def names(self, rows: set[int]) -> dict[int, str]:
        """Return the images' names in these rows."""
        raise NotImplementedError


def _is_other_size(model: VAN, preprocessing: Any) -> bool:
    """Tell whether images were prepared as a model's are, but for their size."""
    try:
        resized = model.with_size(preprocessing["crop"])
    except (TypeError, KeyError, ValueError):  # the file may say anything
        return False
    return not differing(plain(asdict(resized.card.preprocessing)), preprocessing)


class _NpyIndex(_Index):
    def __init__(self, path: str) -> None:
        with opened(path + BESIDE, pipe=False) as names, named(path + BESIDE):
            first = names.readline(FIRST_LINE)
        super().__init__(path, opened(path, pipe=False), _object(first))

    def vectors(self) -> Iterator[Vectors]:
        with named(self.path):
            size = self.file.seek(0, 2)
            self.file.seek(0)
            try:
                header = npy.header(self.file, size)
            except ValueError as error:
                raise self.no_index(error) from None
            count, *width = header.shape or (0,)
            if len(width) != 1 or header.dtype != np.dtype("<f4") or header.fortran or count != self.about.get("rows"):
                raise self.no_index(f"the array has the shape {header.shape} and the dtype {header.dtype}")
            digest = hashlib.sha256()
            for start in range(0, count, ROWS_AT_ONCE):
                data = self.file.read(4 * width[0] * min(ROWS_AT_ONCE, count - start))
                digest.update(data)
                yield np.frombuffer(data, "<f4").reshape(-1, width[0])
        if digest.hexdigest() != self.about.get(SHA256):
            raise self.no_index(f"the numbers are not those that {Path(self.path).name}{BESIDE} is about; embed anew")

    def names(self, rows: set[int]) -> dict[int, str]:
        found = {}
        with opened(self.path + BESIDE, pipe=False) as file, named(self.path + BESIDE):
            file.seek(FIRST_LINE)
            for row, line in enumerate(file):
                if row in rows:
                    found[row] = str(_object(line).get("image"))
        if len(found) != len(rows):
            raise self.no_index(f"{Path(self.path).name}{BESIDE} lacks names")
        return found


class _ParquetIndex(_Index):
    def __init__(self, path: str) -> None:
        import importlib

        arrow = table.pyarrow()
        file = opened(path, pipe=False)
        try:
            self.parquet = importlib.import_module("pyarrow.parquet").ParquetFile(file)
        except arrow.ArrowInvalid as error:
            file.close()
            raise ValueError(f"{path} is no index of features: {error}") from None
        metadata = self.parquet.schema_arrow.metadata or {}
        super().__init__(path, file, _object(metadata.get(b"minivan", b"")))

    def vectors(self) -> Iterator[Vectors]:
        for batch in self.parquet.iter_batches(ROWS_AT_ONCE, columns=["features"]):
            column = batch.column(0)
            yield column.flatten().to_numpy().reshape(len(column), -1)

    def names(self, rows: set[int]) -> dict[int, str]:
        found: dict[int, str] = {}
        start = 0
        for batch in self.parquet.iter_batches(ROWS_AT_ONCE, columns=["image"]):
            column = batch.column(0)
            found |= {row: column[row - start].as_py() for row in rows if start <= row < start + len(column)}
            start += len(column)
        return found


def _object(text: bytes) -> dict[str, Any]:
    """Return the JSON object that a text is; {} for any other."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _first_line(about: Mapping[str, Any]) -> bytes:
    return json.dumps(about).encode("ascii").ljust(FIRST_LINE - 1) + b"\n"


def _npy_header(count: int, width: int) -> bytes:
    said = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({count}, {width}), }}"
    return npy.MAGIC + b"\x01\x00" + (NPY_HEADER - 10).to_bytes(2, "little") + said.encode().ljust(NPY_HEADER - 11) + b"\n"


def _some(count: int) -> None:
    if not count:
        raise ValueError("no image has features: nothing was written")


def _is_parquet(path: str | os.PathLike[str]) -> bool:
    return os.path.splitext(path)[1].lower() == ".parquet"
