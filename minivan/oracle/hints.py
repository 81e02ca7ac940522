"""What went wrong, by trying: each known fault is committed on purpose, and the one that gives the port's numbers is named.

A layer with a fault in it (see `faults`) is computed from what the port itself fed the layer. The fault is named when
the result lies at least ten times nearer to the port's numbers than the right result does.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ..checks import Floating
from . import training_hints
from .compare import Report
from .faults import Fault, faults_of, pairs_of
from .fitted import fitted_to
from .gradients import is_gradient, is_of_parameters, said_in
from .half_sums import float16_sample
from .hidden import NO_NUMBERS, OTHER_IMAGE, Search, Stretch
from .measure import Row, apart, measure, rms
from .precision import fits
from .replay import Call, Made, Replay, Run, neighbourhood, watch
from .tolerance import Tolerance
from .trace import Trace
from .ulp import round_to
from .work import COMPARED, Spent, Work, counted

NEARER = 0.1  # a fault explains a layer when the error that is left is this share of the error there was
CLEARLY = 0.4  # or this share, if the rest is no more than rounding may add, as in a short format it often is
SOUND = 0.5  # of the line of a layer's own error: what rounding may add
FITTED = 0.02  # the share for faults that are fitted to the port's numbers, and for two at once: many come near
EXPLAINED = 1e-3  # or for those in hidden layers: numbers that are larger than they should be round worse than the right ones
SHAPED = 0.01  # where the right result has another shape: the error that is left, relative to the port's numbers
TINY = 1e-6  # of an error: as good as nothing, where no rounding is known
# One layer in float32, fed the same: PyTorch was measured to need 3.3e-6 (b0, b1 and b3 seeded, 64 pixels, AVX2).
ALIKE = Tolerance(5e-6, max_ulp=2)
LARGER = 4  # times as many numbers as there should be, at most, are read of a layer whose shape is wrong
STRUCTURED = 0.3  # of an error's energy, which rounding does not have in a channel's mean or in a multiple of the numbers
SAMPLED = 1 << 20  # numbers of a layer by which the size and the kind of its error are known
PAIRED = 3  # layers, the first, at which two faults at once are tried
NAMELESS = 3  # layers without a name, after which no other is looked at: what is wrong is none of the known faults
GIVEN_UP = f"not looked into: no known fault gives the numbers of {NAMELESS} wrong layers before it"
CUT_SHORT = "not every known fault was tried: that would be too much work"
ALSO = 0.5  # of the error of the worst image: so wrong is the one that faults are tried on
NOISE = 3.0  # rounding errors are compared in size, not one by one: alike within this factor


@dataclass
class Effort:
    """What has been spent on a port's layers, and may be."""

    work: Work = field(default_factory=Work)
    looked: int = 0  # layers that were looked at
    nameless: int = 0  # those of them for which no name was found
    named: set[str] = field(default_factory=set)  # the names found: most ports make one mistake everywhere
    short: bool = False  # whether some fault was not tried on the layer that is looked at
    inside: Search = field(default_factory=Search)  # the same for layers that the port does not show


def reasons(rows: Iterable[Row], report: Report, trace: Trace, seen: Replay, run: Run | None) -> dict[str, str]:
    """Return why layers of a report differ, by path: see `hint`.

    The network runs once more, as far as the last of them, and each is looked at when its neighbourhood has been computed. So
    no more than that is ever kept. `seen` is what the run before showed; without a `run`, the trace's layers are all there is.
    """
    wanted = {row.path: row for row in rows}
    loss = said_in(trace.metadata)
    if loss is not None and run is not None:
        of_training = [row for row in wanted.values() if _is_of_training(row.path, seen)]
        others = [row for row in wanted.values() if row not in of_training]
        return training_hints.reasons(of_training, report, loss, run) | _of_layers(others, report, trace, seen, run)
    return _of_layers(wanted.values(), report, trace, seen, run)


def _is_of_training(path: str, seen: Replay) -> bool:
    """Whether what is at a path is a gradient, or made by BatchNorm in training form: all images together."""
    call = seen.calls.get(path)
    return is_gradient(path) or is_of_parameters(path) or (call is not None and call.operator == "batch_norm_training")


