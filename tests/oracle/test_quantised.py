"""Quantised ports: what eight bits stand for, what is skipped, and what quantisation costs where."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from support import ports
from support.ports import CONFIG, TENSORS, X, as_port, reference

from minivan.card import Card
from minivan.checkpoint import Weights, write
from minivan.oracle import recorded, trace
from minivan.oracle.arithmetic import Arithmetic
from minivan.oracle.baseline import Baseline
from minivan.oracle.compare import Asked, compare
from minivan.oracle.measure import decibels
from minivan.oracle.own import QUANTISED
from minivan.oracle.scales import Point, Scales, read_scales
from minivan.oracle.tolerance import DEFAULTS
from minivan.van import VAN

COARSE = "block2.1"  # a layer with a scale that is far too large


def point(array, times=1.0):
    """Affine scales of eight bits for all that an array holds."""
    low, high = min(float(array.min()), 0), max(float(array.max()), 0)
    scale = times * (high - low) / 255
    return Point(np.float32([scale]), np.array([round(-low / scale)], np.int32), None, "uint8")


@functools.cache
def port(coarse=None):
    layers = {path: point(array, 8 if path == coarse else 1) for path, array in reference().layers.items()}
    return trace.record(VAN(CONFIG, TENSORS), X, arithmetic=Arithmetic("int8", scales=Scales(layers, ""))), layers


def judge(layers):
    return Baseline(reference(), lambda: (ports.run, "")).judge(as_port(layers), Asked(precision="int8"))


def test_what_costs_most_is_said_with_what_it_costs():
    made, _ = port(COARSE)
    found = judge(made.layers)
    assert found.report.within and not found.report.offenders
    assert found.budget.path == "head" and found.budget.costs[0].path == COARSE
    right = reference().layers["head"]
    assert found.budget.final_db == pytest.approx(_ratio(right, made.layers["head"] - right), abs=0.1)
    fine, _ = port()
    spared = _ratio(right, fine.layers["head"] - right)  # what the port really gives if that layer is rounded finely
    assert found.budget.costs[0].spared_db == pytest.approx(spared, abs=2) and spared > found.budget.final_db + 3
    rows = {row.path: row for row in found.report.rows}
    assert min(rows, key=lambda path: rows[path].own_db) == COARSE and rows[COARSE].inherited_db > rows[COARSE].own_db


WRONG = {
    "zeros": np.zeros_like,
    "negated": np.negative,
    "shuffled": lambda a: np.random.default_rng(0).permutation(a.ravel()).reshape(a.shape),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_layer_that_is_no_rounding_of_the_right_one_is_wrong(what):
    made, _ = port()
    layers = {**made.layers, "norm2": WRONG[what](made.layers["norm2"])}
    found = judge(layers).report
    assert not found.within and found.first_divergence.path == "norm2" and found.offenders[0].own_db < QUANTISED
    alone = compare(reference(), as_port(layers), asked=Asked(precision="int8"))  # without the weights
    assert alone.first_divergence.path == "norm2" and alone.first_divergence.snr_db <= DEFAULTS["int8"].least_db


def test_the_handbook_says_where_the_lines_are():
    text = " ".join((Path(__file__).parents[2] / "docs" / "oracle.md").read_text().split())
    said = (
        f"wrong whose own ratio is below {QUANTISED:g} dB, and, where own ratios are not known, whose whole ratio is not above "
    )
    assert f"{said}{DEFAULTS['int8'].least_db:g} dB" in text


def _ratio(signal, noise):
    return decibels(*(float(np.square(part, dtype=np.float64).sum()) for part in (signal, noise)))


def test_a_ratio_by_hand():
    assert decibels(25.0, 0.25) == pytest.approx(20) and decibels(25.0, 0.0) == np.inf


def test_the_command_reports_a_quantised_port(tmp_path, run):
    write(Weights(CONFIG, TENSORS, Card("small")), tmp_path / "small.safetensors")
    trace.write(reference(), tmp_path / "trace.safetensors")
    made, points = port(COARSE)
    stored, said = {}, {}
    for path, array in made.layers.items():
        p = points[path]
        stored[path] = (np.rint(array / p.scale) + p.zero_point).astype(np.uint8)
        said[path] = {"scale": float(p.scale[0]), "zero_point": int(p.zero_point[0]), "type": "uint8"}
    (tmp_path / "scales.json").write_text(json.dumps(said))
    np.savez(tmp_path / "port.npz", **stored)
    command = ["oracle", "compare", tmp_path / "trace.safetensors", tmp_path / "port.npz"]
    command += ["--model", tmp_path / "small.safetensors", "--scales", tmp_path / "scales.json"]
    status, out, err = run(*command)
    assert (status, err) == (0, "") and "precision: int8, as the port stores it" in out
    assert "signal to quantisation noise of head: " in out and f"without that of {COARSE}, whose own ratio is" in out
    found = json.loads(run(*command, "--json")[1])
    assert found["budget"]["costs"][0]["path"] == COARSE and found["precision"] == "int8"
    status, _, err = run(*command[:4])
    assert status == 2 and "port.npz, " in err and "what eight bits stand for --scales FILE says" in err


@pytest.mark.parametrize("form", ["npz", "folder", "safetensors"])
def test_eight_bits_with_a_scale_beside_them_are_a_layer_and_others_are_skipped(tmp_path, form):
    arrays = {
        "head": np.int8([[1, -2]]), "head.scale": np.float32([0.5]), "head.zero_point": np.int8([1]),
        "norm1": np.uint8([[1, 2]]), "counts": np.int64([3]), "flags": np.array([True]), "pool": np.float32([[1.0]]),
    }  # fmt: skip
    if form == "npz":
        np.savez(tmp_path / "p.npz", **arrays)
        path = tmp_path / "p.npz"
    elif form == "safetensors":
        save_file(arrays, tmp_path / "p.safetensors")
        path = tmp_path / "p.safetensors"
    else:
        path = tmp_path / "p"
        path.mkdir()
        for name, array in arrays.items():
            np.save(path / f"{name}.npy", array)
    found = recorded.read(path)
    assert set(found) == {"pool", "head"} and set(found.skipped) == {"norm1", "counts", "flags"}
    assert found["head"].values.tolist() == [[0, -1.5]] and found["head"].form == "int8"
    (tmp_path / "s.json").write_text('{"norm1": {"scale": 2, "type": "uint8"}}')
    found = recorded.read(path, read_scales(tmp_path / "s.json"))
    assert found["norm1"].values.tolist() == [[2, 4]] and set(found.skipped) == {"counts", "flags"}


@pytest.mark.parametrize("save", [np.savez, lambda path, **arrays: save_file(arrays, path)], ids=["npz", "safetensors"])
def test_a_zero_point_is_a_whole_number_of_any_dtype_or_its_layer_is_skipped(tmp_path, save):
    path = tmp_path / ("p.npz" if save is np.savez else "p.safetensors")
    for dtype in (np.uint8, np.int16, np.uint16, np.int32, np.int64, np.uint64):
        arrays = {"head": np.uint8([[7, 3]]), "head.scale": np.float32([0.5]), "head.zero_point": np.array([3], dtype)}
        save(path, **arrays, pool=np.float32([1]))
        found = recorded.read(path)
        assert set(found) == {"head", "pool"} and not found.skipped and found["head"].values.tolist() == [[2, 0]]
    for strange in (np.int64([300]), np.float32([3]), np.int32([3, 3])):
        save(path, **{**arrays, "head.zero_point": strange}, pool=np.float32([1]))
        assert "head" not in recorded.read(path) and "head" in recorded.read(path).skipped


def test_what_is_skipped_is_counted(tmp_path, run):
    trace.write(reference(), tmp_path / "trace.safetensors")
    np.savez(tmp_path / "port.npz", **reference().arrays, codes=np.int32([1, 2]))
    status, out, _ = run("oracle", "compare", tmp_path / "trace.safetensors", tmp_path / "port.npz")
    assert status == 0 and "skipped: 1 arrays of whole numbers, whose meaning nothing says (codes)" in out
