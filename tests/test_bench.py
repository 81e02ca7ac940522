"""Measurements of speed: numbers that fit together, on weights that do not change arithmetic's pace."""

import numba
import numpy as np
import pytest
from support.networks import random_tensors

from minivan import compiler, jit, reference, seeded
from minivan.bench import SMALL, measure, warm_up
from minivan.engines import EXACT, Engine
from minivan.errors import CannotCompute
from minivan.reference import derivatives
from minivan.summary import summarise, totals
from minivan.van import VAN
from minivan.variants import VARIANTS, Config


@pytest.mark.parametrize("engine", ["fast", "exact", "numpy"])
def test_times_and_arithmetic_fit_together(engine):
    seen = measure(SMALL, engine, size=(64, 96), batch=2, runs=3)
    assert seen[:4] == (engine, 64, 96, 2)
    assert 0 < seen.min_ms <= seen.median_ms
    assert seen.images_per_second == pytest.approx(2000 / seen.median_ms)
    assert seen.gflops == pytest.approx(2 * 2 * totals(summarise(SMALL, 64, 96))[1] / seen.min_ms / 1e6)
    assert seen.share == pytest.approx(seen.gflops / seen.peak_gflops)


def test_an_engine_of_ones_own_on_the_seeded_images():
    seen = []

    class Plan:
        def __init__(self, config, tensors):
            np.testing.assert_array_equal(tensors["head.weight"], seeded.tensors(SMALL)["head.weight"])

        def __call__(self, x):
            seen.append(x)
            return np.zeros((len(x), SMALL.classes), np.float32)

    assert measure(SMALL, Engine("mine", ops=EXACT.ops, compile=Plan), (32, 32), runs=4).engine == "mine"
    assert len(seen) == 5
    np.testing.assert_array_equal(seen[0], seeded.images((1, 3, 32, 32)))


def test_the_number_of_threads_is_put_back():
    before = numba.get_num_threads()
    assert measure(SMALL, size=(32, 32), runs=1, threads=1).threads == 1
    assert numba.get_num_threads() == before
    with pytest.raises(ValueError):
        measure(SMALL, size=(32, 32), runs=1, threads=0)
    assert numba.get_num_threads() == before


def test_fast_is_measured_without_any_of_numbas_threads(monkeypatch):
    """Which may not be startable: a threading layer that is not here, an absurd number of them."""

    def refuse():
        raise ValueError("No threading layer could be loaded.")

    monkeypatch.setattr(numba, "get_num_threads", refuse)
    for module in (jit, compiler):
        monkeypatch.setattr(module, "threading_layer", lambda: None)
    assert measure(SMALL, size=(32, 32), runs=1).engine == "fast"
    with pytest.raises(CannotCompute, match=r"unset NUMBA_THREADING_LAYER .* \(explain, receptive-field\)"):
        measure(SMALL, size=(32, 32), runs=1, threads=1)
    monkeypatch.setattr(jit, "_numbas", lambda: 100_000)
    with pytest.raises(CannotCompute, match="at most 1024"):
        measure(SMALL, size=(32, 32), runs=1, threads=1)


@pytest.mark.parametrize("wrong", [dict(batch=0), dict(runs=0), dict(size=(31, 32)), dict(engine="warp")])
def test_what_cannot_be_measured(wrong):
    with pytest.raises(ValueError):
        measure(SMALL, **{"runs": 1, **wrong})
    with pytest.raises(ValueError, match="backbone"):
        measure(Config((8, 8, 8, 8), (1, 1, 1, 1), (2, 2, 2, 2), classes=0), runs=1)


def test_warming_up_runs_each_engine_once():
    names = []

    class Watched:
        def __init__(self, functions):
            self.functions = functions

        def __getattr__(self, name):
            names.append(name)
            return getattr(self.functions, name)

    ops = Watched(reference)
    mine = Engine("mine", ops=ops), Engine("derived", ops=ops, grad=Watched(derivatives))
    warmed = list(warm_up([mine[0], "numpy"]))
    assert [name for name, _ in warmed] == ["mine", "numpy"] and all(seconds > 0 for _, seconds in warmed)
    used = {"conv2d", "batch_norm", "layer_norm", "gelu", "linear", "global_average_pool"}
    assert set(names) == used
    list(warm_up([mine[1]]))
    used |= {"relu", "upsample_nearest", "upsample_bilinear"}
    assert set(names) == used | {"softmax"} | {f"{name}_input" for name in used}


@pytest.mark.parametrize("make", [seeded.tensors, random_tensors])
@pytest.mark.parametrize("variant", ["b0", pytest.param("b3", marks=pytest.mark.once)])
def test_random_weights_give_neither_numbers_too_small_nor_too_large(variant, make):
    """Subnormal numbers take many times as long, and a signal that grows or dies hides a layer from every comparison."""
    config, smallest = VARIANTS[variant], np.finfo(np.float32).tiny

    def look(path, y):
        size = np.abs(y)
        assert np.isfinite(y).all() and size.max() < 100, path
        assert not ((size > 0) & (size < smallest)).any(), path
        assert 0.01 < y.std() < 10, path

    model = VAN(config, make(config))
    logits = model(seeded.images((1, 3, 64, 64)), look)
    assert 0.05 < logits.std() < 5
