"""Each layer's own error: a sound port adds a rounding or two everywhere, a fault many at its own layer."""

import math
import warnings

import numpy as np
import pytest
from support import ports
from support.planted import ACT, FC1, NORM, PLANTS, bias, layer, normalise, operator
from support.ports import CONFIG, TENSORS, X, as_port, numpy_layers, recorded_layers, reference, sound_port

from minivan.oracle import trace
from minivan.oracle.arithmetic import Arithmetic
from minivan.oracle.baseline import Baseline
from minivan.oracle.compare import Asked
from minivan.oracle.own import LINES
from minivan.oracle.tolerance import Tolerance
from minivan.oracle.ulp import round_to
from minivan.van import VAN

BASELINE = Baseline(reference(), lambda: (ports.run, ""))


def judge(port, **asked):
    return BASELINE.judge(as_port(port), Asked(**asked)).report


@pytest.mark.parametrize("form", [None, "float16", "bfloat16"])
def test_a_sound_port_adds_a_rounding_or_two_at_every_layer(form):
    report = judge(recorded_layers(form=form))
    assert report.within and not report.offenders and report.precision.word == (form or "float32")
    own = [row.own for row in report.rows if row.path != "input"]
    assert max(own) < LINES[report.precision.word] / 2
    if form:
        assert np.median(own) == pytest.approx(1, abs=0.1) and max(row.inherited for row in report.rows) > 2


def test_a_port_in_float64_adds_what_the_rounding_of_the_trace_is():
    report = judge(trace.record(VAN(CONFIG, TENSORS, "numpy"), X).arrays)
    assert report.precision.word == "float32" and max(row.own for row in report.rows) < 3


@pytest.mark.parametrize("form, fault", [
    (None, (NORM, lambda: operator("batch_norm", NORM, normalise(eps=1e-4)))),  # in 16 bits less than a rounding
    ("float16", (FC1, lambda: bias(FC1, np.zeros_like))),
    ("bfloat16", PLANTS["GELU as x * sigmoid(1.702 x)"]),
])  # fmt: skip
def test_a_fault_is_found_at_its_own_layer_in_every_format(form, fault):
    path, plant = fault
    report = judge(recorded_layers(form=form, **plant()))
    assert [row.path for row in report.offenders] == [path] and report.first_divergence.path == path
    assert not report.within


def test_a_fault_that_the_tolerance_lets_pass_is_none_that_passes():
    """In bfloat16 a missing bias is milder than 0.4 of a layer's size."""
    layers = recorded_layers(form="bfloat16", **bias(FC1, lambda b: b * np.float32(0.7)))
    report = judge(layers)
    assert all(row.within for row in report.rows) and not report.within
    assert [row.path for row in report.offenders] == [FC1]
    asked = judge(layers, tolerance=Tolerance(0.4))  # whoever says what is allowed decides
    assert asked.within and [row.path for row in asked.offenders] == [FC1]


def test_faults_of_two_layers_are_both_listed():
    plant = layer(ACT, lambda a, layers: np.maximum(layers[ACT.replace("act", "dwconv.dwconv")], 0))
    report = judge(recorded_layers(**plant, **bias("patch_embed1.norm", np.zeros_like)))
    assert [row.path for row in report.offenders] == ["patch_embed1.norm", ACT]


def test_an_inherited_error_is_not_its_own():
    layers = numpy_layers(x=X * np.float32(1.01))
    report = judge(layers)
    assert [row.path for row in report.offenders] == ["input"]
    assert all(row.inherited > 100 > 10 > row.own for row in report.rows if row.path.startswith("block"))


