"""The zip files that torch.save writes: every record stored as it is, under one folder.

Only that kind is read. A general zip reader accepts much that has no place in a checkpoint and that two programs may
read differently: compressed or encrypted records, the same name twice, bytes before the first record, after the end or
in between. Layout of the structures: PKWARE's APPNOTE.TXT, sections 4.3.7, 4.3.12 and 4.3.14 to 4.3.16.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from io import BufferedIOBase

import numpy as np

from ..errors import quote
from .budget import Budget
from .diagnoses import CUT_OFF
from .error import CheckpointError
from .tensor import Bytes

LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s6H3L5H2L")
END = struct.Struct("<4s4H2LH")
LOCATOR_64 = struct.Struct("<4sLQL")
END_64 = struct.Struct("<4sQ2H2L4Q")
LARGEST_DIRECTORY = 32 << 20  # bytes; a B6 with optimizer and averaged weights takes about 1 MB
ENCRYPTED = 0x1 | 0x40 | 0x2000
IN_EXTRA = 0xFFFFFFFF  # a size or an offset that stands in the zip64 extra field instead
CHUNK = 1 << 20
ENTRY, ENTRY_MEMORY = 8, 600  # steps and bytes that one entry of the directory takes


@dataclass(frozen=True)
class Entry:
    """One record as the zip file's directory describes it."""

    name: str
    header: int  # where its local header begins
    packed: int  # bytes in the file
    size: int  # bytes of content, the same where it is stored as it is
    crc: int
    flags: int
    method: int


