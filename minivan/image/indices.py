"""Masks as files: a PNG of one index for each pixel, in grey or with a palette."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .bounds import ImageError
from .decoding import Source, read_source, stored_values
from .kinds import FIRST, recognise

DEPTH, COLOUR_TYPE = 24, 25  # where a PNG's header says how many bits a sample has, and what it is
GREY, PALETTE = 0, 3
UNSCALED = {2: 85, 4: 17}  # by what Pillow multiplies grey of so few bits, so that its largest value is white


def read_indices(source: Source) -> npt.NDArray[Any]:
    """Return a mask's indices, whole numbers (H, W): the values of a grey PNG, 1 to 16 bits, or the places in its palette.

    `source` is a file's path, what it holds, or an open file. It is not turned, and colours mean nothing. Raises ImageError for
    anything else, OSError where the file cannot be read.
    """
    data = read_source(source)
    kind = recognise(data[:FIRST])
    if kind != "PNG" or len(data) <= COLOUR_TYPE or data[COLOUR_TYPE] not in (GREY, PALETTE):
        colours = "a PNG in colours" if kind == "PNG" else kind
        raise ImageError(f"{colours}: a mask is a PNG whose values are indices of classes, in grey or with a palette")
    values: npt.NDArray[Any] = stored_values(data)
    if values.dtype == np.bool_:
        return values.astype(np.uint8)
    if data[COLOUR_TYPE] == GREY and (scale := UNSCALED.get(data[DEPTH])):
        return values // np.uint8(scale)
    return values
