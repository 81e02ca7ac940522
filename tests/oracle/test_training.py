"""Ports that train, in PyTorch: a sound one is right, and a fault on the way back is found where it is and named."""

import numpy as np
import pytest
from support.judge import F, torch
from support.training_ports import (
    CONFIG,
    TENSORS,
    X,
    batch_norm,
    conv2d,
    gradients_of,
    judged,
    parameters_alone,
    with_gradient,
    wrong_way_back,
)

from minivan.card import Card
from minivan.checkpoint import Weights, write
from minivan.oracle import gradients, read_trace

NORM, FAR, PROJ, FC1 = (f"block2.1.{name}" for name in (
    "norm1", "attn.spatial_gating_unit.conv_spatial", "attn.proj_2", "mlp.fc1"))  # fmt: skip
SCALE = "gradient.block2.1.layer_scale_1.weight"

PLANTS = {  # what the hint must say -> the first gradient that is wrong, and what plants it
    "the bias's gradient is forgotten": (f"gradient.{FC1}.bias", dict(finish=with_gradient(f"{FC1}.bias", np.zeros_like))),
    "the weight's gradient is forgotten": (f"gradient.{FC1}.weight", dict(
        finish=with_gradient(f"{FC1}.weight", np.zeros_like))),
    "the layer scale's gradient is forgotten": (SCALE, dict(finish=with_gradient(SCALE, np.zeros_like))),
    "the weight's gradient is transposed": (f"gradient.{PROJ}.weight", dict(
        finish=with_gradient(f"{PROJ}.weight", lambda g: g.swapaxes(0, 1)))),
    "takes the unbiased variance instead of the biased one": ("gradient.block2.0", dict(
        change=lambda net: wrong_way_back(NORM, batch_norm("unbiased"))(net))),
    "BatchNorm's statistics are taken for constants": ("gradient.block2.0", dict(
        change=lambda net: wrong_way_back(NORM, batch_norm(through=(False, False)))(net))),
    "BatchNorm's mean is taken for a constant": ("gradient.block2.0", dict(
        change=lambda net: wrong_way_back(NORM, batch_norm(through=(False, True)))(net))),
    "missing dilation on the way back: 1 instead of 3": (f"gradient.{FAR}.weight", dict(
        change=lambda net: wrong_way_back(FAR, conv2d(padding=3, dilation=1))(net))),
    "a mean over the batch instead of a sum": ("gradient.head", dict(
        losses=lambda logits, target: F.cross_entropy(logits, target))),
    "1 is not taken off at the target": ("gradient.head", dict(
        losses=lambda logits, target: torch.logsumexp(logits, 1).sum())),
    "the biased variance goes into the running one": ("patch_embed1.norm.running_var", dict(
        finish=lambda arrays: _biased(arrays))),
}  # fmt: skip


def _biased(arrays):
    found = dict(arrays)
    for name in (n for n in arrays if n.endswith("running_var")):
        count = arrays[name.removesuffix(".running_var")][:, 0].size
        found[name] = ((arrays[name] - 0.9 * TENSORS[name]) * (count - 1) / count + 0.9 * TENSORS[name]).astype(np.float32)
    return found


@pytest.mark.parametrize("form, reduction", [
    ("training", "sum"), *(pytest.param(*case, marks=pytest.mark.once) for case in (
        ("training", "mean"), ("inference", "sum"), ("inference", "mean")))])  # fmt: skip
def test_a_sound_port_is_right_whatever_it_shows(form, reduction):
    loss = gradients.Loss(form=form, reduction=reduction)
    arrays = gradients_of(loss=loss)
    for shown in (arrays, parameters_alone(arrays)):
        report = judged(shown, loss).report
        assert report.within and not report.offenders, [(r.path, r.own, r.line) for r in report.offenders]
    assert [path for path in judged(arrays, loss).report.missing if path.startswith("gradient")] == [
        *("gradient.pool", "gradient.block3.0.layer_scale_1", "gradient.block2.1.layer_scale_1"),
        *("gradient.block2.0.layer_scale_1", "gradient.block1.0.layer_scale_1"),
    ]


