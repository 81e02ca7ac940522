"""Files of pooled features with the images' names, and the search for the nearest in them.

`features.npy` holds the numbers, float32 (N, C), for every program that reads NumPy's format; `features.npy.jsonl` beside it
says in its first line which weights made them, and has a line for each row. A Parquet file holds all of it: the columns `image`
and `features`, and in its metadata the same. Neither is ever in memory as a whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import npy
from ..errors import one_line, quote, reason
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
FIRST_LINE = 1 << 14  # bytes, the least, of the line that says which weights: it is written twice, then with the number of rows
LONGEST_LINE = 1 << 20  # bytes
LONGEST_NAME = 1 << 17  # characters: of a path, and of a name in an archive there
UNPACKED, GROWTH = 256 << 20, 64  # bytes of a Parquet file's features: so many, and so many for each of the file's
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
        room = len(json.dumps({**about, "rows": 1 << 64, SHA256: digest.hexdigest()})) + 1
        names.write(_first_line({}, room))
        numbers.write(bytes(NPY_HEADER))
        for image, features in rows:
            data = features.astype("<f4").tobytes()
            digest.update(data)
            numbers.write(data)
            names.write(json.dumps({"image": image}).encode("ascii") + b"\n")
            count += 1
        _some(count)
        names.seek(0)
        names.write(_first_line({**about, "rows": count, SHA256: digest.hexdigest()}, room))
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
    with Index.opened(path) as index:
        index.check(model)
        return index.nearest(features, k)


def _unit(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return vectors (N, C) of length 1 in the same directions; one without a direction stays 0."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    made: npt.NDArray[np.float64] = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return made


class Index:
    """An index that is being read, of either kind."""

    def __init__(self, path: str, file: IO[bytes], about: Mapping[str, Any]) -> None:
        self.path, self.file, self.about = path, file, about

    @staticmethod
    def opened(path: str | os.PathLike[str]) -> Index:
        """Open an index. Raises ValueError for a file that is none, and OSError."""
        check_ending(path, ENDINGS, "features are")
        return (_ParquetIndex if _is_parquet(path) else _NpyIndex)(os.fspath(path))

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def check(self, model: VAN) -> None:
        """Raise ValueError where something else than this model made the index."""
        if self.about.get("minivan") != KIND:
            raise self.no_index("minivan embed did not write it")
        wanted = identity(model)
        wrong = differing({name: self.about.get(name) for name in wanted}, wanted)
        if "sha256" in wrong:
            name = quote(self.about.get("weights"))
            raise ValueError(
                f"{self.path} is of other weights, {name}, not {quote(model.card.name)}: say --weights or embed anew"
            )
        if "preprocessing" in wrong:
            theirs: Any = self.about.get("preprocessing")
            advice = f"say --size {theirs['crop']}" if _is_other_size(model, theirs) else "embed anew"
            raise ValueError(f"{self.path} is of images prepared otherwise ({json.dumps(theirs)}): {advice}")

    def nearest(self, features: Vectors, k: int) -> list[Neighbour]:
        """Return the `k` images whose features are nearest to some (C,), as `minivan.predict.index.nearest` does."""
        query = _unit(np.asarray(features, np.float64)[None])[0]
        best = np.empty((0, 2))  # similarity, row
        start = 0
        for vectors in self.vectors(len(query)):
            if not np.isfinite(vectors).all():
                raise self.no_index("it has numbers that are not finite")
            similarities = _unit(vectors.astype(np.float64)) @ query
            rows = np.arange(start, start + len(vectors))
            best = np.concatenate([best, np.stack([similarities, rows], 1)])
            best = best[np.lexsort((best[:, 1], -best[:, 0]))[:k]]
            start += len(vectors)
        names = self.names({int(row) for _, row in best})
        if len(names) < len(best):
            raise self.no_index("it lacks names")
        return [Neighbour(names[int(row)], float(similarity), int(row)) for similarity, row in best]

    def no_index(self, why: object) -> ValueError:
        return ValueError(f"{self.path} is no index of features: {why}")

    def vectors(self, width: int) -> Iterator[Vectors]:
        """Yield the features (rows, width), some thousand rows at a time."""
        raise NotImplementedError

    def names(self, rows: set[int]) -> dict[int, str]:
        """Return the images' names in these rows."""
        raise NotImplementedError

    def name(self, found: object) -> str:
        """Return what was found where an image's name is to be."""
        if not isinstance(found, str):
            raise self.no_index(f"{quote(found)} is no image's name")
        if len(found) > LONGEST_NAME:
            raise self.no_index(f"it has a name of {len(found):,} characters")
        return found


def _is_other_size(model: VAN, preprocessing: Any) -> bool:
    """Tell whether images were prepared as a model's are, but for their size."""
    try:
        resized = model.with_size(preprocessing["crop"])
    except (TypeError, KeyError, ValueError):  # the file may say anything
        return False
    return not differing(plain(asdict(resized.card.preprocessing)), preprocessing)


