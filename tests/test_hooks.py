"""Hooks: what they are shown, what they may put in its place, and their old name."""

import numpy as np
import pytest
from support.compare import assert_bit_equal
from support.networks import images, random_tensors

from minivan.hooks import Hook
from minivan.van import VAN
from minivan.variants import Config

pytestmark = pytest.mark.loop

TINY = Config((4, 8), (1, 1), (2, 2), classes=3)


def test_a_hook_knows_the_path_it_is_under():
    seen = []
    hook = Hook(lambda path, array: seen.append(path)).under("block1.0").under("attn")
    hook("proj_1", np.zeros(1))
    hook("", np.zeros(1))
    assert seen == ["block1.0.attn.proj_1", "block1.0.attn"]


def test_without_a_callback_arrays_pass():
    array = np.zeros(2)
    assert Hook()("anything", array) is array


def test_a_replacement_takes_the_dtype_and_must_have_the_shape():
    array = np.zeros((2, 3), np.float32)
    replaced = Hook(lambda path, array: [[1, 2, 3], [4, 5, 6]])("x", array)
    assert replaced.dtype == np.float32 and replaced.tolist() == [[1, 2, 3], [4, 5, 6]]
    with pytest.raises(ValueError, match=r"what replaces x must have its shape \(2, 3\), got \(3,\)"):
        Hook(lambda path, array: [1, 2, 3])("x", array)


def test_tap_is_the_old_name_and_says_so():
    model, x = VAN(TINY, random_tensors(TINY)), images(1, 32)
    old, new = [], []
    plain = model(x, hook=lambda path, array: new.append(path))
    with pytest.warns(DeprecationWarning, match="tap= is called hook= now") as warned:
        again = model(x, tap=lambda path, array: old.append(path))
    assert warned[0].filename == __file__
    assert old == new
    assert_bit_equal("the same logits", again, plain)
    with pytest.warns(DeprecationWarning, match="tap="):
        model.features(x, tap=lambda path, array: None)
    with pytest.raises(ValueError, match="leave tap= out"):
        model(x, hook=print, tap=print)
