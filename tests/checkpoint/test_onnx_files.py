"""ONNX files: the network that onnxruntime computes, in every form that exporters write; others are refused by an operator."""

from dataclasses import replace

import numpy as np
import pytest
from support import ROOT, saved
from support.judge import torch, torch_van
from support.onnx_van import Graph, folded, run, save
from support.watch import watching
from tolerances import LOGITS

from minivan.checkpoint import CheckpointError, onnx_file, opened, read
from minivan.van import VAN
from minivan.variants import Config, parameter_shapes

SMALL = saved.SMALL
X = np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype(np.float32)


def tensors(config=SMALL, seed=0):
    draw = np.random.default_rng(seed)
    return {
        name: (draw.uniform(0.5, 2, shape) if name.endswith("running_var") else draw.normal(0, 0.25, shape)).astype(np.float32)
        for name, shape in parameter_shapes(config)
    }


def near(ours, theirs):
    return np.abs(ours - theirs).max() <= LOGITS * np.abs(theirs).max()


def fault(path):
    with pytest.raises(CheckpointError) as raised:
        read(path)
    message = str(raised.value)
    assert message.startswith(str(path)) and "\n" not in message
    return message


FORMS = {
    "one operator each": (["gelu"], 20),
    "GELU written out": ([], 17),
    "GELU in another order": (["erf", "swapped"], 18),
    "LayerNorm written out": (["written"], 13),
    "a product as head": (["matmul"], 17),
    "a product with a transposed matrix": (["turned", "erf"], 17),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("eps", [1e-6, pytest.param(1e-5, marks=pytest.mark.slow)])
def test_the_numbers_are_those_that_were_written(tmp_path, form, eps):
    config = replace(SMALL, layer_norm_eps=eps, batch_norm_eps=2e-5 if form == "GELU written out" else 1e-5)
    forms, opset = FORMS[form]
    own = tensors(config)
    path = save(Graph(config, own, forms).model(opset), tmp_path / "van.onnx")
    weights = read(path)
    assert weights.config == config and weights.card.name == "van" and not weights.notes
    assert all(np.array_equal(weights.tensors[name], own[name]) for name in own)
    assert near(VAN(config, weights.tensors, "numpy")(X), run(path, X)[0])


def test_a_folded_batch_norm_is_one_that_changes_nothing(tmp_path):
    own = tensors()
    path = save(Graph(SMALL, folded(SMALL, own), ["folded"]).model(), tmp_path / "van.onnx")
    weights = read(path)
    assert weights.config == SMALL and "9 of its BatchNorms are folded into the convolutions beside them" in weights.notes[0]
    logits = VAN(SMALL, weights.tensors, "numpy")(X)
    assert near(logits, run(path, X)[0]) and near(logits, VAN(SMALL, own, "numpy")(X))


@pytest.mark.parametrize(("form", "ending"), [("softmax", "softmax"), ("several labels", "sigmoid")])
def test_what_makes_probabilities_is_left_out_and_kept_on_the_card(tmp_path, form, ending):
    path = save(Graph(SMALL, tensors(), [form]).model(), tmp_path / "van.onnx")
    weights = read(path)
    assert f"the graph ends in a {ending}, which minivan computes by itself" in weights.notes
    logits = VAN(SMALL, weights.tensors, "numpy")(X)
    powers = np.exp(logits)
    assert weights.card.activation == ending
    assert near(powers / powers.sum() if ending == "softmax" else powers / (1 + powers), run(path, X)[0])


def test_maps_of_a_backbone_are_its_features(tmp_path):
    path = save(Graph(SMALL, tensors(), ["maps"]).model(), tmp_path / "van.onnx")
    weights = read(path)
    assert weights.config == replace(SMALL, classes=0)
    features = VAN(weights.config, weights.tensors, "numpy").features(X)
    assert all(near(ours, theirs) for ours, theirs in zip(features, run(path, X), strict=True))
    pooled = save(Graph(SMALL, tensors(), ["pooled"]).model(), tmp_path / "pooled.onnx")
    assert read(pooled).config == weights.config and near(features[-1].mean((2, 3)), run(pooled, X)[0])


@pytest.mark.parametrize("external", ["van.onnx.data", ""])
def test_numbers_in_a_file_beside_the_graph(tmp_path, external):
    own = tensors()
    path = save(Graph(SMALL, own).model(), tmp_path / "van.onnx", external)
    weights = read(path)
    assert all(np.array_equal(weights.tensors[name], own[name]) for name in own)
    with opened(path) as checkpoint:
        assert checkpoint.format == "ONNX" and checkpoint.size == sum(file.stat().st_size for file in tmp_path.iterdir())
    if external:
        (tmp_path / external).write_bytes((tmp_path / external).read_bytes()[:-4])
        assert "'van.onnx.data': cut short" in fault(path)
        (tmp_path / external).unlink()
        assert "the file of tensors 'van.onnx.data' is missing" in fault(path)


FIELDS = {"float_data": (1, "f4"), "double_data": (11, "f8"), "int32_data": (10, "f2")}


@pytest.mark.parametrize("field", FIELDS)
def test_numbers_in_the_fields_of_their_types(tmp_path, field):
    own = tensors()
    model = Graph(SMALL, own, ["gelu"]).model(20)
    code, dtype = FIELDS[field]
    for tensor in model.graph.initializer:
        values = np.frombuffer(tensor.raw_data, "<f4").astype(dtype)
        tensor.ClearField("raw_data")
        tensor.data_type = code
        getattr(tensor, field).extend((values.view("u2") if dtype == "f2" else values).tolist())
    weights = read(save(model, tmp_path / "van.onnx"))
    assert all(np.array_equal(weights.tensors[name], own[name].astype(dtype)) for name in own)


@pytest.mark.parametrize("place", ["../van.data", "/etc/passwd", "a/b", "..", "", "C:\\b"])
def test_numbers_elsewhere_are_refused(tmp_path, place):
    model = Graph(SMALL, tensors()).model()
    save(model, tmp_path / "van.onnx", "van.data")
    for tensor in model.graph.initializer:
        tensor.external_data[0].value = place
    (tmp_path / "van.onnx").write_bytes(model.SerializeToString())
    with watching() as seen:
        assert "a file of tensors is one beside its graph" in fault(tmp_path / "van.onnx")
    assert set(seen.opened) == {str(tmp_path / "van.onnx")}


@pytest.mark.slow
@pytest.mark.parametrize("opset", [13, 17, 20])
@pytest.mark.parametrize("folding", [True, False])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_pytorchs_own_exporter(tmp_path, opset, folding):
    """The one by TorchScript, with BatchNorms folded into convolutions and without."""
    config = Config((4, 6), (1, 2), (3, 2), classes=5)
    net = torch_van.TorchVAN(config)
    net.load_state_dict(saved.state_dict(config))
    path = tmp_path / "van.onnx"
    mode = torch.onnx.TrainingMode.EVAL if folding else torch.onnx.TrainingMode.PRESERVE
    torch.onnx.export(
        net, (torch.from_numpy(X),), str(path), dynamo=False, opset_version=opset, training=mode, do_constant_folding=folding
    )
    weights = read(path)
    assert weights.config == config
    with torch.no_grad():
        assert near(VAN(config, weights.tensors, "numpy")(X), net(torch.from_numpy(X)).numpy())


def test_what_pytorchs_newer_exporter_wrote():
    """By torch.export, PyTorch's default since 2.9; recorded, because it needs onnxscript, without what it says of its code."""
    path = ROOT / "tests" / "checkpoints" / "dynamo.onnx"
    weights = read(path)
    assert weights.config == SMALL and "4 of its BatchNorms are folded" in weights.notes[0]
    assert near(VAN(SMALL, weights.tensors, "numpy")(X), run(path, X)[0])


# other networks

ATTN = "block1.0.attn.spatial_gating_unit"


@pytest.mark.parametrize(
    ("forms", "changes", "words"),
    [
        (["sigmoid"], {}, "'Sigmoid' where a VAN has"),
        (["plain"], {}, "'Conv' where a VAN has Add"),
        (["relu"], {}, "'Relu' where a VAN has Gelu or Mul"),
        ([], {f"{ATTN}.conv_spatial": dict(dilations=[2, 2], pads=[6] * 4)}, "dilation 2: a VAN's has the kernel 7, stride 1"),
        ([], {f"{ATTN}.conv0": dict(pads=[1, 2, 2, 2])}, "groups: not a VAN's"),
        ([], {f"{ATTN}.conv0": dict(auto_pad="SAME_UPPER")}, "no convolution of maps with sides that are padded alike"),
        ([], {"patch_embed2.proj": dict(strides=[1, 1])}, "patch_embed2.proj has the kernel 3, stride 1"),
        ([], {"block2.1.norm1": dict(epsilon=1e-3)}, "the BatchNorm epsilons"),
        ([], {"norm3": 1e-3}, "the LayerNorm epsilons"),
        ([], {"block2.1.norm2": dict(training_mode=1)}, "exported for training"),
    ],
    ids=range(10),
)
def test_another_network_is_refused(tmp_path, forms, changes, words):
    assert words in fault(save(Graph(SMALL, tensors(), forms, changes).model(), tmp_path / "other.onnx"))


def test_tanh_gelu_and_operators_of_others(tmp_path):
    model = Graph(SMALL, tensors(), ["gelu"]).model(20)
    path = tmp_path / "other.onnx"
    node = next(node for node in model.graph.node if node.op_type == "Gelu")
    attribute = node.attribute.add(name="approximate", type=3, s=b"tanh")
    assert "the GELU 'tanh': minivan's is exact" in fault(save(model, path))
    node.attribute.remove(attribute)
    node.domain = "com.microsoft"
    assert "'com.microsoft.Gelu' where a VAN has" in fault(save(model, path))


def test_graphs_that_are_none(tmp_path):
    path = tmp_path / "other.onnx"
    model = Graph(SMALL, tensors()).model()
    nodes = model.graph.node
    first = nodes[0].input[0]
    nodes[0].input[0] = nodes[-1].output[0]
    assert "before it is made" in fault(save(model, path))
    nodes[0].input[0] = first
    nodes[5].output[0] = nodes[4].output[0]
    assert "twice" in fault(save(model, path))
    model = Graph(SMALL, tensors()).model()
    del model.graph.output[:]
    assert "without an output" in fault(save(model, path))
    model = Graph(SMALL, tensors()).model()
    del model.graph.initializer[0]
    assert "where a VAN has the numbers of" in fault(save(model, path))
    model.ClearField("graph")
    assert "it has no graph" in fault(save(model, path))


def test_what_protobuf_refuses(tmp_path):
    path = tmp_path / "a.onnx"
    data = b"\x12\x01x"
    for _ in range(300):  # graphs in the attributes of nodes of graphs
        for number in (6, 5, 1):
            data = bytes([number << 3 | 2]) + varint(len(data)) + data
    path.write_bytes(b"\x08\x08\x12\x01x" + b"\x3a" + varint(len(data)) + data)
    assert "a damaged ONNX file: " in fault(path)
    model = Graph(SMALL, tensors()).model()
    model.graph.node[0].attribute[0].ClearField("type")
    assert "has no type" in fault(save(model, path))
    data = save(Graph(SMALL, tensors()).model(), path).read_bytes()
    path.write_bytes(data.replace(b"onnx::w_0", b"\xff\xfenx::w_0"))
    assert read(path).config == SMALL


def test_a_file_larger_than_protobuf_reads(tmp_path, monkeypatch):
    path = save(Graph(SMALL, tensors()).model(), tmp_path / "a.onnx")
    monkeypatch.setattr(onnx_file, "LARGEST", path.stat().st_size - 1)
    assert "2 GiB is protobuf's limit: its tensors belong in a file beside it" in fault(path)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_file_cut_short_or_changed_is_read_or_refused(tmp_path, seed):
    data = save(Graph(saved.SMALLEST, tensors(saved.SMALLEST)).model(), tmp_path / "a.onnx").read_bytes()
    assert read(tmp_path / "a.onnx").config.stages == 1
    draw = np.random.default_rng(seed)
    for case in range(60):
        other = bytearray(data[: draw.integers(16, len(data))] if case % 3 == 0 else data)
        for at in draw.integers(3, len(other), 1 if case % 3 == 1 else 6):
            other[at] = draw.integers(256)
        (tmp_path / "a.onnx").write_bytes(other)
        with watching() as seen:
            try:
                read(tmp_path / "a.onnx")
            except CheckpointError as error:
                assert "\n" not in str(error)
        assert not seen and set(seen.opened) == {str(tmp_path / "a.onnx")}


def test_a_chain_of_views_costs_steps(tmp_path):
    """A file of many thousand nodes is refused by the count of them."""
    model = Graph(saved.SMALLEST, tensors(saved.SMALLEST)).model()
    unit = b"\x0a\x10" + b"\x0a\x01a" + b"\x12\x01a" + b"\x22\x08Identity"
    graph = model.graph.SerializeToString() + unit * 60_000
    data = b"\x08\x08\x12\x01x" + b"\x3a" + varint(len(graph)) + graph
    (tmp_path / "a.onnx").write_bytes(data)
    assert "too many steps" in fault(tmp_path / "a.onnx") or "too much memory" in fault(tmp_path / "a.onnx")


def varint(value):
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])
