"""Channels first or last: bringing a port's array into (N, C, H, W)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

LAYOUTS = ("nchw", "nhwc")


def forms(shape: tuple[int, ...]) -> dict[str, list[tuple[int, ...]]]:
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


def _with_bare_batch(shapes):
    return shapes + [s[1:] for s in shapes if s[0] == 1]


def possible(array: np.ndarray, shape: tuple[int, ...]) -> list[str]:
    """Return the layouts in which an array may hold a layer of this shape; none where its shape is simply another."""
    return [layout for layout, shapes in forms(shape).items() if array.shape in shapes]


def arrange(array: np.ndarray, shape: tuple[int, ...], layout: str) -> np.ndarray:
    """Return an array of a `possible` layout as (N, C, H, W), or (N, C) for pooled features."""
    if layout == "nchw" or len(shape) != 4:
        return array.reshape(shape)
    n, c, h, w = shape
    return array.reshape(n, h, w, c).transpose(0, 3, 1, 2)


def detect(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> str:
    """Return the layout that a port's arrays (second) have, given the trace's (first).

    Shapes decide: one layer that fits only one layout settles it. Where every layer has as many channels as
    positions a side, the numbers do: the layout in which the layers lie closer to the trace.
    """
    pairs = [(ours, theirs, possible(theirs, ours.shape)) for ours, theirs in pairs if ours.ndim == 4]
    votes = {layout: sum(p == [layout] for _, _, p in pairs) for layout in LAYOUTS}
    if votes["nchw"] != votes["nhwc"]:
        return max(LAYOUTS, key=votes.get)
    ambiguous = [(ours, theirs) for ours, theirs, p in pairs if len(p) == 2]

    def error(layout):
        return sum(float(np.abs(ours - arrange(theirs, ours.shape, layout)).mean()) for ours, theirs in ambiguous)

    return min(LAYOUTS, key=error) if ambiguous else "nchw"
