"""Layouts: decided for each layer by its shape, and by its numbers where the shape allows both; none is blamed without need."""

import numpy as np
import pytest
from support.ports import as_port
from support.square import square_run, square_trace

from minivan.oracle.baseline import Baseline
from minivan.oracle.compare import Asked, compare
from minivan.oracle.memory_order import decide
from minivan.oracle.trace import Trace

rng = np.random.default_rng(0)


def tokens(array):
    """A map as the authors' LayerNorm leaves it: (N, C, H, W) -> (N, H * W, C)."""
    return np.ascontiguousarray(array.reshape(*array.shape[:2], -1).transpose(0, 2, 1))


def authors(layers):
    """A port's layers as the authors' class gives them: LayerNorm's outputs are tokens, everything else is channels first."""
    return {path: tokens(array) if path.startswith("norm") else array for path, array in layers.items()}


def test_tokens_of_as_many_positions_as_channels_are_no_fault():
    """norm2 has 64 channels and 8 x 8 positions, as b0 has at 64 pixels: both layouts fit its shape."""
    trace = square_trace()
    assert trace.layers["norm2"].shape == (2, 64, 8, 8)
    report = compare(trace, as_port(authors(trace.arrays)), asked=Asked())
    assert report.first_divergence is None and report.bit_equal and report.layout == "nchw"
    assert {row.path: row.layout for row in report.rows if row.layout == "nhwc"} == dict.fromkeys(
        ["norm1", "norm2", "norm3"], "nhwc"
    )


@pytest.mark.parametrize("change", [lambda a: 2 * a, lambda a: -a, lambda a: a + 3, lambda a: np.where(a > 1, np.nan, a)])
def test_a_wrong_layer_of_either_layout_is_wrong_in_its_own(change):
    trace = square_trace()
    layers = authors(trace.arrays)
    layers["norm2"] = change(layers["norm2"]).astype(np.float32)
    report = compare(trace, as_port(layers))
    assert report.first_divergence.path == "norm2" and report.first_divergence.layout == "nhwc"


def test_where_not_even_the_numbers_tell_the_other_layers_of_as_many_axes_do():
    trace = square_trace()
    layers = authors(trace.arrays)
    layers["norm2"] = rng.normal(size=layers["norm2"].shape).astype(np.float32)
    report = compare(trace, as_port(layers))
    assert report.first_divergence.path == "norm2" and report.first_divergence.layout == "nhwc"
    layers["block2.0.norm1"] = rng.normal(size=(2, 64, 8, 8)).astype(np.float32)
    assert compare(trace, as_port(layers)).first_divergence.layout == "nchw"


def test_one_layer_in_the_other_layout_is_judged_in_it():
    ours = {f"l{i}": rng.normal(size=(1, 4, 4, 4)).astype(np.float32) for i in range(3)}
    theirs = {**ours, "l1": ours["l1"].transpose(0, 2, 3, 1)}
    report = compare(Trace(ours, None, {}), as_port(theirs))
    assert report.bit_equal and [row.layout for row in report.rows] == ["nchw", "nhwc", "nchw"]


@pytest.mark.parametrize("last", [False, True])
def test_a_square_map_in_misread_memory_is_wrong_where_all_other_maps_agree(last):
    """In both layouts it has the same shape; that its numbers fit the other one is the fault, not the next layer's."""
    axes = (0, 2, 3, 1) if last else (0, 1, 2, 3)
    maps = {f"l{i}": rng.normal(size=(1, 3, 5, 4)).astype(np.float32) for i in range(3)}
    ours = {**maps, "square": rng.normal(size=(1, 4, 4, 4)).astype(np.float32)}
    theirs = {path: array.transpose(axes) for path, array in ours.items()}
    assert compare(Trace(ours, None, {}), as_port(theirs)).bit_equal
    theirs["square"] = ours["square"] if last else ours["square"].transpose(0, 2, 3, 1)
    report = compare(Trace(ours, None, {}), as_port(theirs))
    assert report.first_divergence.path == "square" and report.first_divergence.layout == ("nhwc" if last else "nchw")
    del theirs["l0"]
    assert compare(Trace(ours, None, {}), as_port(theirs)).bit_equal  # two maps are too few to say


def test_a_layout_that_is_asked_for_holds_where_both_fit_and_for_maps():
    ours = {
        "square": rng.normal(size=(1, 4, 4, 4)),
        "map": rng.normal(size=(1, 3, 5, 4)),
        "tokens": rng.normal(size=(1, 3, 2, 2)),
    }
    last = {"square": ours["square"], "map": ours["map"].transpose(0, 2, 3, 1), "tokens": tokens(ours["tokens"])}
    shapes = {path: (ours[path].shape, last[path].shape) for path in ours}

    def decided(*asked):
        return decide(shapes, lambda path: (ours[path], last[path]), *asked)

    assert decided("nhwc") == dict.fromkeys(ours, "nhwc")
    assert decided("nchw") == {"square": "nchw", "map": None, "tokens": "nhwc"}
    assert decided() == {"square": "nchw", "map": "nhwc", "tokens": "nhwc"}


def test_the_last_line_says_both_layouts(tmp_path, run):
    from minivan.oracle import trace as traces

    traces.write(square_trace(), tmp_path / "trace.safetensors")
    np.savez(tmp_path / "port.npz", **authors(square_trace().arrays))
    status, out, _ = run("oracle", "compare", tmp_path / "trace.safetensors", tmp_path / "port.npz")
    assert (status, out.splitlines()[-1]) == (0, "59 layers compared, layout nchw (3 layers nhwc): bit-equal")


def test_the_numbers_of_a_wrong_layer_in_tokens_are_explained():
    trace = square_trace()
    layers = authors(trace.arrays)
    layers["norm2"] = layers["norm2"] / 4
    found = Baseline(trace, lambda: (square_run, "")).judge(as_port(layers))
    assert found.report.first_divergence.path == "norm2" and found.report.first_divergence.own > 1e4
