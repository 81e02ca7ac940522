"""HDF5 files as h5py reads them: groups in one another, and arrays of numbers that lie in the file itself.

h5py parses the file that minivan has opened. What could lead it elsewhere (links to other files, arrays in other files or put
together from them, filters that are loaded when they are needed) is refused before a number is read, and so is an array that
claims more numbers than the file has bytes for: a deflated chunk is unpacked to its stated size once, to see that it has it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from io import BufferedIOBase
from itertools import product
from math import prod
from typing import Any

import numpy as np

from ..errors import quote, reason
from .budget import Budget
from .error import CheckpointError
from .extra import library
from .tensor import ITEM_SIZES, MOST_DIMENSIONS, ByteOrder, Bytes, StoredTensor, is_natural

DEEPEST = 16  # groups in one another
OBJECT, MEMORY = 100, 1000  # steps and bytes that a member of a group, or a chunk of an array, takes
LARGEST_GROWTH = 8  # bytes of a deflated array for one of the file's

# Bytes, bits of the exponent, bits of the mantissa -> PyTorch's name
FLOATS = {(8, 11, 52): "float64", (4, 8, 23): "float32", (2, 5, 10): "float16", (2, 8, 7): "bfloat16"}
DEFLATE, SHUFFLE = 1, 2  # the numbers of HDF5's filters
PIPELINES = ((), (SHUFFLE,), (DEFLATE,), (SHUFFLE, DEFLATE))
DAMAGED = "a damaged HDF5 file"
AGAIN = "write it with h5py as Keras does, without links to other files and without filters"


def contents(file: BufferedIOBase, budget: Budget, stack: ExitStack, without: str = "") -> dict[str, StoredTensor]:
    """Return the arrays of numbers in an HDF5 file, by their paths ('norm1/norm1/gamma:0'); others are passed over.

    They can be read until `stack` closes. The group `without` is not looked into. Raises CheckpointError for a damaged file,
    for one that leads to other files, and where h5py is not installed.
    """
    h5py = library("h5py", "keras", "an HDF5 file")
    with _refusals():
        opened = stack.enter_context(closing(h5py.File(file, "r")))
        return dict(_Contents(h5py, opened.id, file.seek(0, 2), budget).arrays(without))


@contextmanager
def _refusals() -> Iterator[None]:
    """Whatever h5py does not understand is a damaged file."""
    try:
        yield
    except (CheckpointError, MemoryError):
        raise
    except Exception as error:
        raise CheckpointError(DAMAGED, reason(error)) from None


class _Contents:
    """An open HDF5 file, through the functions that h5py has for HDF5's own."""

    def __init__(self, h5py: Any, root: Any, size: int, budget: Budget) -> None:
        self.h5py, self.root, self.size, self.budget = h5py, root, size, budget

    def arrays(self, without: str) -> Iterator[tuple[str, StoredTensor]]:
        """Yield every array with its path, however deep it lies."""
        waiting = [b""]
        while waiting:
            path = waiting.pop()
            if path[1:] == without.encode() and without:
                continue
            found = self.h5py.h5o.open(self.root, path or b"/")
            if isinstance(found, self.h5py.h5g.GroupID):
                waiting.extend(reversed([path + b"/" + name for name in self.members(path, found)]))
            elif isinstance(found, self.h5py.h5d.DatasetID):
                name = path[1:].decode("utf-8", "replace")
                if (tensor := self.array(name, path, found)) is not None:
                    yield name, tensor

    def members(self, path: bytes, group: Any) -> list[bytes]:
        """Return the names of a group's members, but for those of links by name: these lead to what is found by its own."""
        where = quote(path.decode("utf-8", "replace") or "/")
        names: list[bytes] = []
        over: list[CheckpointError] = []

        def take(name: bytes) -> bool | None:
            try:
                self.budget.step(OBJECT)
                self.budget.hold(MEMORY + len(path) + len(name))
            except CheckpointError as error:  # h5py has no way for an exception out of here
                over.append(error)
                return True
            names.append(name)
            return None

        self.h5py.h5g.iterate(group, take)
        if over:
            raise over[0]
        if names and path.count(b"/") == DEEPEST:
            raise CheckpointError(f"an HDF5 file with groups more than {DEEPEST} deep", "one may lie in itself")
        if any(b"/" in name or name in (b"", b".") for name in names):
            raise CheckpointError(DAMAGED, f"a name in its group {where} leads elsewhere")
        kinds = {name: group.links.get_info(name).type for name in names}
        known = (self.h5py.h5l.TYPE_HARD, self.h5py.h5l.TYPE_SOFT)
        for name, kind in kinds.items():
            if kind not in known:
                raise CheckpointError(
                    f"an HDF5 file whose group {where} has a link to another file, {quote(name.decode())}", AGAIN
                )
        return [name for name, kind in kinds.items() if kind == self.h5py.h5l.TYPE_HARD]

    def array(self, name: str, path: bytes, found: Any) -> StoredTensor | None:
        """Return an array of floating-point numbers, None for one of something else."""
        dtype, byteorder = self.kind(found.get_type())
        if not dtype:
            return None
        made = found.get_create_plist()
        if made.get_layout() == self.h5py.h5d.VIRTUAL or made.get_external_count():
            raise CheckpointError(f"{quote(name)} lies in other files", AGAIN)
        filters = tuple(made.get_filter(index)[0] for index in range(made.get_nfilters()))
        if filters not in PIPELINES:
            raise CheckpointError(f"{quote(name)} is packed with HDF5's filters {filters}", AGAIN)
        space = found.get_space()
        if space.get_simple_extent_type() == self.h5py.h5s.NULL:
            return None
        shape = tuple(space.get_simple_extent_dims())
        if len(shape) > MOST_DIMENSIONS or not all(map(is_natural, shape)):
            raise CheckpointError(f"{quote(name)} is an array of the shape {shape[:MOST_DIMENSIONS]}", "none of a network's")
        wanted = prod(shape) * ITEM_SIZES[dtype]
        chunk = made.get_chunk() if made.get_layout() == self.h5py.h5d.CHUNKED else ()
        held = min(wanted if chunk else found.get_storage_size(), self.size * (LARGEST_GROWTH if DEFLATE in filters else 1))
        if held < wanted:
            said = f"{quote(name)} is {dtype} of shape {shape} and has {held} bytes at most"
            raise CheckpointError(said, "cut short, or never written")
        if chunk:
            if any(step > side for side, step in zip(shape, chunk, strict=True)):
                raise CheckpointError(f"{quote(name)} of the shape {shape} has chunks of {chunk}", AGAIN)
            self.budget.step(OBJECT * prod(-(-side // step) for side, step in zip(shape, chunk, strict=True)))
        fetch = partial(self.fetch, name, path, shape, ITEM_SIZES[dtype], DEFLATE in filters)
        return StoredTensor(shape, dtype, fetch, byteorder=byteorder)

    def kind(self, kind: Any) -> tuple[str, ByteOrder]:
        """Return PyTorch's name for a type of numbers and their byte order, '' for what is no floating-point number."""
        if not isinstance(kind, self.h5py.h5t.TypeFloatID):
            return "", "<"
        _, _, exponent, _, mantissa = kind.get_fields()
        order = {self.h5py.h5t.ORDER_LE: "<", self.h5py.h5t.ORDER_BE: ">"}.get(kind.get_order())
        dtype = FLOATS.get((kind.get_size(), exponent, mantissa), "") if order else ""
        return dtype, ">" if order == ">" else "<"

    def fetch(self, name: str, path: bytes, shape: tuple[int, ...], item: int, deflated: bool, start: int, size: int) -> Bytes:
        """Read an array's bytes as they are stored, and return `size` of them from `start` on."""
        with _refusals():
            found = self.h5py.h5o.open(self.root, path)
            made = found.get_create_plist()
            if made.get_layout() == self.h5py.h5d.CHUNKED:
                self.check_chunks(name, found, shape, made.get_chunk(), item, deflated)
            numbers = np.empty(shape, f"V{item}")
            found.read(self.h5py.h5s.ALL, self.h5py.h5s.ALL, numbers, found.get_type())
        return numbers.reshape(-1).view(np.uint8)[start : start + size]

    def check_chunks(
        self, name: str, found: Any, shape: tuple[int, ...], chunk: tuple[int, ...], item: int, deflated: bool
    ) -> None:
        """Raise CheckpointError where a chunk was never written, or has another size than it says, unpacked."""
        wanted = prod(chunk) * item
        for place in product(*(range(0, side, step) for side, step in zip(shape, chunk, strict=True))):
            skipped, data = found.read_direct_chunk(place)
            held = len(zlib.decompressobj().decompress(data, wanted + 1)) if deflated else len(data)
            if held != wanted or skipped:
                raise CheckpointError(f"a chunk of {quote(name)} has {held} bytes", f"{wanted} are wanted")
