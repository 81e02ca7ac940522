"""Comparing a port's layers with a trace, in the network's order: a row of measures each, and the first that diverges."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from ..checks import Floating
from ..errors import shown
from ..floating import undisturbed
from ..paths import INPUT
from . import memory_order
from .gradients import is_of_parameters, sizes_in
from .measure import GROUP, Row, measured, misshapen
from .naming import known, of_library, rename
from .origin import check_origin
from .precision import Precision, resolve
from .recorded import Port, Recorded
from .stored import Layers, OnDemand
from .tolerance import Tolerance, default
from .trace import Trace

AS_STORED = "nchw"  # the layout of what has a tensor's shape


class Arranged(OnDemand):
    """A port's layers under checkpoint paths, brought into (N, C, H, W) and C order when they are asked for.

    `wanted` has the trace's shape of each, and the port's layout, None for a layer whose shape cannot be the trace's.
    """

    def __init__(self, port: Mapping[str, Recorded], wanted: Mapping[str, tuple[tuple[int, ...], str | None]]) -> None:
        self.port, self.wanted = port, wanted
        super().__init__(port)

    def __getitem__(self, path: str) -> Floating:
        values, (shape, layout) = self.port[path].values, self.wanted[path]
        return values if layout is None else np.ascontiguousarray(memory_order.arrange(values, shape, layout))

    def pieces(self, path: str, size: int) -> Iterator[Floating]:
        shape, layout = self.wanted[path]
        as_it_lies = layout is None or memory_order.in_place(shape, layout)
        return self.port[path].pieces(size) if as_it_lies else super().pieces(path, size)

    def shape(self, path: str) -> tuple[int, ...]:
        shape, layout = self.wanted[path]
        return self.port[path].shape if layout is None else shape


@dataclass(frozen=True)
class Report:
    """All rows in the trace's order, and what could not be compared.

    Once `own.weighed` has looked at a report, its rows say how much of each error is the layer's own. Where `by_own` is true
    (no tolerance was asked for), a layer whose own error is beyond its line is a divergence whatever its tolerance says.
    """

    rows: list[Row]
    missing: list[str]  # layers of the trace, or of those asked for, that the port does not have
    unknown: list[str]  # names of the port that are not in the trace
    layout: str  # of most of the port's maps; each row has its own
    arrays: Arranged  # the port's layers under checkpoint paths, as (N, C, H, W), C order
    precision: Precision
    by_own: bool = False
    whole: int = 0  # how many layers the trace has
    skipped: tuple[str, ...] = ()  # arrays of whole numbers, whose meaning nothing says
    library: str = ""  # whose names the port's layers have, where those are none of the trace's: one of `naming.MAPS`

    @property
    def offenders(self) -> list[Row]:
        """The layers whose own error is beyond its line, in the trace's order."""
        return [row for row in self.rows if row.own > row.line]

    @property
    def first_divergence(self) -> Row | None:
        """The first layer that is wrong, in the trace's order; None where none is.

        That is the first offender, and where there is none, or a tolerance was asked for, the first outside its tolerance.
        """
        if self.by_own and self.offenders:
            return self.offenders[0]
        return next((row for row in self.rows if not row.within), None)

    @property
    def within(self) -> bool:
        """Whether no layer that was compared is wrong."""
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
            "precision": self.precision.word,
            "precision_is": self.precision.source,
            "first_divergence": None if first is None else {**plain(asdict(first)), "hint": hint},
            "rows": [plain(asdict(row)) for row in self.rows],
            "missing": list(self.missing),
            "skipped": list(self.skipped),
            "unknown": list(self.unknown),
        }


