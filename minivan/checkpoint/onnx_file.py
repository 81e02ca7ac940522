"""ONNX files: the graph's nodes and its tensors, read from the bytes that protobuf writes.

No library reads them for minivan: the `onnx` package would hold a file's tensors in memory twice and parse all that strangers
put in it before anybody counts. Of a message, the fields below are read and all others stepped over; a tensor's numbers stay in
the file, or in the one beside it that it names, until they are asked for. Format: onnx/onnx.proto, and protobuf's "Encoding".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from io import BufferedIOBase
from math import prod
from pathlib import Path

from .. import input
from ..errors import quote
from .archive import read_into
from .budget import Budget
from .cursor import Cursor
from .error import CheckpointError
from .folder import is_file_name
from .tensor import ITEM_SIZES, MOST_DIMENSIONS, Bytes, StoredTensor, is_natural

VARINT, EIGHT, LENGTH, FOUR = 0, 1, 2, 5  # how a field is written
LONGEST_NAME = 4096  # bytes
MOST_INTEGERS = 64  # of one attribute
MOST_EXTERNAL = 100  # files of tensors beside the graph
FIELD, OBJECT = 2, 1200  # steps that a field takes besides its numbers, bytes that a node or a tensor does
DTYPES = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16", 7: "int64", 6: "int32"}  # TensorProto.DataType
WITHIN = {9: 0, 4: 4, 10: 8, 7: 8}  # raw_data, or the packed float_data, double_data, int64_data -> bytes of an element
DAMAGED = "a damaged ONNX file"

Attribute = int | float | str | tuple[int, ...] | StoredTensor | None


@dataclass
class Node:
    """One operator of the graph."""

    operator: str = ""
    domain: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: dict[str, Attribute] = field(default_factory=dict)


@dataclass
class Graph:
    """What an ONNX file computes: nodes in an order in which each follows what it reads."""

    nodes: list[Node] = field(default_factory=list)
    tensors: dict[str, StoredTensor] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)  # tensors with numbers may be among them
    outputs: list[str] = field(default_factory=list)


class Reader:
    """One ONNX file, and the files of tensors beside it, open until `stack` closes."""

    def __init__(self, file: BufferedIOBase, path: Path, stack: ExitStack, budget: Budget) -> None:
        self.file, self.folder, self.stack, self.budget = file, path.parent, stack, budget
        self.size = file.seek(0, 2)  # bytes of all files
        self.cursor = Cursor(file, 0, self.size)
        self.beside: dict[str, tuple[BufferedIOBase, int]] = {}  # name -> file and its bytes
        self.graph = Graph()
        found = False
        for number, kind, size in self.fields(self.size):
            if (number, kind) == (7, LENGTH):
                if found:
                    raise CheckpointError(DAMAGED, "it has two graphs")
                found = True
                self._graph(size)
        if not found:
            raise CheckpointError(DAMAGED, "it has no graph")

    def fields(self, size: int) -> Iterator[tuple[int, int, int]]:
        """Yield the fields of a message of `size` bytes: number, kind, and the value of a VARINT or the bytes of all others.

        What of these bytes nobody has taken before the next field is asked for is stepped over.
        """
        cursor = self.cursor
        end = cursor.position + size
        if end > cursor.end:
            raise CheckpointError(DAMAGED, f"a message ends {end - cursor.end} bytes after the file: cut short")
        while cursor.position < end:
            self.budget.step(FIELD)
            number, kind = divmod(self._varint(), 8)
            if kind == VARINT:
                yield number, kind, self._varint()
                continue
            if kind not in (EIGHT, LENGTH, FOUR):
                raise CheckpointError(DAMAGED, f"a field of the kind {kind}")
            length = self._varint() if kind == LENGTH else 8 if kind == EIGHT else 4
            after = cursor.position + length
            if after > end:
                raise CheckpointError(DAMAGED, f"a field ends {after - end} bytes after the message that it is in")
            yield number, kind, length
            cursor.skip(after - cursor.position)
        if cursor.position != end:
            raise CheckpointError(DAMAGED, "a field reaches beyond the message that it is in")

    def _varint(self) -> int:
        self.budget.step()
        value = 0
        for shift in range(0, 70, 7):
            byte = self.cursor.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & (1 << 64) - 1
        raise CheckpointError(DAMAGED, "an integer of more than ten bytes")

    def _text(self, size: int) -> str:
        if size > LONGEST_NAME:
            raise CheckpointError(DAMAGED, f"a name of {size} bytes; the limit is {LONGEST_NAME}")
        self.budget.hold(2 * size + 60)
        self.budget.step(size // 64)
        return self.cursor.take(size).decode("utf-8", "replace")

    def _graph(self, size: int) -> None:
        for number, kind, length in self.fields(size):
            if kind != LENGTH:
                continue
            if number == 1:
                self.graph.nodes.append(self._node(length))
            elif number == 5:
                name, tensor = self._tensor(length)
                if name in self.graph.tensors:
                    raise CheckpointError(DAMAGED, f"two tensors are called {quote(name)}")
                self.graph.tensors[name] = tensor
            elif number in (11, 12):
                (self.graph.inputs if number == 11 else self.graph.outputs).append(self._name(length))

    def _name(self, size: int) -> str:
        """Return the name in a ValueInfoProto."""
        name = ""
        for number, kind, length in self.fields(size):
            if (number, kind) == (1, LENGTH):
                name = self._text(length)
        return name

    def _node(self, size: int) -> Node:
        self.budget.hold(OBJECT)
        node = Node()
        for number, kind, length in self.fields(size):
            if kind != LENGTH:
                continue
            if number in (1, 2):
                (node.inputs if number == 1 else node.outputs).append(self._text(length))
            elif number == 4:
                node.operator = self._text(length)
            elif number == 7:
                node.domain = self._text(length)
            elif number == 5:
                name, value = self._attribute(length)
                node.attributes[name] = value
        return node

    def _attribute(self, size: int) -> tuple[str, Attribute]:
        self.budget.hold(OBJECT // 4)
        name, value = "", None
        integers: list[int] = []
        for number, kind, length in self.fields(size):
            if (number, kind) == (1, LENGTH):
                name = self._text(length)
            elif (number, kind) == (2, FOUR):
                (value,) = struct.unpack("<f", self.cursor.take(4))
            elif (number, kind) == (3, VARINT):
                value = signed(length)
            elif (number, kind) == (4, LENGTH) and length <= LONGEST_NAME:
                value = self._text(length)
            elif (number, kind) == (5, LENGTH):
                value = self._tensor(length)[1]
            elif number == 8:
                value = self._integers(integers, kind, length, MOST_INTEGERS)
        return name, value

    def _integers(self, found: list[int], kind: int, value: int, most: int) -> tuple[int, ...]:
        """Add one more integer, or in a newer file all of them at once, and return those that there are."""
        if kind == VARINT:
            found.append(signed(value))
        elif kind == LENGTH:
            end = self.cursor.position + value
            while self.cursor.position < end and len(found) <= most:
                found.append(signed(self._varint()))
        if len(found) > most:
            raise CheckpointError(DAMAGED, f"a list of more than {most} integers")
        return tuple(found)

    def _tensor(self, size: int) -> tuple[str, StoredTensor]:
        self.budget.hold(OBJECT)
        name, code, within, entries = "", 0, (0, 0, 0), dict[str, str]()
        shape: list[int] = []
        for number, kind, length in self.fields(size):
            if number == 1:
                self._integers(shape, kind, length, MOST_DIMENSIONS)
            elif (number, kind) == (2, VARINT):
                code = length
            elif (number, kind) == (8, LENGTH):
                name = self._text(length)
            elif number in WITHIN and kind == LENGTH:
                within = (number, self.cursor.position, length)
            elif (number, kind) == (13, LENGTH):
                key, value = self._entry(length)
                entries[key] = value
        if code not in DTYPES:
            return name, StoredTensor((0,), "uint8", _nothing, unreadable=f"ONNX's data type {code} holds no weights")
        if not all(map(is_natural, shape)):
            raise CheckpointError(DAMAGED, f"the shape of {quote(name)}")
        dtype, wanted = DTYPES[code], prod(shape) * ITEM_SIZES[DTYPES[code]]
        file, position, length = self._external(name, entries, wanted) if entries else (self.file, *within[1:])
        if length != wanted or (not entries and WITHIN.get(within[0], 0) not in (0, ITEM_SIZES[dtype])):
            raise CheckpointError(DAMAGED, f"{quote(name)} is {dtype} of shape {tuple(shape)} and has {length} bytes")

        def fetch(start: int, count: int) -> Bytes:
            return read_into(file, position + start, count)

        return name, StoredTensor(tuple(shape), dtype, fetch)

    def _entry(self, size: int) -> tuple[str, str]:
        key = value = ""
        for number, kind, length in self.fields(size):
            if (number, kind) == (1, LENGTH):
                key = self._text(length)
            elif (number, kind) == (2, LENGTH):
                value = self._text(length)
        return key, value

    def _external(self, name: str, entries: dict[str, str], wanted: int) -> tuple[BufferedIOBase, int, int]:
        """Return the file beside the graph that a tensor's numbers are in, where they begin, and how many bytes they have."""
        location = entries.get("location")
        if not is_file_name(location) or location is None:
            raise CheckpointError(f"{quote(name)} lies in {quote(location)}", "a file of tensors is one beside its graph")
        if location not in self.beside:
            path = self.folder / location
            if len(self.beside) == MOST_EXTERNAL:
                raise CheckpointError(f"tensors in more than {MOST_EXTERNAL} files")
            if input.fault(path):
                raise CheckpointError(f"the file of tensors {quote(location)} is missing", "it belongs beside the graph")
            opened = self.stack.enter_context(input.opened(path))
            self.beside[location] = opened, opened.seek(0, 2)
            self.size += self.beside[location][1]
        file, held = self.beside[location]
        try:
            offset, length = int(entries.get("offset", "0")[:20]), int(entries.get("length", str(wanted))[:20])
        except ValueError:
            raise CheckpointError(DAMAGED, f"the place of {quote(name)} in {quote(location)} is no number") from None
        if not (is_natural(offset) and is_natural(length) and offset + length <= held):
            raise CheckpointError(f"{quote(name)} ends {offset + length - held} bytes after {quote(location)}", "cut short")
        return file, offset, length


def signed(value: int) -> int:
    """Return a 64-bit integer as it was before protobuf wrote it."""
    return value - (1 << 64) if value >= 1 << 63 else value


def _nothing(start: int, size: int) -> Bytes:
    raise CheckpointError("a tensor without numbers")
