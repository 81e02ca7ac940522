"""Archives that are read like folders, .zip (PKWARE's APPNOTE) and .tar (POSIX ustar and pax, GNU's long names).

Nothing is unpacked but the one file that is asked for, and that into memory. What an archive lists is bounded by its count.
"""

from __future__ import annotations

import io
import os
import posixpath
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import IO

from .. import input

ENDINGS = (".zip", ".tar")
MOST_FILES = 100_000  # in one archive
LARGEST_DIRECTORY = 16 << 20  # bytes of a zip's list of files
LARGEST_HEADER = 1 << 20  # bytes of what a tar says of a file besides its header
LONGEST_NAME = 1 << 16  # characters of a file's name in a tar: as many as a zip's can have
STORED, DEFLATED = 0, 8
ENCRYPTED, UTF8 = 1, 1 << 11  # flags
LINK = -2  # instead of a method: a file that is a link or has holes
LEAST = 4096  # bytes that are read at once
BLOCK = 512  # bytes that a tar is made of
REGULAR, HARD, FOLDER = (b"0", b"\0", b"7"), b"1", b"5"  # kinds of a tar's files
LONG = {b"L": "path", b"K": "linkpath"}  # GNU's kinds of long names -> of what
BODILESS = (HARD, b"2", b"3", b"4", FOLDER, b"6")  # links, devices and pipes: nothing lies behind their headers
ENDS_EARLY = "it ends early, without tar's mark of its end: files may be missing"
SPARSE = b"S"  # of GNU: a file of which only the parts that are no holes lie there


class ArchiveError(ValueError):
    """An archive, or a file in it, that cannot be read; the message is a phrase that says why."""


class Cut(ArchiveError):
    """A tar that ends early: what came before is whole."""


@dataclass(frozen=True)
class Member:
    """A file in an archive: where it lies, and how."""

    archive: str  # the path
    name: str  # within it
    start: int  # of a zip's local header, or of a tar's contents
    packed: int  # bytes there
    size: int  # bytes when it is unpacked
    method: int = STORED
    check: int | None = None  # a CRC-32; None in a tar, which has none

    def read(self, limit: int) -> bytes:
        """Return its bytes. Raises ArchiveError where that cannot be, or are more than `limit`, OSError as files do."""
        if self.size > limit:
            raise ArchiveError(f"{input.amount(self.size)} is more than the limit of {input.amount(limit)}")
        made = self.first(self.size + 1)
        if len(made) != self.size or (self.check is not None and zlib.crc32(made) != self.check):
            raise ArchiveError("damaged: it is not what the archive says, or ends early")
        return made

    def first(self, count: int) -> bytes:
        """Return its first bytes, so many or all. Raises as `read` does."""
        if self.method not in (STORED, DEFLATED):
            said = {-1: "encrypted", LINK: "no file of its own"}.get(self.method, f"packed by method {self.method}")
            raise ArchiveError(f"{said}, which minivan does not read")
        with input.opened(self.archive) as file, input.named(self.archive):
            start = self.start
            if self.check is not None:
                file.seek(start)
                head = file.read(30)
                if head[:4] != b"PK\3\4" or len(head) < 30:
                    raise ArchiveError("damaged: it does not lie where the archive says")
                start += 30 + sum(struct.unpack("<HH", head[26:30]))
            file.seek(start)
            return _unpacked(file, self.packed, count) if self.method == DEFLATED else file.read(min(self.packed, count))


def _unpacked(file: IO[bytes], packed: int, count: int) -> bytes:
    """Return the first bytes, at most `count`, of so many packed ones."""
    work, made = zlib.decompressobj(-zlib.MAX_WBITS), io.BytesIO()
    left, most = packed, max(LEAST, min(count, input.CHUNK))
    try:
        while not work.eof and left > 0 and made.tell() < count and (part := file.read(min(left, most))):
            left -= len(part)
            while part and made.tell() < count:
                made.write(work.decompress(part, min(count - made.tell(), input.CHUNK)))
                part = work.unconsumed_tail
    except zlib.error:
        raise ArchiveError("damaged: it cannot be unpacked") from None
    return made.getvalue()


class Members(list[Member]):
    """The files in an archive."""

    fault = ""  # why there may be others that are not listed


def members(path: str) -> Members:
    """Return the files in an archive, sorted by name, each name once: the last one of a name, as it was added last.

    Those whose method is LINK are links, or files with holes, which are not read. Of a tar that ends early, in a file or before
    its mark of the end, which is zeros, there are those that are whole, and `fault` says so.

    Raises ArchiveError for one that is damaged or lists too many files, OSError where it cannot be opened.
    """
    with input.opened(path) as file, input.named(path):
        listed = _zip(file, path) if path.lower().endswith(".zip") else _tar(file, path)
        found: dict[str, Member] = {}
        fault = ""
        try:
            for count, member in enumerate(listed, start=1):
                if count > MOST_FILES:
                    raise ArchiveError(f"an archive of more than {MOST_FILES:,} files, the limit: unpack it into a folder")
                if not member.name.endswith("/"):
                    found[member.name] = member
        except Cut as error:
            fault = str(error)
    made = Members(sorted(found.values(), key=lambda member: member.name))
    made.fault = fault
    return made


