"""Comparing a port's layers with a trace, in the network's order: a row of measures each, and the first that diverges."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np

from ..checks import Floating
from ..errors import shown
from ..paths import INPUT
from . import memory_order
from .recorded import Recorded, rename
from .trace import Trace
from .ulp import distance, same_bits

PERCENTILE = 0.999


@dataclass(frozen=True)
class Tolerance:
    """How far a port's number b may lie from the trace's a, in a layer whose numbers have the root mean square m.

    |a - b| <= atol + rtol * max(|a|, m), or at most `max_ulp` numbers of the port's format between them. The m lets a
    number that cancelled to almost nothing err as its neighbours do.
    """

    rtol: float
    atol: float = 0.0
    max_ulp: float | None = None


# What PyTorch and ONNX Runtime were measured to need for whole networks (b0 and b3 seeded, the bundled weights, 64 and 224
# pixels) is 1.3e-5 in float32, 2.3e-2 in float16 and 2.2e-1 in bfloat16 throughout; a float64 port still differs from
# `exact` by the float32 rounding of every layer of the latter.
DEFAULTS = {
    "float64": Tolerance(5e-5),
    "float32": Tolerance(5e-5),
    "float16": Tolerance(5e-2),
    "bfloat16": Tolerance(4e-1),
}


@dataclass(frozen=True)
class Difference:
    """One element of a layer that lies outside the tolerance: where, and both numbers."""

    index: tuple[int, ...]
    ours: float
    theirs: float


@dataclass(frozen=True)
class Row:
    """How one layer compares. Errors are |ours - theirs|, over finite numbers; relative ones leave out ours == 0."""

    number: int  # place in the trace, from 0
    path: str
    shape: tuple[int, ...]  # ours
    form: str  # the port's number format
    within: bool
    bit_equal: float  # share of elements, 0..1, after ours is rounded to the port's format
    max_abs: float
    max_rel: float
    max_ulp: float  # counted in the port's format (float64: in float32)
    ulp_999: float  # 99.9 per cent of the elements lie within this many
    snr_db: float  # 10 log10(sum ours^2 / sum (ours - theirs)^2); infinite where equal
    cosine: float
    first: Difference | None = None  # in index order, outside the tolerance
    worst: Difference | None = None
    fault: str = ""  # why there are no numbers: a shape that cannot be the trace's


@dataclass(frozen=True)
class Report:
    """All rows in the trace's order, and what could not be compared."""

    rows: list[Row]
    missing: list[str]  # layers of the trace that the port does not have
    unknown: list[str]  # names of the port that are not in the trace
    layout: str
    arrays: dict[str, Floating]  # the port's layers under checkpoint paths, as (N, C, H, W)

    @property
    def first_divergence(self) -> Row | None:
        """The first layer that lies outside its tolerance, in the trace's order; None where all are within."""
        return next((row for row in self.rows if not row.within), None)

    @property
    def within(self) -> bool:
        """Whether no layer that was compared lies outside its tolerance."""
        return self.first_divergence is None

    @property
    def bit_equal(self) -> bool:
        """Whether every layer that was compared has the trace's bits."""
        return all(row.bit_equal == 1 for row in self.rows)

    def plain(self, hint: str = "") -> dict[str, Any]:
        """Return the report in types that JSON knows: numbers that it does not know, infinities and NaN, are None.

        `hint` is what `Baseline.hint` says of the first divergence, and goes with it. The arrays are left out. A port
        is right where 'within' is true and 'missing' is empty: a layer that is missing went unchecked.
        """
        first = self.first_divergence
        return {
            "within": self.within,
            "layout": self.layout,
            "first_divergence": None if first is None else {**_plain(asdict(first)), "hint": hint},
            "rows": [_plain(asdict(row)) for row in self.rows],
            "missing": list(self.missing),
            "unknown": list(self.unknown),
        }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def compare(
    trace: Trace,
    port: Mapping[str, Recorded],
    tolerance: Tolerance | None = None,
    names: Iterable[tuple[str, str]] = (),
    layout: str = "auto",
) -> Report:
    """Compare what a port recorded with a trace, layer by layer, the input first where both have it.

    `tolerance` None takes that of each layer's format in DEFAULTS; `names` is a map as `recorded.read_names` returns it;
    `layout` is 'nchw', 'nhwc' or 'auto'. Raises ValueError where the two have no layer in common.
    """
    ours = trace.arrays
    port = rename(port, names, ours)
    common = [path for path in ours if path in port]
    if not port:
        raise ValueError("the port holds no layers")
    if not any(path != INPUT for path in common):
        raise ValueError(
            f"the port has none of the trace's {len(trace.layers)} layers: its names begin with "
            f"{some(port)}, the trace's with {some(trace.layers)}; name a --map"
        )
    if layout == "auto":
        layout = memory_order.detect((ours[path], port[path].values) for path in common)
        order = [layout, *(other for other in memory_order.LAYOUTS if other != layout)]
    else:
        order = [layout]
    rows, arrays = [], {}
    for number, path in enumerate(ours):
        if path not in port:
            continue
        theirs, form = port[path].values, port[path].form
        fitted = _fit(theirs, ours[path].shape, order)
        if fitted is None:
            arrays[path] = theirs
            rows.append(_misshapen(number, path, ours[path], theirs, form))
        else:
            arrays[path] = fitted
            rows.append(measure(number, path, ours[path], fitted, form, tolerance or DEFAULTS[form]))
    compared = {id(port[path]) for path in common}  # a layer that a map renamed is there under both its names
    unknown = [name for name, recorded in port.items() if name not in ours and id(recorded) not in compared]
    return Report(rows, [path for path in trace.layers if path not in port], unknown, layout, arrays)