class Archive:
    """The records of a zip file. Raises CheckpointError for a zip file that torch.save would not have written."""

    def __init__(self, file: BufferedIOBase, size: int, budget: Budget) -> None:
        self.file, self.size = file, size
        self.directory, length, count = self._end()
        self.entries = {entry.name: entry for entry in self._directory(length, count, budget)}
        self._starts: dict[str, int] = {}

    def _at(self, position: int, size: int) -> bytes:
        if position < 0 or position + size > self.size:
            raise CheckpointError("a zip file without its end", CUT_OFF)
        self.file.seek(position)
        return self.file.read(size)

    def _end(self) -> tuple[int, int, int]:
        """Return where the central directory begins, its length and its number of entries."""
        position = self.size - END.size
        signature, disk, disk_2, count_here, count, length, start, comment = END.unpack(self._at(position, END.size))
        if signature != b"PK\5\6" or comment:
            raise CheckpointError("a zip file without its end", f"something follows it, or {CUT_OFF}")
        if disk or disk_2 or count_here != count:
            raise CheckpointError("a zip file in several volumes")
        if position >= LOCATOR_64.size:
            signature, disk, end_64, disks = LOCATOR_64.unpack(self._at(position - LOCATOR_64.size, LOCATOR_64.size))
            if signature == b"PK\6\7":
                position -= LOCATOR_64.size + END_64.size
                if end_64 != position or disk or disks > 1:
                    raise CheckpointError("a zip file whose zip64 end is not where it says")
                fields = END_64.unpack(self._at(end_64, END_64.size))
                signature, size, _, _, disk, disk_2, count_here, count, length, start = fields
                if signature != b"PK\6\6" or size != END_64.size - 12 or disk or disk_2 or count_here != count:
                    raise CheckpointError("a zip file with a damaged zip64 end")
        if start + length != position:
            raise CheckpointError("a zip file with bytes before its first record or after its last", "torch.save writes none")
        if length > LARGEST_DIRECTORY:
            raise CheckpointError(f"a zip directory of {length} bytes", f"the limit is {LARGEST_DIRECTORY}")
        return start, length, count

    def _directory(self, length: int, count: int, budget: Budget) -> list[Entry]:
        data = self._at(self.directory, length)
        entries: list[Entry] = []
        seen: set[str] = set()
        position = 0
        while position < length:
            if position + CENTRAL.size > length:
                raise CheckpointError("a zip directory that ends in the middle of an entry")
            fields = CENTRAL.unpack_from(data, position)
            signature, _, _, flags, method, _, _, crc, packed, size, n_name, n_extra, n_comment, disk, _, _, header = fields
            position += CENTRAL.size
            budget.step(ENTRY + n_extra // 4)
            budget.hold(ENTRY_MEMORY + 4 * n_name)
            if signature != b"PK\1\2" or position + n_name + n_extra + n_comment > length:
                raise CheckpointError("a damaged zip directory")
            name = _decode(data[position : position + n_name])
            extra = data[position + n_name : position + n_name + n_extra]
            position += n_name + n_extra + n_comment
            size, packed, header = _from_extra(name, extra, size, packed, header)
            if disk:
                raise CheckpointError("a zip file in several volumes")
            if name.lower() in seen:
                raise CheckpointError(f"zip record {quote(name)}", "there are two of that name, apart from case")
            seen.add(name.lower())
            entries.append(Entry(name, header, packed, size, crc, flags, method))
        if len(entries) != count:
            raise CheckpointError(f"a zip directory of {len(entries)} entries that claims {count}")
        self._check_order(entries)
        return entries

    def _check_order(self, entries: list[Entry]) -> None:
        """Records may not overlap, nor lie outside; the first begins the file."""
        end = 0
        for index, entry in enumerate(sorted(entries, key=lambda entry: entry.header)):
            if entry.header < end or (index == 0 and entry.header != 0):
                raise CheckpointError(f"zip record {quote(entry.name)}", "it does not follow the one before it")
            end = entry.header + LOCAL.size + len(entry.name) + entry.packed
        if end > self.directory:
            raise CheckpointError("a zip file whose records reach beyond its directory")

    def check_stored(self) -> None:
        """Every record is stored as it is: neither compressed nor encrypted."""
        for entry in self.entries.values():
            _check_flags(entry.name, entry.flags, entry.method)
            if entry.size != entry.packed:
                raise CheckpointError(f"zip record {quote(entry.name)}", f"{entry.packed} bytes for {entry.size}")

    def start(self, name: str) -> int:
        """Return the position of a record's first byte, once its local header and its checksum agree with the directory."""
        if name not in self._starts:
            entry = self.entries.get(name)
            if entry is None:
                raise CheckpointError(f"zip record {quote(name)} is missing")
            fields = LOCAL.unpack(self._at(entry.header, LOCAL.size))
            signature, _, flags, method, _, _, crc, packed, size, n_name, n_extra = fields
            local = self._at(entry.header + LOCAL.size, n_name)
            start = entry.header + LOCAL.size + n_name + n_extra
            if signature != b"PK\3\4" or _decode(local) != name or start + entry.size > self.directory:
                raise CheckpointError(f"zip record {quote(name)}", "its header contradicts the directory")
            _check_flags(name, flags, method)
            if crc not in (0, entry.crc) or any(n not in (0, IN_EXTRA, entry.size) for n in (packed, size)):
                raise CheckpointError(f"zip record {quote(name)}", "its header contradicts the directory")
            self._check_sum(entry, start)
            self._starts[name] = start
        return self._starts[name]

    def _check_sum(self, entry: Entry, start: int) -> None:
        if entry.crc == 0:  # torch.serialization.set_crc32_options(False) writes none
            return
        crc, left = 0, entry.size
        self.file.seek(start)
        while left:
            chunk = self.file.read(min(left, CHUNK))
            if not chunk:
                raise CheckpointError("the file became shorter while it was read")
            crc, left = zlib.crc32(chunk, crc), left - len(chunk)
        if crc != entry.crc:
            raise CheckpointError(f"zip record {quote(entry.name)}", "its checksum is wrong: the file is damaged")

    def read(self, name: str, start: int = 0, size: int | None = None) -> Bytes:
        """Return `size` bytes of a record from `start` on (to its end), uint8 and writable."""
        position, whole = self.start(name), self.entries[name].size
        size = whole - start if size is None else size
        if start < 0 or size < 0 or start + size > whole:
            raise CheckpointError(f"zip record {quote(name)}", f"bytes {start} to {start + size} of {whole} are wanted")
        return read_into(self.file, position + start, size)


def read_into(file: BufferedIOBase, position: int, size: int) -> Bytes:
    """Return `size` bytes of `file` from `position` on, uint8 and writable, without a second copy of them."""
    data = np.empty(size, np.uint8)
    file.seek(position)
    if file.readinto(data.data) != size:
        raise CheckpointError("the file became shorter while it was read")
    return data


def _decode(name: bytes) -> str:
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        raise CheckpointError(f"a zip record whose name is not UTF-8: {quote(name.decode('latin-1'))}") from None


def _check_flags(name: str, flags: int, method: int) -> None:
    if flags & ENCRYPTED:
        raise CheckpointError(f"zip record {quote(name)} is encrypted", "torch.save encrypts none")
    if method:
        raise CheckpointError(f"zip record {quote(name)} is compressed", "torch.save compresses none")


def _from_extra(name: str, extra: bytes, size: int, packed: int, header: int) -> list[int]:
    """Sizes and offsets beyond 32 bits stand in the extra field with tag 1, each only if its own field is all ones."""
    fields = [size, packed, header]
    wanted = [i for i, value in enumerate(fields) if value == IN_EXTRA]
    position = 0
    while wanted and position + 4 <= len(extra):
        tag, length = struct.unpack_from("<2H", extra, position)
        position += 4
        if tag == 1 and length >= 8 * len(wanted) and position + length <= len(extra):
            for slot, value in zip(wanted, struct.unpack_from(f"<{len(wanted)}Q", extra, position), strict=True):
                fields[slot] = value
            return fields
        position += length
    if wanted:
        raise CheckpointError(f"zip record {quote(name)}", "its size or place is not given")
    return fields
