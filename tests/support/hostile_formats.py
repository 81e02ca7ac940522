"""More files that ask for more time or memory than they have bytes: ONNX graphs, HDF5 groups, pickles of NumPy arrays."""

from __future__ import annotations

import struct

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
    "nodes with many attributes": graph(field(1, field(5, field(1, b"a") + b"\x18\x01") * 100)),
    "lists of integers": graph(field(1, field(5, field(8, b"\x01" * 60)))),
    "names of outputs": graph(field(12, field(1, b"n" * 4000))),
    "tensors": numbered(lambda index: field(5, field(8, b"%d" % index))),
    "a chain of views": lambda size: numbered(node)(size)[:-1] + b"1",
    "integers without an end": graph(b"\x18" + b"\xff" * 9 + b"\x01"),
}


def hdf5(tree: bytes, rest: bytes = b"", header: bytes = b"") -> bytes:
    """A file whose root is a group with this tree at byte 184; `header` stands where its own would."""
    first = header or struct.pack("<BBHLL4x", 1, 0, 1, 1, 24) + struct.pack("<HHB3xQQ", 0x11, 16, 0, 184, 136)
    heap = b"HEAP\0\0\0\0" + struct.pack("<3Q", 16, 0, 168) + b"\0a\0" + bytes(13)
    start = b"\x89HDF\r\n\x1a\n" + bytes([0, 0, 0, 0, 0, 8, 8, 0]) + struct.pack("<HHL4Q", 4, 16, 0, 0, 2**64 - 1, 0, 2**64 - 1)
    return start + struct.pack("<2Q2L16x", 0, 96, 0, 0) + first + heap + tree + rest


def node_of(level: int, children: list[int]) -> bytes:
    pairs = b"".join(struct.pack("<2Q", 0, child) for child in children)
    return b"TREE" + struct.pack("<BBH2Q", 0, level, len(children), 0, 0) + pairs + bytes(8)


def symbols(header: int, count: int) -> bytes:
    return b"SNOD" + struct.pack("<BxH", 1, count) + struct.pack("<2QL20x", 1, header, 0) * count


def itself(size: int) -> bytes:
    """A group each of whose members is the group."""
    tables = -(-size // 40 // 60_000)
    tree = node_of(0, [184 + 32 + 16 * tables + at * (8 + 40 * 60_000) for at in range(tables)])
    return hdf5(tree, b"".join(symbols(96, min(60_000, size // 40)) for _ in range(tables)))


def one_table(size: int) -> bytes:
    """A tree whose children are all one table."""
    count = min(65_535, size // 16)
    return hdf5(node_of(0, [184 + 32 + 16 * count] * count), symbols(96, 1) + bytes(size - 16 * count))


def trees(size: int) -> bytes:
    """Trees in trees, each of whose children is the same tree one level below."""
    count = min(65_535, size // 16 // 8)
    length = 32 + 16 * count
    return hdf5(b"".join(node_of(7 - at, [184 + (at + 1) * length] * count) for at in range(8)), symbols(96, 1))


def messages(size: int) -> bytes:
    """A group of many members, which are all one object with many messages."""
    count = min(65_535, size // 16)
    header = struct.pack("<BBHLL4x", 1, 0, count, 1, 8 * count) + struct.pack("<HHB3x", 0x0C, 0, 0) * count
    place = 184 + 48 + 8 + 40 * (size // 80)
    members = min(65_535, size // 80)
    return hdf5(node_of(0, [184 + 48]), symbols(place, members) + bytes(place - 184 - 48 - 8 - 40 * members) + header)


HDF5 = {
    "a group that is each of its members": itself,
    "a table named again and again": one_table,
    "trees of one tree": trees,
    "an object with many messages, named again and again": messages,
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
