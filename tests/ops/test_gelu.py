"""How far erf, exp and GELU are from the truth: 113-bit arithmetic in C over a sweep of float32, mpmath on a sample of it."""

import ctypes
import subprocess
from concurrent.futures import ThreadPoolExecutor

import mpmath
import numba
import numpy as np
import pytest
from support import ROOT
from support.compare import ulp_distance
from support.judge import F, torch

from minivan import ops
from minivan.ops import activation
from minivan.reference import gelu as reference_gelu

STEP = 1001  # every so many of all 2^32 float32 values
CORRECTLY_ROUNDED = 0.500001  # ULP; half a unit, and what the measurement itself rounds


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    path = tmp_path_factory.mktemp("quad") / "quad.so"
    command = ["gcc", "-O2", "-shared", "-fPIC", "-o", str(path), str(ROOT / "tests" / "ops" / "quad.c"), "-lquadmath", "-lm"]
    subprocess.run(command, check=True)
    library = ctypes.CDLL(str(path))
    library.worst_gelu.restype = ctypes.c_double
    return library


def pointer(array):
    return array.ctypes.data_as(ctypes.c_void_p)


def errors(library, name, x, got):
    """Return how far each of `got` is from the truth, in ULP."""
    u = np.empty(x.size)
    getattr(library, f"measure_{name}")(ctypes.c_long(x.size), pointer(x), pointer(got), pointer(u))
    return u


def sweep(offset=0, step=STEP):
    """Every step-th of the 2^32 float32 values: all signs and exponents, denormals, NaN."""
    return np.arange(offset, 2**32, step, dtype=np.uint64).astype(np.uint32).view(np.float32)


@numba.njit
def each(function, x):
    y = np.empty_like(x)
    for i in range(x.size):
        y[i] = function(x[i])
    return y


def worst(u, x):
    i = int(np.argmax(u))
    return float(u[i]), f"{u[i]:.4f} ULP at {x[i]!r}"


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.once)], ids="every {}".format)
def test_gelu_is_the_correctly_rounded_float32_over_a_sweep(library, every):
    x = sweep(step=every * STEP)
    x = x[np.isfinite(x)]
    most, text = worst(errors(library, "gelu", x, ops.gelu(x)), x)
    assert x.size > 4_270_000 / every and most <= CORRECTLY_ROUNDED, text


@pytest.mark.long
def test_gelu_over_all_of_float32(library):
    """All 2^32 values: about ten minutes on two free cores."""

    def part(start):
        x = np.arange(start, start + 2**22, dtype=np.uint64).astype(np.uint32).view(np.float32)
        x = x[np.isfinite(x)]
        at = ctypes.c_float()
        got = ops.gelu(x)
        most = library.worst_gelu(ctypes.c_long(x.size), pointer(x), pointer(got), ctypes.byref(at))
        return most, at.value

    with ThreadPoolExecutor(2) as pool:
        most, at = max(pool.map(part, range(0, 2**32, 2**22)))
    assert most <= CORRECTLY_ROUNDED, f"{most} ULP at {at!r}"


