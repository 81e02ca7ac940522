"""TIFF photos whose samples the decoder does not give as what they are: it has a mode of eight bits, or none, for them.

They are read as bands are (`tiff_bands.py`). What neither reads is refused by the name of what it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from ...errors import shown
from ..bounds import ImageError, Steps
from . import tiff
from .tiff import Directory
from .tiff_bands import PACKINGS, Stored, stored

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, INKS, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8  # photometric interpretations
COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, INKS: 4}  # samples that are colours
UNREAD = {
    4: "a mask", 9: "ICC Lab", 10: "ITU Lab", 32803: "a camera's raw values", 32844: "LogL", 32845: "LogLuv",
    34892: "a camera's raw values",
}  # fmt: skip
FURTHER = (2, 3, 4, 6, 7, 32771)  # packings that know pixels and that the decoder reads: fax and JPEG
PACKINGS_UNREAD = {
    33003: "JPEG 2000", 33004: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34661: "JBIG", 34715: "JBIG2",
    34887: "LERC", 34892: "JPEG of raw values", 34933: "PNG", 34934: "JPEG XR", 50001: "WebP",
    50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
WHOLE, FLOATING, UNSAID = 1, 3, 4  # sample formats
SUBSAMPLING, INK_SET = 530, 332
ASSOCIATED, UNASSOCIATED = 1, 2  # kinds of a further sample that are transparency: multiplied with the colours, or not
ADVICE = "save it as 8 or 16 bits of grey or RGB"


class Photo(NamedTuple):
    """A photo whose samples are read as bands are."""

    stored: Stored
    colours: int  # how many of the samples are colours: 1, 3 or 4
    inverted: bool  # whether 0 is white
    alpha: tuple[int, bool] | None  # which sample is transparency, and whether the colours are multiplied with it


def find(data: bytes, steps: Steps) -> Photo | None:
    """Return where a TIFF photo has its samples; None for one that the decoder reads as what it is.

    Raises ImageError for one that nobody here reads.
    """
    directory = Directory(data, steps)
    photometric, samples = directory.number(tiff.PHOTOMETRIC, 0), directory.number(tiff.SAMPLES, 1)
    if photometric in UNREAD:
        raise ImageError(f"a TIFF file of {UNREAD[photometric]}, which minivan does not read: {ADVICE}")
    if photometric == INKS and directory.number(INK_SET, 1) != 1:
        raise ImageError(f"a TIFF file of inks that are no CMYK, which minivan does not read: {ADVICE}")
    colours = COLOURS.get(photometric, 0)
    if _is_read(directory, photometric, samples):
        return _in_full(directory, photometric, samples) if colours > 1 and {*directory.numbers(tiff.BITS)} == {16} else None
    compression = directory.number(tiff.COMPRESSION, tiff.RAW)
    if not 0 < colours <= samples <= tiff.LARGEST_SAMPLES or compression not in PACKINGS:
        bits = shown(" and ".join(map(str, sorted({*directory.numbers(tiff.BITS)} or {1}))))
        how = f"photometric interpretation {photometric}, {samples} samples of {bits} bits, compression {compression}"
        how += f", {PACKINGS_UNREAD[compression]}" if compression in PACKINGS_UNREAD else ""
        raise ImageError(f"a TIFF file of a kind that minivan does not read ({how}): {ADVICE}")
    return _photo(directory, photometric, samples)


def _in_full(directory: Directory, photometric: int, samples: int) -> Photo | None:
    """Return where colours of 16 bits are, of which the decoder gives the higher byte; None where all is too much to hold."""
    try:
        found = _photo(directory, photometric, samples)
    except ImageError:  # which the decoder may yet make a picture of
        return None
    return found if found.stored.look.fits() else None


def _photo(directory: Directory, photometric: int, samples: int) -> Photo:
    found, colours = stored(directory, samples), COLOURS[photometric]
    look = replace(found.look, colours=tiff.colours(directory), xmp=tiff.xmp(directory), no_data=tiff.no_data(directory))
    return Photo(replace(found, look=look), colours, photometric == WHITE_IS_ZERO, _alpha(directory, colours, samples))


def _is_read(directory: Directory, photometric: int, samples: int) -> bool:
    """Tell whether the decoder reads such samples as what they are."""
    bits = {*directory.numbers(tiff.BITS)} or {1}
    formats = {*directory.numbers(tiff.FORMAT)} or {WHOLE}
    whole, packing = formats <= {WHOLE, UNSAID}, directory.number(tiff.COMPRESSION, tiff.RAW)
    single = samples == 1
    if packing not in PACKINGS:  # those are blind to pixels
        return packing in FURTHER and whole and (bits == {8} or (bits == {1} and single))
    reversed_bits = directory.number(tiff.FILL, 1) != 1 and photometric in COLOURS
    if reversed_bits or directory.number(tiff.PLANAR, 1) == 2:
        return False
    if photometric == YCBCR:
        return whole and bits == {8} and (directory.number(tiff.COMPRESSION, 1) != tiff.RAW or _unreduced(directory))
    if single:
        grey = photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO)
        few = whole and (bits <= {1, 2, 4, 8}) and (grey or photometric == PALETTE)
        return few or (photometric == BLACK_IS_ZERO and ((whole and bits == {16}) or (formats == {FLOATING} and bits == {32})))
    further = directory.numbers(tiff.EXTRA)
    if ASSOCIATED in further:  # the decoder loses colours whose transparency is 0
        return False
    known = photometric in (RGB, INKS) and samples - len(further) == COLOURS[photometric] and set(further[1:]) <= {0}
    if photometric == INKS and set(further) - {0}:
        return False
    if known and samples <= 6:
        return whole and (bits == {8} or (bits == {16} and samples <= 4))
    if photometric in (PALETTE, LAB):
        return whole and bits == {8} and samples == (3 if photometric == LAB else 2)
    return whole and bits == {8} and photometric == BLACK_IS_ZERO and samples == 2 and len(further) == 1


def _unreduced(directory: Directory) -> bool:
    """Tell whether YCbCr has as many colours as pixels; unsaid, it has a quarter."""
    return directory.numbers(SUBSAMPLING) == [1, 1]


def _alpha(directory: Directory, colours: int, samples: int) -> tuple[int, bool] | None:
    """Return which sample is transparency: the first that is said to be."""
    for i, kind in enumerate(directory.numbers(tiff.EXTRA)[: samples - colours]):
        if kind in (ASSOCIATED, UNASSOCIATED):
            return colours + i, kind == ASSOCIATED
    return None