def _of_layers(rows: Iterable[Row], report: Report, trace: Trace, seen: Replay, run: Run | None) -> dict[str, str]:
    """Do what `reasons` does, for what inference gives."""
    wanted = {row.path: row for row in rows}
    if run is None:
        bare, effort = Replay(values=trace.arrays, given=trace.arrays), Effort()
        return {path: hint(row, report, bare, False, effort) for path, row in wanted.items()}
    hidden = any(path not in report.arrays for path in (*trace.layers, *seen.calls))
    stretch = Stretch(_first_wrong(wanted, report, trace)) if wanted and hidden else None
    visit = _Visit(wanted, report, replace(seen, elsewhere=trace.arrays), stretch)
    with contextlib.suppress(_Enough):
        watch(run, report.arrays, visit)
        visit.look()
    given_up = dict.fromkeys(wanted, GIVEN_UP) if visit.effort.nameless >= NAMELESS else {}
    return given_up | visit.found


def _first_wrong(wanted: Mapping[str, Row], report: Report, trace: Trace) -> int:
    """Return the image that is wrong in the first of the layers."""
    path = next(iter(wanted))
    images = trace.arrays.shape(path)[0]
    return _as_wrong_as_all(report.arrays[path], trace.arrays[path])[0] if images > 1 else 0


class _Enough(Exception):
    """All layers that are asked for, or as many as it makes sense to, have been looked at."""


class _Visit:
    """Keeps what hints need of one neighbourhood after the other, and looks at the wanted layers in it."""

    def __init__(self, wanted: Mapping[str, Row], report: Report, seen: Replay, stretch: Stretch | None) -> None:
        self.wanted, self.report, self.seen = wanted, report, seen
        self.found: dict[str, str] = {}
        self.effort = Effort()
        self.place = ""
        self.stretch = stretch  # between layers that are shown, where some are not: those that have been computed last
        self._begin()

    def _begin(self) -> None:
        self.values, self.given = Made(), Made()
        self.calls: dict[str, Call] = {}

    def __call__(self, path: str, value: Floating, call: Call | None, given: Floating) -> None:
        place = neighbourhood(path)
        if is_gradient(path):
            self.look()
            raise _Enough
        if place != self.place:
            self.look()
            if len(self.found) == len(self.wanted) or self.effort.nameless >= NAMELESS:
                raise _Enough
            self.place = place
        if call is not None:
            call = self.calls[path] = replace(call, feed=self._way(call.source, call.x))
            call = counted(call, self.effort.work)
        held = call is None or path in self.wanted
        if self.stretch is not None:
            read = self._way(path, given) if self._shows(path, value.shape) else None
            if self.stretch.overflows(given, read):
                self._give_reasons()
            self.stretch.add(path, given, self.calls.get(path), read, self.seen.scales.get(path))
        self.values.put(path, value.shape, (lambda: value) if held or call is None else call.again)
        self.given.put(path, value.shape, self._way(path, given))

    def _way(self, path: str, held: Floating) -> Callable[[], Floating]:
        """Return the way to what layers were given: the port's file, where it has the layer, so that nothing is held."""
        if self._shows(path, held.shape):
            return lambda: np.array(self.report.arrays[path], np.float32, order="C")
        return lambda: held

    def _shows(self, path: str, shape: tuple[int, ...]) -> bool:
        return path in self.report.arrays and self.report.arrays.shape(path) == shape

    def look(self) -> None:
        """Look at the wanted layers of the neighbourhood that has been computed, and forget it."""
        self._give_reasons()
        if self.stretch is not None:
            self.stretch.forget()
        self._begin()

    def _give_reasons(self) -> None:
        known = replace(self.seen, values=self.values, given=self.given, calls={**self.seen.calls, **self.calls})
        for path in self.values:
            if path in self.wanted and path not in self.found:
                self.found[path] = hint(self.wanted[path], self.report, known, True, self.effort, self.stretch)


