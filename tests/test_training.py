"""Gradients by every parameter, in inference form and in training form: against torch.autograd, threads, running statistics."""

import numba
import numpy as np
import pytest
from support.compare import assert_bit_equal, assert_close
from support.engines import REFUSING
from support.judge import F, torch, torch_van
from support.networks import images, random_tensors
from tolerances import FLOAT64_NETWORK, GRADIENT_NETWORK, GRADIENT_TRAINING

from minivan import grad
from minivan.engines import Engine
from minivan.van import VAN
from minivan.variants import Config, is_learned

SMALL = Config((8, 12, 16, 20), (1, 2, 1, 1), (2, 3, 2, 2), classes=5)
ONE_STAGE = Config((6,), (2,), (3,), classes=3)
X, TARGET = images(3, 40, 64), np.array([1, 4, 2])


@pytest.fixture(scope="module")
def small():
    return random_tensors(SMALL, seed=1)


def torch_gradients(config, tensors, x, dlogits, training):
    """Return PyTorch's float64 logits, gradients by every parameter, and running statistics after the batch."""
    net = torch_van.load(config, tensors, torch.float64).train(training)
    logits = net(torch.from_numpy(x).double())
    (logits * torch.from_numpy(dlogits)).sum().backward()
    gradients = {name: p.grad.numpy() for name, p in net.named_parameters()}
    running = {name: b.numpy() for name, b in net.named_buffers() if "running" in name}
    return logits.detach().numpy(), gradients, running


@pytest.mark.parametrize("config", [SMALL, ONE_STAGE], ids=["four stages", "one stage"])
@pytest.mark.parametrize(
    "engine, network, training",
    [("numpy", FLOAT64_NETWORK, 10 * FLOAT64_NETWORK), ("exact", GRADIENT_NETWORK, GRADIENT_TRAINING)],
)
def test_all_gradients_are_pytorchs(config, engine, network, training):
    tensors = random_tensors(config, seed=1)
    dlogits = np.random.default_rng(0).normal(size=(len(X), config.classes))
    model = VAN(config, tensors, engine)
    names = [name for name in tensors if is_learned(name)]
    found = model.derive(X, dlogits, "parameters")
    assert list(found.gradients) == names and all(found.values[name] is model.tensors[name] for name in names)
    step = model.training_pass(X)
    assert repr(step) == f"<TrainingPass of 3 images, {len(step.arrays)} arrays, engine {engine}>"
    for form, got, tolerance in (
        (False, found.gradients, network),
        (True, step.gradients(dlogits), training),
    ):
        logits, expected, running = torch_gradients(config, tensors, X, dlogits, form)
        for name in names:
            assert got[name].dtype == (np.float32 if engine == "exact" else np.float64)
            # The bias before a BatchNorm that takes the batch's mean off moves nothing: what is left of its sum is rounding.
            lost = form and name.startswith("patch_embed") and name.endswith("proj.bias")
            scale = np.abs(expected[name.replace("proj.bias", "proj.weight")]).max() if lost else np.abs(expected[name]).max()
            assert got[name].shape == expected[name].shape
            assert np.abs(got[name] - expected[name]).max() <= tolerance * scale, (form, name)
        assert_close("logits", step.logits if form else found.logits, logits, tolerance)
        if form:
            for name, values in step.running_statistics(tensors).items():
                assert values.dtype == np.float32
                assert_close(name, values, running[name], GRADIENT_NETWORK)


