"""What went wrong, by trying: each known fault is committed on purpose, and the one that gives the port's numbers is named.

A layer with a fault in it (see `faults`) is computed from what the port itself fed the layer. The fault is named when
the result lies at least ten times nearer to the port's numbers than the right result does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ..checks import Floating
from ..geometry import Kernel, output_side
from .compare import Report
from .faults import Fault, faults_of, pairs_of
from .fitted import fitted_to
from .measure import Row, measure, rms
from .replay import Call, Replay
from .tolerance import Tolerance
from .ulp import round_to

NEARER = 0.1  # a fault explains a layer when the error that is left is this share of the error there was
CLEARLY = 0.4  # or this share, if the rest is no more than rounding may add, as in a short format it often is
SOUND = 0.5  # of the line of a layer's own error: what rounding may add
FITTED = 0.02  # the share for faults that are fitted to the port's numbers, and for two at once: many come near
SHAPED = 0.01  # where the right result has another shape: the error that is left, relative to the port's numbers
TINY = 1e-6  # of an error: as good as nothing, where no rounding is known
# One layer in float32, fed the same: PyTorch was measured to need 3.3e-6 (b0, b1 and b3 seeded, 64 pixels, AVX2).
ROUNDED = Tolerance(5e-6, max_ulp=2)
STRUCTURED = 0.3  # of an error's energy, which rounding does not have in a channel's mean or in a multiple of the numbers
NOISE = 3.0  # rounding errors are compared in size, not one by one: alike within this factor


def hint(row: Row, report: Report, seen: Replay, whole: bool) -> str:
    """Return one sentence on why a layer of a report differs, or '' where no known fault gives its numbers.

    `seen` is what a replay with the port's layers showed; where it is not `whole`, it holds the trace's layers and no calls, so
    that only the faults that need no weights are tried.
    """
    theirs = report.arrays[row.path]
    right = seen.values.get(row.path)
    if right is None:
        return ""
    text = _known(row, theirs, right, seen)
    if text:
        return text
    if not np.isfinite(theirs).all() and np.isfinite(right).all():
        return _not_finite(theirs)
    if theirs.shape != right.shape:
        return ""
    if whole and measure(0, row.path, right, theirs, row.form, ROUNDED).within:
        return "this layer is right for what it was fed: rounding errors of the layers before it have added up"
    return _rounding(theirs, right, row, seen.calls.get(row.path))


def _known(row: Row, theirs: Floating, right: Floating, seen: Replay) -> str:
    """Return the fault, or the two faults, that give the port's numbers; '' for none.

    Faults that are fitted to the numbers are asked only where no other one explains them. Two at once are tried where one alone
    leaves more than rounding does.
    """
    error = _error(theirs, right)
    if not math.isfinite(error):  # nothing to be measured by, but the port's numbers themselves
        size = rms(theirs[np.isfinite(theirs)])
        return _nearest(theirs, faults_of(row.path, right, seen), SHAPED * size)[0]
    sound = SOUND * row.line * error / row.own if 0 < row.own < math.inf else 0.0  # what rounding may add
    clearly = min(sound, CLEARLY * error)
    one, left = _nearest(theirs, faults_of(row.path, right, seen), max(NEARER * error, clearly))
    if not one:
        one, left = _nearest(theirs, fitted_to(row.path, theirs, right), max(FITTED * error, clearly))
    if one and left <= max(sound, TINY * error):
        return one
    two, _ = _nearest(theirs, pairs_of(row.path, right, seen), min(max(FITTED * error, clearly), NEARER * left))
    return two or one


def _nearest(theirs: Floating, faults: Iterable[Fault], bound: float) -> tuple[str, float]:
    """Return the fault whose result is nearest to the port's numbers, and how far that is; '' where none is below `bound`."""
    best = ""
    for text, commit in faults:
        try:
            error = _error(theirs, commit())
        except ValueError:  # layers of a damaged trace, whose shapes do not go together
            continue
        if error < bound:
            best, bound = text, error
    return best, bound