def hint(row: Row, report: Report, seen: Replay, whole: bool, effort: Effort, stretch: Stretch | None = None) -> str:
    """Return one sentence on why a layer of a report differs, or '' where no known fault gives its numbers.

    `seen` is what a replay with the port's layers showed; where it is not `whole`, it holds the trace's layers and no calls, so
    that only the faults that need no weights are tried. `effort` is what the layers before it left, and `stretch` has what
    lies between this layer and those that the port shows before it, where it does not show all.
    """
    if effort.nameless >= NAMELESS:
        return GIVEN_UP
    effort.short, effort.inside.untried = False, ""
    with effort.work.half():
        text = _reason(row, report, seen, whole, effort, stretch)
    text = text or effort.inside.untried or (CUT_SHORT if effort.short else "")
    effort.looked += 1
    effort.nameless += not text
    return text


def _reason(row: Row, report: Report, seen: Replay, whole: bool, effort: Effort, stretch: Stretch | None) -> str:
    if math.prod(report.arrays.shape(row.path)) > LARGER * math.prod(row.shape):
        return ""
    theirs, right = report.arrays[row.path], seen.values[row.path]
    text = _known(row, theirs, right, seen, effort)
    if text:
        effort.named.add(text)
        return text
    if not np.isfinite(theirs).all() and np.isfinite(right).all():
        return _not_finite(theirs)
    if theirs.shape != right.shape:
        effort.inside.untried = NO_NUMBERS if stretch is not None and stretch.is_open(row.path) else ""
        return ""
    if whole and measure(0, row.path, right, theirs, row.form, ALIKE).within:
        return "this layer is right for what it was fed: rounding errors of the layers before it have added up"
    if stretch is not None and stretch.is_open(row.path):
        return _hidden(row, theirs, right, stretch, effort) or _rounding(theirs, right, row, None)
    return _rounding(theirs, right, row, seen.calls.get(row.path))


def _known(row: Row, theirs: Floating, right: Floating, seen: Replay, effort: Effort) -> str:
    """Return the fault, or the two faults, that give the port's numbers; '' for none.

    They are tried on one image alone. What other layers were found to suffer from is tried first, and nothing else where it
    leaves next to nothing. Faults that are fitted to the numbers, of all images, are asked only where no other one explains
    them. Two at once are tried at the first layers, where one alone leaves more than rounding does.
    """
    image, error, whole = _as_wrong_as_all(theirs, right)
    batch, seen = (theirs, right), _counting(seen, effort).of_image(image, len(right))
    theirs, right = theirs[image : image + 1], right[image : image + 1]
    if not math.isfinite(error):  # nothing to be measured by, but the port's numbers themselves
        size = rms(theirs[np.isfinite(theirs)])
        return _nearest(theirs, faults_of(row.path, right, seen), SHAPED * size, effort)[0]
    sound = SOUND * row.line * whole / row.own if 0 < row.own < math.inf else 0.0  # what rounding may add
    clearly = min(sound, CLEARLY * error)
    usual = (fault for fault in faults_of(row.path, right, seen) if fault[0] in effort.named)
    if effort.named and (one := _nearest(theirs, usual, min(NEARER * error, max(sound, TINY * error)), effort)[0]):
        return one
    one, left = _nearest(theirs, faults_of(row.path, right, seen), max(NEARER * error, clearly), effort)
    if not one:
        one, left = _nearest(batch[0], fitted_to(row.path, *batch), max(FITTED * whole, min(sound, CLEARLY * whole)), effort)
    if effort.looked >= PAIRED:
        return one
    if one and left <= max(sound, TINY * error):
        return one
    with effort.work.half():
        two, _ = _nearest(theirs, pairs_of(row.path, right, seen), min(max(FITTED * error, clearly), NEARER * left), effort)
    return two or one


def _counting(seen: Replay, effort: Effort) -> Replay:
    """Return what a replay showed, with calls that count what it costs to run them again."""
    return replace(seen, calls={path: counted(call, effort.work) for path, call in seen.calls.items()})