def plain(value: Any) -> Any:
    """Return a value in types that JSON knows: infinities and NaN become None."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@dataclass(frozen=True)
class Asked:
    """What a comparison is asked for, where it is not to decide by itself.

    `names` is a map as `naming.read_names` returns it; `layout` is 'nchw', 'nhwc' or 'auto'; `precision` one of
    `precision.PRECISIONS`, None for what the files say; `layers` are globs: no other layer is compared. Where some are given,
    only those have to be there, unless `everything` is true; where none are, all layers of the trace have to. With `sketches`,
    `Baseline.judge` also finds out where in each layer the error lies.
    """

    tolerance: Tolerance | None = None
    names: Iterable[tuple[str, str]] = ()
    layout: str = "auto"
    precision: str | None = None
    layers: tuple[str, ...] = ()
    everything: bool = False
    sketches: bool = False


def compare(
    trace: Trace,
    port: Mapping[str, Recorded],
    tolerance: Tolerance | None = None,
    names: Iterable[tuple[str, str]] = (),
    layout: str = "auto",
    asked: Asked | None = None,
) -> Report:
    """Compare what a port recorded with a trace, layer by layer, the input first where both have it.

    `tolerance` None takes that of each layer's arithmetic; `names` is a map as `naming.read_names` returns it;
    `layout` is 'nchw', 'nhwc' or 'auto'; `asked` says these and more, in their place. Raises ValueError where the two have no
    layer in common, and for a port that is a trace of other weights or of another input.
    """
    with undisturbed():
        return _compared(trace, port, asked or Asked(tolerance, names, layout))


def _compared(trace: Trace, port: Mapping[str, Recorded], asked: Asked) -> Report:
    ours: Layers = trace.arrays
    if not port:
        raise ValueError("the port holds no layers")
    check_origin(trace, port)
    skipped = tuple(port.skipped) if isinstance(port, Port) else ()
    names = list(asked.names)
    library = "" if names else known(port, ours)
    port = of_library(port, library, ours) if library else rename(port, names, ours)
    wanted = _wanted(trace, asked.layers)
    common = [path for path in ours if path in port and path in wanted]
    if not any(path != INPUT for path in common):
        raise ValueError(
            f"the port has none of the trace's {len(wanted - {INPUT})} layers: its names begin with "
            f"{some(port)}, the trace's with {some(trace.layers)}; name a --map"
        )
    precision = resolve(ours, port, asked.precision, trace.metadata.get("precision", "float64"))
    shapes = {path: (ours.shape(path), port[path].shape) for path in common}
    maps = {path: pair for path, pair in shapes.items() if not is_of_parameters(path)}
    layouts = memory_order.decide(maps, lambda path: (ours[path], port[path].values), asked.layout)
    layouts |= {path: AS_STORED if pair[0] == pair[1] else None for path, pair in shapes.items() if path not in maps}
    terms = sizes_in(trace.metadata)
    arranged = Arranged({path: port[path] for path in common}, {path: (shapes[path][0], layouts[path]) for path in common})
    rows = []
    for number, path in enumerate(ours):
        if path not in layouts:
            continue
        form, word, fits = port[path].form, precision.layers[path], layouts[path]
        if fits is None:
            rows.append(misshapen(number, path, *shapes[path], form, word))
        else:
            allowed = asked.tolerance or _of_terms(default(word, form), terms.get(path, 0.0))
            both = partial(_together, ours, arranged, path)
            row = measured(number, path, shapes[path][0], both, form, allowed, word)
            rows.append(replace(row, layout=fits))
    compared = {id(port[path]) for path in ours if path in port}  # a layer that a map renamed is there under both its names
    unknown = [name for name, recorded in port.items() if name not in ours and id(recorded) not in compared]
    required = trace.layers if asked.everything else wanted
    missing = [path for path in trace.layers if path in required and path not in port]
    usual = memory_order.prevailing(fits for path, fits in layouts.items() if path in maps and len(shapes[path][0]) == 4)
    whole = len(trace.layers)
    return Report(rows, missing, unknown, usual, arranged, precision, asked.tolerance is None, whole, skipped, library)


def _of_terms(allowed: Tolerance, size: float) -> Tolerance:
    """Return what a sum of terms of this size may be off by: it errs as they do, however little is left of them."""
    return replace(allowed, atol=allowed.atol + allowed.rtol * size)


def _together(ours: Layers, theirs: Arranged, path: str) -> Iterator[tuple[Floating, Floating]]:
    """Yield the numbers of a layer in the trace and in the port, so many at once."""
    return zip(ours.pieces(path, GROUP), theirs.pieces(path, GROUP), strict=True)


def _wanted(trace: Trace, globs: tuple[str, ...]) -> set[str]:
    """Return the paths of the layers that were asked for, the input among them. ValueError for a glob without a layer."""
    if not globs:
        return set(trace.arrays)
    for glob in globs:
        if not any(fnmatchcase(path, glob) for path in trace.layers):
            raise ValueError(f"no layer of the trace matches {glob}: its layers begin with {some(trace.layers)}")
    return {INPUT, *(path for path in trace.layers if any(fnmatchcase(path, glob) for glob in globs))}


def some(names: Iterable[str]) -> str:
    """Return the first three names, each cut to what a message has room for."""
    return ", ".join(shown(name) for name in islice(names, 3))
