"""Hypothesis strategies: the arrays and geometries that convolutions meet, and some that they rarely do."""

import numpy as np
from hypothesis import strategies as st


@st.composite
def arrays(draw, shape, scale=1.0, floats=True):
    """Draw an array of this shape, float32: contiguous, strided or transposed in memory; normal values or small integers."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = rng.normal(size=shape) * scale if floats else rng.integers(-4, 5, size=shape)
    memory = draw(st.sampled_from(["contiguous", "strided", "transposed"]))
    if memory == "strided" and shape:
        wide = np.zeros((*shape[:-1], 2 * shape[-1]), np.float32)
        wide[..., ::2] = values
        return wide[..., ::2]
    if memory == "transposed":
        return np.ascontiguousarray(values.astype(np.float32).T).T
    return values.astype(np.float32)


@st.composite
def convolutions(draw, floats=True):
    """Draw (x, weight, bias, attributes) of a valid convolution: dense, grouped, depthwise, pointwise; any geometry."""
    kind = draw(st.sampled_from(["dense", "grouped", "depthwise", "multiplied", "pointwise"]))
    n, channels = draw(st.integers(0, 2)), draw(st.integers(1, 5))
    groups, c_in, c_out = {
        "dense": (1, channels, draw(st.integers(1, 5))),
        "grouped": (2, 2 * channels, 2 * draw(st.integers(1, 3))),
        "depthwise": (channels, channels, channels),
        "multiplied": (channels, channels, 2 * channels),
        "pointwise": (1, channels, draw(st.integers(1, 20))),
    }[kind]
    k = (1, 1) if kind == "pointwise" else (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    plain = kind == "pointwise" and draw(st.booleans())
    stride = (1, 1) if plain else (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    dilation = (1, 1) if plain else (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    padding = (0, 0) if plain else (draw(st.integers(0, 9)), draw(st.integers(0, 9)))
    least = [max(1, d * (a - 1) + 1 - 2 * p) for d, a, p in zip(dilation, k, padding, strict=True)]
    h, w = (draw(st.integers(low, low + 9)) for low in least)
    x = draw(arrays((n, c_in, h, w), floats=floats))
    weight = draw(arrays((c_out, c_in // groups, *k), floats=floats))
    bias = draw(st.none() | arrays((c_out,), floats=floats))
    return x, weight, bias, dict(stride=stride, padding=padding, dilation=dilation, groups=groups)


@st.composite
def feature_maps(draw):
    """Draw an (N, C, H, W) array, empty batches and single pixels included."""
    shape = draw(st.tuples(st.integers(0, 3), st.integers(1, 40), st.integers(1, 9), st.integers(1, 9)))
    return draw(arrays(shape, scale=draw(st.sampled_from([0.01, 1.0, 30.0]))))
