"""Engines are values: the built-in ones, one of PyTorch tensors, one of a user's own."""

import ast
import dataclasses
import pickle
import subprocess
import sys

import numpy as np
import pytest
from support import ROOT
from support.compare import assert_bit_equal, assert_close
from support.judge import TORCH, torch
from support.networks import images, random_tensors
from tolerances import LOGITS

from minivan import ops, reference
from minivan.engines import AUTO, ENGINES, EXACT, FAST, NUMPY, Engine, find
from minivan.van import VAN
from minivan.variants import Config

pytestmark = pytest.mark.loop

SMALL = Config((8, 16, 24, 32), (1, 1, 2, 1), (8, 8, 4, 4), classes=10)


@pytest.fixture(scope="module")
def small():
    return random_tensors(SMALL, seed=1)


def test_the_table_holds_frozen_values_under_their_names():
    assert ENGINES == {"auto": AUTO, "fast": FAST, "exact": EXACT, "numpy": NUMPY}
    for name, engine in ENGINES.items():
        assert find(name) is engine and find(engine) is engine and str(engine) == name
        with pytest.raises(dataclasses.FrozenInstanceError):
            engine.name = "another"


def test_an_engine_says_what_it_can_do():
    assert [(e.hooks, e.gradients, e.any_size) for e in (AUTO, FAST, EXACT, NUMPY)] == [
        (False, True, True), (False, True, True), (True, True, True), (True, True, True),
    ]  # fmt: skip
    own = Engine("own", ops=reference, size=(64, 64))
    assert (own.hooks, own.gradients, own.any_size) == (True, False, False)


def test_what_an_engine_cannot_do_is_said(small):
    model = VAN(SMALL, small, Engine("own", ops=reference, size=(64, 32)))
    assert model(images(1, 64, 32)).shape == (1, 10)
    with pytest.raises(ValueError, match=r"engine own takes images of 64 x 32 pixels, got \(1, 3, 32, 32\)"):
        model(images(1, 32))
    with pytest.raises(ValueError, match="engine own has no derivatives"):
        model.gradients(images(1, 64, 32))


