"""ONNX graphs with a VAN's operators along other axes are other networks, and are refused by the operator."""

from dataclasses import replace

import numpy as np
import pytest
from onnx import helper, numpy_helper
from support import saved
from support.judge import torch, torch_van
from support.onnx_van import Graph, run, save
from support.saved import SMALL

from minivan.checkpoint import CheckpointError, read
from minivan.van import VAN
from minivan.variants import Config, parameter_shapes

WRITTEN = ("written",)
CONV = "'Conv' of the axes N, C, W, H: a VAN's are N, C, H, W"


def model_of(forms=(), opset=17, config=SMALL):
    draw = np.random.default_rng(0)
    tensors = {
        name: (draw.uniform(0.5, 2, shape) if name.endswith("running_var") else draw.normal(0, 0.5, shape)).astype(np.float32)
        for name, shape in parameter_shapes(config)
    }
    return Graph(config, tensors, forms).model(opset)


def nodes(model, operator):
    return [node for node in model.graph.node if node.op_type == operator]


def change(model, operator, index=None, **attributes):
    """Give nodes of an operator, or one of them, other attributes."""
    for node in nodes(model, operator)[slice(index, index and index + 1)]:
        kept = [attribute for attribute in node.attribute if attribute.name not in attributes]
        del node.attribute[:]
        node.attribute.extend([*kept, *(helper.make_attribute(name, value) for name, value in attributes.items())])


def before(model, node, index, *steps):
    """Put operators before an input of a node; each step is an operator, its further inputs and its attributes."""
    graph, at = model.graph, list(model.graph.node).index(node)
    for operator, inputs, attributes in steps:
        names = []
        for values in inputs:
            names.append(f"new {len(graph.initializer)}")
            graph.initializer.append(numpy_helper.from_array(np.array(values), names[-1]))
        made = helper.make_node(operator, [node.input[index], *names], [f"new {len(graph.node)}"], **attributes)
        graph.node.insert(at, made)
        node = graph.node[at + 1]
        node.input[index] = made.output[0]
        at += 1


def first(model, operator):
    return nodes(model, operator)[0]


def shuffled(model):
    """The channels in another order between two stages."""
    steps = ("Reshape", [[2, 2, 2, 16, 16]], {}), ("Transpose", [], dict(perm=[0, 2, 1, 3, 4]))
    before(model, stage(model, 2), 0, *steps, ("Reshape", [[2, 4, 16, 16]], {}))


def stage(model, number):
    """The convolution that a stage begins with."""
    return [node for node in nodes(model, "Conv") if helper.get_node_attr_value(node, "strides")[0] > 1][number - 1]


def sides_of(model):
    return model.graph.input[0].type.tensor_type.shape.dim


def along_the_width(model):
    """Of a map of 4 x 4 with 4 channels, a layer scale of 4 numbers with no sides after them."""
    for side in sides_of(model)[2:]:
        side.dim_value = 16
    scale = next(tensor for tensor in model.graph.initializer if list(tensor.dims) == [4, 1, 1])
    del scale.dims[1:]


def second_output(model):
    first(model, "LayerNormalization").output.append("mean")
    nodes(model, "Transpose")[1].input[0] = "mean"


def quantised(operator, domain=""):
    def changed(model):
        first(model, "Flatten").op_type = operator
        nodes(model, operator)[0].domain = domain

    return changed


TURN = ("Transpose", [], dict(perm=[0, 1, 3, 2]))
KERNEL = ("Transpose", [], dict(perm=[1, 0, 2, 3]))
BYTES = ("Cast", [], dict(to=2)), ("Cast", [], dict(to=1))
DROPOUT = ("Dropout", [np.float32(0.5), True], {})
COMPUTED = ("Reshape", [np.array([2.0, 4, 16, 16])], {})
MANY = ("Reshape", [[-1, *[1] * 60]], {})
MORE = ("Unsqueeze", [list(range(4, 60))], {})
MIXED = "'Reshape' of N, H*W, C that parts or mixes axes"
NETWORKS = {
    "LayerNorm over H and W": (
        WRITTEN,
        lambda m: change(m, "ReduceMean", axes=[1, 2]),
        "whose LayerNorm has a mean over other",
    ),
    "LayerNorm over all": (WRITTEN, lambda m: change(m, "ReduceMean", axes=[1, 2, 3]), "'ReduceMean' over H, W, C of N, H"),
    "LayerNorm over W and C": ((), lambda m: change(m, "LayerNormalization", axis=-2), "'LayerNormalization' over W, C of"),
    "LayerNorm's mean": ((), second_output, "the array 'mean': its axes cannot be told"),
    "LayerNorm over joined positions": (
        ("tokens", *WRITTEN),
        lambda m: change(m, "ReduceMean", axes=[1]),
        "a mean over other axes",
    ),
    "channels shuffled": ((), shuffled, "'Reshape' of N, C, H, W that parts or mixes axes"),
    "maps turned": ((), lambda m: change(m, "Transpose", 1, perm=[0, 3, 2, 1]), CONV),
    "images turned": ((), lambda m: before(m, stage(m, 1), 0, TURN), CONV),
    "one operand turned": ((), lambda m: before(m, first(m, "Erf"), 0, TURN), "'Mul' of N"),
    "positions turned": (("tokens by shapes", "exchanged"), lambda m: None, MIXED),
    "positions turned, of the image": (("tokens by arithmetic", "exchanged"), lambda m: None, MIXED),
    "whole numbers": ((), lambda m: before(m, stage(m, 1), 0, *BYTES), "'Cast' to numbers that are not floating"),
    "softmax over the batch": (["softmax"], lambda m: change(m, "Softmax", axis=0), "'Softmax' over N of N, C"),
    "scaled along the width": ((), along_the_width, "'Mul' of 4 and N, C, H, W"),
    "a kernel turned": ((), lambda m: before(m, nodes(m, "Conv")[1], 1, KERNEL), "turns or reshapes attn.proj_1.weight"),
    "dropout": ((), lambda m: before(m, first(m, "Gemm"), 0, DROPOUT), "exported for training"),
    "logits turned": ((), lambda m: turned_output(m), "whose output has the axes C, N"),
    "a shape that is computed": ((), lambda m: before(m, stage(m, 2), 0, COMPUTED), "'Reshape' to a shape that is computed"),
    "many sides": ((), lambda m: before(m, stage(m, 2), 0, MANY), "'Reshape' to more than"),
    "many more sides": ((), lambda m: before(m, stage(m, 2), 0, MORE), "'Unsqueeze' by axes that are not to be told"),
    "8 bits": ((), quantised("DequantizeLinear"), "a quantised ONNX network: export the float network, before it is quantised"),
    "8 bits of ONNX Runtime": ((), quantised("QLinearAdd", "com.microsoft"), "a quantised ONNX network"),
    "a product of 8 bits": ((), quantised("MatMulInteger"), "a quantised ONNX network"),
}


