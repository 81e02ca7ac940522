"""NumPy's own files, .npy and .npz: their sizes are known before anything is read, and nothing in them can run."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

import numpy.typing as npt

from .. import npy
from ..errors import printable, quote, sentence, shortened, shown
from ..input import amount, named, opened
from .stored import Held

MOST_ARRAYS = 10_000  # in one file or folder; a VAN-B6 has 1,754
MOST_ENTRIES = 100_000  # files and folders looked at in a folder, those that are no arrays among them
LONGEST_NAME = 500  # characters of a layer's name
UNPACKED, PER_BYTE = 256 << 20, 8  # what the arrays of an .npz may take: so many bytes, and so many more for each of its own
CHUNK = 1 << 20  # bytes read at once
LONGEST_WHY = 300  # characters of what NumPy's or Python's own readers say
LARGEST_DIRECTORY = 4 << 20  # bytes of an .npz's list of its records
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what numpy.savez and numpy.savez_compressed write
ENCRYPTED = 0x1 | 0x40 | 0x2000


def read_npy(path: Path) -> npt.NDArray[Any]:
    """Read one .npy file. Raises ValueError, with its name, for anything else, pickled objects included; OSError."""
    with named(path), opened(path) as file:
        size = file.seek(0, 2)
        file.seek(0)
        with _npy_only(path):
            return npy.read(file, size)


def hold_npy(path: Path) -> Held:
    """Look at an .npy file, whose numbers are read when somebody asks for them. Raises as `read_npy` does."""
    with named(path), opened(path) as file:
        size = file.seek(0, 2)
        file.seek(0)
        with _npy_only(path):
            head = npy.header(file, size)
    pieces = None if head.fortran else partial(_npy_pieces, path, head)
    return Held(head.dtype.name, head.shape, partial(read_npy, path), pieces)


def _npy_pieces(path: Path, head: npy.Header, count: int) -> Iterator[npt.NDArray[Any]]:
    """Read an .npy file, so many numbers at once. Raises as `read_npy` does."""
    with named(path), opened(path) as file, _npy_only(path):
        size = file.seek(0, 2)
        file.seek(0)
        yield from npy.pieces(file, size, head, count)


@contextmanager
def _npy_only(path: Path) -> Iterator[None]:
    """Say of which file it is that it is no array of numbers."""
    try:
        yield
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{path}: not an .npy file of numbers, or a damaged one ({_why(error)})") from None


def hold_npy_folder(folder: Path) -> dict[str, Held]:
    """Look at the .npy files of a folder and its subfolders, links to folders left out: names as `recorded.read` has them.

    Raises ValueError for a folder without any, with too many, or with two of one name; OSError, also for a subfolder that
    cannot be looked into.
    """
    found: list[Path] = []
    folders, seen = [folder], 0
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                seen += 1
                if seen > MOST_ENTRIES:
                    raise ValueError(f"{folder}: more than {MOST_ENTRIES:,} files: name the folder of the layers")
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
                elif entry.name.endswith(".npy"):
                    found.append(Path(entry.path))
    if not found:
        raise ValueError(f"{folder}: a folder without .npy files")
    arrays: dict[str, Held] = {}
    _check_count(folder, len(found))
    for path in sorted(found):
        name = ".".join(path.relative_to(folder).with_suffix("").parts)
        if name in arrays:
            raise ValueError(f"{folder}: two files are the layer {quote(name)}, {path} and another")
        _check_name(folder, name)
        arrays[name] = hold_npy(path)
    return arrays


def hold_npz(path: Path) -> dict[str, Held]:
    """Look through an .npz file, whose numbers are read when somebody asks for them. ValueError, with its name; OSError.

    What it holds may be packed, but not to less than about an eighth. Every checksum is compared at once.
    """
    archive = _Archive(path)
    with archive.opened() as size:
        members = archive.members()
        _check_members(path, members, UNPACKED + PER_BYTE * size)
        return {_layer(member): _held(archive, member) for member in members}


class _Archive:
    """An .npz file, which is open only in a block of `opened`, one at a time. Its list of records is read only once."""

    def __init__(self, path: Path) -> None:
        self.path, self.bounded = path, _Bounded()

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Open the file and give its size; what goes wrong with its records in the block is a ValueError."""
        with named(self.path), opened(self.path) as file:
            self.bounded.file = file
            try:
                yield file.seek(0, 2)
            except (OSError, MemoryError):
                raise
            except _WrongMember as error:
                raise ValueError(str(error)) from None
            except Exception as error:  # zipfile and zlib meet hostile bytes with NotImplementedError, struct.error and more
                raise ValueError(f"{self.path}: not an .npz file, or a damaged one ({_why(error)})") from None

    def members(self) -> list[zipfile.ZipInfo]:
        """Read the list of records, and return it."""
        self.records = zipfile.ZipFile(self.bounded)  # which never closes a file that it was given
        return self.records.infolist()


