"""What `record_onnx` makes of graphs that torch.onnx's newer exporter wrote, that were optimised, and that were quantised."""

import functools
import re
import runpy

import numpy as np
import onnx
import pytest
from support import ROOT, dynamo

from minivan import seeded
from minivan.oracle import naming, read, trace
from minivan.oracle.cases import TINY
from minivan.oracle.compare import compare
from minivan.van import VAN

ADAPTER = runpy.run_path(str(ROOT / "examples" / "trace_adapters" / "record_onnx.py"))
X = seeded.images((1, 3, 40, 36))
LEAVES = ("weight", "bias", "running_mean", "running_var")
FOLDED = [f"patch_embed{i}.proj" for i in range(1, 5)]  # the exporter worked their BatchNorms into them


@functools.cache
def reference():
    return trace.record(VAN(TINY, seeded.tensors(TINY)), X)


def judged(path, tmp_path, **given):
    """The report on a graph's layers, and the nodes that belong to none."""
    layers, strangers = ADAPTER["record"](str(path), X, paths=reference().layers, **given)
    np.savez(tmp_path / "port.npz", **layers)
    return compare(reference(), read(tmp_path / "port.npz")), strangers


@pytest.mark.parametrize("optimise", [True, False])
def test_a_graph_of_the_newer_exporter_shows_every_layer_that_is_not_folded(tmp_path, optimise):
    report, strangers = judged(dynamo.FILE, tmp_path, optimise=optimise)
    assert report.within and report.missing == FOLDED and not report.unknown and strangers == []


def test_layers_of_an_optimised_graph_without_scopes_are_told_by_what_they_read(tmp_path):
    dynamo.fused(dynamo.FILE, tmp_path / "fused.onnx")
    assert not any(node.metadata_props for node in onnx.load(tmp_path / "fused.onnx").graph.node)
    report, strangers = judged(tmp_path / "fused.onnx", tmp_path)
    assert report.within and report.missing == FOLDED and strangers == []


def test_what_a_fused_graph_hides_is_named_and_what_it_shows_is_right(tmp_path, monkeypatch, capsys):
    dynamo.fused(dynamo.FILE, tmp_path / "all.onnx", "ALL")
    trace.write(reference(), tmp_path / "trace.safetensors")
    command = ["record_onnx.py", tmp_path / "trace.safetensors", tmp_path / "all.onnx", "-o", tmp_path / "port.npz"]
    monkeypatch.setattr("sys.argv", [str(word) for word in command])
    ADAPTER["main"]()
    said = capsys.readouterr().out
    report = compare(reference(), read(tmp_path / "port.npz"))
    assert report.within and len(report.rows) + len(report.missing) == len(reference().layers) + 1
    assert report.missing and f"not found in the graph: {len(report.missing)} layers: " in said
    assert ", ".join(ADAPTER["alike"](report.missing)) in said
    assert re.search(r"nodes of no layer: \d+ \(Conv \w+, ", said)


def test_names_that_only_stage_and_block_tell_apart_are_counted():
    names = ["patch_embed1.proj", "block1.0.attn.proj_1", "block2.11.attn.proj_1", "norm1", "norm2", "block1.0.norm1", "head"]
    assert ADAPTER["alike"](names) == ["patch_embed*.proj", "block*.*.attn.proj_1 (2)", "norm* (2)", "block*.*.norm1", "head"]


def test_a_sum_that_is_fused_into_a_convolution_is_the_layer_after_it():
    def conv(path, *more):
        names = ["x", f"{path}.weight", f"{path}.bias", *more]
        return onnx.helper.make_node("FusedConv", names, [f"{path} out"], domain="com.microsoft")

    gelu = onnx.helper.make_node("Gelu", ["y"], ["gelu out"], "/block1.0/mlp/act/Mul_1/GeluFusion/", domain="com.microsoft")
    nodes = [conv("block1.0.attn.proj_2", "z"), conv("block1.0.mlp.fc2", "x"), conv("block1.0.mlp.fc1"), gelu]
    found, strangers = ADAPTER["layers_of"](onnx.helper.make_graph(nodes, "g", [], []))
    assert found == {
        "block1.0.attn": "block1.0.attn.proj_2 out", "block1.0.mlp.fc1": "block1.0.mlp.fc1 out",
        "block1.0.mlp.act": "gelu out",
    }  # fmt: skip
    assert strangers == ["FusedConv block1.0.mlp.fc2 out"]


def test_a_layer_of_a_quantised_graph_is_what_its_eight_bits_stand_for(tmp_path):
    dynamo.save(dynamo.quantised(dynamo.load(), X, coarse="block2.1.mlp.fc1"), tmp_path / "int8.onnx")
    layers, strangers = ADAPTER["record"](str(tmp_path / "int8.onnx"), X, paths=reference().layers)
    assert strangers == [] and set(reference().layers) - set(layers) == set(FOLDED)
    for path in ("patch_embed1.norm", "block1.0.attn.activation", "block2.1.mlp.fc1", "norm4", "head"):
        assert 2 < len(np.unique(layers[path])) <= 256 and len(np.unique(reference().layers[path])) >= len(
            np.unique(layers[path])
        )
    assert len(np.unique(layers["block2.1.mlp.fc1"])) <= 40 < len(np.unique(layers["block1.0.mlp.fc1"]))


def test_layers_whose_eight_bits_are_made_as_it_runs_are_recorded_as_what_they_stand_for(tmp_path):
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(str(dynamo.FILE), str(tmp_path / "dynamic.onnx"), weight_type=QuantType.QUInt8)
    report, strangers = judged(tmp_path / "dynamic.onnx", tmp_path, optimise=False)
    assert strangers == [] and report.missing == FOLDED and not report.skipped
    assert min(row.snr_db for row in report.rows) > 20 and {row.form for row in report.rows} == {"float32"}


class Echo(dict):
    """Any name is in it, and stands for itself."""

    def __contains__(self, name):
        return True

    def __getitem__(self, name):
        return name


@pytest.mark.parametrize("library", naming.MAPS)
def test_a_graph_with_a_librarys_names_is_known_again(tmp_path, library):
    theirs = naming.rename(Echo(), naming.read_names(library), reference().layers)

    def renamed(name):
        path, _, leaf = name.rpartition(".")
        return f"{theirs[path]}.{leaf}" if path in theirs and leaf in LEAVES else name

    model = dynamo.load()
    for node in model.graph.node:
        node.input[:] = [renamed(name) for name in node.input]
        for entry in node.metadata_props:
            entry.value = str([theirs.get(scope, scope) for scope in re.findall(r"'([^']*)'", entry.value)])
    for tensor in model.graph.initializer:
        tensor.name = renamed(tensor.name)
    dynamo.save(model, tmp_path / "theirs.onnx")
    report, strangers = judged(tmp_path / "theirs.onnx", tmp_path)
    assert report.within and report.missing == FOLDED and strangers == []