def _error(theirs: Floating, other: Floating) -> float:
    """Return the root mean square of the difference; infinite for other shapes, and where other numbers are NaN or infinite."""
    if theirs.shape != other.shape:
        return math.inf
    a, b = np.asarray(theirs, np.float64), np.asarray(other, np.float64)
    finite = np.isfinite(a)
    if not finite.any() or not np.array_equal(finite, np.isfinite(b)):
        return math.inf
    return rms((a - b)[finite])


def _not_finite(theirs: Floating) -> str:
    share = 1 - np.isfinite(theirs).mean()
    kind = "NaN" if np.isnan(theirs).any() else "infinite"
    return f"{share:.1%} of the port's numbers are {kind}: overflow (float16 ends at 65,504), or memory that was never written"


def _rounding(theirs: Floating, right: Floating, row: Row, call: Call | None) -> str:
    """Name a 16-bit format whose rounding errors are as large as the port's, summed up or rounded once."""
    residual = np.asarray(theirs, np.float64) - right
    error = rms(residual)
    if row.precision not in ("float64", "float32", "float16") or not _noise(residual, right):
        return ""
    for form in ("float16", "bfloat16"):
        once = rms(round_to(right, form).astype(np.float64) - right)
        if row.precision != form and error < 1.5 * once and np.array_equal(round_to(theirs, form), theirs):
            return f"{form} rounding: every number is one of {form}, and no further off than rounding this layer once makes it"
    summed = None if call is None else float16_sum(call)
    if summed is None:
        return ""
    expected = rms(summed.astype(np.float64) - right)
    if expected / NOISE < error < expected * NOISE:
        return (
            f"float16 accumulation: the errors are as large (root mean square {error:.1e}) as sums kept in float16 make them "
            f"({expected:.1e}); keep them in float32"
        )
    return ""


def _noise(residual: Floating, right: Floating) -> bool:
    """Whether an error looks like rounding: neither the same over a channel, nor a multiple of the numbers themselves."""
    energy = float((residual * residual).mean()) if residual.size else 0.0
    if not energy or not math.isfinite(energy):
        return False
    axes = (0, *range(2, residual.ndim))
    constant = float(np.square(residual.mean(axes)).mean())
    wide = right.astype(np.float64)
    multiple = float((wide * residual).mean()) ** 2 / max(float((wide * wide).mean()), 1e-300)
    return max(constant, multiple) < STRUCTURED * energy


def float16_sum(call: Call) -> Floating | None:
    """Return a convolution, linear layer or mean computed with every product and sum rounded to float16; None for others."""
    half = np.float16
    with np.errstate(over="ignore", invalid="ignore"):
        if call.operator == "global_average_pool":
            x = call.arguments["x"].astype(half)
            total = np.zeros(x.shape[:2], half)
            for i, j in np.ndindex(*x.shape[2:]):
                total += x[:, :, i, j]
            return total / half(x.shape[2] * x.shape[3])
        if call.operator == "linear":
            x, weight, bias = (call.arguments[name] for name in ("x", "weight", "bias"))
            total = np.zeros((len(x), len(weight)), half) if bias is None else np.tile(bias.astype(half), (len(x), 1))
            for c in range(x.shape[1]):
                total += x[:, c, None].astype(half) * weight[:, c].astype(half)
            return total
        return _float16_convolution(**call.arguments) if call.operator == "conv2d" else None


def _float16_convolution(
    x: Floating, weight: Floating, bias: Floating | None, stride: int, padding: int, dilation: int, groups: int
) -> Floating:
    c_out, c_group, k_h, k_w = weight.shape
    kernel = Kernel(k_h, stride, padding, dilation)  # VAN's are square
    h, w = (output_side(side, kernel) for side in x.shape[2:])
    x = np.pad(x.astype(np.float16), ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    weight = weight.astype(np.float16)
    total = np.zeros((len(x), c_out, h, w), np.float16)
    if bias is not None:
        total += bias.astype(np.float16)[:, None, None]
    first = np.arange(c_out) // (c_out // groups) * c_group  # each output's first input channel
    for c, a, b in np.ndindex(c_group, k_h, k_w):
        rows = slice(a * dilation, a * dilation + (h - 1) * stride + 1, stride)
        columns = slice(b * dilation, b * dilation + (w - 1) * stride + 1, stride)
        total += weight[:, c, a, b, None, None] * x[:, first + c, rows, columns]
    return total
