"""Damaged checkpoints by the ten thousand: each is read or refused, and nothing else ever happens.

A case is a sound file with a few bytes changed, cut out, doubled, cut off, or taken from another place; pickles are also
spliced with opcodes, and wrapped again with a right checksum so that the damage gets past the zip layer. The draws are
seeded. A case fails by any exception but CheckpointError (a MemoryError above LIMIT among them), by a message of more than
one line, by an import, a process, a connection or a file opened for writing. The limit needs Linux's /proc.
"""

import json
import pickletools
import random
import resource
import struct
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import safetensors
from support import ROOT, saved
from support.watch import watching

from minivan.checkpoint import CheckpointError, read, write
from minivan.variants import parameter_shapes

CASES = 100  # of each kind in the quick suite: 500 together
MORE = 2_000  # of each kind behind the marker `slow`: 10,000
MOST = 16_200  # of each kind behind the marker `long`: 81,000
LIMIT = 64 << 20  # bytes by which the process may grow: the system refuses it more, and a MemoryError fails the case

# The smallest network with an optimizer, as PyTorch saved it: committed, because PyTorch numbers storages anew each time.
CHECKPOINTS = ROOT / "tests" / "checkpoints"
SOUND = {"zip": CHECKPOINTS / "smallest.pth", "legacy": CHECKPOINTS / "smallest_legacy.pth"}

NUMBERS = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 1 << 31, (1 << 32) - 1, 1 << 62, (1 << 63) - 1, (1 << 64) - 1]
OPCODES = [
    b"cos\nsystem\n", b"cbuiltins\neval\n", b"cbuiltins\ngetattr\n", b"ccollections\nOrderedDict\n",
    b"cargparse\nNamespace\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch._utils\n_rebuild_parameter\n",
    b"ctorch\nSize\n", b"ctorch\nFloatStorage\n", b"\x8c\x02os\x8c\x06system\x93", b"\x8c\x04true\x85R", b"ios\nsystem\n",
    b"o", b"R", b"\x81", b"\x92", b"b", b"Q", b"Pid\n", b"(", b")", b"]", b"}", b"t", b"l", b"d", b"a", b"e", b"s", b"u",
    b"\x85", b"\x86", b"\x87", b"\x8f", b"\x90", b"\x91", b"0", b"1", b"2", b"2\x86" * 60, b"(" * 300, b"]" * 300,
    b"N", b"\x88", b"\x89", b"K\xff", b"M\xff\xff", b"J\xff\xff\xff\xff", b"\x8a\x09" + b"\xff" * 9, b"G" + b"\xff" * 8,
    b"\x8b\xff\xff\xff\x7f", b"X\xff\xff\xff\x7f", b"\x8d" + b"\xff" * 8, b"C\x01a", b"q\x00", b"q\xff", b"\x94",
    b"r\xff\xff\xff\xff", b"h\x00", b"h\x01", b"j\x10\x00\x00\x00", b"\x80\x05", b"\x95" + bytes(8), b"\x82\x01",
    b"\x97", b"\x98", b".", b"I1\n", b"L1L\n", b"S'a'\n", b"F1\n", b"g0\n",
]  # fmt: skip


def damaged(draw: random.Random, data: bytes, other: bytes) -> bytes:
    """A few of: bytes changed, a number overwritten, a piece cut out, doubled, moved or taken from `other`; the end cut off."""
    data = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
        kind = draw.randrange(7)
        at = draw.randrange(len(data) + 1)
        size = draw.choice((1, 2, 4, 8, 30, 500))
        if kind <= 1 and at < len(data):
            data[at] = draw.choice((0, 0xFF, data[at] ^ 1 << draw.randrange(8), draw.randrange(256)))
        elif kind == 2:
            number = draw.choice(NUMBERS).to_bytes(8, "little")[: draw.choice((1, 2, 4, 8))]
            data[at : at + len(number)] = number
        elif kind == 3:
            del data[at : at + size]
        elif kind == 4:
            data[at:at] = data[at : at + size]
        elif kind == 5:
            start = draw.randrange(len(other))
            data[at : at + size] = other[start : start + size]
        elif draw.random() < 0.3:
            del data[at:]
    return bytes(data)


def spliced(draw: random.Random, pickled: bytes, boundaries: list[int]) -> bytes:
    """The pickle with opcodes put between its own or in the place of some, or damaged like any other bytes."""
    if draw.random() < 0.3:
        return damaged(draw, pickled, pickled)
    for _ in range(draw.choice((1, 1, 2, 4))):
        at = draw.choice(boundaries)
        end = min(draw.choice(boundaries), at + 40) if draw.random() < 0.5 else at
        pickled = pickled[:at] + draw.choice(OPCODES) * draw.choice((1, 1, 1, 2, 50)) + pickled[max(at, end) :]
    return pickled


class Zip:
    """A zip checkpoint whose data.pkl is replaced again and again; the other records stay."""

    def __init__(self, path):
        contents = saved.records(path)
        self.name = next(name for name in contents if name.endswith("data.pkl"))
        self.pickled = contents.pop(self.name)
        self.rest = saved.zip_of(contents)
        self.end = self.rest.rindex(b"PK\5\6")
        self.count, _, self.length, self.start = struct.unpack_from("<2H2L", self.rest, self.end + 8)

    def around(self, pickled: bytes) -> bytes:
        """The records, then this data.pkl with a right checksum, then the directory."""
        name, crc = self.name.encode(), zlib.crc32(pickled)
        fields = struct.pack("<5H3L2H", 20, 0, 0, 0, 0, crc, len(pickled), len(pickled), len(name), 0)
        local = b"PK\3\4" + fields + name + pickled
        central = b"PK\1\2" + struct.pack("<H", 20) + fields + struct.pack("<3H2L", 0, 0, 0, 0, self.start) + name
        start, length = self.start + len(local), self.length + len(central)
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, self.count + 1, self.count + 1, length, start, 0)
        return self.rest[: self.start] + local + self.rest[self.start : self.end] + central + end


