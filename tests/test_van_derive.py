"""Forward once, backward once for each target: VAN.arrays and VAN.derive_from."""

import numpy as np
import pytest
from support.compare import assert_bit_equal
from support.engines import REFUSING, counting
from support.networks import images, random_tensors

from minivan.card import Card
from minivan.engines import Engine
from minivan.van import VAN
from minivan.variants import VARIANTS, Config

SMALL = Config((8, 16, 24, 32), (1, 1, 2, 1), (8, 8, 4, 4), classes=10)


@pytest.mark.parametrize("wrt", [["norm4"], ["block3.0", "norm2"], ["input"]], ids=", ".join)
@pytest.mark.parametrize("engine", ["exact", "fast", "numpy"])
def test_each_target_is_derived_as_if_it_were_alone(engine, wrt):
    model, x = VAN(SMALL, random_tensors(SMALL), engine), images(2, 32, 40)
    saved = model.arrays(x, wrt)
    for target in (3, [1, 4], None, np.linspace(-1, 1, 10)):
        together, alone = model.derive_from(saved, target, wrt), model.derive(x, target, wrt)
        assert list(together.gradients) == list(together.values) == wrt
        assert_bit_equal("logits", together.logits, alone.logits)
        assert_bit_equal("target", together.target, alone.target)
        for path in wrt:
            assert_bit_equal(path, together.gradients[path], alone.gradients[path])
            assert_bit_equal(path, together.values[path], alone.values[path])


def test_it_runs_nothing_forward():
    engine, passes = counting()
    model = VAN(SMALL, random_tensors(SMALL), engine)
    saved = model.arrays(images(3, 32), ["input"])
    for target in range(3):
        model.derive_from(saved, target, "input")
    assert passes == [3]


@pytest.mark.parametrize(
    "saved_for, wrt, said",
    [
        (["norm4"], ["norm3"], "the saved arrays lack norm3: save those that `arrays` returns for norm3"),
        (["norm4"], ["input"], "the saved arrays lack patch_embed1.proj: save those that `arrays` returns for input"),
        (["norm4"], ["norm5"], "no layer is called 'norm5'"),
    ],
)
def test_arrays_that_were_not_saved_are_named(saved_for, wrt, said):
    model = VAN(SMALL, random_tensors(SMALL))
    saved = model.arrays(images(1, 32), saved_for)
    with pytest.raises(ValueError) as error:
        model.derive_from(saved, 0, wrt)
    assert said in str(error.value)


def test_an_engine_without_derivatives_says_so_before_the_forward_pass():
    model = VAN(SMALL, random_tensors(SMALL), Engine("plain", ops=REFUSING.ops))
    for call in (lambda: model.derive(images(1, 32)), lambda: model.derive_from({}), model.derivatives):
        with pytest.raises(ValueError, match="the engine plain has no derivatives; take exact, fast or numpy"):
            call()


def test_a_model_says_what_it_is():
    assert str(VAN(SMALL, random_tensors(SMALL))) == "unnamed (VAN, 10 classes)"
    b0 = VARIANTS["b0"]
    assert str(VAN(b0, random_tensors(b0), card=Card("mine"))) == "mine (VAN-B0, 1000 classes)"
