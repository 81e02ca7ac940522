"""Faults that show in the numbers alone: channels in another order, a factor, clipped numbers, memory that was never written.

Each is fitted to the port's numbers, so that it always comes near: it counts only where what remains is as small as rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import numpy.typing as npt

from ..checks import Floating
from ..paths import HEAD, POOL
from .faults import Fault
from .measure import PIECE, rms

FEWEST = 4  # channels whose order tells something
SAMPLED = 64  # numbers of a channel by which it is known again
MOST_CHANNELS = 4096
INSIDE = 0.1  # of a layer's numbers lie between the bounds that it was clipped to
FEWEST_WRITTEN = 64  # numbers of a layer, below which that many right ones in front may be chance
TAIL = 0.9  # of the numbers after the first wrong one are wrong, where memory was not written from there on


def fitted_to(path: str, theirs: Floating, right: Floating) -> Iterator[Fault]:
    """Yield the faults of this kind that the numbers suggest, with what the layer would be if they were all that is wrong."""
    if theirs.shape != right.shape or not theirs.size:
        return
    yield from _order(path, theirs, right)
    yield from _tail(theirs, right)
    if np.isfinite(theirs).all() and np.isfinite(right).all():
        yield from _clipped(theirs, right)
        yield from _factor(path, theirs, right)


def _order(path: str, theirs: Floating, right: Floating) -> Iterator[Fault]:
    """Channels, or classes, in another order: each of the port's is known again among the right ones by its numbers."""
    channels = right.shape[1] if right.ndim in (2, 4) else 0
    if not FEWEST <= channels <= MOST_CHANNELS:
        return
    ours, port = (_samples(array) for array in (right, theirs))
    order = np.empty(channels, np.int64)
    for place in range(channels):
        order[place] = np.argmin(((ours - port[place]) ** 2).sum(1))
    if len(set(order.tolist())) < channels or (order == np.arange(channels)).all():
        return
    word = "classes" if path == HEAD else "channels"
    yield f"the {word} are in another order: {_shown(order)}", lambda: right[:, order]


def _samples(array: Floating) -> Floating:
    """Return (C, S): some numbers of each channel, spread over images and positions."""
    flat = array.swapaxes(0, 1).reshape(array.shape[1], -1)
    return flat[:, :: max(1, flat.shape[1] // SAMPLED)].astype(np.float64)


def _shown(order: npt.NDArray[np.int64]) -> str:
    """What an order is, where it has a name, and its first places otherwise."""
    count = len(order)
    if (order == np.arange(count)[::-1]).all():
        return "reversed"
    for groups in range(2, count // 2 + 1):
        if count % groups == 0 and (order == np.arange(count).reshape(groups, -1).T.ravel()).all():
            return f"shuffled as {groups} groups"
    shift = int(order[0])
    if (order == (np.arange(count) + shift) % count).all():
        return f"shifted by {shift}"
    return f"{', '.join(str(place) for place in order[:FEWEST])}, ..."


def _tail(theirs: Floating, right: Floating) -> Iterator[Fault]:
    """Right up to some place in memory, channels first or last, and wrong from there on: never written, where that shows."""
    for words, axes in (("", None), (" (channels last)", (0, 2, 3, 1))):
        if axes is not None and right.ndim != 4:
            continue
        ours, port = ((array if axes is None else array.transpose(axes)).ravel() for array in (right, theirs))
        wrong = _wrong(ours, port, rms(ours) if np.isfinite(ours).all() else 0.0)
        if not wrong.any():
            continue
        first = int(np.argmax(wrong))
        count = len(wrong) - first
        if len(wrong) >= FEWEST_WRITTEN and first >= len(wrong) // 10 and wrong[first:].mean() > TAIL:
            written = np.where(np.arange(len(wrong)) < first, ours, port)
            shape = right.shape if axes is None else tuple(right.shape[axis] for axis in axes)
            back = written.reshape(shape)
            if (port[first:] == port[first]).all():
                said = "zeros" if not port[first] else f"all {port[first]:g}"
                text = f"the last {count:,} of {len(wrong):,} numbers in memory{words} are {said}: never written"
            elif first % (len(wrong) // len(right)) == 0:  # whole images: it is not memory that is wrong
                continue
            else:
                text = f"the first {first:,} of {len(wrong):,} numbers in memory{words} are right, and wrong from there on"
            yield text, partial(_nchw, back, channels_last=axes is not None)


def _wrong(ours: Floating, port: Floating, size: float) -> npt.NDArray[np.bool_]:
    """Return where a port's numbers are off by a fiftieth of the right ones, or of their size."""
    wrong = np.empty(ours.shape, np.bool_)
    for begin in range(0, ours.size, PIECE):
        piece = slice(begin, begin + PIECE)
        a, b = ours[piece].astype(np.float64), port[piece].astype(np.float64)
        wrong[piece] = ~(np.abs(a - b) <= 0.02 * np.maximum(np.abs(a), size))
    return wrong


def _nchw(array: Floating, channels_last: bool) -> Floating:
    return array.transpose(0, 3, 1, 2) if channels_last else array


def _clipped(theirs: Floating, right: Floating) -> Iterator[Fault]:
    """Numbers kept within bounds: those of ReLU6, or of a type of eight bits."""
    low, high = float(theirs.min()), float(theirs.max())
    below, above = bool((right < low).any()), bool((right > high).any())
    within = (theirs > low) & (theirs < high)
    if within.mean() < INSIDE:
        return
    hit = [bound for bound, cut in ((low, below), (high, above)) if cut and int((theirs == bound).sum()) > 1]
    if hit:
        bounds = " and ".join(f"{word} {bound:g}" for word, bound in (("below", low), ("above", high)) if bound in hit)
        yield f"the numbers are clipped {bounds}", lambda: np.clip(right, low, high)


def _factor(path: str, theirs: Floating, right: Floating) -> Iterator[Fault]:
    """All numbers by the same factor, which pooling by another count gives."""
    ours, port = (np.ascontiguousarray(array).reshape(-1) for array in (right, theirs))
    size = inner = 0.0
    for begin in range(0, ours.size, PIECE):
        a, b = (array[begin : begin + PIECE].astype(np.float64) for array in (ours, port))
        size, inner = size + float(a @ a), inner + float(a @ b)
    factor = inner / size if size else 1.0
    if factor and abs(factor - 1) > 1e-3:
        word = "the mean divides by another count of positions" if path == POOL else "all numbers are multiplied"
        yield f"{word}: they are {factor:.4g} times what they should be", lambda: np.multiply(right, factor, dtype=np.float64)
