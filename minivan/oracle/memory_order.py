"""Channels first or last: bringing a port's array into (N, C, H, W)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..checks import Floating

LAYOUTS = ("nchw", "nhwc")
Shape = tuple[int, ...]


def forms(shape: Shape) -> dict[str, list[Shape]]:
    """Return the shapes in which ports hold an array of the trace's `shape`, for each layout.

    A batch of one may go unmentioned; positions may be one axis, as tokens; axes of length one may trail pooled channels.
    """
    if len(shape) == 2:
        n, c = shape
        return {"nchw": _with_bare_batch([(n, c), (n, c, 1, 1)]), "nhwc": _with_bare_batch([(n, c), (n, 1, 1, c)])}
    if len(shape) != 4:
        return {layout: [shape] for layout in LAYOUTS}
    n, c, h, w = shape
    return {"nchw": _with_bare_batch([(n, c, h, w), (n, c, h * w)]), "nhwc": _with_bare_batch([(n, h, w, c), (n, h * w, c)])}


def _with_bare_batch(shapes: list[Shape]) -> list[Shape]:
    return shapes + [shape[1:] for shape in shapes if shape[0] == 1]


def possible(shape: Shape, wanted: Shape) -> list[str]:
    """Return the layouts in which a port's array of one shape may hold the trace's of another; none where it cannot.

    >>> possible((1, 7, 7, 256), (1, 256, 7, 7))
    ['nhwc']
    """
    return [layout for layout, shapes in forms(wanted).items() if shape in shapes]


def arrange(array: Floating, shape: Shape, layout: str) -> Floating:
    """Return an array of a `possible` layout as (N, C, H, W), or (N, C) for pooled features."""
    if layout == "nchw" or len(shape) != 4:
        return array.reshape(shape)
    n, c, h, w = shape
    return array.reshape(n, h, w, c).transpose(0, 3, 1, 2)


def detect(pairs: Iterable[tuple[Floating, Floating]]) -> str:
    """Return the layout that a port's arrays (second) have, given the trace's (first).

    Shapes decide: one layer that fits only one layout settles it. Where every layer has as many channels as
    positions a side, the numbers do: the layout in which the layers lie closer to the trace.
    """
    maps = [(ours, theirs, possible(theirs.shape, ours.shape)) for ours, theirs in pairs if ours.ndim == 4]
    channels_first, channels_last = (sum(fits == [layout] for _, _, fits in maps) for layout in LAYOUTS)
    if channels_first != channels_last:
        return "nchw" if channels_first > channels_last else "nhwc"
    ambiguous = [(ours, theirs) for ours, theirs, fits in maps if len(fits) == 2]

    def error(layout: str) -> float:
        return sum(float(np.abs(ours - arrange(theirs, ours.shape, layout)).mean()) for ours, theirs in ambiguous)

    return min(LAYOUTS, key=error) if ambiguous else "nchw"
