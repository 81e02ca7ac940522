"""TIFF and BigTIFF: the first directory, of which a new one is made with the entries that say how pixels are stored. TIFF 6.0.

The new directory stands at the end of what the decoder is given and has no successor. So nothing is read of further pictures,
of EXIF, of text; and where minivan and the decoder would understand a directory differently, there is only minivan's.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...input import amount
from ..bounds import LARGEST_PIXELS, ImageError, Look, Steps
from ..profiles import LARGEST_PROFILE

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}  # by type
WHOLE = (1, 3, 4, 16)  # types of whole numbers without a sign
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, STRIPS, ORIENTATION, SAMPLES, ROWS = 256, 257, 258, 259, 262, 273, 274, 277, 278
FILL, COUNTS, PLANAR, PREDICTOR, COLOURS, TILE_WIDTH, TILE_HEIGHT, TILES, TILE_COUNTS = (
    266,
    279,
    284,
    317,
    320,
    322,
    323,
    324,
    325,
)
EXTRA, FORMAT, XMP, PROFILE, NO_DATA = 338, 339, 700, 34675, 42113
REDUCED, FURTHER, DNG = 254, 330, 50706  # whether a picture is a smaller one of another, where others are, the version of DNG
SEEN = (ORIENTATION, XMP, PROFILE, NO_DATA, REDUCED, FURTHER, DNG)  # looked at, and not kept for the decoder
SINGLE = (WIDTH, HEIGHT, COMPRESSION, PHOTOMETRIC, FILL, SAMPLES, ROWS, PLANAR, PREDICTOR, TILE_WIDTH, TILE_HEIGHT)
KEPT = {  # further: fax options, predictor, colour map, inks, extra samples, JPEG's tables, YCbCr's numbers
    *SINGLE, BITS, STRIPS, COUNTS, TILES, TILE_COUNTS, 292, 293, COLOURS, 332, EXTRA, FORMAT, 347,
    512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532,
}  # fmt: skip
CANON = b"II*\0\x10\0\0\0CR\2\0"  # how its raw files begin, CR2
RAW = 1  # the compression that is none; every other one, and 32771 with it, Pillow leaves to libtiff
LARGEST_DIRECTORY = 4 << 20  # bytes of all values that are kept
LARGEST_XMP = 1 << 20  # bytes
LARGEST = {XMP: LARGEST_XMP, PROFILE: LARGEST_PROFILE + 1}  # bytes that are taken
LARGEST_SAMPLES = 16  # a pixel


@dataclass(frozen=True)
class Entry:
    """One entry of a directory."""

    kind: int
    count: int
    raw: bytes  # as it stands in the file
    values: bytes  # the first ones; all of XMP and of a profile


def walk(data: bytes, steps: Steps) -> Look:
    """Look at a TIFF file."""
    directory = Directory(data, steps)
    width, height = directory.number(WIDTH), directory.number(HEIGHT)
    _check_shown(directory)
    compression, samples = directory.number(COMPRESSION, 1), directory.number(SAMPLES, 1)
    bits = directory.numbers(BITS) or [1]
    if samples > LARGEST_SAMPLES or len(bits) > LARGEST_SAMPLES or max(bits) > 64:
        raise ImageError(f"a TIFF file of {samples} samples a pixel of {max(bits)} bits")
    sample_bits = max(bits) * max(samples, len(bits))
    chunk = width * min(directory.number(ROWS, height), height)
    planes = samples if directory.number(PLANAR, 1) == 2 else 1
    if TILE_WIDTH in directory.kept:
        across, down = directory.number(TILE_WIDTH), directory.number(TILE_HEIGHT)
        if not (across and down):
            raise ImageError("damaged image: a TIFF file of tiles without a size")
        chunk = across * down
        covered = -(-width // across) * -(-height // down) * chunk
        if covered > LARGEST_PIXELS:
            raise ImageError(f"tiles of {across} x {down} pixels decode to {covered:,} pixels, more than {LARGEST_PIXELS:,}")
    elif width and height:
        steps.take(planes * -(-width * height // max(1, chunk)))
    strips = max((directory.kept[tag].count for tag in (STRIPS, TILES) if tag in directory.kept), default=0)
    steps.take(strips)
    apart = compression != RAW
    orientation = directory.number(ORIENTATION, 0) if ORIENTATION in directory.found else 0
    return Look(
        "TIFF",
        width,
        height,
        _mode(directory, max(bits), samples),
        directory.rewritten(),
        buffers=4 if apart else 0,  # the picture once more, in the other process
        extra=chunk * sample_bits // 8 * (2 if apart else 1),
        xmp=xmp(directory),
        orientation=orientation if 1 <= orientation <= 8 else 0,
        colours=colours(directory),
        no_data=no_data(directory),
        apart=apart,
    )


def _check_shown(directory: Directory) -> None:
    """Raise ImageError where the first directory has a preview of what lies elsewhere, as in cameras' raw files."""
    if DNG in directory.found:
        raise ImageError("a TIFF file of a camera's raw values (DNG), which minivan does not read: export it as JPEG or PNG")
    if directory.data.startswith(CANON) or (directory.number(REDUCED) & 1 and FURTHER in directory.found):
        size = f"{directory.number(WIDTH)} x {directory.number(HEIGHT)} pixels"
        what = f"a TIFF file that begins with a preview, {size}, of another picture, as cameras' raw files do"
        raise ImageError(f"{what}, and minivan does not read that one: export it as JPEG or PNG")