def _zip(file: IO[bytes], path: str) -> Iterator[Member]:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 65_557))
    tail = file.read(65_557)
    end = tail.rfind(b"PK\5\6")
    if end < 0 or end + 22 > len(tail):
        raise ArchiveError("no zip file, or one that ends early")
    length, start = struct.unpack("<II", tail[end + 12 : end + 20])
    if 0xFFFFFFFF in (length, start) and end >= 20:  # of more than 4 GiB: the numbers stand elsewhere
        file.seek(min(int.from_bytes(tail[end - 12 : end - 4], "little"), size))
        large = file.read(56)
        length, start = (int.from_bytes(large[i : i + 8], "little") for i in (40, 48))
    if length > LARGEST_DIRECTORY:
        raise ArchiveError(f"a list of files of more than {input.amount(LARGEST_DIRECTORY)}: unpack it into a folder")
    file.seek(min(start, size))
    listed, place, taken = file.read(length), 0, 0
    while listed.startswith(b"PK\1\2", place) and place + 46 <= len(listed):
        flags, method, check, packed, whole = struct.unpack("<8xHH4xIII", listed[place : place + 28])
        name, extra, comment = struct.unpack("<HHH", listed[place + 28 : place + 34])
        at = int.from_bytes(listed[place + 42 : place + 46], "little")
        text = listed[place + 46 : place + 46 + name]
        more = listed[place + 46 + name : place + 46 + name + extra]
        whole, packed, at = _wide(more, whole, packed, at)
        taken += packed
        if taken > size:
            raise ArchiveError("damaged: its files lie over one another")
        decoded = text.decode("utf-8" if flags & UTF8 else "cp437", "replace")
        yield Member(path, decoded, at, packed, whole, -1 if flags & ENCRYPTED else method, check)
        place += 46 + name + extra + comment
    if place != len(listed):
        raise ArchiveError("damaged, in its list of files")


def _wide(extra: bytes, *numbers: int) -> Iterator[int]:
    """Yield numbers of 32 bits, of which those that are too large stand in a further field."""
    place = 0
    while place + 4 <= len(extra) and extra[place : place + 2] != b"\1\0":
        place += 4 + int.from_bytes(extra[place + 2 : place + 4], "little")
    place += 4
    for number in numbers:
        if number == 0xFFFFFFFF:
            number, place = int.from_bytes(extra[place : place + 8], "little"), place + 8
        yield number


def _tar(file: IO[bytes], path: str) -> Iterator[Member]:
    """Yield the files. A hard link is the file before it that it names; other links, and files with holes, are no files."""
    end, place, said, found = file.seek(0, os.SEEK_END), 0, dict[str, str](), dict[str, Member]()
    while place + BLOCK <= end:
        file.seek(place)
        head = file.read(BLOCK)
        if not any(head):
            return
        kind = head[156:157]
        fields = kind in LONG or kind in (b"x", b"g")  # a long name, or fields of the next file or of all
        size = 0 if kind in BODILESS else int(said["size"]) if "size" in said and not fields else _octal(head[124:136])
        place += BLOCK
        if _octal(head[148:156]) != sum(head) - sum(head[148:156]) + 8 * 32:
            raise ArchiveError("no tar file, or one that is damaged")
        if place + size > end:
            raise Cut(ENDS_EARLY)
        if fields:
            if size > LARGEST_HEADER:
                raise ArchiveError(f"damaged: a name of {input.amount(size)}")
            body = file.read(size)
            if kind in LONG:
                said[LONG[kind]] = body.rstrip(b"\0").decode("utf-8", "replace")
            elif kind == b"x":
                said |= _pax(body)
        else:
            prefix = head[345:500].partition(b"\0")[0] if head[257:263] == b"ustar\0" else b""
            name = said.get("path") or b"/".join(filter(None, (prefix, _text(head[:100])))).decode("utf-8", "replace")
            if len(name) > LONGEST_NAME:
                raise ArchiveError(f"damaged: a name of {len(name):,} characters")
            named = found.get(posixpath.normpath(said.get("linkpath") or _text(head[157:257]).decode("utf-8", "replace")))
            holes = "GNU.sparse" in said
            if kind == SPARSE:
                place = _behind_map(file, head, place)
            if kind in REGULAR and not holes:
                found[posixpath.normpath(name)] = member = Member(path, name, place, size, size)
            elif kind == HARD and named:
                member = replace(named, name=name)
            else:
                member = Member(path, "/" if kind == FOLDER else said.get("GNU.sparse", "") or name, place, size, size, LINK)
            yield member
            said = {}
        place += -(-size // BLOCK) * BLOCK
    raise Cut(ENDS_EARLY) if place else ArchiveError("no tar file")


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _behind_map(file: IO[bytes], head: bytes, place: int) -> int:
    """Return where the contents of a file with holes begin: the map of its parts may go on behind its header."""
    further = head[482]
    while further:
        file.seek(place)
        block = file.read(BLOCK)
        place += BLOCK
        further = block[504] if len(block) == BLOCK else 0
    return place


def _octal(field: bytes) -> int:
    if field[:1] == b"\x80":  # as GNU's tar writes what is too large for its digits
        return int.from_bytes(field[1:])
    digits = field.strip(b" \0")
    return int(digits, 8) if digits and not digits.strip(b"01234567") else 0


def _pax(body: bytes) -> dict[str, str]:
    """Return what fields say of a file: its path, the path that it links to, its size, and GNU.sparse where it has holes.

    Each field is its length, a blank, a key, '=', a value, and the end of a line.
    """
    place, found = 0, dict[str, str]()
    while place < len(body):
        digits = body[place : place + 20].partition(b" ")[0]
        length = int(digits) if digits.isdigit() else 0
        if length <= len(digits) + 1:
            break
        key, _, value = body[place + len(digits) + 1 : place + length - 1].partition(b"=")
        text = value.decode("utf-8", "replace")
        if key in (b"path", b"linkpath") or (key == b"size" and value.isdigit() and len(value) < 20):
            found[key.decode()] = text
        elif key.startswith(b"GNU.sparse."):  # and its name, which another one stands for in the header
            found["GNU.sparse"] = text if key == b"GNU.sparse.name" else found.get("GNU.sparse", "")
        place += length
    return found
