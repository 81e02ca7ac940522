"""What one image may cost, and what a file's header says of it before anything is decoded.

Every format has a walk over its header (`headers/`), which counts its steps and gives a `Look`. What would cost more than the
limits here is refused before a decoder starts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from ..input import amount
from .spaces import Space

LARGEST_FILE = 512 << 20  # bytes of one image file
LARGEST_PIXELS = 178_956_970  # of one picture: 512 MiB as RGB
LARGEST_HELD = 3 << 29  # bytes that decoding one picture may hold at once, its file's among them: 1.5 GiB
LARGEST_STEPS = 200_000  # segments, chunks, boxes, strips and entries of one file that are walked over
LONGEST = 30  # seconds that decoding one image may take where somebody waits with a clock: see `minivan.predict`
WALK = 16 << 20  # bytes that a walk holds, whatever the file, and further six times the file's: measured
STRIP = 1 << 20  # pixels that are converted, or moved, at once
STORED = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}  # bytes for each pixel of Pillow's modes; of every other mode 4
PROFILED = 6  # bytes for each of a colour profile: its copy, and its tables of 16 bits twice
RGB = 4  # Pillow keeps three bytes in four
ENDS_EARLY, HIGH_RANGE = "a JPEG file that ends early", "a photo of high dynamic range"  # how refusals begin that may be waived

Bytes: TypeAlias = bytes | memoryview
Stated: TypeAlias = bytes | Space | str  # what a file says of its colours: a profile, a space, or why it is not understood


def walked(size: int) -> int:
    """Return the most bytes that are held while a file of `size` bytes is read and its header is walked over."""
    return WALK + 6 * size


def patches(width: int, height: int, pixels: int = 0) -> Iterator[tuple[int, int, int, int]]:
    """Yield the parts of a picture that are converted at once, in reading order: left, top, right and bottom of each.

    A part is some whole rows, or of a row that is longer than `pixels` (STRIP where nothing is said) a piece, which begins at a
    multiple of that.
    """
    most = pixels or STRIP
    wide = max(1, min(width, most))
    rows = max(1, most // wide)
    for top in range(0, height, rows):
        for left in range(0, width, wide):
            yield left, top, min(left + wide, width), min(top + rows, height)


class ImageError(ValueError):
    """An image that cannot be used; the message is one line that says why."""


class Steps:
    """Counts the steps of one walk over a header. Raises ImageError when there are more than LARGEST_STEPS."""

    def __init__(self) -> None:
        self.taken = 0

    def take(self, number: int = 1) -> None:
        self.taken += number
        if self.taken > LARGEST_STEPS:
            raise ImageError(f"its file is in more than {LARGEST_STEPS:,} pieces, the limit for an image")


@dataclass(frozen=True)
class Look:
    """What a header says of a file's first picture, and the parts of the file that its decoder is to see."""

    kind: str  # a name in `kinds.KINDS`
    width: int
    height: int
    mode: str  # of the picture that Pillow will make
    parts: tuple[Bytes, ...]  # the file without what is no pixel
    buffers: float = 0.0  # bytes for each pixel that the decoder holds beside that picture
    extra: int = 0  # bytes that it holds besides, whatever the number of pixels
    exif: bytes = b""  # a TIFF file in small, as EXIF is; without the name before it
    xmp: bytes = b""
    orientation: int = 0  # 1..8 where the header itself says it
    colours: tuple[Stated, ...] = ()  # what it says that its colours are: of several statements the first holds
    key: tuple[int, ...] = ()  # the one colour that is transparent, as the picture has it: of grey one value, or of RGB three
    deep: bool = False  # whether its colours are of 16 bits, of which the decoder gives eight at once
    no_data: float | None = None  # the number that stands for none among floating ones
    scale: int = 1  # what the decoder is to divide the sides by: width and height are what is left
    apart: bool = False  # whether the decoder needs a process of its own

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def held(self) -> int:
        """The most bytes that decoding it, making it RGB and turning it hold at once."""
        stored = STORED.get(self.mode, 4)
        each = max(stored + self.buffers, stored + RGB, 2 * RGB)
        profiles = PROFILED * sum(len(stated) for stated in self.colours if isinstance(stated, bytes))
        return int(self.pixels * each) + self.extra + profiles + (4 if self.apart else 2) * sum(map(len, self.parts))

    def fits(self) -> bool:
        """Tell whether the picture is within the limits."""
        return self.pixels <= LARGEST_PIXELS and self.held <= LARGEST_HELD

    def check(self) -> None:
        """Raise ImageError where the picture is larger than the limits."""
        if self.width < 1 or self.height < 1:
            raise ImageError(f"damaged image: it is {self.width} x {self.height} pixels large")
        if self.pixels > LARGEST_PIXELS:
            raise ImageError(
                f"{self.width} x {self.height} = {self.pixels:,} pixels is more than the limit of {LARGEST_PIXELS:,} pixels"
            )
        if self.held > LARGEST_HELD:
            raise ImageError(
                f"{self.width} x {self.height} pixels in this {self.kind} file take {amount(self.held)} of memory to decode, "
                f"more than the limit of {amount(LARGEST_HELD)}; a smaller copy can be read"
            )
