"""AVIF and HEIC: the sizes and the colours that their boxes state. ISO/IEC 23008-12; AV1 Image File Format.

What turns them are boxes of their own, `irot` and `imir`, which Pillow gives as EXIF, and libheif applies. EXIF and XMP in the
file itself say no more: they are renamed, so that nobody reads them. Nor does a decoder see colours that are not known.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from .. import spaces
from ..bounds import ImageError, Look, Stated, Steps
from ..profiles import LARGEST_PROFILE
from .boxes import Box, boxes

INSIDE = {  # boxes of boxes -> bytes before the first
    b"meta": 4, b"iprp": 0, b"ipco": 0, b"iinf": 6, b"moov": 0, b"trak": 0, b"mdia": 0, b"minf": 0, b"stbl": 0, b"stsd": 8,
    b"av01": 78,
}  # fmt: skip
DEEPEST = 8
UNSPECIFIED = struct.pack(">HH", spaces.UNSPECIFIED, spaces.UNSPECIFIED)  # codes
# Bytes for each pixel: planes of 16 bits, with alpha, in the decoder and out of it, and a copy; measured. Of HEIC the picture
# besides, in the process that decodes it.
BUFFERS = {"AVIF": 20, "HEIC": 24}


def avif(data: bytes, steps: Steps) -> Look:
    """Look at an AVIF file."""
    return _walk(data, steps, "AVIF")


def heic(data: bytes, steps: Steps) -> Look:
    """Look at a HEIC file."""
    return _walk(data, steps, "HEIC")


def _walk(data: bytes, steps: Steps, kind: str) -> Look:
    sizes: list[tuple[int, int]] = []
    changed: list[tuple[int, bytes]] = []  # places in the file, and the four bytes that the decoder is to see there
    films: list[Box] = []
    colours = Colours(data, steps)

    def visit(box: Box, depth: int) -> None:
        body = data[box.start : min(box.end, box.start + 32)]
        if box.name == b"ispe":
            sizes.append((int.from_bytes(body[4:8]), int.from_bytes(body[8:12])))
        elif box.name == b"av01":
            sizes.append((int.from_bytes(body[24:26]), int.from_bytes(body[26:28])))
        elif box.name == b"infe" and body[:1] in (b"\2", b"\3"):
            place = 8 if body[:1] == b"\2" else 10
            if body[place : place + 4] in (b"Exif", b"mime"):
                changed.append((box.start + place, b"skip"))
        elif box.name in (b"pitm", b"ipma", b"iref", b"colr"):
            colours.take(box)
        elif box.name == b"moov":
            films.append(box)
        skipped = INSIDE.get(box.name)
        if box.name == b"iinf" and body[:1] != b"\0":
            skipped = 8
        if skipped is not None and depth < DEEPEST:
            for number, inner in enumerate(boxes(data, steps, box.start + skipped, box.end), start=1):
                if box.name == b"ipco":
                    colours.number = number
                visit(inner, depth + 1)
            colours.number = 0

    for box in boxes(data, steps):
        visit(box, 0)
    if not sizes and films:
        raise ImageError(f"a {kind} film, which minivan does not read: export a picture of it as JPEG or PNG")
    if not sizes:
        raise ImageError(f"damaged image: a file of the kind {kind} that states no size")
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    parts, place = [], 0
    for start, seen in sorted([*changed, *colours.unknown]):
        parts += [data[place:start], seen]
        place = start + 4
    parts.append(data[place:])
    buffers, said, apart = BUFFERS[kind], colours.stated(), kind == "HEIC"
    return Look(kind, width, height, "RGBA", tuple(parts), buffers=buffers, colours=said, apart=apart)


class Colours:
    """What the boxes say of the colours of the picture that is shown: a profile, codes, or both, of which the profile holds."""

    def __init__(self, data: bytes, steps: Steps) -> None:
        self.data, self.steps = data, steps
        self.number = 0  # of the property that is walked over, from 1; 0 where it belongs to a film
        self.shown = 0  # the number of the picture
        self.lists: list[Box] = []  # the boxes that say which properties are whose
        self.references: list[Box] = []  # and those that say which pictures others are made of
        self.unknown: list[tuple[int, bytes]] = []  # where codes are that are not known, or the name of such a box
        self.found: list[tuple[int, bool, Stated]] = []  # of which property, whether it is no profile, what it says

    def take(self, box: Box) -> None:
        """Look at a box of colours, or at one that says whose they are."""
        if box.name in (b"ipma", b"iref"):
            (self.lists if box.name == b"ipma" else self.references).append(box)
            return
        body = self.data[box.start : min(box.end, box.start + 5 + LARGEST_PROFILE)]
        if box.name == b"pitm":
            self.shown = int.from_bytes(body[4 : 6 if body[:1] == b"\0" else 8])
        elif body[:4] in (b"prof", b"rICC"):
            self.found.append((self.number, False, body[4:]))
        elif body[:4] == b"nclx":
            space = spaces.coded(int.from_bytes(body[4:6]), int.from_bytes(body[6:8]))
            if space is not None:
                self.found.append((self.number, True, space))
            if isinstance(space, str) and len(body) >= 8:
                self.unknown.append((box.start + 4, UNSPECIFIED))
        elif self.data[box.start - 4 : box.start] == b"colr":
            self.unknown.append((box.start - 4, b"skip"))

    def stated(self) -> tuple[Stated, ...]:
        """Return what is said of the picture that is shown, or else of its parts, or else of a film."""
        said = self._said_of({self.shown}) or self._said_of({*self._parts()}) or [each for each in self.found if not each[0]]
        return tuple(stated for _, _, stated in sorted(said, key=lambda each: each[1])[:2])

    def _said_of(self, pictures: set[int]) -> list[tuple[int, bool, Stated]]:
        """Return what is said of some pictures."""
        numbers = {number for box in self.lists for number in self._properties(box, pictures)} if pictures else set()
        return [each for each in self.found if each[0] in numbers]

    def _parts(self) -> Iterator[int]:
        """Yield the numbers of the pictures that the one that is shown is made of, as of the tiles of a grid."""
        for references in self.references:
            wide = 4 if self.data[references.start : references.start + 1] != b"\0" else 2  # bytes of a picture's number
            for box in boxes(self.data, self.steps, references.start + 4, references.end):
                numbers = self.data[box.start : box.end]
                if box.name == b"dimg" and int.from_bytes(numbers[:wide]) == self.shown:
                    end = min(2 + wide * (1 + int.from_bytes(numbers[wide : wide + 2])), len(numbers))
                    self.steps.take(end // wide)
                    yield from (int.from_bytes(numbers[i : i + wide]) for i in range(wide + 2, end, wide))

    def _properties(self, box: Box, pictures: set[int]) -> Iterator[int]:
        """Yield the numbers of the properties that a box gives to some pictures."""
        head, place = self.data[box.start : min(box.end, box.start + 8)], box.start + 8
        wide = 4 if head[:1] != b"\0" else 2  # bytes of a picture's number, and of a property's
        each = 2 if head[3:4] and head[3] & 1 else 1
        for _ in range(int.from_bytes(head[4:8])):
            if place + wide >= box.end:
                return
            item, count = int.from_bytes(self.data[place : place + wide]), self.data[place + wide]
            place += wide + 1
            self.steps.take()
            if item in pictures:
                self.steps.take(count)
                for start in range(place, min(place + each * count, box.end), each):
                    yield int.from_bytes(self.data[start : min(start + each, box.end)]) & (0x7FFF if each == 2 else 0x7F)
            place += each * count