class _NpyIndex(Index):
    def __init__(self, path: str) -> None:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(opened(path, pipe=False))  # what is not there is called as it was asked for
            with opened(path + BESIDE, pipe=False) as names, named(path + BESIDE):
                first = names.readline(LONGEST_LINE)
            stack.pop_all()
        super().__init__(path, file, _object(first))

    def vectors(self, width: int) -> Iterator[Vectors]:
        with named(self.path):
            size = self.file.seek(0, 2)
            self.file.seek(0)
            try:
                header = npy.header(self.file, size)
            except ValueError as error:
                raise self.no_index(error) from None
            count = header.shape[0] if header.shape else 0
            if header.shape != (self.about.get("rows"), width) or header.dtype != np.dtype("<f4") or header.fortran:
                raise self.no_index(f"the array has the shape {header.shape} and the dtype {header.dtype}")
            digest = hashlib.sha256()
            for start in range(0, count, ROWS_AT_ONCE):
                data = self.file.read(4 * width * min(ROWS_AT_ONCE, count - start))
                digest.update(data)
                yield np.frombuffer(data, "<f4").reshape(-1, width)
        if digest.hexdigest() != self.about.get(SHA256):
            raise self.no_index(f"the numbers are not those that {Path(self.path).name}{BESIDE} is about; embed anew")

    def names(self, rows: set[int]) -> dict[int, str]:
        found, count = dict[int, str](), 0
        with opened(self.path + BESIDE, pipe=False) as file, named(self.path + BESIDE):
            file.readline(LONGEST_LINE)
            while line := file.readline(LONGEST_LINE):
                if count in rows:
                    found[count] = self.name(_object(line).get("image"))
                count += 1
        if count != self.about.get("rows"):
            raise self.no_index(f"{Path(self.path).name}{BESIDE} has the names of {count:,} rows; embed anew")
        return found


class _ParquetIndex(Index):
    def __init__(self, path: str) -> None:
        table.pyarrow()
        super().__init__(path, opened(path, pipe=False), {})
        try:
            with self.reading():
                parquet = importlib.import_module("pyarrow.parquet")
                # one long name, of which there are thousands, stays one: they are looked up where they are wanted
                self.parquet = parquet.ParquetFile(self.file, page_checksum_verification=True, read_dictionary=["image"])
                self.schema = self.parquet.schema_arrow
        except BaseException:
            self.file.close()
            raise
        self.about = _object((self.schema.metadata or {}).get(b"minivan", b""))

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Have what pyarrow says of a damaged file, in whatever kind of error, say which file that is."""
        try:
            yield
        except (table.pyarrow().ArrowException, OSError, ValueError, LookupError) as error:
            if isinstance(error, MemoryError) or getattr(error, "errno", None):
                raise
            raise self.no_index(reason(error)) from None

    def vectors(self, width: int) -> Iterator[Vectors]:
        arrow = table.pyarrow()
        left = UNPACKED + GROWTH * os.fstat(self.file.fileno()).st_size  # a column of equal numbers takes nearly no bytes
        for column in self.column("features"):
            if (left := left - 4 * width * len(column)) < 0:
                raise self.no_index("it unpacks to more than features do")
            kind = column.type
            if not arrow.types.is_fixed_size_list(kind) or (kind.list_size, kind.value_type) != (width, arrow.float32()):
                raise self.no_index(f"its column features is {kind}, not {width} numbers of float32 each")
            numbers = column.flatten()
            if column.null_count or numbers.null_count:
                raise self.no_index("its column features has gaps")
            yield numbers.to_numpy().reshape(-1, width)

    def names(self, rows: set[int]) -> dict[int, str]:
        found: dict[int, str] = {}
        start = 0
        for column in self.column("image"):
            here = [row for row in rows if start <= row < start + len(column)]
            with self.reading():
                texts = [column[row - start].as_py() for row in here]
            found |= {row: self.name(text) for row, text in zip(here, texts, strict=True)}
            start += len(column)
        return found

    def column(self, name: str) -> Iterator[Any]:
        """Yield a column, some thousand rows at a time."""
        if name not in self.schema.names:
            raise self.no_index(f"it has no column {name}")
        with self.reading():
            parts = self.parquet.iter_batches(ROWS_AT_ONCE, columns=[name])
        while True:
            with self.reading():
                if (part := next(parts, None)) is None:
                    return
                column = part.column(0)
            yield column


def _object(text: bytes) -> dict[str, Any]:
    """Return the JSON object that a text is; {} for any other."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _first_line(about: Mapping[str, Any], room: int) -> bytes:
    """Return a line that has `room` for more than that, in bytes."""
    return json.dumps(about).encode("ascii").ljust(max(FIRST_LINE, room) - 1) + b"\n"


def _npy_header(count: int, width: int) -> bytes:
    said = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({count}, {width}), }}"
    return npy.MAGIC + b"\x01\x00" + (NPY_HEADER - 10).to_bytes(2, "little") + said.encode().ljust(NPY_HEADER - 11) + b"\n"


def _some(count: int) -> None:
    if not count:
        raise ValueError("no image has features: nothing was written")


def _is_parquet(path: str | os.PathLike[str]) -> bool:
    return os.path.splitext(path)[1].lower() == ".parquet"