def cases(kind: str, draw: random.Random, folder):
    """Yield damaged files of one kind without end."""
    path = folder / "sound"
    whole, other = SOUND["zip"].read_bytes(), SOUND["legacy"].read_bytes()
    if kind.startswith("legacy"):
        whole, other = other, whole
    path.write_bytes(whole)
    if kind == "safetensors":
        yield from safetensors_cases(draw, path)
    if kind == "zip":
        while True:
            yield damaged(draw, whole, other)
    if kind == "zip, data.pkl":
        archive = Zip(path)
        boundaries = [position for _, _, position in pickletools.genops(archive.pickled)]
        path.write_bytes(archive.around(archive.pickled))  # sound again, so it is the damage that is refused
        while True:
            yield archive.around(spliced(draw, archive.pickled, boundaries))
    parts, rest = [], whole
    for _ in range(5):  # the five pickles of a legacy file
        size = 1 + max(position for _, _, position in pickletools.genops(rest))
        parts.append(rest[:size])
        rest = rest[size:]
    boundaries = [[position for _, _, position in pickletools.genops(part)] for part in parts]
    while True:
        if kind == "legacy":
            yield damaged(draw, whole, other)
        else:
            chosen = draw.choice((3, 3, 3, 3, 4, 0, 1, 2))
            yield b"".join(spliced(draw, part, boundaries[i]) if i == chosen else part for i, part in enumerate(parts)) + rest


def safetensors_cases(draw, path):
    write(read(path), path)
    whole = path.read_bytes()
    length = struct.unpack("<Q", whole[:8])[0]
    header, tensors = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    texts = ["", "null", "{}", "[]", "-1", "1e999", "9" * 50, '"x"', "[" * 2000, '{"dims": [1]}', "\x00", "\ud800"]
    while True:
        if draw.random() < 0.5:
            text = damaged(draw, whole[8 : 8 + length], whole)
        else:
            changed = json.loads(json.dumps(header))
            for _ in range(draw.choice((1, 1, 2))):
                entry = changed[draw.choice(list(changed))]
                if entry and draw.random() < 0.9:
                    key = draw.choice(list(entry))
                    entry[key] = draw.choice([*texts, *NUMBERS, None, [0, 4], [1 << 62] * 2, [-1], "F16", "F64", "I8", {}])
                else:
                    entry.clear()
            text = json.dumps(changed).encode()
        yield struct.pack("<Q", len(text)) + text + (tensors if draw.random() < 0.9 else damaged(draw, tensors, whole))


@contextmanager
def at_most(size):
    """Let the process's address space grow by no more than `size` bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_the_limit_holds():
    with at_most(LIMIT), pytest.raises(MemoryError):
        bytearray(64 * LIMIT)  # far more than what earlier tests freed and the process may use again


def outcome(path, case):
    """Read one damaged file and check all that must hold whatever comes of it; return 'read' or 'refused'.

    A safetensors file that is read is one that the format's own library opens too.
    """
    with watching() as seen:
        try:
            weights = read(path)
        except CheckpointError as error:
            weights, message = None, str(error)
    assert not seen, (case, seen)
    if weights is None:
        assert "\n" not in message and len(message) < 2000, (case, message)
        return "refused"
    expected = dict(parameter_shapes(weights.config))
    assert {name: tensor.shape for name, tensor in weights.tensors.items()} == expected, case
    assert all(tensor.dtype == np.float32 for tensor in weights.tensors.values()), case
    if case[0] == "safetensors":
        with safetensors.safe_open(path, "numpy"):
            pass
    return "read"


def run(kind, count, seed, folder, capsys):
    """Read `count` damaged files, print what came of them, and return how many were read after all and how many refused."""
    files, path, outcomes = cases(kind, random.Random(seed), folder), folder / "case", {"read": 0, "refused": 0}
    path.write_bytes(next(files))
    read(folder / "sound")  # what minivan itself imports is imported now
    with at_most(LIMIT):
        for number in range(count):
            path.write_bytes(next(files))
            outcomes[outcome(path, (kind, seed, number))] += 1
    with capsys.disabled():
        print(f"\nfuzz, {kind}: {count:,} cases, {outcomes['refused']:,} refused, {outcomes['read']:,} read, nothing else")
    return outcomes


KINDS = pytest.mark.parametrize("kind", ["zip", "zip, data.pkl", "legacy", "legacy, pickles", "safetensors"])


@KINDS
def test_damaged_files_are_read_or_refused(kind, tmp_path, capsys):
    outcomes = run(kind, CASES, 20220220, tmp_path, capsys)
    assert outcomes["refused"] > CASES / 3 and outcomes["read"] > 0, "the damage is neither nothing nor everything"


@pytest.mark.once
@KINDS
def test_many_more_damaged_files(kind, tmp_path, capsys):
    run(kind, MORE, 7, tmp_path, capsys)


@pytest.mark.long
@KINDS
def test_most_damaged_files(kind, tmp_path, capsys):
    run(kind, MOST, 8, tmp_path, capsys)