def test_one_parameter_beside_paths_and_as_far_as_it_needs(small, monkeypatch):
    """The first names of a stage, where the pass and the saved arrays stop; a layer scale and the array of its name."""
    model = VAN(SMALL, small)
    every = model.gradients(X, 1, "parameters")
    called, right = [], grad.gelu_input
    monkeypatch.setattr(grad, "gelu_input", lambda *given: called.append(1) or right(*given))
    for wrt, gelus in (
        ("head.weight", 0), ("norm4.weight", 0), ("block4.0.mlp.fc2.bias", 0), ("block4.0.attn.proj_1.weight", 2),
        ("patch_embed4.proj.bias", 2), ("norm3.bias", 2), ("block3.0.mlp.fc1.weight", 3),
    ):  # fmt: skip
        called.clear()
        assert_bit_equal(wrt, model.gradients(X, 1, wrt)[wrt], every[wrt])
        assert len(called) == gelus, wrt
    both = model.derive(X, 1, ["block4.0.layer_scale_1", "block4.0.layer_scale_1.weight", "input"])
    assert both.gradients["block4.0.layer_scale_1"].shape == both.values["block4.0.layer_scale_1"].shape == (3, 20, 2, 2)
    assert_bit_equal("scale", both.gradients["block4.0.layer_scale_1.weight"], every["block4.0.layer_scale_1"])


def test_bits_depend_on_no_number_of_threads(small):
    model, before, runs = VAN(SMALL, small), numba.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
            step = model.training_pass(X)
            runs.append(step.gradients(grad.cross_entropy_input(step.logits, TARGET), ["parameters", "input"]))
            runs[-1] |= {f"{name}, inference": g for name, g in model.gradients(X, TARGET, "parameters").items()}
    finally:
        numba.set_num_threads(before)
    for run in runs[1:]:
        for name, gradient in run.items():
            assert_bit_equal(name, gradient, runs[0][name])


def test_what_is_written_into_the_arrays_in_place_is_what_the_next_call_reads():
    """A few steps down the slope of a loss: it falls, and inference has the running statistics that were gathered."""
    weights = random_tensors(ONE_STAGE, seed=3)
    rng = np.random.default_rng(0)
    x, target = rng.normal(size=(6, 3, 32, 32)).astype(np.float32), np.arange(6) % 3
    x[target == 1, 0] += 1
    x[target == 2] *= 0.5
    for engine in ("exact", "numpy"):
        tensors = {name: tensor.copy() for name, tensor in weights.items()}
        model, losses = VAN(ONE_STAGE, tensors, engine), []
        for _ in range(12):
            step = model.training_pass(x)
            p = np.exp(step.logits) / np.exp(step.logits).sum(1, keepdims=True)
            losses.append(-np.log(p[range(6), target]).mean())
            for name, gradient in step.gradients((p - np.eye(3)[target]) / 6).items():
                tensors[name] -= 0.3 * gradient
            for name, values in step.running_statistics(tensors).items():
                tensors[name][:] = values
        assert losses[-1] < 0.3 * losses[0], losses
        assert (model(x).argmax(1) == target).all()


def test_the_training_form_says_what_it_cannot_do(small):
    model = VAN(SMALL, small)
    for call, said in [
        (lambda: model.training_pass(images(1, 32)), "the batch's own statistics, of two values of each channel at least"),
        (lambda: model.training_pass(X).gradients(np.ones((3, 4))), r"the shape of the logits, \(3, 5\), got \(3, 4\)"),
        (lambda: model.training_pass(X).gradients(np.ones((3, 5), int)), "dlogits must be floating"),
        (lambda: model.training_pass(X).gradients(np.ones((3, 5)), "head.bais"), "near it are head.bias"),
        (
            lambda: VAN(SMALL, small, Engine("plain", ops=REFUSING.ops)).training_pass(X),
            "engine plain has no training form; auto",
        ),
    ]:
        with pytest.raises(ValueError, match=said):
            call()


def test_the_cross_entropy_and_the_pass_from_it_are_pytorchs(small):
    net = torch_van.load(SMALL, small, torch.float64).train()
    F.cross_entropy(net(torch.from_numpy(X).double()), torch.from_numpy(TARGET)).backward()
    step = VAN(SMALL, small).training_pass(X)
    got = step.gradients(grad.cross_entropy_input(step.logits, TARGET, "mean"))
    for name, parameter in net.named_parameters():
        if not name.endswith("proj.bias"):
            assert_close(name, got[name], parameter.grad.numpy(), GRADIENT_TRAINING)