QUICK = ("the bias's", "takes the unbiased", "missing dilation", "a mean over", "the biased variance")


@pytest.mark.parametrize("text", [
    text if text.startswith(QUICK) else pytest.param(text, marks=pytest.mark.once) for text in PLANTS])  # fmt: skip
def test_a_planted_fault_is_found_where_it_is_and_named(text):
    path, plant = PLANTS[text]
    arrays = gradients_of(**plant)
    found = judged(arrays)
    first = found.report.first_divergence
    assert first is not None and first.path == path and text in found.hint(), (first and first.path, found.hint())
    alone = judged(parameters_alone(arrays))
    assert not alone.report.within and text in alone.hint(), (alone.report.first_divergence.path, alone.hint())


def test_a_small_gradient_is_not_called_forgotten():
    """Of a twelfth, and of small numbers that have nothing to do with the right ones, no fault that gives little is named."""
    name = f"gradient.{FAR}.bias"
    arrays = gradients_of()
    size = np.abs(arrays[name]).max()
    for values, said in (
        (arrays[name] / np.float32(12), "all numbers are multiplied: they are 0.08333 times"),
        (np.linspace(-size, size, arrays[name].size, dtype=np.float32) / 50, ""),
    ):
        for shown in (arrays, parameters_alone(arrays)):
            found = judged({**shown, name: values})
            assert [row.path for row in found.report.offenders] == [name]
            assert said in found.hint() if said else not found.reasons[name], found.reasons


def test_what_rounding_may_hide_is_not_called_right():
    """By parameters alone, of a bias before a BatchNorm nothing but rounding is left, and a small fault may be that."""
    name = "gradient.patch_embed2.proj.bias"
    arrays = parameters_alone(gradients_of())
    found = judged({**arrays, name: arrays[name] + np.float32(1e-3)})
    assert found.report.first_divergence.path == name and "may have added up to this: show the arrays" in found.hint()


def test_the_commands_record_gradients_and_judge_a_port_by_them(run, tmp_path):
    """A trace is a port without a fault; the words for what is recorded, for what is wrong, and for what cannot be asked."""
    write(Weights(CONFIG, TENSORS, Card("small")), tmp_path / "small.safetensors")
    np.save(tmp_path / "x.npy", X)
    record = ("oracle", "record", tmp_path / "x.npy", "--model", tmp_path / "small.safetensors")
    status, said, err = run(*record, "--gradients", "--target", 3, "-o", tmp_path / "t.safetensors")
    assert (status, err) == (0, "") and ": 97 layers and 184 gradients of the cross-entropy's sum, training form, " in said
    back = read_trace(tmp_path / "t.safetensors")
    assert gradients.said_in(back.metadata) == gradients.Loss((3, 3))
    arrays = {name: back.arrays[name] for name in back.arrays}
    arrays["gradient.head.bias"] = arrays["gradient.head.bias"] / 2
    np.savez(tmp_path / "port.npz", **arrays)
    status, said, err = run("oracle", "compare", tmp_path / "t.safetensors", tmp_path / "port.npz")
    assert (status, err) == (1, "") and "first divergence: gradient.head.bias" in said
    assert "hint: a mean over the batch instead of a sum" in said
    status, said, err = run("oracle", "compare", tmp_path / "t.safetensors", tmp_path / "t.safetensors")
    assert status == 0 and "281 layers compared, layout nchw: bit-equal" in said
    for arguments, text in (
        (["--target", 3], "--target and --reduction say what --gradients are of"),
        (["--gradients", "--target", 12], "the target is one of 12 classes, 0 to 11; got 12"),
        (["--gradients", "--target", 1, 2, 3], "or one for each of the 2 images; got 3"),
        (["--gradients", "--precision", "float16"], "gradients are recorded in float32 alone"),
        (["--gradients", "--engine", "fast"], "gradients are those of exact or numpy"),
    ):
        status, said, err = run(*record, *arguments, "-o", tmp_path / "u.safetensors")
        assert (status, said) == (2, "") and text in err and err.count("\n") == 1 and not (tmp_path / "u.safetensors").exists()
