"""Sound ports whose sums are long, or cancel: beyond the usual line, within what such sums may add; faults are beyond both."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.ports import CONFIG, TENSORS, X, as_port, layers_of

from minivan.engines import NUMPY
from minivan.oracle import trace
from minivan.oracle.baseline import Baseline
from minivan.oracle.cancellation import FOLDED, ONE_PASS, SUMMED, allowed
from minivan.oracle.measure import rms
from minivan.oracle.own import LINES
from minivan.oracle.replay import Call
from minivan.oracle.ulp import one_rounding, round_to
from minivan.van import VAN

RNG = np.random.default_rng(0)
LINE, PLAIN = LINES["float32"], 0.3


def drawn(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def test_the_handbook_says_how_far_the_line_moves():
    text = " ".join((Path(__file__).parents[2] / "docs" / "oracle.md").read_text().split())
    assert f"its line is {SUMMED:g} sqrt(K) roundings of the sum of their absolute values" in text
    assert f"(a plain loop adds some {PLAIN:g}), and {FOLDED:g} roundings of |x scale| + |shift|" in text
    assert f"an error of {ONE_PASS:g} sqrt(C) roundings in the mean square" in text


def own(port, right, form="float32"):
    return rms(port.astype(np.float64) - right) / one_rounding(right, form)


def one_by_one(x, weight, bias):
    """A linear layer as a plain loop in float32 sums it: bias first, then one product after the other."""
    terms = (np.concatenate([bias[:, None], row * weight], 1) for row in x)
    return np.stack([np.add.accumulate(products, 1, dtype=np.float32)[:, -1] for products in terms])


@pytest.mark.parametrize("count", [512, 2048, 3072])
@pytest.mark.parametrize("cancels", [False, True])
def test_a_plain_float32_sum_is_sound_and_tf32_is_not(count, cancels):
    x, weight, bias = drawn(20, count), drawn(32, count), drawn(32)
    if cancels:  # the second half takes away nearly all that the first half gives
        half = count // 2
        x[:, half:] = x[:, :half] * (1 + np.float32(0.02) * drawn(20, half))
        weight = np.abs(weight)
        weight[:, half:] = -weight[:, :half]
        x = np.abs(x)
    right = np.asarray(NUMPY.ops.linear(x, weight, bias), np.float32)
    call = Call("linear", NUMPY.ops.linear, {"weight": weight, "bias": bias}, "", "head", lambda: x)
    most = max(LINE, allowed(call, right, "float32"))
    found = own(one_by_one(x, weight, bias), right)
    assert found < most and (found > LINE) == cancels
    assert not cancels or found / most * SUMMED == pytest.approx(PLAIN, abs=0.1)
    assert own(one_by_one(round_to(x, "tf32"), round_to(weight, "tf32"), bias), right) > most
    assert allowed(call, right, "float16") == 0


@pytest.mark.parametrize("form", ["float32", "bfloat16"])
def test_a_folded_batch_norm_whose_mean_is_far_larger_than_its_deviation_is_sound(form):
    x, call, right, port = batch_norm(form)
    most = allowed(call, right, form)
    assert LINES[form] < own(port, right, form) < most
    wrong = NUMPY.ops.batch_norm(x, **{**call.parameters, "running_mean": np.zeros(4, np.float32)})
    assert own(np.asarray(wrong, np.float32), right, form) > most


@pytest.mark.parametrize(("channels", "mean"), [(32, 30), (512, 100)])
def test_a_layer_norm_in_one_pass_is_sound_where_the_mean_is_far_larger_than_the_deviation(channels, mean):
    x, given, right, call, port = layer_norm(channels, mean)
    most = allowed(call, right, "float32")
    assert LINE < own(port, right) < most and allowed(call, right, "bfloat16") == 0
    assert own(right - given["bias"][:, None, None], right) > most
    centred = x - np.float32(mean)  # as the network's are: the line does not move
    assert allowed(replace(call, feed=lambda: centred), right, "float32") < LINE


def test_a_wrong_eps_of_layer_norm_is_hidden_where_one_pass_adds_as_much():
    """By how much the fault, a sound port in one pass, and the line lie apart: docs/oracle.md has the numbers."""
    for channels, mean, hidden in ((512, 3, True), (256, 3, False), (512, 1, False)):
        _, _, right, call, port = layer_norm(channels, mean)
        fault = own(np.asarray(call.again(eps=1e-5), np.float32), right)
        line = max(LINE, allowed(call, right, "float32"))
        assert fault == pytest.approx(130, rel=0.1) and own(port, right) < line
        assert (fault < line) == hidden and (80 < own(port, right) < 120) == (line > 150) == hidden


def layer_norm(channels, mean):
    """LayerNorm, and a port that computes it in one pass."""
    x = mean + drawn(1, channels, 8, 8)
    given = dict(weight=1 + drawn(channels) / 8, bias=drawn(channels), eps=1e-6)
    right = np.asarray(NUMPY.ops.layer_norm(x, **given), np.float32)
    call = Call("layer_norm", NUMPY.ops.layer_norm, given, "", "norm1", lambda: x)
    means, squares = (np.add.accumulate(each, 1, dtype=np.float32)[:, -1:] / np.float32(channels) for each in (x, x * x))
    normal = (x - means) / np.sqrt(squares - means * means + np.float32(1e-6))
    return x, given, right, call, normal * given["weight"][:, None, None] + given["bias"][:, None, None]


def batch_norm(form):
    mean = 2000 if form == "float32" else 30
    x = round_to(mean + drawn(1, 4, 16, 16), form).astype(np.float32)
    given = dict(running_mean=np.full(4, mean, np.float32), running_var=np.ones(4, np.float32), weight=1 + drawn(4) / 8,
                 bias=drawn(4), eps=1e-5)  # fmt: skip
    right = np.asarray(NUMPY.ops.batch_norm(x, **given), np.float32)
    call = Call("batch_norm", NUMPY.ops.batch_norm, given, "", "block1.0.norm1", lambda: x)
    return x, call, right, folded(x, form, **given)


def folded(x, form, running_mean, running_var, weight, bias, eps):
    """BatchNorm as x * scale + shift, every step rounded."""
    scale = round_to(weight / np.sqrt(running_var + eps), form)
    shift = round_to(bias - running_mean * scale, form)
    product = round_to(np.asarray(x, np.float32) * scale[:, None, None], form)
    return round_to(product + shift[:, None, None], form).astype(np.float32)


def test_a_port_that_folds_such_a_batch_norm_is_right():
    far = {name: TENSORS[name] + np.float32(2000) for name in ("patch_embed2.proj.bias", "patch_embed2.norm.running_mean")}
    tensors = {**TENSORS, **far}

    class Folding:
        def __getattr__(self, operator):
            return (lambda x, **p: folded(x, "float32", **p)) if operator == "batch_norm" else getattr(NUMPY.ops, operator)

    made = trace.record(VAN(CONFIG, tensors), X)
    port = {path: np.asarray(array, np.float32) for path, array in layers_of(Folding(), tensors).items()}
    report = (
        Baseline(made, lambda: (lambda engine, hook: VAN(CONFIG, tensors, engine)(hook("input", X), hook), ""))
        .judge(as_port(port))
        .report
    )
    row = next(row for row in report.rows if row.path == "patch_embed2.norm")
    assert LINE < row.own < row.line and not report.offenders and report.precision.word == "float32"
