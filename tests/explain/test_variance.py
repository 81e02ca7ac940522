"""Why attention values differ: the split of their variance, and the hooks that take its parts away."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support.networks import images, random_tensors
from tolerances import FLOAT64

from minivan import explain
from minivan.explain.attention import WHERE, WHICH, split_variance
from minivan.van import VAN
from minivan.variants import Config

shapes = st.tuples(*(st.integers(1, 4) for _ in range(4)))
values = st.floats(-100, 100, width=32)


@given(shapes.flatmap(lambda shape: arrays(np.float32, shape, elements=values)))
def test_the_parts_add_up_and_are_what_changes_in_each_direction(factors):
    split = explain.attention_variance(factors)
    exact = factors.astype(np.float64)
    close = {"rtol": 1e-9, "atol": 1e-9}  # of values of up to 100, squared
    np.testing.assert_allclose(split.total, exact.var(), **close)
    np.testing.assert_allclose(split.channels + split.images + split.places, split.total, **close)
    assert min(split) >= 0
    flat = np.broadcast_to(exact.mean(axis=(2, 3), keepdims=True), exact.shape)
    same = np.broadcast_to(exact.mean(axis=(0, 2, 3), keepdims=True), exact.shape)
    np.testing.assert_allclose((exact - flat).var(), split.places, **close)
    np.testing.assert_allclose((flat - same).var(), split.images, **close)
    np.testing.assert_allclose(same.var(), split.channels, **close)
    alone = explain.attention_variance(factors[0])
    assert alone == explain.attention_variance(factors[:1]) and alone.images == 0 and 0 <= alone.between_channels <= 1 + FLOAT64


def test_attention_that_says_one_thing_alone():
    rng = np.random.default_rng(0)
    which, where = rng.standard_normal((2, 5, 1, 1)), rng.standard_normal((1, 1, 3, 4))
    shape = (2, 5, 3, 4)
    assert explain.attention_variance(np.broadcast_to(which, shape)).places == pytest.approx(0)
    assert explain.attention_variance(np.broadcast_to(which[:1], shape)).images == pytest.approx(0)
    assert explain.attention_variance(np.broadcast_to(which[0], shape[1:])).between_channels == pytest.approx(1)
    assert explain.attention_variance(np.broadcast_to(where, shape)).between_channels == pytest.approx(0)
    assert explain.attention_variance(np.ones(shape)).between_channels == 0
    parts = split_variance(np.array([[1.0, 3], [2, 2]]), np.array([[0.0, 1], [1, 2]]))
    assert parts == (1 / 4 + 1 / 4 + 1, 1 / 4, 1 / 4, 1)  # by hand: channels 1.5 and 2.5, each image half from that


@pytest.mark.parametrize("shape", [(3, 4), (1, 0, 2, 2), (1, 1, 2, 2, 2)])
def test_what_is_no_attention_is_refused(shape):
    with pytest.raises(ValueError, match="attention is"):
        explain.attention_variance(np.zeros(shape))


def test_the_hooks_leave_only_where_and_only_which():
    config = Config((8, 16), (1, 2), (2, 2), classes=5)
    model, x = VAN(config, random_tensors(config, seed=1), "numpy"), images(2, 32)
    plain = model(x)
    for axes, left in {WHICH: "channels", WHERE: "places"}.items():
        replaced, hook = {}, explain.averaged(axes)

        def both(path, array, hook=hook, replaced=replaced, axes=axes):
            found = hook(path, array)
            if found is not None:
                np.testing.assert_allclose(found.mean(axis=axes), array.mean(axis=axes), rtol=1e-5, atol=1e-6)
                replaced[path] = found
            return found

        assert (model(x, hook=both) != plain).any()
        assert [path.rsplit(".attn")[0] for path in replaced] == ["block1.0", "block2.0", "block2.1"]
        for found in replaced.values():
            shares = explain.attention_variance(found[0])
            assert getattr(shares, left) == pytest.approx(shares.total) and shares.total > 0