def test_the_table_is_made_without_importing_an_engine():
    script = (
        "import sys, minivan.engines, minivan.van; print(sorted({'numba', 'minivan.ops', 'minivan.fast'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_numpy_engine_needs_no_numba():
    script = """
import sys
sys.modules["numba"] = None
import numpy as np
from minivan import seeded
from minivan.van import VAN
from minivan.variants import Config
config = Config((4, 8), (1, 1), (2, 2), classes=3)
model = VAN(config, seeded.tensors(config), engine="numpy")
print(model(np.zeros((1, 3, 32, 32), np.float32)).shape, model.gradients(np.zeros((1, 3, 32, 32), np.float32))["input"].shape)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(1, 3) (1, 3, 32, 32)", done.stderr


def test_pytorch_tensors_go_through_the_same_network(small):
    model, x, seen = VAN(SMALL, small, TORCH), images(2, 48, 33), {}
    logits = model(x, hook=lambda path, array: seen.update({path: array}))
    assert {type(array) for array in seen.values()} == {torch.Tensor} and type(logits) is np.ndarray
    assert_close("logits", logits, VAN(SMALL, small)(x), LOGITS)
    assert list(seen) == model.paths()[1:]


def test_derivatives_of_an_engine_with_arrays_of_its_own(small):
    model, x, wrt = VAN(SMALL, small, TORCH), images(2, 48, 33), ["input", "block1.0.attn.spatial_gating_unit.conv1", "norm4"]
    got, expected = model.derive(x, 3, wrt), VAN(SMALL, small).derive(x, 3, wrt)
    assert_close("logits", got.logits, expected.logits, LOGITS)
    for path in wrt:
        assert type(got.gradients[path]) is torch.Tensor
        assert_close(path, got.gradients[path].numpy(), expected.gradients[path], 20 * LOGITS)


def test_what_a_hook_returns_is_of_the_engines_own_kind(small):
    model, x, gate = VAN(SMALL, small, TORCH), images(1, 32), "block4.0.attn.spatial_gating_unit"
    plain = model(x)
    same = model(x, hook=lambda path, array: array.clone() if path == gate else None)
    assert_bit_equal("its own array", same, plain)
    assert not np.array_equal(model(x, hook=lambda path, array: array * 2 if path == gate else None), plain)
    with pytest.raises(ValueError, match="must be of the engine's own kind, Tensor, got ndarray"):
        model(x, hook=lambda path, array: array.numpy() if path == gate else None)
    with pytest.raises(ValueError, match=r"must have its dtype torch\.float32, got torch\.float64"):
        model(x, hook=lambda path, array: array.double() if path == gate else None)


def test_an_engine_that_compiles_answers_by_its_plan_and_shows_its_operators_to_a_hook(small):
    class Plan:
        def __init__(self, config, tensors):
            self.classes, self.names = config.classes, list(tensors)

        def __call__(self, x):
            return np.full((len(x), self.classes), 7, np.float32)

        def features(self, x):
            return [np.zeros((len(x), 1, 1, 1), np.float32)]

    model, x = VAN(SMALL, small, Engine("sevens", ops=ops, compile=Plan)), images(2, 32)
    assert model.plan.names == list(small)
    assert (model(x) == 7).all() and model.features(x)[0].shape == (2, 1, 1, 1)
    assert_bit_equal("through a hook", model(x, hook=lambda path, array: None), VAN(SMALL, small)(x))


def test_the_example_of_an_own_engine_runs(capsys):
    """The ten lines in the package's docstring, on a small network."""
    import doctest

    from minivan import engines

    result = doctest.testmod(engines)
    assert result.attempted >= 5 and not result.failed


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_travel(engine):
    again = pickle.loads(pickle.dumps(ENGINES[engine]))
    assert again.name == engine and repr(again.ops) == repr(ENGINES[engine].ops)


def test_no_code_compares_an_engines_name():
    """Neither with a string nor with a variable: what an engine can do is asked of the engine."""
    said = []
    for path in sorted((ROOT / "minivan").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare) and not isinstance(node.ops[0], ast.Is):  # whether one is given at all
                for side in (node.left, *node.comparators):
                    text = ast.unparse(side)
                    if text.endswith(("engine", "engine.name")):
                        said.append(f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}")
            if isinstance(node, ast.Attribute) and node.attr == "__name__" and isinstance(node.ctx, ast.Store):
                said.append(f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)} is set")
    assert said == ["minivan/engines/__init__.py:" + said[0].split(":", 1)[1]] and "engine not in NAMED" in said[0]


def test_every_parameter_s_derivative_and_the_training_form_of_an_engine_with_arrays_of_its_own(small):
    theirs, ours, x = VAN(SMALL, small, TORCH), VAN(SMALL, small, "numpy"), images(3, 48, 33)
    got, expected = theirs.gradients(x, 2, "parameters"), ours.gradients(x, 2, "parameters")
    assert list(got) == list(expected)
    steps = theirs.training_pass(x), ours.training_pass(x)
    weights = np.random.default_rng(1).normal(size=steps[1].logits.shape)
    trained, wanted = (step.gradients(weights.astype(step.logits.dtype)) for step in steps)
    for name in expected:
        scale = np.abs(expected[name]).max()
        assert np.abs(got[name].numpy() - expected[name]).max() <= 1e-4 * scale, name
        assert np.abs(trained[name].numpy() - wanted[name]).max() <= 1e-3 * max(scale, np.abs(wanted[name]).max()), name
    (found, true) = (step.running_statistics(small) for step in steps)
    for name in true:
        np.testing.assert_allclose(found[name], true[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_cross_entropy_s_derivative_is_that_of_the_reference():
    logits, target = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32), np.array([0, 4, 2, 2])
    for reduction in ("sum", "mean"):
        got = TORCH.grad.cross_entropy_input(torch.from_numpy(logits), torch.from_numpy(target), reduction)
        np.testing.assert_allclose(got, NUMPY.grad.cross_entropy_input(logits, target, reduction), atol=1e-6)
