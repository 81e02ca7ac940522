"""How far two large arrays lie apart: sums, extremes and distances of float32 numbers, in one pass and on all threads.

In NumPy the same takes some forty passes, more time than the network takes to compute what is measured. Numbers are looked at
in blocks of BLOCK, each by one thread, and every block has a row of its own: what is made of them is the same for any number of
threads. A row with a sum that is not finite belongs to a block with NaN or infinities, of which it tells nothing: squares of
float32 numbers do not overflow in float64.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .checks import Float32, Float64, float32
from .jit import launch, njit, prange
from .registers import restore, standard

BLOCK = 1 << 13  # numbers of one row
SIGNAL, NOISE, OTHER, INNER, LARGEST, PLACE, RELATIVE, EQUAL = range(8)  # columns of `distances`
OURS, RIGHT, OWN, INHERITED, SPACING = range(5)  # columns of `errors`


def distances(a: Float32, b: Float32, steps: npt.NDArray[np.uint32]) -> Float64:
    """Return (blocks, 8) for float32 arrays (size,): a row for each block, with the columns named above.

    The sums of a^2, (a - b)^2, b^2 and a b; the largest |a - b| and where it stands first, counted in the whole array; the
    largest |a - b| / |a|, zeros left out; how many numbers have equal bits. Into `steps` (size,) goes how many numbers of
    float32 lie from each a to its b; of blocks with NaN or infinities that is to be written over.
    """
    a, b = float32(a), float32(b)
    if not a.shape == b.shape == steps.shape:  # what a kernel reads outside of an array is anything
        raise ValueError(f"arrays of one size are needed, got {a.shape}, {b.shape} and {steps.shape}")
    rows = np.empty((-(-a.size // BLOCK), 8))
    with launch.lock, launch:
        _distances(a, b, a.view(np.int32), b.view(np.int32), steps, rows)
    return rows


@njit(parallel=True)
def _distances(
    a: Float32,
    b: Float32,
    a_bits: npt.NDArray[np.int32],
    b_bits: npt.NDArray[np.int32],
    steps: npt.NDArray[np.uint32],
    rows: Float64,
) -> None:
    """For each block, for each of its numbers: the sums, the extremes, and how far apart float32's order has the two."""
    for block in prange(rows.shape[0]):
        was = standard()
        begin = block * BLOCK
        end = min(begin + BLOCK, a.size)
        signal, noise, other, inner, relative = 0.0, 0.0, 0.0, 0.0, 0.0
        largest, place, equal = -1.0, begin, 0
        for i in range(begin, end):
            x, y = np.float64(a[i]), np.float64(b[i])
            error, size = abs(x - y), abs(x)
            signal += x * x
            noise += error * error
            other += y * y
            inner += x * y
            if error > largest:
                largest, place = error, i
            if size > 0:
                relative = max(relative, error / size)
            p, q = np.int64(a_bits[i]), np.int64(b_bits[i])
            if p == q:
                equal += 1
            p = p if p >= 0 else -(p & 0x7FFFFFFF)
            q = q if q >= 0 else -(q & 0x7FFFFFFF)
            steps[i] = np.uint32(abs(p - q))
        rows[block, SIGNAL], rows[block, NOISE], rows[block, OTHER], rows[block, INNER] = signal, noise, other, inner
        rows[block, LARGEST], rows[block, PLACE], rows[block, RELATIVE], rows[block, EQUAL] = largest, place, relative, equal
        restore(was)


def errors(a: Float32, b: Float32, r: Float32, squares: Float64) -> Float64:
    """Return (blocks, 5) for float32 arrays (size,), the trace's a, the port's b and the right ones r: a row for each block.

    The sums of a^2, r^2, (b - r)^2, (r - a)^2, and of what `squares` (256,) has for the exponent of each r.
    """
    a, b, r = float32(a), float32(b), float32(r)
    if not (a.shape == b.shape == r.shape and squares.shape == (256,)):
        raise ValueError(f"arrays of one size are needed, got {a.shape}, {b.shape} and {r.shape}")
    rows = np.empty((-(-r.size // BLOCK), 5))
    with launch.lock, launch:
        _errors(a, b, r, r.view(np.int32), squares, rows)
    return rows


@njit(parallel=True)
def _errors(a: Float32, b: Float32, r: Float32, r_bits: npt.NDArray[np.int32], squares: Float64, rows: Float64) -> None:
    """For each block, for each of its numbers: the sums."""
    for block in prange(rows.shape[0]):
        was = standard()
        begin = block * BLOCK
        end = min(begin + BLOCK, r.size)
        ours, right, own, inherited, spacing = 0.0, 0.0, 0.0, 0.0, 0.0
        for i in range(begin, end):
            x, y, z = np.float64(a[i]), np.float64(b[i]), np.float64(r[i])
            ours += x * x
            right += z * z
            own += (y - z) * (y - z)
            inherited += (z - x) * (z - x)
            spacing += squares[(r_bits[i] >> 23) & 0xFF]
        rows[block, OURS], rows[block, RIGHT], rows[block, OWN] = ours, right, own
        rows[block, INHERITED], rows[block, SPACING] = inherited, spacing
        restore(was)
