"""What went wrong, by trying: each known fault is committed on purpose, and the one that gives the port's numbers is named.

A layer with a fault in it (see `faults`) is computed from what the port itself fed the layer. The fault is named when
the result lies at least ten times nearer to the port's numbers than the right result does.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..checks import Floating
from ..geometry import Kernel, output_side
from .compare import Report
from .faults import Fault, faults_of
from .measure import Row, measure, rms
from .replay import Call, Replay
from .tolerance import Tolerance
from .ulp import round_to

NEARER = 0.1  # a fault explains a layer when the error that is left is this share of the error there was
SHAPED = 0.01  # where the right result has another shape: the error that is left, relative to the port's numbers
# One layer in float32, fed the same: PyTorch was measured to need 3.3e-6 (b0, b1 and b3 seeded, 64 pixels, AVX2).
ROUNDED = Tolerance(5e-6, max_ulp=2)
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
    if not np.isfinite(theirs).all() and np.isfinite(right).all():
        return _not_finite(theirs)
    text = _nearest(theirs, right, faults_of(row.path, right, seen))
    if text or theirs.shape != right.shape:
        return text
    if whole and measure(0, row.path, right, theirs, row.form, ROUNDED).within:
        return "this layer is right for what it was fed: rounding errors of the layers before it have added up"
    return _rounding(theirs, right, row, seen.calls.get(row.path))


def _nearest(theirs: Floating, right: Floating, faults: Iterable[Fault]) -> str:
    """Return the text of the fault whose result is nearest to the port's numbers, '' where none is near enough."""
    shaped = theirs.shape == right.shape
    theirs = np.asarray(theirs, np.float64)
    bound = NEARER * rms(theirs - right) if shaped else SHAPED * rms(theirs)
    best = ""
    for text, commit in faults:
        try:
            with np.errstate(all="ignore"):
                faulty = commit()
        except ValueError:  # layers of a damaged trace, whose shapes do not go together
            continue
        if faulty.shape == theirs.shape and (error := rms(theirs - faulty)) < bound:
            best, bound = text, error
    return best


def _not_finite(theirs: Floating) -> str:
    share = 1 - np.isfinite(theirs).mean()
    kind = "NaN" if np.isnan(theirs).any() else "infinite"
    return f"{share:.1%} of the port's numbers are {kind}: overflow (float16 ends at 65,504), or memory that was never written"


def _rounding(theirs: Floating, right: Floating, row: Row, call: Call | None) -> str:
    """Name a 16-bit format whose rounding errors are as large as the port's, summed up or rounded once."""
    error = rms(np.asarray(theirs, np.float64) - right)
    for form in ("float16", "bfloat16"):
        once = rms(round_to(right, form).astype(np.float64) - right)
        if row.form != form and error < 1.5 * once and np.array_equal(round_to(theirs, form), theirs):
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
