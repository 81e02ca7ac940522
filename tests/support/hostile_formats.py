"""More files that ask for more time or memory than they have bytes: ONNX graphs, HDF5 groups, pickles of NumPy arrays."""

from __future__ import annotations

import io
import struct

import h5py

from support.hostile import around, filled, number, text


def varint(value: int) -> bytes:
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def graph(unit: bytes):
    """A graph of one field again and again."""
    return lambda size: b"\x08\x08\x12\x01x" + field(7, filled(unit, size))


def numbered(make):
    def build(size: int) -> bytes:
        parts, length, index = [], 0, 0
        while length < size:
            parts.append(make(index))
            length, index = length + len(parts[-1]), index + 1
        return b"\x08\x08\x12\x01x" + field(7, b"".join(parts))

    return build


def node(index: int) -> bytes:
    name, before = b"%d" % (index + 1), b"%d" % index
    return field(1, field(1, before) + field(2, name) + field(4, b"Identity"))


ONNX = {
    "empty fields": graph(b"\x18\x01"),
    "empty nodes": graph(field(1, b"")),
    "nodes with many inputs": graph(field(1, field(1, b"a") * 1000)),
    "nodes with many attributes": graph(field(1, field(5, field(1, b"a") + b"\x18\x01\xa0\x01\x02") * 100)),
    "lists of integers": graph(field(1, field(5, field(8, b"\x01" * 60) + b"\xa0\x01\x07"))),
    "names of outputs": graph(field(12, field(1, b"n" * 4000))),
    "tensors": numbered(lambda index: field(5, field(8, b"%d" % index))),
    "a chain of views": lambda size: numbered(node)(size)[:-1] + b"1",
    "integers without an end": graph(b"\x18" + b"\xff" * 9 + b"\x01"),
}


NODE, LEAF, NOWHERE = 16, 4, 2**64 - 1  # HDF5's usual size of a node of a group's tree, and of a table of its members


def hdf5(tree: bytes, header: bytes = b"") -> bytes:
    """A file whose root is a group with this tree at byte 184, and with one name, "a"; an object's header may follow."""
    first = struct.pack("<BBHLL4x", 1, 0, 1, 1, 24) + struct.pack("<HHB3xQQ", 0x11, 16, 0, 184, 136)
    heap = b"HEAP\0\0\0\0" + struct.pack("<3Q", 16, 1, 168) + b"\0a\0" + bytes(13)
    places = struct.pack("<4Q", 0, NOWHERE, 184 + len(tree) + len(header), NOWHERE)
    start = b"\x89HDF\r\n\x1a\n" + bytes([0, 0, 0, 0, 0, 8, 8, 0]) + struct.pack("<HHL", LEAF, NODE, 0) + places
    return start + struct.pack("<2Q2L16x", 0, 96, 0, 0) + first + heap + tree + header


def trees(levels: int, header: int) -> bytes:
    """A tree each of whose nodes has one child many times; the last is a table that has one object many times."""
    length = 24 + 8 + 32 * NODE
    nodes = b""
    for level in reversed(range(levels)):
        child = 184 + (levels - level) * length
        pairs = struct.pack("<2Q", 0, child) * 2 * NODE + struct.pack("<Q", 1)
        nodes += b"TREE" + struct.pack("<BBH2Q", 0, level, 2 * NODE, NOWHERE, NOWHERE) + pairs
    return nodes + b"SNOD" + struct.pack("<BxH", 1, 2 * LEAF) + struct.pack("<2QL20x", 1, header, 0) * 2 * LEAF


def messages(size: int) -> bytes:
    """A group of many members, which are all one object with many messages."""
    count = min(65_535, size // 8)
    header = struct.pack("<BBHLL4x", 1, 0, count, 1, 8 * count) + struct.pack("<HHB3x", 0, 0, 0) * count
    return hdf5(trees(3, 184 + len(trees(3, 0))), header)


def by_h5py(add, unit: int):
    """A file in which h5py adds something again and again: about `unit` bytes each time."""

    def build(size: int) -> bytes:
        buffer = io.BytesIO()
        with h5py.File(buffer, "w", libver="latest") as file:
            for index in range(max(size // unit, 1)):
                add(file, index)
        return buffer.getvalue()

    return build


HDF5 = {
    "members without an end, all of them the group": lambda size: hdf5(trees(8, 96)),
    "an object with many messages, named again and again": messages,
    "groups": by_h5py(lambda file, index: file.create_group(str(index)), 200),
    "groups in one another": by_h5py(lambda file, index: file.create_group("a/" * index + "b"), 2000),
    "long names": by_h5py(lambda file, index: file.create_group(f"{index}{'n' * 20_000}"), 20_200),
    "empty arrays": by_h5py(lambda file, index: file.create_dataset(str(index), (0,), "f4"), 400),
    "arrays of many chunks": by_h5py(
        lambda file, index: file.create_dataset(str(index), (99, 99, 9), "f4", chunks=(1, 1, 1)), 900
    ),
    "a group under many names": by_h5py(lambda file, index: file.__setitem__(f"{index}", file["/"]), 40),
}

DTYPE = b"cnumpy\ndtype\n(X\x02\x00\x00\x00f4\x89\x88tR"
EMPTY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"


def arrays(data: bytes, one: bytes):
    """Arrays that are all made of the same bytes, which come first."""

    def build(size: int) -> bytes:
        start = DTYPE + b"q\x010" + data.replace(b"LENGTH", struct.pack("<L", size // 8 * 4)) + b"a" * (size // 8 * 4)
        start += one[:0] + b"q\x020" + number(size // 8) + b"\x85q\x030"
        return around(start + filled(one + b"0", size // 2) + b"N")

    return build


def encoded(size: int) -> bytes:
    """A text that is encoded again and again."""
    body = b"c_codecs\nencode\nq\x01" + text("a" * (size // 2)) + b"q\x02" + text("latin1") + b"\x86q\x030"
    return around(body + filled(b"h\x01h\x03R0", size // 2))


NUMPY = {
    "arrays of the same bytes": arrays(b"BLENGTH", EMPTY + b"(K\x01h\x03h\x01\x89h\x02tb"),
    "arrays of the same buffer": arrays(b"BLENGTH", b"cnumpy.core.numeric\n_frombuffer\n(h\x02h\x01h\x03X\x01\x00\x00\x00CtR"),
    "a text encoded again and again": encoded,
    "a dtype with many states": lambda size: around(DTYPE + filled(b"(K\x03X\x01\x00\x00\x00<tb", size)),
    "long bytes": lambda size: around(filled(b"B\x01\x01\x00\x00" + b"a" * 257 + b"0", size) + b"N"),
}

KINDS = {"onnx": ONNX, "hdf5": HDF5, "numpy": NUMPY}
