"""How tests compare arrays, and what they say when two differ."""

import numpy as np


def ulp_distance(a, b) -> np.ndarray:
    """Return how many float32 numbers lie between a and b, elementwise; 0 for equal, and for NaN against NaN."""
    a, b = (np.asarray(v, np.float32) for v in (a, b))
    keys = []
    for v in (a, b):
        bits = v.view(np.int32).astype(np.int64)
        keys.append(np.where(bits < 0, -(bits & 0x7FFFFFFF), bits))  # the order of the numbers; -0 and 0 are one
    distance = np.abs(keys[0] - keys[1])
    return np.where(np.isnan(a) & np.isnan(b), 0, distance)


def describe(name, got, expected) -> str:
    """Name the first index where two arrays differ, both values and their distance in ULP."""
    if got.shape != expected.shape:
        return f"{name}: shape {got.shape}, expected {expected.shape}"
    distance = ulp_distance(got, expected)
    where = np.argwhere(distance > 0)
    if not len(where):
        return f"{name}: equal as float32"
    index = tuple(int(i) for i in where[0])
    return (
        f"{name}: {len(where)} of {got.size} differ, shape {got.shape}, {got.dtype}; first at {index}: "
        f"{got[index]!r}, expected {expected[index]!r}, {distance[index]} ULP apart; most {distance.max()} ULP"
    )


def assert_bit_equal(name, got, expected) -> None:
    """Demand the same shape, dtype and bytes."""
    same = got.dtype == expected.dtype and got.shape == expected.shape and got.tobytes() == expected.tobytes()
    assert same, describe(name, got, expected)


def assert_close(name, got, expected, tolerance) -> None:
    """Demand that the largest difference is at most `tolerance` times the largest expected magnitude."""
    assert got.shape == expected.shape, describe(name, got, expected)
    if not got.size:
        return
    scale = np.abs(expected).max() or 1.0
    error = np.abs(np.asarray(got, np.float64) - np.asarray(expected, np.float64)).max() / scale
    assert error <= tolerance, f"{describe(name, got, expected)}; error {error:.2e} of scale, allowed {tolerance:.0e}"
