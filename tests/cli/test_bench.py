"""python -m minivan bench and warmup."""

import json

import numba
import pytest


@pytest.fixture(autouse=True)
def threads():
    """Put Numba's number of threads back: --threads sets it for the process."""
    before = numba.get_num_threads()
    yield
    numba.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["fast", "exact"])
def test_bench_reports_times_and_arithmetic_that_fit_together(run, engine):
    argv = ["bench", "tiny", "--size", "64x96", "--batch", 2, "--runs", 3, "--threads", 1, "--engine", engine, "--json"]
    status, out, err = run(*argv)
    assert (status, err) == (0, "")
    result = json.loads(out)
    assert [result[k] for k in ("variant", "engine", "height", "width", "batch", "threads")] == ["b0", engine, 64, 96, 2, 1]
    assert 0 < result["min_ms"] <= result["median_ms"]
    assert result["images_per_second"] == pytest.approx(2000 / result["median_ms"])
    assert result["share"] == pytest.approx(result["gflops"] / result["peak_gflops"])
    multiply_adds = result["gflops"] * 1e9 * result["min_ms"] / 1000 / 2
    assert multiply_adds == pytest.approx(2 * 0.864e9 * 64 * 96 / 224**2, rel=0.01)  # 0.864 G at 224, published


def test_bench_in_words_and_an_unknown_variant(run):
    status, out, _ = run("bench", "b0", "--size", 32, "--runs", 1)
    assert status == 0 and "VAN-B0, 32 x 32, batch 1, engine fast" in out and "GFLOP/s" in out
    status, out, err = run("bench", "b9")
    assert (status, out) == (2, "") and len(err.splitlines()) == 1


def test_too_little_memory_is_said_in_one_line(run, monkeypatch):
    def measure(*_):
        raise MemoryError("Unable to allocate 20.1 GiB")

    monkeypatch.setattr("minivan.bench.measure", measure)
    said = "minivan: not enough memory (Unable to allocate 20.1 GiB): smaller images, or fewer at once, need less\n"
    assert run("bench", "--size", 30000) == (2, "", said)


def test_a_width_of_vectors_that_there_is_not_is_said_in_one_line(run, monkeypatch):
    monkeypatch.setenv("MINIVAN_VECTOR", "7")
    assert run("warmup", "--engine", "fast") == (2, "", "minivan: MINIVAN_VECTOR is one of 16, 8, 4, 0, got '7'\n")


def test_warmup_names_what_it_compiled(run):
    status, out, err = run("warmup")
    assert (status, err) == (0, "")
    assert [line.split(":")[0] for line in out.splitlines()] == ["fast", "exact"]
