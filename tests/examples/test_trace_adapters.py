"""Ports in PyTorch and ONNX, recorded by the adapters in examples/ and compared: two commands, as a user types them."""

import dataclasses
import os
import runpy
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from support import ROOT, torch_van
from support.ports import CONFIG, TENSORS, X

from minivan.card import Card
from minivan.checkpoint import Weights, write
from minivan.oracle import recorded, trace
from minivan.van import VAN

SLOW = pytest.mark.slow  # each in a process of its own, which imports PyTorch
ADAPTERS = ROOT / "examples" / "trace_adapters"
MODEL = """
import sys
sys.path.insert(0, {tests!r})
from support import torch_van
import minivan

def build():
    weights = minivan.checkpoint.read({weights!r})
    net = torch_van.load(weights.config, weights.tensors)
    {fault}
    return net
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Weights, and minivan's trace of them."""
    folder = tmp_path_factory.mktemp("port")
    write(Weights(CONFIG, TENSORS, Card("small")), folder / "small.safetensors")
    trace.write(trace.record(VAN(CONFIG, TENSORS), X, source=str(folder / "small.safetensors")), folder / "trace.safetensors")
    return folder


def adapt(adapter, folder, model, *flags):
    """Run an adapter on the trace and a model; return what it says."""
    command = [sys.executable, ADAPTERS / adapter, folder / "trace.safetensors", model, "-o", folder / "port.npz", *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def pytorch_model(folder, fault="pass"):
    path = folder / "my_van.py"
    path.write_text(MODEL.format(tests=str(ROOT / "tests"), weights=str(folder / "small.safetensors"), fault=fault))
    return path


@pytest.fixture(scope="module")
def onnx_file(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that writes scopes is the older one, and says so
        net = torch_van.load(CONFIG, TENSORS)
        torch.onnx.export(net, (torch.from_numpy(X),), str(folder / "van.onnx"), dynamo=False, opset_version=17)
    return folder / "van.onnx"


def test_a_pytorch_port_is_within_float32_tolerance(folder, run):
    said = adapt("record_pytorch.py", folder, pytorch_model(folder))
    assert "the trace has 75 layers" in said
    status, out, err = run("oracle", "compare", folder / "trace.safetensors", folder / "port.npz")
    assert (status, err) == (1, "") and "within tolerance, but 5 of the trace's 75 layers went unchecked" in out, out
    # layer_scale_1 of four blocks and the pooling have no module of their own
    assert "not in the port: 5 layers (block1.0.layer_scale_1" in out and "70 layers compared" in out


def test_a_pytorch_recording_finds_tensors_in_what_modules_give_and_keeps_bfloat16(tmp_path):
    adapter = runpy.run_path(str(ADAPTERS / "record_pytorch.py"))
    output, tensor = dataclasses.make_dataclass("Output", ["loss", "logits"]), torch.ones(2)
    for given in (
        tensor,
        output(None, tensor),
        {"loss": None, "logits": tensor},
        (None, [tensor]),
        output(None, {"x": tensor}),
    ):
        assert adapter["first_tensor"](given) is tensor
    assert adapter["first_tensor"]("text") is adapter["first_tensor"](output) is adapter["first_tensor"](3) is None

    class Half(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = torch.nn.Linear(3, 2).bfloat16()

        def forward(self, x):
            return self.head(x.bfloat16())

    net, x = Half(), np.float32([[1, 2, 3]])
    np.savez(tmp_path / "port.npz", **adapter["record"](net, x))
    found = recorded.read(tmp_path / "port.npz")["head"]
    assert found.form == "bfloat16" and np.array_equal(found.values, net(torch.from_numpy(x)).detach().float().numpy())


@pytest.mark.parametrize("fault, path, hint", [
    pytest.param("net.block2[1].attn.activation = torch_van.nn.GELU(approximate='tanh')",
                 "block2.1.attn.activation", "tanh GELU instead of erf", marks=SLOW),
    pytest.param("net.block3[0].norm1.eps = 1e-3", "block3.0.norm1", "wrong eps: 0.001 instead of 1e-05", marks=SLOW),
    pytest.param("net.block1[0].attn.spatial_gating_unit.conv_spatial.dilation = (1, 1); "
     "net.block1[0].attn.spatial_gating_unit.conv_spatial.padding = (3, 3)",
     "block1.0.attn.spatial_gating_unit.conv_spatial", "missing dilation: 1 instead of 3", marks=SLOW),
    pytest.param("net.block3[0].mlp.fc2.bias = None", "block3.0.mlp.fc2", "missing bias", marks=SLOW),
])  # fmt: skip
def test_a_faulty_pytorch_port_is_found_out(folder, run, fault, path, hint):
    adapt("record_pytorch.py", folder, pytorch_model(folder, fault))
    status, out, _ = run("oracle", "compare", folder / "trace.safetensors", folder / "port.npz")
    assert status == 1 and f"first divergence: {path} (layer" in out and f"hint: {hint}" in out, out


@pytest.mark.parametrize("optimise", ["0", "1"])
def test_an_onnx_port_is_within_float32_tolerance(folder, onnx_file, run, optimise):
    adapt("record_onnx.py", folder, onnx_file, "--optimise", optimise)
    status, out, err = run("oracle", "compare", folder / "trace.safetensors", folder / "port.npz")
    assert (status, err) == (1, "") and "within tolerance, but 3 of the trace's 75 layers went unchecked" in out, out
    # the exporter folds the patch embeddings' BatchNorm into their convolutions
    assert "not in the port: 3 layers (patch_embed1.proj" in out and "72 layers compared" in out


def test_a_faulty_onnx_port_is_found_out(folder, onnx_file, run):
    import onnx

    model = onnx.load(onnx_file)
    node = next(n for n in model.graph.node if n.name == "/block2.0/attn/spatial_gating_unit/conv_spatial/Conv")
    for attribute in node.attribute:
        if attribute.name == "pads":
            attribute.ints[:] = [10, 10, 8, 8]
    onnx.save(model, folder / "faulty.onnx")
    adapt("record_onnx.py", folder, folder / "faulty.onnx")
    status, out, _ = run("oracle", "compare", folder / "trace.safetensors", folder / "port.npz")
    assert status == 1 and "first divergence: block2.0.attn.spatial_gating_unit.conv_spatial" in out
    assert "hint: padding off by one: 10 above and 8 below, 10 left and 8 right" in out


def test_hooks_are_taken_away_again():
    sys.path.insert(0, str(ADAPTERS))
    try:
        import record_pytorch
    finally:
        sys.path.remove(str(ADAPTERS))
    net = torch_van.load(CONFIG, TENSORS)
    first, second = record_pytorch.record(net, X), record_pytorch.record(net, X)
    assert not any(module._forward_hooks for module in net.modules())
    assert list(first) == list(second) and np.array_equal(first["head"], second["head"])


def test_scopes_are_read_where_either_exporter_writes_them():
    import onnx

    layers_of = runpy.run_path(str(ADAPTERS / "record_onnx.py"))["layers_of"]

    def node(name, scopes=None):
        made = onnx.helper.make_node("Gelu", ["x"], [f"{name} out"], name=name)
        if scopes is not None:
            made.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=scopes)
        return made

    act = "block1.0.mlp.act"
    dynamo = f"['', 'block1.0.mlp', '{act}', 'gelu']"
    nodes = [node("node_gelu", dynamo), node("/block1.0/mlp/fc1/Conv"), node("fused", "__import__")]
    graph = onnx.helper.make_graph(nodes, "g", [], [])
    found, strangers = layers_of(graph)
    assert found == {act: "node_gelu out", "block1.0.mlp.fc1": "/block1.0/mlp/fc1/Conv out"}
    assert strangers == ["Gelu fused"]
