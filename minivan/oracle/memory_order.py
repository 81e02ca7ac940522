"""Channels first or last: bringing a port's array into (N, C, H, W)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from ..checks import Floating

LAYOUTS = ("nchw", "nhwc")
NEARER = 0.5  # one layout's error is this share of the other's: it is the right one
ALIKE = 0.1  # or its correlation is larger by this much
AGREEING = 3  # maps whose shapes force one layout: so many decide for those that fit both
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
    if in_place(shape, layout):
        return array.reshape(shape)
    n, c, h, w = shape
    return array.reshape(n, h, w, c).transpose(0, 3, 1, 2)


def in_place(shape: Shape, layout: str) -> bool:
    """Return whether a port's numbers, in the order in which they lie in memory, are those of the trace's shape."""
    return layout == "nchw" or len(shape) != 4


def decide(
    shapes: Mapping[str, tuple[Shape, Shape]], pair: Callable[[str], tuple[Floating, Floating]], asked: str = "auto"
) -> dict[str, str | None]:
    """Return each layer's layout, given the trace's shape and the port's; None where the port's shape fits neither.

    `pair` gives both arrays of a layer, where the shapes do not tell.

    Where a shape fits one layout alone, that is its layout. Where it fits both, and at least AGREEING maps of four axes have to
    be of one layout and none of the other, so is a map of four axes: if its numbers say otherwise, its memory was misread. Else
    the numbers decide: the layout in which the port's lie clearly nearer to the trace's. Where they do not tell either (the
    layer is wrong in both), it is that of the layers which have as many axes in the port, or of all layers. A layout that is
    asked for holds for maps of four axes, and where both fit; tokens may still be what they are.
    """
    fitting = {path: possible(theirs, ours) for path, (ours, theirs) in shapes.items()}
    axes = {path: len(theirs) for path, (_, theirs) in shapes.items()}
    if asked in LAYOUTS:
        return {path: _as_asked(fits, axes[path], asked) for path, fits in fitting.items()}
    forced = {path: fits[0] for path, fits in fitting.items() if len(fits) == 1}
    maps = [layout for path, layout in forced.items() if axes[path] == len(shapes[path][0]) == 4]
    agreed = maps[0] if len(maps) >= AGREEING and len(set(maps)) == 1 else None
    both = [path for path, fits in fitting.items() if len(fits) == 2 and len(shapes[path][0]) == 4]
    told = {path: agreed if agreed and axes[path] == 4 else _nearer(*pair(path)) for path in both}
    sure = forced | {path: layout for path, layout in told.items() if layout}

    def usual(path: str) -> str:
        alike = [layout for other, layout in sure.items() if axes[other] == axes[path]]
        return prevailing(alike or sure.values())

    return {path: None if not fits else sure.get(path) or usual(path) for path, fits in fitting.items()}


def prevailing(layouts: Iterable[str | None]) -> str:
    """Return the layout of most layers, channels first where there are as many of either."""
    counts = Counter(layouts)
    return "nhwc" if counts["nhwc"] > counts["nchw"] else "nchw"


def _as_asked(fits: list[str], axes: int, asked: str) -> str | None:
    if asked in fits:
        return asked
    return fits[0] if fits and axes != 4 else None


def _nearer(ours: Floating, theirs: Floating) -> str | None:
    """Return the layout in which a port's map is clearly nearer to the trace's, or clearly more alike; None for neither."""
    arranged = [np.asarray(arrange(theirs, ours.shape, layout), np.float64) for layout in LAYOUTS]
    finite = np.isfinite(ours) & np.isfinite(arranged[0]) & np.isfinite(arranged[1])
    a, candidates = np.asarray(ours, np.float64)[finite], [array[finite] for array in arranged]
    errors = [float(np.abs(a - b).sum()) for b in candidates]
    if min(errors) < NEARER * max(errors):
        return LAYOUTS[int(np.argmin(errors))]
    alike = [_correlation(a, b) for b in candidates]
    return LAYOUTS[int(np.argmax(alike))] if abs(alike[0] - alike[1]) > ALIKE else None


def _correlation(a: Floating, b: Floating) -> float:
    """Return how alike two arrays are whatever their scale and offset, 0..1; 0 for constants and for nothing."""
    if not a.size:
        return 0.0
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return abs(float(a @ b)) / size if size else 0.0
