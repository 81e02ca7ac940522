"""AVIF: the sizes that its boxes state. ISO/IEC 23008-12; AV1 Image File Format.

What turns it are its own boxes, `irot` and `imir`, which Pillow gives as EXIF. EXIF and XMP in the file itself say no
more: they are renamed, so that nobody reads them.
"""

from __future__ import annotations

from ..bounds import ImageError, Look, Steps
from .boxes import Box, boxes

INSIDE = {  # boxes of boxes -> bytes before the first
    b"meta": 4, b"iprp": 0, b"ipco": 0, b"iinf": 6, b"moov": 0, b"trak": 0, b"mdia": 0, b"minf": 0, b"stbl": 0, b"stsd": 8,
}  # fmt: skip
DEEPEST = 8
BUFFERS = 20  # bytes for each pixel: planes of 16 bits, with alpha, in the decoder and out of it, and a copy; measured


def walk(data: bytes, steps: Steps) -> Look:
    """Look at an AVIF file."""
    sizes: list[tuple[int, int]] = []
    unread: list[int] = []

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
        skipped = INSIDE.get(box.name)
        if box.name == b"iinf" and body[:1] != b"\0":
            skipped = 8
        if skipped is not None and depth < DEEPEST:
            for inner in boxes(data, steps, box.start + skipped, box.end):
                visit(inner, depth + 1)

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
    return Look("AVIF", width, height, "RGBA", tuple(parts), buffers=BUFFERS)
