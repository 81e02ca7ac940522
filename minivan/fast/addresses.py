"""Addresses: how compiled code refers to memory, and how tables of numbers say which of their fields are addresses.

Compiled code of this engine is handed no NumPy arrays to compute on, but integers. An Address counts floats (4 bytes), so
that `address + i` is the i-th float from there, and a part of a map is an addition. It keeps nothing alive: whoever makes
one keeps the array (workspace.py).

A table is a class whose annotations say what each of its numbers is: Count, Address, Pointer or Real, or another such
class, nested. From them follow both the structured dtype that compiled code reads (`dtype_of`) and which fields move with
the array that they point into (`relocate`): a field cannot be one and forgotten by the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Annotated, Any, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

Count = Annotated[int, "count"]  # of channels, rows, threads
Address = Annotated[int, "address"]  # of a float, counted in floats
Pointer = Annotated[int, "pointer"]  # of anything else, counted in bytes; moves with no array
Real = Annotated[float, "real"]

DTYPES = {"count": np.int64, "address": np.int64, "pointer": np.int64, "real": np.float64}
FLOAT_BYTES = 4
ALIGNMENT = 16  # floats: 64 bytes, a cache line and the widest vector


@cache
def kinds(table: type) -> tuple[tuple[str, str | type], ...]:
    """Return each field of a table with its kind ('count', 'address', ...) or, for a nested table, its class."""
    return tuple(_kinds(table))


def _kinds(table: type) -> Iterator[tuple[str, str | type]]:
    for name, hint in get_type_hints(table, include_extras=True).items():
        kind = next((mark for mark in get_args(hint)[1:] if mark in DTYPES), None)
        if kind is None and not (isinstance(hint, type) and get_type_hints(hint)):
            raise TypeError(f"{table.__name__}.{name} says not what it is: Count, Address, Pointer, Real or a table")
        yield name, kind or hint


@cache
def dtype_of(table: type) -> np.dtype[np.void]:
    """Return a table as NumPy's structured dtype, nested like the table; TypeError for a field of no kind."""
    return np.dtype([(name, DTYPES[kind] if isinstance(kind, str) else dtype_of(kind)) for name, kind in kinds(table)])


def records(rows: Sequence[Any], table: type) -> NDArray[np.void]:
    """Return filled-in tables, all of one class, as the array of records that compiled code reads."""
    dtype = dtype_of(table)
    return np.array([tuple(getattr(row, name) for name in dtype.names or ()) for row in rows], dtype)


def relocate(array: NDArray[np.void], table: type, base: Address) -> None:
    """Add `base` to every Address in an array of records: offsets into an array become addresses in memory."""
    for name, kind in kinds(table):
        if kind == "address":
            array[name] += base
        elif isinstance(kind, type):
            relocate(array[name], kind, base)


def address_of(array: NDArray[Any]) -> Address:
    """Return where an array begins; ValueError where that is not a whole number of floats."""
    address, beyond = divmod(begin_of(array), FLOAT_BYTES)
    if beyond:
        raise ValueError(f"an address counts floats, so an array must be aligned to {FLOAT_BYTES} bytes")
    return address


def begin_of(array: NDArray[Any]) -> Pointer:
    """Return where an array begins in bytes. Not by `array.ctypes`, which imports: finalizers run when nothing can be."""
    return int(array.__array_interface__["data"][0])


def aligned(size: int) -> NDArray[np.float32]:
    """Return `size` zeros, float32, beginning at a multiple of 64 bytes."""
    array = np.zeros(size + ALIGNMENT, np.float32)
    start = -address_of(array) % ALIGNMENT
    return array[start : start + size]