def test_layers_that_a_port_does_not_show_are_allowed_their_roundings():
    for form in ("float16", "bfloat16"):
        made = trace.record(VAN(CONFIG, TENSORS), X, arithmetic=Arithmetic(form, everything=True))
        few = {path: array for path, array in made.arrays.items() if path in ("norm1", "block2.0", "norm3", "head")}
        report = judge(few, layers=("norm1", "block2.0", "norm3", "head"))
        assert report.within and max(row.own for row in report.rows) < LINES[form]
        wrong = {**few, "block2.0": round_to(few["block2.0"] * np.float32(1.2), form).astype(np.float32)}
        assert judge(wrong).offenders[0].path == "block2.0"
    fast = trace.record(VAN(CONFIG, TENSORS, "fast"), X)
    report = judge(fast.arrays)
    assert not report.offenders and max(row.own for row in report.rows) < LINES["float32"]


def test_what_is_not_finite_or_misshapen_offends():
    layers = {**sound_port(), "norm2": np.where(sound_port()["norm2"] > 1, np.inf, sound_port()["norm2"]).astype(np.float32)}
    report = judge(layers)
    assert report.offenders[0].path == "norm2" and report.offenders[0].own == math.inf
    layers = {**sound_port(), "norm2": sound_port()["norm2"][:, :, :2]}
    assert [row.path for row in judge(layers).offenders] == ["norm2"]


def test_numbers_that_are_not_finite_leak_no_warnings():
    layers = {**sound_port()}
    for path, strange in (("patch_embed1.proj", np.inf), (FC1, np.nan), ("norm2", -np.inf), ("head", np.nan)):
        layers[path] = np.where(layers[path] > 0.5, np.float32(strange), layers[path]).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        judged = BASELINE.judge(as_port(layers), Asked(sketches=True))
        said = judged.plain()
    assert said["first_divergence"]["path"] == "patch_embed1.proj" and "infinite" in said["first_divergence"]["hint"]


def test_without_the_weights_nothing_is_known_and_that_is_said(tmp_path, run):
    trace.write(reference(), tmp_path / "trace.safetensors")
    np.savez(tmp_path / "port.npz", **sound_port())
    status, out, _ = run("oracle", "compare", tmp_path / "trace.safetensors", tmp_path / "port.npz")
    assert status == 0 and "each layer's own error is not known: name the trace's weights with --model" in out


def test_the_command_lists_all_offenders_with_a_hint_each(tmp_path, run):
    from minivan.card import Card
    from minivan.checkpoint import Weights, write

    write(Weights(CONFIG, TENSORS, Card("small")), tmp_path / "small.safetensors")
    trace.write(reference(), tmp_path / "trace.safetensors")
    two = bias("patch_embed1.norm", np.zeros_like)["tensors"] | {"head.bias": np.zeros_like(TENSORS["head.bias"])}
    np.savez(tmp_path / "port.npz", **numpy_layers(tensors=two))
    command = ["oracle", "compare", tmp_path / "trace.safetensors", tmp_path / "port.npz", "--model"]
    status, out, _ = run(*command, tmp_path / "small.safetensors")
    assert status == 1 and "first divergence: patch_embed1.norm (layer 2)" in out
    assert "roundings itself, a sound layer 50.0 roundings at most" in out
    assert "1 layer more with an error of its own:\n  head (layer 75), " in out and "roundings: missing bias" in out
    assert out.count(">>>") > 2  # those that inherited it, too
    status, out, _ = run(*command, tmp_path / "small.safetensors", "--rtol", 100)
    assert status == 0 and ">>>" not in out  # where a tolerance is asked for, that alone decides


def test_rounding_goes_to_the_even_number_in_every_format():
    half = np.float32([1 + 2.0**-11, 1 + 3 * 2.0**-11, 65520, 65519.99])
    assert round_to(half, "tf32").tolist() == [1, 1 + 2.0**-9, 65536, 65504]
    assert round_to(half, "float16").tolist() == [1, 1 + 2.0**-9, np.inf, 65504]
    assert np.isnan(round_to(np.float32([np.nan]), "tf32"))[0] and round_to(np.float32([np.inf]), "tf32")[0] == np.inf