@pytest.mark.parametrize("every", [24, pytest.param(1, marks=pytest.mark.once)], ids="every {}".format)
@pytest.mark.parametrize("name, low, high, bound", [
    ("exp", -745.2, 709.8, 1.2),
    ("erf", -7.0, 7.0, 1.8),
    ("erfc", -7.0, 1.0, 8.0),
])  # fmt: skip
def test_exp_erf_and_erfc_in_float64(library, name, low, high, bound, every):
    """The bounds are those of the docstrings."""
    function = getattr(activation, name)
    rng = np.random.default_rng(0)
    dense = sweep(step=every * STEP)
    dense = dense[(dense >= low) & (dense <= high)].astype(np.float64)
    count = 200_000 if every == 1 else 40_000
    for x in (dense, rng.uniform(low, high, count), rng.normal(size=count // 2).clip(low, high)):
        most, text = worst(errors(library, name, x, each(function, x)), x)
        assert most <= bound, text


def test_erfcs_tail_loses_digits_with_the_square_of_x(library):
    x = np.random.default_rng(0).uniform(1, 27, 60_000)
    u = errors(library, "erfc", x, each(activation.erfc, x)) / (x * x)
    most, text = worst(u, x)
    assert most <= 8, text


def test_the_ends_of_exp_and_erf(library):
    inf = np.inf
    x = np.array([-inf, inf, -746.0, 710.0, 0.0, -0.0, np.nan, -1e308, 1e308, 5e-324])
    np.testing.assert_array_equal(each(activation.exp, x), [0, inf, 0, inf, 1, 1, np.nan, 0, inf, 1])
    x = np.array([-inf, inf, -30.0, 30.0, 0.0, -0.0, np.nan, 5e-324])
    got = each(activation.erf, x)
    np.testing.assert_array_equal(got, [-1, 1, -1, 1, 0, 0, np.nan, 5e-324])
    assert np.signbit(got).tolist()[:6] == [True, False, True, False, False, True]
    np.testing.assert_allclose(each(activation.erfc, x), [2, 0, 2, 0, 1, 1, np.nan, 1], rtol=1e-15)


def test_the_truth_in_c_is_mpmaths(library):
    """Two independent truths: where mpmath at 60 digits puts a value, the C library measures no error beyond rounding."""
    mpmath.mp.dps = 60
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(size=300) * 3, rng.uniform(-14.5, -5, 100), rng.normal(size=100) * 1e-20]).astype(np.float32)
    exact = [mpmath.mpf(float(v)) * mpmath.ncdf(mpmath.mpf(float(v))) for v in x]
    rounded = np.array([float(v) for v in exact]).astype(np.float32)  # twice rounded, so half a unit and a little
    assert errors(library, "gelu", x, rounded).max() <= CORRECTLY_ROUNDED
    wide = rng.normal(size=300) * 2
    for name, function in (("erf", mpmath.erf), ("erfc", mpmath.erfc), ("exp", mpmath.exp)):
        got = np.array([float(function(mpmath.mpf(float(v)))) for v in wide])
        assert errors(library, name, wide, got).max() <= CORRECTLY_ROUNDED
        assert errors(library, name, wide, np.nextafter(got, 9)).max() > 0.99


def interpolate(function, nodes):
    """The polynomial through a function's values at these points, lowest power first."""
    powers = mpmath.matrix([[u**k for k in range(len(nodes))] for u in nodes])
    return [float(c) for c in mpmath.lu_solve(powers, mpmath.matrix([function(u) for u in nodes]))]


def test_the_polynomials_coefficients_are_made_again():
    mpmath.mp.dps = 60

    def scaled(u):
        t = 4 * (1 + u) / (1 - u)
        return (1 + 2 * t) * mpmath.exp(t * t) * mpmath.erfc(t)

    def chebyshev(n):
        return [mpmath.cos(mpmath.pi * (2 * k + 1) / (2 * n)) for k in range(n)]

    n = len(activation.ERFC_SCALED)
    assert interpolate(scaled, chebyshev(n)) == list(activation.ERFC_SCALED[::-1])
    squares = [(1 + u) / 2 for u in chebyshev(len(activation.ERF_OVER_X))]  # x^2 in 0..1
    over_x = interpolate(lambda v: mpmath.erf(mpmath.sqrt(v)) / mpmath.sqrt(v), squares)
    assert over_x == list(activation.ERF_OVER_X[::-1])


def test_a_worse_gelu_is_noticed(library):
    """The usual forms fail what `exact` passes: 1 + erf cancels in the tail, and tanh is another function."""
    x = sweep(step=100_003)
    x = x[np.isfinite(x)]
    naive = (x * 0.5 * (1 + torch.erf(torch.from_numpy(x) * 2**-0.5).numpy())).astype(np.float32)
    assert errors(library, "gelu", x, naive).max() > 1000
    assert errors(library, "gelu", x, F.gelu(torch.from_numpy(x), approximate="tanh").numpy()).max() > 1000


def test_gelu_is_pytorchs_at_the_ends():
    """-0 stays, NaN stays, -infinity gives NaN. At +infinity PyTorch's vectorised float32 gives NaN, its scalar and float64
    code infinity: infinity is right, and minivan's answer."""
    ends = np.array([-0.0, 0.0, np.inf, -np.inf, np.nan], np.float32)
    judge = F.gelu(torch.from_numpy(ends).double()).numpy()
    for gelu in (ops.gelu, reference_gelu):
        got = np.asarray(gelu(ends))
        np.testing.assert_array_equal(got, judge)
        assert np.signbit(got[:2]).tolist() == [True, False]
    assert F.gelu(torch.tensor([np.inf])).item() == np.inf


def test_pytorchs_float32_is_near_enough_to_be_the_same_function():
    x = np.random.default_rng(0).normal(size=100_000).astype(np.float32) * 2
    assert np.median(ulp_distance(F.gelu(torch.from_numpy(x)).numpy(), ops.gelu(x))) <= 1