def _why(error: Exception) -> str:
    return printable(shortened(sentence(error), LONGEST_WHY))  # zipfile repeats what it found in the place of a name


class _WrongMember(ValueError):
    """A whole sentence on one record of an .npz."""


class _Bounded:
    """A file for `zipfile`, of which nothing is read at once that is larger than any directory has to be."""

    file: BufferedReader  # that is open now

    def tell(self) -> int:
        return self.file.tell()

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 0 and not 0 <= offset < 1 << 63:
            raise ValueError(f"a record that begins at byte {offset}")
        return self.file.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        if size > LARGEST_DIRECTORY:
            raise ValueError(f"a directory of {size} bytes; the limit is {amount(LARGEST_DIRECTORY)}")
        return self.file.read(size)


def _layer(member: zipfile.ZipInfo) -> str:
    return member.filename.removesuffix(".npy")


def _check_members(path: Path, members: list[zipfile.ZipInfo], limit: int) -> None:
    _check_count(path, len(members))
    names = set()
    for member in members:
        name, about = _layer(member), f"{path}, {shown(member.filename)}"
        _check_name(path, name)
        if name in names:
            raise _WrongMember(f"{about}: two records are the layer {quote(name)}")
        names.add(name)
        if not member.filename.endswith(".npy"):
            raise _WrongMember(f"{about}: not an array")
        if member.flag_bits & ENCRYPTED:
            raise _WrongMember(f"{about}: encrypted; save it without a password")
        if member.compress_type not in METHODS:
            raise _WrongMember(f"{about}: packed in another way than NumPy packs; save it with numpy.savez")
    wanted = sum(member.file_size for member in members)
    if wanted > limit:
        raise _WrongMember(f"{path}: arrays of {amount(wanted)}; from a file of its size at most {amount(limit)} are unpacked")


def _check_count(path: Path, count: int) -> None:
    if count > MOST_ARRAYS:
        raise _WrongMember(f"{path}: {count:,} arrays; at most {MOST_ARRAYS:,} are compared")


def _check_name(path: Path, name: str) -> None:
    if len(name) > LONGEST_NAME:
        raise _WrongMember(f"{path}: {quote(name)} has {len(name)} characters; a layer's name has at most {LONGEST_NAME}")


def _held(archive: _Archive, member: zipfile.ZipInfo) -> Held:
    """Look at one record, to its end."""
    with archive.records.open(member) as file, _numbers(archive.path, member):
        head = npy.header(file, member.file_size)
        _drain(file)

    def read() -> npt.NDArray[Any]:
        with archive.opened(), archive.records.open(member) as file, _numbers(archive.path, member):
            array = npy.read(file, member.file_size)
            _drain(file)
            return array

    def pieces(count: int) -> Iterator[npt.NDArray[Any]]:
        with archive.opened(), archive.records.open(member) as file, _numbers(archive.path, member):
            yield from npy.pieces(file, member.file_size, head, count)
            _drain(file)

    return Held(head.dtype.name, head.shape, read, None if head.fortran else pieces)


def _drain(file: IO[bytes]) -> None:
    """Read a record to its end, where its checksum is compared."""
    while file.read(CHUNK):
        pass


@contextmanager
def _numbers(path: Path, member: zipfile.ZipInfo) -> Iterator[None]:
    """Say which record of which file is no array of numbers."""
    try:
        yield
    except (ValueError, OverflowError) as error:
        name = shown(_layer(member))
        raise _WrongMember(f"{path}, {name}: no array of numbers, or a damaged one ({error})") from None
