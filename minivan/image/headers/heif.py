"""AVIF: the sizes and the colours that its boxes state. ISO/IEC 23008-12; AV1 Image File Format.

What turns it are its own boxes, `irot` and `imir`, which Pillow gives as EXIF. EXIF and XMP in the file itself say no
more: they are renamed, so that nobody reads them.
"""

from __future__ import annotations

from .. import spaces
from ..bounds import ImageError, Look, Stated, Steps
from ..profiles import LARGEST_PROFILE
from .boxes import Box, boxes

INSIDE = {  # boxes of boxes -> bytes before the first
    b"meta": 4, b"iprp": 0, b"ipco": 0, b"iinf": 6, b"moov": 0, b"trak": 0, b"mdia": 0, b"minf": 0, b"stbl": 0, b"stsd": 8,
    b"av01": 78,
}  # fmt: skip
DEEPEST = 8
BUFFERS = 20  # bytes for each pixel: planes of 16 bits, with alpha, in the decoder and out of it, and a copy; measured


def walk(data: bytes, steps: Steps) -> Look:
    """Look at an AVIF file."""
    sizes: list[tuple[int, int]] = []
    unread: list[int] = []
    colours = Colours()

    def visit(box: Box, depth: int) -> None:
        body = data[box.start : min(box.end, box.start + 32)]
        if box.name == b"ispe":
            sizes.append((int.from_bytes(body[4:8]), int.from_bytes(body[8:12])))
        elif box.name == b"av01":
            sizes.append((int.from_bytes(body[24:26]), int.from_bytes(body[26:28])))
        elif box.name == b"infe" and body[:1] in (b"\2", b"\3"):
            kind = 8 if body[:1] == b"\2" else 10
            if body[kind : kind + 4] in (b"Exif", b"mime"):
                unread.append(box.start + kind)
        elif box.name in (b"pitm", b"ipma", b"colr"):
            colours.take(data, box, steps)
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
    if not sizes:
        raise ImageError("damaged image: an AVIF file that states no size")
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    parts, place = [], 0
    for start in unread:
        parts += [data[place:start], b"skip"]
        place = start + 4
    parts.append(data[place:])
    return Look("AVIF", width, height, "RGBA", tuple(parts), buffers=BUFFERS, colours=colours.stated())


class Colours:
    """What the boxes say of the colours of the picture that is shown: a profile, codes, or both, of which the profile holds."""

    def __init__(self) -> None:
        self.number = 0  # of the property that is walked over, from 1; 0 where it belongs to a film
        self.shown = 0  # the number of the picture
        self.of_item: dict[int, set[int]] = {}  # the number of a picture -> those of its properties
        self.found: list[tuple[int, bool, Stated]] = []  # of which property, whether it is no profile, what it says

    def take(self, data: bytes, box: Box, steps: Steps) -> None:
        """Look at a box of colours, or at one that says whose they are."""
        body = data[box.start : box.end]
        if box.name == b"pitm":
            self.shown = int.from_bytes(body[4 : 6 if body[:1] == b"\0" else 8])
        elif box.name == b"ipma":
            self._associate(body, steps)
        elif body[:4] in (b"prof", b"rICC"):
            self.found.append((self.number, False, body[4 : 5 + LARGEST_PROFILE]))
        elif body[:4] == b"nclx":
            space = spaces.coded(int.from_bytes(body[4:6]), int.from_bytes(body[6:8]))
            if space is not None:
                self.found.append((self.number, True, space))

    def stated(self) -> tuple[Stated, ...]:
        """Return what is said of the picture that is shown, or of its parts where nothing is said of it itself."""
        own = self.of_item.get(self.shown, set())
        of_it = [each for each in self.found if each[0] in own] or self.found
        return tuple(stated for _, _, stated in sorted(of_it, key=lambda each: each[1])[:2])

    def _associate(self, body: bytes, steps: Steps) -> None:
        wide = 4 if body[:1] != b"\0" else 2  # bytes of a picture's number, and of a property's
        each = 2 if body[3:4] and body[3] & 1 else 1
        place = 8
        for _ in range(int.from_bytes(body[4:8])):
            if place >= len(body):
                return
            steps.take()
            item, count = int.from_bytes(body[place : place + wide]), int.from_bytes(body[place + wide : place + wide + 1])
            place += wide + 1
            numbers = (int.from_bytes(body[place + each * i : place + each * (i + 1)]) for i in range(count))
            self.of_item.setdefault(item, set()).update(number & (0x7FFF if each == 2 else 0x7F) for number in numbers)
            place += each * count
