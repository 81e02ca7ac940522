"""NumPy's own files, .npy and .npz: their sizes are known before anything is read, and nothing in them can run.

A header is Python text, which NumPy lets Python parse; here it is matched against the one form that it has. Format:
numpy/lib/format.py.
"""

from __future__ import annotations

import os
import re
import zipfile
from io import BufferedReader
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ..errors import printable, quote, sentence, shortened, shown
from ..input import amount, named, opened

MOST_ARRAYS = 10_000  # in one file or folder; a VAN-B6 has 1,754
MOST_ENTRIES = 100_000  # files and folders looked at in a folder, those that are no arrays among them
LONGEST_NAME = 500  # characters of a layer's name
UNPACKED, PER_BYTE = 256 << 20, 8  # what the arrays of an .npz may take: so many bytes, and so many more for each of its own
CHUNK = 1 << 20  # bytes read at once
LONGEST_WHY = 300  # characters of what NumPy's or Python's own readers say
LARGEST_DIRECTORY = 4 << 20  # bytes of an .npz's list of its records
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what numpy.savez and numpy.savez_compressed write
ENCRYPTED = 0x1 | 0x40 | 0x2000

MAGIC = b"\x93NUMPY"
LONGEST_HEADER = 10_000  # bytes, as numpy.load takes them
FIELDS = {
    "descr": r"""['"](?P<descr>[^'"]*)['"]""",
    "fortran_order": "(?P<fortran_order>True|False)",
    "shape": r"\((?P<shape>[0-9L,\s]*)\)",
}
FIELD = re.compile("|".join(rf"""\s*['"]{name}['"]\s*:\s*{value}\s*(?:,|(?=\}}))""" for name, value in FIELDS.items()))
NUMBERS = re.compile(r"[<>|=]?(?:[biufc][0-9]{1,2}|\?|V2)")  # V2: what a bfloat16 is to NumPy


def read_npy(path: Path) -> npt.NDArray[Any]:
    """Read one .npy file. Raises ValueError, with its name, for anything else, pickled objects included; OSError."""
    with named(path), opened(path) as file:
        size = file.seek(0, 2)
        file.seek(0)
        try:
            return _array(file, size)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{path}: not an .npy file of numbers, or a damaged one ({_why(error)})") from None


def read_npy_folder(folder: Path) -> dict[str, npt.NDArray[Any]]:
    """Read the .npy files of a folder and its subfolders, links to folders left out: names as `recorded.read` has them.

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
    arrays: dict[str, npt.NDArray[Any]] = {}
    _check_count(folder, len(found))
    for path in sorted(found):
        name = ".".join(path.relative_to(folder).with_suffix("").parts)
        if name in arrays:
            raise ValueError(f"{folder}: two files are the layer {quote(name)}, {path} and another")
        _check_name(folder, name)
        arrays[name] = read_npy(path)
    return arrays


def read_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays of an .npz file. Raises ValueError, with its name, for anything else; OSError.

    What it holds may be packed, but not to less than about an eighth.
    """
    with named(path), opened(path) as file:
        limit = UNPACKED + PER_BYTE * file.seek(0, 2)
        try:
            with zipfile.ZipFile(_Bounded(file)) as records:
                members = records.infolist()
                _check_members(path, members, limit)
                return {_layer(member): _unpacked(path, records, member) for member in members}
        except (OSError, MemoryError):
            raise
        except _WrongMember as error:
            raise ValueError(str(error)) from None
        except Exception as error:  # zipfile and zlib meet hostile bytes with NotImplementedError, struct.error and more
            raise ValueError(f"{path}: not an .npz file, or a damaged one ({_why(error)})") from None


def _why(error: Exception) -> str:
    return printable(shortened(sentence(error), LONGEST_WHY))  # zipfile repeats what it found in the place of a name


class _WrongMember(ValueError):
    """A whole sentence on one record of an .npz."""


class _Bounded:
    """A file for `zipfile`, of which nothing is read at once that is larger than any directory has to be."""

    def __init__(self, file: BufferedReader) -> None:
        self.file = file
        self.tell, self.seekable = file.tell, file.seekable

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


def _unpacked(path: Path, records: zipfile.ZipFile, member: zipfile.ZipInfo) -> npt.NDArray[Any]:
    with records.open(member) as file:
        try:
            array = _array(file, member.file_size)
            while file.read(CHUNK):  # to its end, where the checksum is compared
                pass
            return array
        except (ValueError, OverflowError) as error:
            name = shown(_layer(member))
            raise _WrongMember(f"{path}, {name}: no array of numbers, or a damaged one ({error})") from None


def _array(file: IO[bytes], size: int) -> npt.NDArray[Any]:
    """Read an array from a file, or a record of one, of `size` bytes. Raises ValueError, which does not name it."""
    start = file.read(8)
    if start[:6] != MAGIC or len(start) < 8 or start[6] not in (1, 2, 3):
        raise ValueError("it does not begin as one")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(file.read(width), "little")
    if length > LONGEST_HEADER:
        raise ValueError(f"a header of {length} bytes; the limit is {LONGEST_HEADER}")
    dtype, shape, fortran = _header(file.read(length).decode("latin-1"))
    wanted, held = prod(shape) * dtype.itemsize, size - 8 - width - length
    if wanted > held:
        raise ValueError(f"numbers of {quote(wanted)} bytes in a file that has {max(held, 0)}")
    data = np.empty(wanted, np.uint8)
    view, at = data.data, 0
    while at < wanted:
        part = file.read(min(CHUNK, wanted - at))
        if not part:
            raise ValueError("it ends early")
        view[at : at + len(part)] = part
        at += len(part)
    return data.view(dtype).reshape(shape, order="F" if fortran else "C")


def _header(text: str) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Return dtype, shape and whether the first axis varies fastest."""
    start = re.match(r"\s*\{", text)
    found: dict[str, str] = {}
    at = start.end() if start else 0
    while match := FIELD.match(text, at):
        found |= {name: value for name, value in match.groupdict().items() if value is not None}
        at = match.end()
    if not start or len(found) != len(FIELDS) or text[at:].strip() != "}":
        raise ValueError("its header is none of an array of numbers; structures and objects are not read")
    if not NUMBERS.fullmatch(found["descr"]):
        raise ValueError(f"the dtype {quote(found['descr'])}; numbers are read, and no objects")
    try:
        dtype = np.dtype(found["descr"])
    except TypeError:
        raise ValueError(f"the dtype {quote(found['descr'])}, which NumPy does not know") from None
    shape = tuple(int(part.replace("L", "")) for part in found["shape"].split(",") if part.strip())
    return dtype, shape, found["fortran_order"] == "True"