def no_data(directory: Directory) -> float | None:
    """Return the number that stands for none, which is written as text (GDAL); None where there is none."""
    try:
        return float(directory.found[NO_DATA].values.rstrip(b" \0")) if NO_DATA in directory.found else None
    except ValueError:
        return None


def xmp(directory: Directory) -> bytes:
    """Return the XMP packet of a file, or nothing."""
    return directory.found[XMP].values if XMP in directory.found else b""


def colours(directory: Directory) -> tuple[bytes, ...]:
    """Return the profile of a file, or nothing."""
    return (directory.found[PROFILE].values,) if PROFILE in directory.found else ()


def _mode(directory: Directory, bits: int, samples: int) -> str:
    if samples > 1 or directory.number(PHOTOMETRIC, 0) > 3:
        return "RGBA"  # RGB and CMYK take as much
    return "L" if bits <= 8 else "I;16" if bits == 16 else "F"


class Directory:
    """The first directory of a file: the entries that are kept for the decoder, and a few that are only looked at."""

    def __init__(self, data: bytes, steps: Steps) -> None:
        self.data = data
        self.order = "little" if data[:2] == b"II" else "big"
        self.big = b"+" in data[2:4]
        self.word = 8 if self.big else 4  # bytes of an offset
        self.head = 20 if self.big else 12  # bytes of an entry
        place = self._int(data[8:16] if self.big else data[4:8])
        few = 8 if self.big else 2
        count = self._int(data[place : place + few])
        if len(data) < 8 or place + few + count * self.head > len(data):
            raise ImageError("damaged image: a TIFF file without a whole directory")
        self.kept: dict[int, Entry] = {}
        self.found: dict[int, Entry] = {}
        self.held = 0  # bytes of values
        for i in range(count):
            steps.take()
            start = place + few + i * self.head
            tag = self._int(data[start : start + 2])
            if tag not in self.kept and tag not in self.found and (tag in KEPT or tag in SEEN):
                self._take(tag, data[start : start + self.head])

    def _take(self, tag: int, raw: bytes) -> None:
        kind, count = self._int(raw[2:4]), self._int(raw[4 : 4 + self.word])
        size = SIZES.get(kind, 0) * count
        start = self._int(raw[-self.word :])
        few = min(size, LARGEST.get(tag, 8 * (LARGEST_SAMPLES + 1)))
        values = raw[-self.word :][:size] if size <= self.word else self.data[start : start + few]
        entry = Entry(kind, count, raw, values)
        if tag not in KEPT:
            self.found[tag] = entry
            return
        if not size or (size > self.word and start + size > len(self.data)):
            raise ImageError(f"damaged image: the TIFF tag {tag} has {count:,} values, which the file does not hold")
        if tag in SINGLE and (count != 1 or kind not in WHOLE):
            raise ImageError(f"damaged image: the TIFF tag {tag} is no single whole number")
        self.held += size
        if self.held > LARGEST_DIRECTORY:
            raise ImageError(f"a TIFF file whose directory has more than {amount(LARGEST_DIRECTORY)} of values")
        self.kept[tag] = entry

    def numbers(self, tag: int) -> list[int]:
        """Return the first values of a tag of whole numbers."""
        entry = self.kept.get(tag) or self.found.get(tag)
        if entry is None or entry.kind not in WHOLE:
            return []
        size = SIZES[entry.kind]
        return [self._int(entry.values[size * i : size * (i + 1)]) for i in range(min(entry.count, LARGEST_SAMPLES + 1))]

    def number(self, tag: int, otherwise: int = 0) -> int:
        values = self.numbers(tag)
        return values[0] if values else otherwise

    def rewritten(self) -> tuple[bytes, ...]:
        """Return the file with a new first directory at its end."""
        padding = b"\0" * (len(self.data) % 2)
        place = len(self.data) + len(padding)
        entries = b"".join(self.kept[tag].raw for tag in sorted(self.kept))
        head = 16 if self.big else 8
        directory = self._bytes(len(self.kept), 8 if self.big else 2) + entries + bytes(self.word)
        if not self.big and place + len(directory) >= 1 << 32:
            raise ImageError("damaged image: a TIFF file larger than it can be")
        start = self.data[: head - self.word] + self._bytes(place, self.word)
        return start, self.data[head:] + padding, directory

    def all_numbers(self, tag: int) -> list[int]:
        """Return the values of a kept tag of whole numbers, however many; none where it is not there."""
        entry = self.kept.get(tag)
        if entry is None or entry.kind not in WHOLE:
            return []
        size = SIZES[entry.kind]
        start = self._int(entry.raw[-self.word :])
        inside = size * entry.count <= self.word
        values = entry.values if inside else self.data[start : start + size * entry.count]
        return [self._int(values[at : at + size]) for at in range(0, size * entry.count, size)]

    def _int(self, part: bytes) -> int:
        return int.from_bytes(part, "little" if self.order == "little" else "big")

    def _bytes(self, value: int, size: int) -> bytes:
        return value.to_bytes(size, "little" if self.order == "little" else "big")
