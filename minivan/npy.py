"""Arrays as NumPy writes them, .npy: their size is known before anything is read, and nothing in them can run.

A header is Python text, which NumPy lets Python parse; here it is matched against the one form that it has. Format:
numpy/lib/format.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import prod
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .errors import quote

MAGIC = b"\x93NUMPY"
LONGEST_HEADER = 10_000  # bytes, as numpy.load takes them
CHUNK = 1 << 20  # bytes read at once
FIELDS = {
    "descr": r"""['"](?P<descr>[^'"]*)['"]""",
    "fortran_order": "(?P<fortran_order>True|False)",
    "shape": r"\((?P<shape>[0-9L,\s]*)\)",
}
FIELD = re.compile("|".join(rf"""\s*['"]{name}['"]\s*:\s*{value}\s*(?:,|(?=\}}))""" for name, value in FIELDS.items()))
NUMBERS = re.compile(r"[<>|=]?(?:[biufc][0-9]{1,2}|\?|V2)")  # V2: what a bfloat16 is to NumPy


class Header(NamedTuple):
    """What an array's header says."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool  # whether the first axis varies fastest
    size: int  # bytes before the numbers


def header(file: IO[bytes], size: int) -> Header:
    """Read the header of an array from a file, or a record of one, of `size` bytes, which has to hold all its numbers.

    Raises ValueError, which does not name the file, for anything but an array of numbers.
    """
    start = file.read(8)
    if start[:6] != MAGIC or len(start) < 8 or start[6] not in (1, 2, 3):
        raise ValueError("it does not begin as one")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(file.read(width), "little")
    if length > LONGEST_HEADER:
        raise ValueError(f"a header of {length} bytes; the limit is {LONGEST_HEADER}")
    dtype, shape, fortran = _fields(file.read(length).decode("latin-1"))
    before = 8 + width + length
    wanted, held = prod(shape) * dtype.itemsize, size - before
    if wanted > held:
        raise ValueError(f"numbers of {quote(wanted)} bytes in a file that has {max(held, 0)}")
    return Header(dtype, shape, fortran, before)


def read(file: IO[bytes], size: int) -> npt.NDArray[Any]:
    """Read an array from a file, or a record of one, of `size` bytes. Raises as `header` does, and where it ends early."""
    dtype, shape, fortran, _ = header(file, size)
    return _numbers(file, prod(shape), dtype).reshape(shape, order="F" if fortran else "C")


def pieces(file: IO[bytes], size: int, head: Header, count: int) -> Iterator[npt.NDArray[Any]]:
    """Read an array as `read` does, `count` numbers at once, in the order in which they lie in the file.

    Raises as `read` does, and where the file's header is no longer `head`.
    """
    if header(file, size) != head:
        raise ValueError("it has changed since it was looked at")
    for begin in range(0, prod(head.shape), count):
        yield _numbers(file, min(count, prod(head.shape) - begin), head.dtype)


def _numbers(file: IO[bytes], count: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Read the next numbers of a file."""
    wanted = count * dtype.itemsize
    data = np.empty(wanted, np.uint8)
    view, at = data.data, 0
    while at < wanted:
        part = file.readinto(view[at : at + CHUNK])  # type: ignore[attr-defined]  # every binary file has it
        if not part:
            raise ValueError("it ends early")
        at += part
    return data.view(dtype)


def _fields(text: str) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
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
