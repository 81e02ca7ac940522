"""A photo of any size through a network that takes windows of it, and the mask that their logits make at the photo's own size.

A window's logits are a quarter of its size. Where windows overlap, logits are averaged. Neither the logits of a whole photo nor
anything of its own size beside the mask is ever held: windows are taken along the longer side, row by row of them, and what no
further window changes becomes mask at once. Source: mmsegmentation's `EncoderDecoder.slide_inference`, whose last windows, too,
are moved back to the edge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..card import Preprocessing
from ..checks import Float32
from ..image import normalise
from ..image.preparing import resized

Mask = npt.NDArray[np.uint8]
Network = Callable[[Float32], Float32]  # (1, 3, H, W) -> logits (1, classes, H / 4, W / 4)

STRIDE = 4  # the network's: pixels for each logit, in both directions
MULTIPLE = 32  # of which both sides of what the network sees are: its coarsest map has a place for each
WINDOW = 1024  # pixels a side of the largest window: what a network holds for it is the most that it holds
OVERLAP = 256  # pixels that neighbouring windows share
NARROW = 8  # times a photo's shorter side that the longer one may be and the photo still be enlarged as others are
STRIP = 1 << 20  # pixels of the mask, or numbers beside them, that are worked on at once


def starts(length: int, window: int, overlap: int) -> list[int]:
    """Return where windows begin that cover a length; the last one ends with it.

    >>> starts(1000, 400, 100)
    [0, 300, 600]
    >>> starts(900, 400, 100)
    [0, 300, 500]
    """
    if length <= window:
        return [0]
    return [*range(0, length - window, window - overlap), length - window]


def padded(length: int) -> int:
    """Return the side of what the network sees of a length: the next multiple of 32."""
    return -(-length // MULTIPLE) * MULTIPLE


def bands(network: Network, picture: Image.Image, settings: Preprocessing) -> Iterator[Float32]:
    """Yield a picture's logits, (classes, rows, columns), a band of rows after the other; a wide one is turned.

    The rows of all bands together are those of the longer side: ceil(longer / 4), the columns ceil(shorter / 4). The picture is
    normalised by mean and std of `settings`, and padded with zeros at the right and at the bottom to multiples of 32.
    """
    sides = (picture.height, picture.width)
    tall = picture.height >= picture.width
    long, short = sorted(sides, reverse=True)
    window = [min(padded(side), WINDOW) for side in (long, short)]
    down, across = (
        starts(padded(side), *each) for side, each in zip((long, short), ((w, OVERLAP) for w in window), strict=True)
    )
    rows, columns = -(-long // STRIDE), -(-short // STRIDE)
    times = _covered(across, window[1], padded(short))
    total, covered = np.zeros((0, 0, 0), np.float32), np.zeros(0, np.float32)
    for top, after in zip(down, [*down[1:], padded(long)], strict=True):
        for left in across:
            box = (left, top, window[1], window[0]) if tall else (top, left, window[0], window[1])
            logits = network(cut(picture, box, settings)[None])[0]
            part = logits if tall else logits.transpose(0, 2, 1)
            if len(down) == len(across) == 1:
                yield part[:, :rows, :columns]
                return
            if not total.size:
                total = np.zeros((len(part), window[0] // STRIDE, padded(short) // STRIDE), np.float32)
                covered = np.zeros(total.shape[1], np.float32)
            total[:, :, left // STRIDE : (left + window[1]) // STRIDE] += part
        covered += 1
        done = (after - top) // STRIDE  # rows that no further window changes
        first = top // STRIDE
        yield (total[:, :done] / (covered[:done, None] * times))[:, : max(0, rows - first), :columns]
        for sums in (total.transpose(1, 0, 2), covered):
            sums[: len(sums) - done] = sums[done:].copy()
            sums[len(sums) - done :] = 0


def _covered(begun: Sequence[int], window: int, length: int) -> Float32:
    """Return how many of the windows that begin at `begun` cover each logit of a length."""
    times = np.zeros(length // STRIDE, np.float32)
    for start in begun:
        times[start // STRIDE : (start + window) // STRIDE] += 1
    return times


def cut(picture: Image.Image, box: tuple[int, int, int, int], settings: Preprocessing) -> Float32:
    """Return a window (left, top, width, height) of a picture, normalised, (3, height, width); outside of it are zeros."""
    left, top, width, height = box
    inside = picture.crop((left, top, min(left + width, picture.width), min(top + height, picture.height)))
    made = np.zeros((3, height, width), np.float32)
    made[:, : inside.height, : inside.width] = normalise(inside, settings.mean, settings.std)
    return made


class Places(NamedTuple):
    """Between which logits places of the mask lie, along one side."""

    before: npt.NDArray[np.int64]
    after: npt.NDArray[np.int64]
    weight: Float32  # of the one after

    @classmethod
    def of(cls, first: int, last: int, size: int, scaled: int) -> Places:
        """Return those of pixels `first`..`last` - 1 of a side of `size` pixels that the network saw scaled to `scaled`.

        They are PyTorch's for `align_corners=False`, from the middle of a pixel to the middles of logits.
        """
        logits = -(-scaled // STRIDE)
        place = np.clip((np.arange(first, last) + 0.5) * (scaled / size) / STRIDE - 0.5, 0, logits - 1)
        before = place.astype(np.int64)
        return cls(before, np.minimum(before + 1, logits - 1), (place - before).astype(np.float32))


def paint(mask: Mask, scaled: tuple[int, int], found: Iterator[Float32]) -> None:
    """Fill a mask, (H, W), with the likeliest class of each pixel, from the `bands` of a picture scaled to (height, width).

    Logits are interpolated bilinearly; of equal ones the class of the lower index is taken. Raises ValueError for logits that
    are no numbers.
    """
    if scaled[0] < scaled[1]:
        mask, scaled = mask.T, (scaled[1], scaled[0])
    height, width = mask.shape
    across = Places.of(0, width, width, scaled[1])
    held, first = _finite(next(found)), 0  # logits, and the row in which they begin
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):
        down = Places.of(top, min(top + rows, height), height, scaled[0])
        low, high = int(down.before[0]), int(down.after[-1])
        while first + held.shape[1] <= high:
            past = min(low - first, held.shape[1])
            held, first = np.concatenate([held[:, past:], _finite(next(found))], axis=1), first + past
        near = Places(down.before - low, down.after - low, down.weight)
        _fill(mask[top : top + rows], held[:, low - first : high - first + 1], near, across)


def _fill(mask: Mask, logits: Float32, down: Places, across: Places) -> None:
    """Fill rows of a mask. Between four logits of one likeliest class no other can be likelier: that is most of a photo."""
    likeliest = logits.argmax(axis=0).astype(np.uint8)
    below = np.concatenate([likeliest[1:], likeliest[-1:]])
    same = likeliest == below
    beside = np.concatenate([likeliest[:, 1:], likeliest[:, -1:]], axis=1)
    same &= (likeliest == beside) & np.concatenate([same[:, 1:], same[:, -1:]], axis=1)
    cells = np.ix_(down.before, across.before)
    mask[:] = likeliest[cells]
    unsure = ~same[cells]
    by_place = np.ascontiguousarray(logits.transpose(1, 2, 0))  # a pixel's classes side by side: two to three times as fast
    columns, classes = by_place.shape[1:]
    rows, pixels = max(1, STRIP // (columns * classes)), max(1, STRIP // classes)
    for top in range(0, len(mask), rows):
        part = slice(top, top + rows)
        low = down.weight[part, None, None]
        lines = by_place[down.before[part]] * (1 - low) + by_place[down.after[part]] * low  # (rows, columns, classes)
        y, x = np.nonzero(unsure[part])
        for first in range(0, len(y), pixels):
            row, column = y[first : first + pixels], x[first : first + pixels]
            right = across.weight[column, None]
            found = lines[row, across.before[column]] * (1 - right) + lines[row, across.after[column]] * right
            mask[top + row, column] = found.argmax(axis=1)


def _finite(logits: Float32) -> Float32:
    if not np.isfinite(logits).all():
        raise ValueError("the weights give logits that are no numbers: they are damaged")
    return logits


def scaled_size(width: int, height: int, side: int | None) -> tuple[int, int]:
    """Return the width and height at which the network sees a photo: its shorter side is `side` pixels; None: as it is.

    One that is narrow is not enlarged further than to NARROW squares of that side, as many pixels as a panorama has.
    """
    if side is None:
        return width, height
    larger = side / min(width, height)
    if larger > 1 and width * height * larger**2 > (most := NARROW * side**2):
        larger = max(1.0, math.sqrt(most / (width * height)))
        return max(1, round(width * larger)), max(1, round(height * larger))
    return resized(width, height, side)
