"""ONNX's own operator tests, through minivan.ops: the node tests that the `onnx` package generates and the files it carries."""

import functools
import warnings
from pathlib import Path

import numpy as np
import onnx.backend.test
import pytest
from onnx import helper, load, load_tensor_from_string, numpy_helper
from onnx.backend.test.case.node import collect_testcases

from minivan import ops

pytestmark = pytest.mark.slow  # making them takes as long as running them: half a minute together

OPERATORS = ("Conv", "Gelu", "BatchNormalization", "LayerNormalization", "GlobalAveragePool", "Gemm", "Softmax")
FILES = Path(onnx.backend.test.__file__).parent / "data"
RTOL, ATOL = 1e-3, 1e-7  # ONNX's own, of its backend tests; most are met at 1e-6
OUT_OF_SCOPE = {  # test -> why no operator of minivan can be asked
    "test_batchnorm_example_training_mode": "training mode",
    "test_batchnorm_epsilon_training_mode": "training mode",
    "test_gelu_tanh_1": "the tanh approximation",
    "test_gelu_tanh_2": "the tanh approximation",
    "test_gemm_default_matrix_bias": "a bias for every element",
    **dict.fromkeys(
        ["test_Conv3d", "test_Conv3d_dilated", "test_Conv3d_dilated_strided", "test_Conv3d_groups", "test_Conv3d_no_bias",
         "test_Conv3d_stride", "test_Conv3d_stride_padding"], "three dimensions",
    ),
}  # fmt: skip


def conv(x, weight, bias=None, **attributes):
    axes = weight.ndim - 2
    given = {"strides": [1] * axes, "dilations": [1] * axes, "pads": [0] * 2 * axes, "group": 1, "auto_pad": "NOTSET"}
    assert attributes.keys() <= {*given, "kernel_shape"}
    strides, dilations, pads, group, auto_pad = ((given | attributes)[name] for name in given)
    if auto_pad.startswith("SAME"):
        total = [(-(-n // s) - 1) * s + k - n for n, s, k in zip(x.shape[2:], strides, weight.shape[2:], strict=True)]
        pads = [t // 2 for t in total] + [t - t // 2 for t in total]
    assert pads[:axes] == pads[axes:], "padding that differs before and after"
    geometry = dict(stride=strides, padding=pads[:axes], dilation=dilations)
    if axes == 1:  # a row of one
        x, weight = x[:, :, None], weight[:, :, None]
        geometry = {"stride": [1, *strides], "padding": [0, *pads[:1]], "dilation": [1, *dilations]}
    y = ops.conv2d(x, weight, bias, groups=group, **{name: tuple(pair) for name, pair in geometry.items()})
    return y[:, :, 0] if axes == 1 else y


def gelu(x, *, approximate="none"):
    assert approximate == "none"
    return ops.gelu(x)


def batch_normalization(x, scale, bias, mean, var, *, epsilon=1e-5, training_mode=0, **of_training):
    assert not training_mode
    return ops.batch_norm(x.reshape(*x.shape[:2], -1, 1), mean, var, scale, bias, eps=epsilon).reshape(x.shape)


def layer_normalization(x, scale, bias, *, axis=-1, epsilon=1e-5, stash_type=1):
    """The axes from `axis` on are one axis of channels; those before it are images."""
    size = int(np.prod(x.shape[axis:]))
    flat = x.reshape(-1, size, 1, 1)
    return ops.layer_norm(flat, scale.reshape(size), bias.reshape(size), eps=epsilon).reshape(x.shape)


def gemm(a, b, c=None, *, alpha=1.0, beta=1.0, transA=0, transB=0, broadcast=1):
    weight = (b if transB else b.T) * np.float32(alpha)
    if c is not None:
        assert c.size in (1, weight.shape[0]), "a bias for every element"
        c = np.broadcast_to(c.reshape(-1), weight.shape[:1]) * np.float32(beta)
    return ops.linear(a.T if transA else a, weight, c)


def softmax(x, *, axis=-1):
    return np.moveaxis(ops.softmax(np.moveaxis(x, axis, -1)), -1, axis)


RUN = {
    "Conv": conv, "Gelu": gelu, "BatchNormalization": batch_normalization, "LayerNormalization": layer_normalization,
    "GlobalAveragePool": lambda x: ops.global_average_pool(x)[:, :, None, None], "Gemm": gemm, "Softmax": softmax,
}  # fmt: skip


def generated():
    """The tests that onnx makes from its Python sources: name -> (node, inputs, outputs)."""
    np.random.seed(0)  # noqa: NPY002  onnx draws from NumPy's global stream
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other operators' tests divide by zero while they are made
        cases = collect_testcases(None)
    for case in cases:
        if len(case.model.graph.node) == 1 and case.model.graph.node[0].op_type in OPERATORS:
            inputs, outputs = case.data_sets[0]
            yield case.name, (case.model.graph.node[0], list(inputs), list(outputs))


def carried():
    """The tests that onnx carries as files, exported from PyTorch; weights are inputs or initialisers."""
    for folder in sorted(FILES.glob("pytorch-*/*")):
        model = load(folder / "model.onnx")
        if len(model.graph.node) == 1 and model.graph.node[0].op_type in OPERATORS:
            values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
            for i, tensor in enumerate(model.graph.input):
                file = folder / "test_data_set_0" / f"input_{i}.pb"
                if file.is_file():
                    values[tensor.name] = numpy_helper.to_array(load_tensor_from_string(file.read_bytes()))
            outputs = [load_tensor_from_string((folder / "test_data_set_0" / "output_0.pb").read_bytes())]
            node = model.graph.node[0]
            yield folder.name, (node, [values[name] for name in node.input], [numpy_helper.to_array(outputs[0])])


@functools.cache
def made():
    """All of them: name -> (node, inputs, outputs). They are made in a test, not in every process that collects tests."""
    return {**dict(generated()), **dict(carried())}


def test_onnxs_tests_are_all_here():
    """A later onnx may add some; none may go missing unnoticed."""
    count = {operator: sum(node.op_type == operator for node, _, _ in made().values()) for operator in OPERATORS}
    least = dict(zip(OPERATORS, (33, 4, 9, 19, 2, 12, 10), strict=True))
    assert all(count[operator] >= least[operator] for operator in OPERATORS), count
    assert set(OUT_OF_SCOPE) <= set(made())


@pytest.mark.parametrize("operator", OPERATORS)
def test_operator(operator):
    for name, (node, inputs, outputs) in made().items():
        if node.op_type != operator or name in OUT_OF_SCOPE:
            continue
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        attributes = {key: value.decode() if isinstance(value, bytes) else value for key, value in attributes.items()}
        got = RUN[operator](*inputs, **attributes)
        assert got.shape == outputs[0].shape, name  # further outputs are statistics for training
        np.testing.assert_allclose(got, outputs[0], rtol=RTOL, atol=ATOL, err_msg=name)
