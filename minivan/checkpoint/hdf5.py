"""HDF5 files, as h5py writes them unless it is asked for more: groups in one another, and plain arrays of numbers.

No library reads them for minivan: the format's own follows links into other files and loads the filters that a file names. Here
what a file needs beyond groups and contiguous arrays is refused by name. Format: "HDF5 File Format Specification" version 3,
superblock 0, object headers and B-trees of version 1.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BufferedIOBase
from math import prod

from ..errors import quote
from .archive import read_into
from .budget import Budget
from .error import CheckpointError
from .tensor import ITEM_SIZES, MOST_DIMENSIONS, ByteOrder, Bytes, StoredTensor, is_natural

SIGNATURE = b"\x89HDF\r\n\x1a\n"
NOWHERE = (1 << 64) - 1  # the address of what is not there
DEEPEST = 16  # groups in one another, and levels of the tree of one
LONGEST_NAME = 1024  # bytes
LARGEST_BLOCK = 1 << 20  # bytes of an object's header, or of the heap with a group's names
MOST_BLOCKS = 64  # of one object's header
STEP, MEMORY = 4, 800  # steps and bytes that an entry of a group, or a message about an object, takes

# Bytes, bits of the exponent, bits of the mantissa -> PyTorch's name
FLOATS = {(8, 11, 52): "float64", (4, 8, 23): "float32", (2, 5, 10): "float16", (2, 8, 7): "bfloat16"}
SPACE, KIND, EXTERNAL, LAYOUT, FILTERS, MORE, MEMBERS = 0x01, 0x03, 0x07, 0x08, 0x0B, 0x10, 0x11  # messages about an object
NEWER = {0x02, 0x06}  # about the links of a group that has more than names
DAMAGED = "a damaged HDF5 file"
AGAIN = "write it with h5py as Keras does, without chunks, filters, links to other files or libver='latest'"


def contents(file: BufferedIOBase, budget: Budget) -> dict[str, StoredTensor]:
    """Return the arrays of numbers in an HDF5 file, by their paths ('norm1/norm1/gamma:0'); others are passed over.

    Raises CheckpointError for a damaged file, and for one that needs more than this reader knows.
    """
    return dict(_File(file, budget).arrays())


class _File:
    def __init__(self, file: BufferedIOBase, budget: Budget) -> None:
        self.file, self.budget = file, budget
        self.size = file.seek(0, 2)
        head = self.at(0, 96)
        version, sizes, base = head[8], head[13:15], int.from_bytes(head[24:32], "little")
        if head[:8] != SIGNATURE or version != 0 or sizes != b"\x08\x08" or base != 0:
            raise CheckpointError(f"an HDF5 file with a superblock of version {version}", AGAIN)
        self.root = int.from_bytes(head[64:72], "little")

    def at(self, position: int, size: int) -> bytes:
        if position + size > self.size:
            raise CheckpointError(DAMAGED, f"it ends {position + size - self.size} bytes early: cut short")
        self.budget.step(1 + size // 256)
        self.file.seek(position)
        return self.file.read(size)

    def block(self, position: int, mark: bytes, size: int) -> bytes:
        data = self.at(position, size)
        if data[: len(mark)] != mark:
            raise CheckpointError(DAMAGED, f"no {mark.decode()} at byte {position}")
        return data

    def arrays(self) -> Iterator[tuple[str, StoredTensor]]:
        """Yield every array with its path, however deep it lies."""
        waiting: list[tuple[tuple[str, ...], int]] = [((), self.root)]
        while waiting:
            path, address = waiting.pop()
            if len(path) > DEEPEST:
                raise CheckpointError(f"an HDF5 file with groups more than {DEEPEST} deep", "one may lie in itself")
            messages = self.messages(address)
            name = "/".join(path)
            if NEWER.intersection(messages):
                raise CheckpointError(f"an HDF5 file whose group {quote(name or '/')} is of a newer kind", AGAIN)
            if MEMBERS in messages:
                tree, heap = self.unpack("<2Q", messages[MEMBERS])
                names = self.names(heap)
                members = [((*path, self.name(names, start)), place) for start, place in self.members(tree)]
                waiting.extend(reversed(members))
            elif LAYOUT in messages and (tensor := self.array(name, messages)) is not None:
                self.budget.hold(MEMORY + 2 * len(name))
                yield name, tensor

    def messages(self, address: int) -> dict[int, bytes]:
        """Return what an object's header says, by the kind of message; of several attributes only one, as nobody reads them."""
        version, _, count, _, size = self.unpack("<BBHLL", self.at(address, 12))
        if version != 1:
            raise CheckpointError("an HDF5 file with object headers of a newer version", AGAIN)
        found: dict[int, bytes] = {}
        blocks = [(address + 16, size)]
        for block, (start, length) in enumerate(blocks):
            if length > LARGEST_BLOCK or block == MOST_BLOCKS:
                raise CheckpointError(DAMAGED, f"the object header at byte {address} is too large")
            data, position = self.at(start, length), 0
            while position + 8 <= length and count:
                kind, size, flags = struct.unpack_from("<HHB", data, position)
                body = data[position + 8 : position + 8 + size]
                position += 8 + size
                count -= 1
                self.budget.step(STEP)
                if len(body) < size:
                    raise CheckpointError(DAMAGED, f"a message of the object header at byte {address} is cut short")
                if kind == MORE:
                    next_start, next_length = self.unpack("<2Q", body)
                    blocks.append((next_start, next_length))
                elif flags & 2 and kind in (SPACE, KIND):
                    raise CheckpointError("an HDF5 file whose arrays share their types", AGAIN)
                else:
                    found.setdefault(kind, body)
        return found

    def unpack(self, form: str, data: bytes) -> tuple[int, ...]:
        if len(data) < struct.calcsize(form):
            raise CheckpointError(DAMAGED, "a message is too short")
        return struct.unpack_from(form, data)

    def names(self, address: int) -> bytes:
        """Return the heap with the names of a group's members."""
        _, size, _, start = struct.unpack_from("<4s4x3Q", self.block(address, b"HEAP", 32))[0:4]
        if size > LARGEST_BLOCK:
            raise CheckpointError(DAMAGED, f"names of {size} bytes")
        self.budget.hold(size)
        return self.at(start, size)

    def name(self, names: bytes, start: int) -> str:
        """Return the name that begins at a place in a group's heap."""
        end = names.find(b"\0", start, start + LONGEST_NAME)
        if end < 0:
            raise CheckpointError(DAMAGED, "a name without an end")
        self.budget.hold(2 * (end - start))
        return names[start:end].decode("utf-8", "replace")

    def members(self, tree: int) -> Iterator[tuple[int, int]]:
        """Yield where the name of each member of a group begins in the heap, and where the member's header is."""
        waiting = [(tree, DEEPEST)]
        while waiting:
            address, level = waiting.pop()
            _, kind, here, count = struct.unpack("<4sBBH", self.block(address, b"TREE", 8))
            if kind != 0 or here >= level:
                raise CheckpointError(DAMAGED, f"the tree at byte {address} is no group's")
            self.budget.step(count)
            self.budget.hold(MEMORY // 4 * count)
            data = self.at(address + 24, 16 * count + 8)
            children = [struct.unpack_from("<Q", data, 16 * index + 8)[0] for index in range(count)]
            if here:
                waiting.extend((child, here) for child in reversed(children))
                continue
            for child in children:
                _, entries = struct.unpack("<4s2xH", self.block(child, b"SNOD", 8))
                self.budget.step(STEP * entries)
                self.budget.hold(MEMORY * entries)
                table = self.at(child + 8, 40 * entries)
                for index in range(entries):
                    name, place, cache = struct.unpack_from("<2QL", table, 40 * index)
                    if cache != 2:  # a link by name, which leads to what is found by its own
                        yield name, place

    def array(self, name: str, messages: dict[int, bytes]) -> StoredTensor | None:
        """Return an array of floating-point numbers, None for one of something else."""
        item = self.kind(messages.get(KIND, b""))
        if item is None:
            return None
        dtype, byteorder = item
        if EXTERNAL in messages or FILTERS in messages:
            raise CheckpointError(f"{quote(name)} is packed, or in another file", AGAIN)
        shape = self.shape(name, messages.get(SPACE, b""))
        layout = messages[LAYOUT]
        version, arrangement = self.unpack("<2B", layout)
        if version not in (3, 4) or arrangement != 1:
            raise CheckpointError(f"{quote(name)} is an array in chunks, or inside its header", AGAIN)
        start, size = self.unpack("<2x2Q", layout)
        if size != prod(shape) * ITEM_SIZES[dtype] or start == NOWHERE or start + size > self.size:
            raise CheckpointError(f"{quote(name)} is {dtype} of shape {shape} and has {size} bytes at {start}", "cut short")

        def fetch(first: int, count: int) -> Bytes:
            return read_into(self.file, start + first, count)

        return StoredTensor(shape, dtype, fetch, byteorder=byteorder)

    def kind(self, message: bytes) -> tuple[str, ByteOrder] | None:
        bits, size = self.unpack("<2L", message)
        if bits & 0xF != 1 or bits >> 8 & 0x40:  # floating-point, in one of the usual byte orders
            return None
        _, _, _, exponent, _, mantissa = self.unpack("<8x2H4B", message)
        dtype = FLOATS.get((size, exponent, mantissa))
        return (dtype, ">" if bits >> 8 & 1 else "<") if dtype else None

    def shape(self, name: str, message: bytes) -> tuple[int, ...]:
        version, rank = self.unpack("<2B", message)
        if version not in (1, 2) or rank > MOST_DIMENSIONS:
            raise CheckpointError(f"{quote(name)} is an array of {rank} dimensions", f"at most {MOST_DIMENSIONS}")
        shape = self.unpack(f"<{8 if version == 1 else 4}x{rank}Q", message)
        if not all(map(is_natural, shape)):
            raise CheckpointError(DAMAGED, f"the shape of {quote(name)}")
        return shape
