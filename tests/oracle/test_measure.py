"""The measures of one layer: by hand, of finite float32 numbers and of any others."""

import math
from dataclasses import replace

import numpy as np
import pytest

from minivan import differences, jit
from minivan.errors import CannotCompute, NoCompiler
from minivan.oracle import measure as module
from minivan.oracle.measure import COMPILED, PIECE, SAMPLED, Largest, kth_largest, measure
from minivan.oracle.tolerance import Tolerance

EXACT = Tolerance(0.0)


def test_the_measures_of_a_row_by_hand():
    one = np.float32(1)
    up = np.nextafter(one, np.float32(2))
    ours = np.array([[1, -2, 4, 0]], np.float32)
    theirs = np.array([[up, -2, 4.5, 0]], np.float32)
    row = measure(7, "layer", ours, theirs, "float32", Tolerance(1e-6))
    step = 2.0**-23
    assert (row.bit_equal, row.max_abs, row.max_rel) == (0.5, 0.5, 0.125)
    assert (row.max_ulp, row.ulp_999) == (2**20, 2**20)
    assert row.snr_db == pytest.approx(10 * math.log10(21 / (0.25 + step**2)))
    assert row.cosine == pytest.approx((float(up) + 4 + 18) / math.sqrt(21 * (float(up) ** 2 + 4 + 20.25)))
    assert not row.within and row.first == row.worst and (row.first.index, row.first.theirs) == ((0, 2), 4.5)


@pytest.mark.parametrize("tolerance", [Tolerance(1e-5), Tolerance(bits=True), Tolerance(max_ulp=2)])
def test_many_finite_float32_numbers_are_measured_as_all_others_are(tolerance):
    """Compiled code measures them, in one pass; the same numbers in float64 take the general way. Only sums are in an order."""
    ours = np.random.default_rng(0).normal(size=COMPILED + 7).astype(np.float32)
    theirs = ours.copy()
    theirs[:9000:7] *= np.float32(1 + 1e-6)
    ours[9], theirs[9], ours[11], theirs[12], theirs[-1] = 0, -0.0, 1e-42, -theirs[12], 1.5 * theirs[-1]
    strange = theirs.copy()
    strange[[3, 15_000]] = np.nan, np.inf
    zeros = np.zeros_like(ours)
    for a, b in ((ours, theirs), (ours, ours.copy()), (ours, strange), (strange, strange), (ours, zeros), (zeros, ours),
                 (-zeros, zeros), (ours[:1], theirs[:1]), (ours[:0], theirs[:0])):  # fmt: skip
        row, other = (measure(0, "layer", a, given, "float32", tolerance) for given in (b, b.astype(np.float64)))
        sums = {"snr_db": other.snr_db, "cosine": other.cosine}
        assert (row.snr_db, row.cosine) == pytest.approx((other.snr_db, other.cosine), rel=1e-12)
        assert repr(replace(row, **sums)) == repr(other)


@pytest.mark.parametrize("failing", [NoCompiler("no Numba"), CannotCompute("a fork"), None])
def test_large_layers_are_measured_where_nothing_can_be_compiled(monkeypatch, failing):
    ours = np.random.default_rng(0).normal(size=COMPILED).astype(np.float32)
    theirs = ours * np.float32(1 + 1e-6)
    expected = measure(0, "layer", ours, theirs.astype(np.float64), "float32", Tolerance(1e-5))

    def fails(*arrays):
        raise failing or AssertionError("a kernel was run as Python")

    monkeypatch.setattr(differences, "distances", fails)
    monkeypatch.setattr(jit, "compiles", lambda: failing is not None)
    assert repr(measure(0, "layer", ours, theirs, "float32", Tolerance(1e-5))) == repr(expected)


def test_the_kth_largest_is_that_of_all_numbers():
    """Wherever the few stand that tell how large it may be."""
    random = np.random.default_rng(1)
    for values in (random.integers(0, 5, 5000), np.arange(5000), np.arange(5000)[::-1], np.arange(5000) % SAMPLED == 1):
        for k in (1, 5, 79, 2500, 5000):
            assert kth_largest(values.astype(np.uint32), k) == np.sort(values)[-k]


def test_the_kth_largest_of_numbers_that_come_many_at_once():
    random = np.random.default_rng(2)
    for values in (
        random.integers(0, 5, 5000),
        np.arange(5000),
        np.arange(5000)[::-1],
        np.zeros(5000, int),
        np.arange(5000) < 3,
    ):
        for k in (1, 5, 79, 2500, 5000):
            for size in (1, 64, 4999) if k < 80 else (700, 5000):
                far = Largest(k)
                for begin in range(0, 5000, size):
                    far.add(values[begin : begin + size].astype(np.uint32))
                    assert far.above.size < k
                assert far.least == np.sort(values)[-k]


def test_what_lies_within_is_not_looked_at_once_more(monkeypatch):
    ours = np.random.default_rng(0).normal(size=COMPILED).astype(np.float32)
    looked = []
    monkeypatch.setattr(module, "apart_each", lambda a, b: looked.append(a.size) or np.abs(a - b))
    assert measure(0, "layer", ours, ours * np.float32(1 + 1e-6), "float32", Tolerance(1e-5)).within and not looked
    wrong = ours * np.float32(1 + 1e-6)
    wrong[PIECE] += 1
    assert measure(0, "layer", ours, wrong, "float32", Tolerance(1e-5)).first.index == (PIECE,) and looked == [PIECE, PIECE]


def test_the_first_and_the_worst_difference_are_told_apart():
    ours = np.zeros((1, 2, 2, 2), np.float32)
    theirs = ours.copy()
    theirs[0, 0, 1, 0], theirs[0, 1, 0, 1] = 0.5, -3
    row = measure(0, "layer", ours, theirs, "float32", Tolerance(0.0, 0.1))
    assert (row.first.index, row.worst.index, row.worst.theirs) == ((0, 0, 1, 0), (0, 1, 0, 1), -3)


def test_the_percentile_leaves_out_one_element_in_a_thousand():
    ours = np.ones(2000, np.float32)
    theirs = ours.copy()
    theirs[:2] = 2
    row = measure(0, "a", ours, theirs, "float32", EXACT)
    assert (row.ulp_999, row.max_ulp) == (0, 2**23)
    theirs[:3] = 2
    assert measure(0, "a", ours, theirs, "float32", EXACT).ulp_999 == 2**23


def test_a_layer_without_one_right_number_has_no_right_bits():
    ours = np.ones((1, 2, 3, 3), np.float32)
    row = measure(0, "layer", ours, ours * np.float32(np.nan), "float32", EXACT)
    assert (row.within, row.bit_equal, row.max_ulp) == (False, 0, math.inf)
