"""TIFF files of any samples, made files of bytes, which every decoder reads. TIFF 6.0, and its technical note 3 on predictors.

A row of W pixels of C samples of B bytes is a row of W * C * B pixels of one byte, whatever it is packed with. So a decoder
unpacks any samples that are written as such a row, one band or all of them, and what the bytes mean is settled here: numbers of
1 to 64 bits, of which those that fill no bytes lie one behind the other, the highest bit first.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...errors import shown
from ...input import amount
from ...variants import counted
from ..bounds import LARGEST_PIXELS, ImageError, Look, Steps, patches
from . import tiff
from .tiff import Directory

DARK_IS_ZERO, COLOURS_OF_A_PHOTO = 1, 2  # photometric interpretations that bands are stored under
PACKINGS = {tiff.RAW, 5, 8, 32773, 32946, 34925, 50000}  # none, LZW, deflate twice, PackBits, LZMA, Zstandard: blind to pixels
AS_IT_IS, DIFFERENCES, BYTES_APART = 1, 2, 3  # predictors: none, what a sample adds to its left neighbour, the same of bytes
NUMBERS = {1: "u", 2: "i", 3: "f"}  # sample formats: whole, whole with a sign, floating
SIZES = {"u": (*range(1, 33),), "i": (8, 16, 32), "f": (16, 32, 64)}  # bits
LISTS = (tiff.BITS, tiff.FORMAT, tiff.STRIPS, tiff.COUNTS, tiff.TILES, tiff.TILE_COUNTS)  # tags of as many values as there are
LOWEST_FIRST = 2  # a fill order: of a byte, whatever it is packed with
REVERSED = bytes(sum((value >> bit & 1) << (7 - bit) for bit in range(8)) for value in range(256))
SHORT, LONG = 3, 4  # types of a directory's numbers
ADVICE = "save them as an .npy array, or a photo as 8 or 16 bits of grey or RGB"

Chunk = tuple[int, int]  # of a strip or tile: where it begins, and its bytes
Values = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Stored:
    """Where a TIFF file has its bands, nothing of which is decoded."""

    look: Look  # at all of them together: what reading them takes
    bands: int
    planar: bool  # one band behind the other, not pixel by pixel
    dtype: np.dtype[np.generic]  # in the file's byte order; of a sample that fills no bytes, the least that holds it
    bits: int  # of a sample
    directory: Directory
    tile: tuple[int, int]  # rows and pixels of what is stored together
    chunks: tuple[Chunk, ...]

    @property
    def samples(self) -> int:
        """How many samples of a pixel are stored together."""
        return 1 if self.planar else self.bands

    def files(self) -> Iterator[bytes]:
        """Yield a TIFF file of bytes for each band, or one for all."""
        each = len(self.chunks) // (self.bands if self.planar else 1)
        for first in range(0, len(self.chunks), each):
            yield self._file(self.chunks[first : first + each])

    def planes(self, decoded: Iterator[Values]) -> Iterator[Values]:
        """Yield every band (H, W), of the bytes (H, more) that were decoded of `files`."""
        for values in decoded:
            height, width = len(values), self.tile[1]
            together = np.ascontiguousarray(values).reshape(height, -1, self._row(width))
            pixels = self._numbers(together).reshape(height, -1, self.samples)[:, : self.look.width]
            yield from (pixels[..., i] for i in range(self.samples))

    def _numbers(self, rows: Values) -> Values:
        """Return the samples of rows of bytes, (H, tiles across, bytes), without their predictor."""
        predictor, size = self.directory.number(tiff.PREDICTOR, AS_IT_IS), self.dtype.itemsize
        if self.bits != 8 * size:
            return self._unpacked(rows)
        if predictor == AS_IT_IS:
            return rows.view(self.dtype)
        if predictor == DIFFERENCES:
            whole = self.dtype.str.replace(self.dtype.kind, "u")
            apart = rows.view(whole).reshape(*rows.shape[:2], -1, self.samples)
            return np.add.accumulate(apart, axis=2, dtype=f"u{size}").astype(whole).view(self.dtype)
        apart = rows.reshape(*rows.shape[:2], -1, self.samples)
        summed = np.add.accumulate(apart, axis=2, dtype=np.uint8).reshape(*rows.shape[:2], size, -1)
        return np.ascontiguousarray(summed.swapaxes(2, 3)).view(self.dtype.newbyteorder(">"))

    def _unpacked(self, rows: Values) -> Values:
        """Return samples that fill no bytes, (H, tiles across, samples of a row). Eight of them fill some, so that a part of
        a row of samples begins where a byte does."""
        height, across, size = rows.shape
        count, bits = self.tile[1] * self.samples, self.bits
        lines = rows.view(np.uint8).reshape(-1, size)
        made = np.zeros((len(lines), count), self.dtype.str)
        for left, top, right, bottom in patches(count, len(lines)):
            stored = lines[top:bottom, left * bits // 8 : -(-right * bits // 8)]
            digits = np.unpackbits(stored, axis=1, count=(right - left) * bits).reshape(bottom - top, right - left, bits)
            part = made[top:bottom, left:right]
            for bit in range(bits):
                part[...] = (part << 1) | digits[..., bit]
        return made.reshape(height, across, count)

    def _row(self, width: int) -> int:
        """Return the bytes of a row of so many pixels."""
        return -(-width * self.samples * self.bits // 8)

    def _file(self, chunks: tuple[Chunk, ...]) -> bytes:
        look, tiled = self.look, tiff.TILES in self.directory.kept
        row = self._row(self.tile[1])
        body = b"".join(self.directory.data[start : start + size] for start, size in chunks)
        if self.directory.number(tiff.FILL, 1) == LOWEST_FIRST:
            body = body.translate(REVERSED)
        body += b"\0" * (len(body) % 2)
        shorts = {
            tiff.BITS: 8,
            tiff.COMPRESSION: self.directory.number(tiff.COMPRESSION, tiff.RAW),
            tiff.PHOTOMETRIC: DARK_IS_ZERO,
            tiff.SAMPLES: 1,
        }
        sizes = [size for _, size in chunks]
        longs = {
            tiff.WIDTH: [-(-look.width // self.tile[1]) * row],
            tiff.HEIGHT: [look.height],
            tiff.TILES if tiled else tiff.STRIPS: np.cumsum([8, *sizes])[:-1].tolist(),
            tiff.TILE_COUNTS if tiled else tiff.COUNTS: sizes,
        }
        longs[tiff.TILE_HEIGHT if tiled else tiff.ROWS] = [self.tile[0]]
        if tiled:
            longs[tiff.TILE_WIDTH] = [row]
        entries = {tag: struct.pack("<HHIHH", tag, SHORT, 1, value, 0) for tag, value in shorts.items()}
        for tag, values in longs.items():
            packed = struct.pack(f"<{len(values)}I", *values)
            if len(values) > 1:
                body, packed = body + packed, struct.pack("<I", 8 + len(body))
            entries[tag] = struct.pack("<HHI", tag, LONG, len(values)) + packed
        directory = struct.pack("<H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + bytes(4)
        return b"II" + struct.pack("<HI", 42, 8 + len(body)) + body + directory


def find(data: bytes, steps: Steps, channels: int) -> Stored | None:
    """Return where a TIFF file has the bands that a network of so many channels takes; None for a photo.

    Raises ImageError where it has another number of bands, or stores them in a way that minivan does not read.
    """
    directory = Directory(data, steps)
    samples, photometric = directory.number(tiff.SAMPLES, 1), directory.number(tiff.PHOTOMETRIC, 0)
    several = samples > 2 and photometric == DARK_IS_ZERO
    if not several and (channels in (1, 3) or samples != channels):
        return None
    if samples != channels:
        raise ImageError(f"a TIFF file of {samples} bands, and the network takes {counted(channels)}")
    if photometric not in (DARK_IS_ZERO, COLOURS_OF_A_PHOTO):
        what = f"{samples} samples a pixel are no bands (its photometric interpretation is {photometric})"
        raise ImageError(f"a TIFF file whose {what}: {ADVICE}")
    steps.take(max((directory.kept[tag].count for tag in LISTS if tag in directory.kept), default=0))
    return stored(directory, samples)


def stored(directory: Directory, samples: int) -> Stored:
    """Return where a TIFF file has its samples, so many a pixel. Raises ImageError where it stores them in another way."""
    planar, (dtype, bits) = directory.number(tiff.PLANAR, 1) == 2, _numbers(directory)
    look = _look(directory, samples, dtype.itemsize)
    look.check()
    if bits != 8 * dtype.itemsize and directory.number(tiff.PREDICTOR, AS_IT_IS) != AS_IT_IS:
        raise ImageError(f"a TIFF file of differences of {bits} bits, which minivan does not read: {ADVICE}")
    tile, chunks = _chunks(directory, look, bits * (1 if planar else samples), samples if planar else 1)
    return Stored(look, samples, planar, dtype, bits, directory, tile, chunks)


def _look(directory: Directory, samples: int, size: int) -> Look:
    """Look at all bands together: `size` bytes a sample."""
    compression, predictor = directory.number(tiff.COMPRESSION, tiff.RAW), directory.number(tiff.PREDICTOR, AS_IT_IS)
    if compression not in PACKINGS or predictor not in (AS_IT_IS, DIFFERENCES, BYTES_APART):
        how = f"compression {compression}, predictor {predictor}"
        raise ImageError(f"a TIFF file whose bands are packed in a way that minivan does not read ({how}): {ADVICE}")
    width, height = directory.number(tiff.WIDTH), directory.number(tiff.HEIGHT)
    if width * height * samples * size > LARGEST_PIXELS:
        much = f"{width} x {height} pixels of {samples} bands take {amount(width * height * samples * size)}"
        raise ImageError(f"{much}, more than the limit of {amount(LARGEST_PIXELS)}; a smaller copy can be read")
    orientation = directory.number(tiff.ORIENTATION) if tiff.ORIENTATION in directory.found else 0
    return Look(
        "TIFF", width, height, "F", (directory.data,), buffers=samples * (4 + 5 * size), extra=4 * len(directory.data),
        orientation=orientation if 1 <= orientation <= 8 else 0, no_data=tiff.no_data(directory),
    )  # fmt: skip


def _numbers(directory: Directory) -> tuple[np.dtype[np.generic], int]:
    """Return the dtype that holds all samples, and their bits; ImageError for several, and for what is no number."""
    bits = {*directory.all_numbers(tiff.BITS)} or {1}
    formats = {*directory.all_numbers(tiff.FORMAT)} or {1}
    kind, size = NUMBERS.get(min(formats), ""), min(bits)
    if len(bits) > 1 or len(formats) > 1 or size not in SIZES.get(kind, ()):
        which = shown(" and ".join(map(str, sorted(bits))))
        raise ImageError(f"a TIFF file of bands of {which} bits, format {min(formats)}, which minivan does not read: {ADVICE}")
    held = next(whole for whole in (8, 16, 32, 64) if size <= whole)
    order = "=" if size < held else "<" if directory.order == "little" else ">"  # those that fill no bytes have no order
    return np.dtype(f"{order}{kind}{held // 8}"), size


def _chunks(directory: Directory, look: Look, pixel: int, places: int) -> tuple[tuple[int, int], tuple[Chunk, ...]]:
    """Return the rows and pixels that are stored together, and where each strip or tile lies.

    `pixel` is the bits that are stored of a pixel in one place, `places` in how many places a part of it lies.
    """
    tiled = tiff.TILES in directory.kept
    wide = directory.number(tiff.TILE_WIDTH) if tiled else look.width
    high = directory.number(tiff.TILE_HEIGHT) if tiled else min(directory.number(tiff.ROWS, look.height), look.height)
    starts = directory.all_numbers(tiff.TILES if tiled else tiff.STRIPS)
    sizes = directory.all_numbers(tiff.TILE_COUNTS if tiled else tiff.COUNTS)
    each = -(-look.width // max(1, wide)) * -(-look.height // max(1, high))
    damaged = ImageError("damaged image: a TIFF file without all the strips or tiles of its bands")
    if not (wide and high) or not len(starts) == len(sizes) == each * places:
        raise damaged
    lowest = high if tiled else look.height - (each - 1) * high  # rows of the last strip
    raw = directory.number(tiff.COMPRESSION, tiff.RAW) == tiff.RAW
    for i, (start, size) in enumerate(zip(starts, sizes, strict=True), start=1):
        needed = -(-wide * pixel // 8) * (high if i % each else lowest) if raw else 1
        if not needed <= size <= start + size <= len(directory.data):
            raise damaged
    if sum(sizes) > len(directory.data):
        raise ImageError("damaged image: a TIFF file whose strips or tiles lie over one another")
    return (high, wide), tuple(zip(starts, sizes, strict=True))
