"""The mistakes that ports make where a map is brought to another size: other places, or another mean of the values around."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias, cast

import numpy as np

from ..checks import Floating
from ..engines import EXACT
from ..operators import SegmentationOperators
from .replay import Call, Replay

Places: TypeAlias = Callable[[int, int], Floating]  # where so many places lie along an axis of so many values
OPS = cast(SegmentationOperators, EXACT.ops)
ALIGNED = "align_corners is true instead of false"


def aligned(places: int, of: int) -> Floating:
    """The first place lies on the first value, the last on the last."""
    return np.arange(places) * ((of - 1) / max(places - 1, 1))


def asymmetric(places: int, of: int) -> Floating:
    """Places are compared by their first corners."""
    return np.minimum(np.arange(places) * of / places, of - 1)


def nearest_faults(call: Call, seen: Replay) -> Iterator[tuple[str, Callable[[], Floating]]]:
    """Another nearest value, or a mean."""
    yield "bilinear instead of nearest", lambda: OPS.upsample_bilinear(call.x, call.parameters["size"])
    yield ALIGNED, lambda: _nearest(call, lambda places, of: np.rint(aligned(places, of)))
    yield (
        "the nearest is reckoned in whole numbers, not in float32 as in PyTorch",
        lambda: _nearest(call, lambda places, of: np.floor(np.arange(places) * of / places)),
    )
    yield (
        "the nearest by the places' middles (nearest-exact) instead of their first corners",
        lambda: _nearest(call, lambda places, of: np.floor((np.arange(places) + 0.5) * of / places)),
    )


def bilinear_faults(call: Call, seen: Replay) -> Iterator[tuple[str, Callable[[], Floating]]]:
    """Other places, or no mean."""
    yield "nearest instead of bilinear", lambda: OPS.upsample_nearest(call.x, call.parameters["size"])
    yield ALIGNED, lambda: _bilinear(call, aligned)
    text = "places are compared by their first corners instead of their middles (asymmetric)"
    yield text, lambda: _bilinear(call, asymmetric)


def _nearest(call: Call, places: Places) -> Floating:
    rows, columns = (places(p, of).astype(np.intp) for p, of in zip(call.parameters["size"], call.x.shape[2:], strict=True))
    return np.asarray(call.x[:, :, rows[:, None], columns])


def _bilinear(call: Call, places: Places) -> Floating:
    x = np.asarray(call.x, np.float64)
    for axis, wanted in zip((2, 3), call.parameters["size"], strict=True):
        of = x.shape[axis]
        at = places(wanted, of)
        before = at.astype(np.intp)
        near = (at - before).reshape(-1, *[1] * (3 - axis))
        x = (1 - near) * x.take(before, axis) + near * x.take(np.minimum(before + 1, of - 1), axis)
    return x