def turned_output(model):
    model.graph.node.append(helper.make_node("Transpose", [model.graph.output[0].name], ["turned"]))
    model.graph.output[0].name = "turned"


@pytest.mark.parametrize("name", NETWORKS)
def test_another_network_is_refused(tmp_path, name):
    forms, changed, words = NETWORKS[name]
    model = model_of(forms, 13 if "written" in forms else 17)
    if "positions" not in name:
        sides_of(model)[0].dim_value = 2
    changed(model)
    with pytest.raises(CheckpointError) as raised:
        read(save(model, tmp_path / "other.onnx"))
    assert words in str(raised.value)


VIEWS = {
    "images with channels last": lambda m: last_channels(m),
    "a side of one more, and less": lambda m: before(
        m, stage(m, 2), 0, ("Unsqueeze", [[2, -1]], {}), ("Squeeze", [[2]], {}), ("Squeeze", [[-1]], {})
    ),
    "half precision on the way": lambda m: before(m, stage(m, 1), 0, ("Cast", [], dict(to=10)), ("Cast", [], dict(to=1))),
    "maps joined, and parted again": lambda m: before(
        m, stage(m, 2), 0, ("Flatten", [], dict(axis=2)), ("Reshape", [[1, 4, 16, -1]], {})
    ),
    "a negative axis": lambda m: before(
        m, stage(m, 2), 0, ("Flatten", [], dict(axis=-2)), ("Reshape", [[1, 4, 16, -1]], {})
    ),
}  # fmt: skip


def last_channels(model):
    sides = sides_of(model)
    sides[1].dim_value, sides[3].dim_value = 64, 3
    before(model, stage(model, 1), 0, ("Transpose", [], dict(perm=[0, 3, 1, 2])))


@pytest.mark.parametrize("name", VIEWS)
def test_views_that_change_nothing_are_followed(tmp_path, name):
    model = model_of()
    VIEWS[name](model)
    path = save(model, tmp_path / "van.onnx")
    weights = read(path)
    x = np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype(np.float32)
    theirs = run(path, x.transpose(0, 2, 3, 1) if "last" in name else x)[0]
    ours = VAN(SMALL, weights.tensors, "numpy")(x)
    assert not weights.notes and np.abs(ours - theirs).max() < (1e-2 if "half" in name else 1e-4) * np.abs(theirs).max()


def test_maps_in_another_order_are_said(tmp_path):
    model = model_of(["maps"])
    model.graph.output[-1].name = nodes(model, "LayerNormalization")[-1].output[0]
    weights = read(save(model, tmp_path / "van.onnx"))
    assert weights.config == replace(SMALL, classes=0)
    assert "the graph gives its maps as 1, H, W, C; minivan gives them as N, C, H, W" in weights.notes


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
def test_sizes_that_pytorchs_exporter_computes(tmp_path):
    """The authors' code, of images of any size: LayerNorm sees rows of positions."""
    config = Config((4, 6), (1, 2), (3, 2), classes=5)

    class Authors(torch_van.TorchVAN):
        def forward(self, x):
            batch = x.shape[0]
            for i in (1, 2):
                x = getattr(self, f"patch_embed{i}")(x)
                h, w = x.shape[2:]
                for block in getattr(self, f"block{i}"):
                    x = block(x)
                x = getattr(self, f"norm{i}")(x.flatten(2).transpose(1, 2))
                x = x.reshape(batch, h, w, -1).permute(0, 3, 1, 2).contiguous() if i == 1 else x
            return self.head(x.mean(1))

    net = Authors(config)
    net.load_state_dict(saved.state_dict(config))
    x = torch.randn(2, 3, 32, 64)
    path = tmp_path / "van.onnx"
    axes = {"x": {0: "n", 2: "h", 3: "w"}}
    torch.onnx.export(net, (x,), str(path), dynamo=False, opset_version=17, input_names=["x"], dynamic_axes=axes)
    weights = read(path)
    with torch.no_grad():
        theirs = net(x).numpy()
    assert weights.config == config
    assert np.abs(VAN(config, weights.tensors, "numpy")(x.numpy()) - theirs).max() < 1e-4 * np.abs(theirs).max()