def some(names: Iterable[str]) -> str:
    """Return the first three names, each cut to what a message has room for."""
    return ", ".join(shown(name) for name in islice(names, 3))


def _fit(theirs: Floating, shape: tuple[int, ...], order: Sequence[str]) -> Floating | None:
    """Return a port's array in the trace's layout, taken for the first of `order` that its shape allows; None for none."""
    possible = memory_order.possible(theirs.shape, shape)
    layout = next((layout for layout in order if layout in possible), None)
    return None if layout is None else memory_order.arrange(theirs, shape, layout)


def _misshapen(number: int, path: str, ours: Floating, theirs: Floating, form: str) -> Row:
    unknown = (math.nan,) * 7
    return Row(number, path, ours.shape, form, False, *unknown, fault=f"shape {theirs.shape}, the trace has {ours.shape}")


def measure(number: int, path: str, ours: Floating, theirs: Floating, form: str, tolerance: Tolerance) -> Row:
    """Return the row for two arrays of one shape."""
    a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    finite = np.isfinite(a) & np.isfinite(b)
    error = np.where(same, 0.0, np.inf)
    np.subtract(a, b, out=error, where=finite)
    error = np.abs(error)
    ulps = distance(ours, theirs, form)
    scale = rms(a[np.isfinite(a)])
    magnitude = np.maximum(np.abs(np.where(np.isfinite(a), a, 0.0)), scale)
    within = same | (error <= tolerance.atol + tolerance.rtol * magnitude)
    if tolerance.max_ulp is not None:
        within |= ulps <= tolerance.max_ulp
    first = worst = None
    if not within.all():
        first, worst = (_difference(ours, theirs, int(flat)) for flat in (np.argmin(within), np.argmax(error)))
    a, b, e = a[finite], b[finite], error[finite]
    signal, noise, other = float(a @ a), float(e @ e), float(b @ b)
    return Row(
        number, path, ours.shape, form, bool(within.all()),
        bit_equal=float(same_bits(ours, theirs, form).mean()) if ours.size else 1.0,
        max_abs=float(error.max(initial=0.0)),
        max_rel=float((e[a != 0] / np.abs(a[a != 0])).max(initial=0.0)),
        max_ulp=float(ulps.max(initial=0.0)),
        ulp_999=_percentile(ulps.ravel()),
        snr_db=math.inf if noise == 0 else -math.inf if signal == 0 else 10 * math.log10(signal / noise),
        cosine=float(a @ b) / math.sqrt(signal * other) if signal and other else float(signal == other),
        first=first,
        worst=worst,
    )  # fmt: skip


def rms(values: Floating) -> float:
    """Return the root mean square, 0 for nothing."""
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64)))) if values.size else 0.0


def _percentile(values: Floating) -> float:
    """The smallest distance within which at least 99.9 per cent of the elements lie."""
    if not values.size:
        return 0.0
    place = math.ceil(PERCENTILE * values.size) - 1
    return float(np.partition(values, place)[place])


def _difference(ours: Floating, theirs: Floating, flat: int) -> Difference:
    index = tuple(int(i) for i in np.unravel_index(flat, ours.shape))
    return Difference(index, float(ours[index]), float(theirs[index]))