def _hidden(row: Row, theirs: Floating, right: Floating, stretch: Stretch, effort: Effort) -> str:
    """Return the fault in a layer that the port does not show, by what came of it here; '' for none."""
    image = slice(stretch.image, stretch.image + 1)
    wrong, worst, whole = _as_wrong_as_all(theirs, right)
    error = apart(theirs[image], right[image])
    if not (0 < row.own < math.inf and worst < math.inf):
        effort.inside.untried = NO_NUMBERS
        return ""
    if error < ALSO * worst:
        effort.inside.untried = OTHER_IMAGE.format(wrong, stretch.image)
        return ""
    unit = whole / row.own
    bound = max(min(SOUND * row.line * unit, CLEARLY * error), EXPLAINED * error)
    return stretch.reason(row.path, theirs[image], bound, unit, effort.inside, effort.work)


def _as_wrong_as_all(theirs: Floating, right: Floating) -> tuple[int, float, float]:
    """Return the first image that is wrong like the batch, its error, and that of the batch; image 0 where shapes differ."""
    if theirs.shape != right.shape or not theirs.size:
        return 0, math.inf, math.inf
    errors = [apart(theirs[i : i + 1], right[i : i + 1]) for i in range(len(right))]
    image = next(i for i, error in enumerate(errors) if error >= ALSO * max(errors))
    return image, errors[image], math.sqrt(sum(error * error for error in errors) / len(errors))


def _nearest(theirs: Floating, faults: Iterable[Fault], bound: float, effort: Effort) -> tuple[str, float]:
    """Return the fault whose result is nearest to the port's numbers, and how far that is; '' where none is below `bound`."""
    best = ""
    try:
        for text, commit in faults:
            effort.work.spend(COMPARED * theirs.size)
            try:
                error = apart(theirs, commit())
            except ValueError:  # layers of a damaged trace, whose shapes do not go together
                continue
            if error < bound:
                best, bound = text, error
    except Spent:
        effort.short = True
    return best, bound


def _not_finite(theirs: Floating) -> str:
    share = 1 - np.isfinite(theirs).mean()
    kind = "NaN" if np.isnan(theirs).any() else "infinite"
    return f"{share:.1%} of the port's numbers are {kind}: overflow (float16 ends at 65,504), or memory that was never written"


def _rounding(theirs: Floating, right: Floating, row: Row, call: Call | None) -> str:
    """Name a 16-bit format whose rounding errors are as large as the port's, summed up or rounded once."""
    if right.ndim < 2:
        return ""
    chosen = slice(None, None, max(1, -(-right.size // SAMPLED)))  # channels
    known = right[:, chosen]
    residual = np.asarray(theirs[:, chosen], np.float64) - known
    error = rms(residual)
    if row.precision not in ("float64", "float32", "float16") or not _noise(residual, known):
        return ""
    for form in ("float16", "bfloat16"):
        once = rms(round_to(known, form).astype(np.float64) - known)
        if row.precision != form and error < 1.5 * once and fits(theirs, form):
            return f"{form} rounding: every number is one of {form}, and no further off than rounding this layer once makes it"
    sample = None if call is None else float16_sample(call, right)
    if sample is None:
        return ""
    expected = rms(sample[0].astype(np.float64) - sample[1])
    if expected / NOISE < error < expected * NOISE:
        return (
            f"float16 accumulation: the errors are as large (root mean square {error:.1e}) as sums kept in float16 make them "
            f"({expected:.1e}); keep them in float32"
        )
    return ""


def _noise(residual: Floating, right: Floating) -> bool:
    """Whether an error looks like rounding: neither the same over a channel, nor a multiple of the numbers themselves.

    Of noise, too, a channel of n numbers shows 1/n of the energy in its mean; of one number alone nothing can be told.
    """
    energy = float((residual * residual).mean()) if residual.size else 0.0
    if not energy or not math.isfinite(energy):
        return False
    axes = (0, *range(2, residual.ndim))
    chance = residual.shape[1] / residual.size
    constant = float(np.square(residual.mean(axes)).mean()) / energy
    constant = (constant - chance) / (1 - chance) if chance < 1 else float(residual.mean()) ** 2 / energy
    wide = right.astype(np.float64)
    multiple = float((wide * residual).mean()) ** 2 / max(float((wide * wide).mean()) * energy, 1e-300)
    return max(constant, multiple) < STRUCTURED
