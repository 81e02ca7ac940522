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


def test_memory_in_blocks_of_channels_is_no_layers(tmp_path):
    """What onnxruntime saves at its highest level keeps the older exporter's scopes, whose arrays lie in blocks there."""
    dynamo.save(dynamo.with_scopes_in_names(dynamo.load()), tmp_path / "scopes.onnx")
    report, strangers = judged(tmp_path / "scopes.onnx", tmp_path)
    assert report.within and report.missing == FOLDED and strangers == []
    dynamo.fused(tmp_path / "scopes.onnx", tmp_path / "all.onnx", "ALL")
    report, strangers = judged(tmp_path / "all.onnx", tmp_path)
    assert report.within and report.missing and {"head", "norm4"} <= {row.path for row in report.rows}


def test_a_weight_that_several_nodes_read_names_none_of_them(tmp_path):
    """Tools merge equal arrays: the scope tells the layer then, or nothing does."""
    merged = dynamo.with_merged_norms(dynamo.load())
    dynamo.save(merged, tmp_path / "merged.onnx")
    report, strangers = judged(tmp_path / "merged.onnx", tmp_path)
    assert report.missing == FOLDED and strangers == []
    assert [row.path for row in report.offenders] in ([], ["block2.0.norm1"])  # whose own array was another before
    dynamo.save(dynamo.without_scopes(merged), tmp_path / "bare.onnx")
    report, strangers = judged(tmp_path / "bare.onnx", tmp_path)
    assert {"block2.0.norm1", "block2.0.norm2"} <= set(report.missing) and len(strangers) == 2
    assert [row.path for row in report.offenders if "norm1" in row.path or "norm2" in row.path] == []


def test_where_the_weight_says_one_layer_and_the_scope_another_neither_is_believed():
    def conv(scope, weight):
        return onnx.helper.make_node("Conv", ["x", f"{weight}.weight"], [f"{scope} out"], f"/{scope}/Conv")

    paths = ["block1.0.attn.proj_1", "block1.0.mlp.fc1", "patch_embed1.norm", "patch_embed1.proj"]
    nodes = [conv("block1.0.attn.proj_1", "block1.0.mlp.fc1"), conv("patch_embed1.norm", "patch_embed1.proj")]
    found, strangers = ADAPTER["layers_of"](onnx.helper.make_graph(nodes, "g", [], []), paths)
    assert found == {"patch_embed1.norm": "patch_embed1.norm out"} and len(strangers) == 1


def test_a_sum_alone_is_neither_of_a_blocks_two_and_a_convolution_may_have_its_batch_norm_behind_it():
    def node(operator, inputs, output, scope=""):
        return onnx.helper.make_node(operator, inputs, [output], scope and f"/{scope}/{operator}")

    alone = [node("Mul", ["s", "a"], "scaled", "block1.0"), node("Add", ["x", "scaled"], "sum", "block1.0")]
    found, _ = ADAPTER["layers_of"](onnx.helper.make_graph(alone, "g", [], []))
    assert found == {}
    for reader, said in (("BatchNormalization", "proj"), ("Mystery", None), ("Transpose", "norm")):
        nodes = [node("Conv", ["x", "patch_embed1.proj.weight"], "conv"), node(reader, ["conv", "gamma"], "read")]
        found, _ = ADAPTER["layers_of"](onnx.helper.make_graph(nodes, "g", [], []))
        assert found == ({f"patch_embed1.{said}": "conv"} if said else {})


def test_a_graph_in_float16_is_given_float16_and_one_of_another_batch_is_refused_in_a_line(tmp_path):
    dynamo.save(dynamo.halved(dynamo.load()), tmp_path / "half.onnx")
    report, strangers = judged(tmp_path / "half.onnx", tmp_path)
    assert report.missing == FOLDED and strangers == [] and report.precision.word == "float16" and report.within
    with pytest.raises(ValueError, match="takes images of 1 x 3 x 40 x 36, and the trace's input is 8 x 3 x 40 x 36: export"):
        ADAPTER["record"](str(dynamo.FILE), seeded.images((8, 3, 40, 36)), paths=reference().layers)


def test_what_a_cast_passes_on_is_still_what_it_was_and_a_fused_activation_is_the_layer_behind():
    made = onnx.helper.make_node
    nodes = [
        made("Conv", ["x", "block1.0.attn.proj_1.weight"], ["conv"]), made("Cast", ["conv"], ["half"]),
        made("Gelu", ["half"], ["gelu"]),
        made("FusedConv", ["x", "block1.0.mlp.dwconv.dwconv.weight"], ["relu"], activation="Relu"),
    ]  # fmt: skip
    found, strangers = ADAPTER["layers_of"](onnx.helper.make_graph(nodes, "g", [], []))
    assert found == {
        "block1.0.attn.proj_1": "conv", "block1.0.attn.activation": "gelu", "block1.0.mlp.act": "relu",
    } and strangers == []  # fmt: skip


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
    rounded = [ADAPTER["in_eight_bits"](onnx.load(file).graph) for file in (tmp_path / "int8.onnx", dynamo.FILE)]
    assert rounded == [True, False]
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
