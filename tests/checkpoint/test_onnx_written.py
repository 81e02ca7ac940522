"""ONNX files that minivan writes: what onnxruntime computes of them, how their arrays are called, and what is read of them."""

import runpy
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from support import CHECKPOINTS, ROOT, own_file
from support.networks import images, random_tensors
from support.onnx_van import run as onnxruntime_run
from tolerances import LOGITS

from minivan.card import Card, default_preprocessing, usual_activation
from minivan.checkpoint import CheckpointError, Weights, onnx_operators, onnx_written, opened, own_metadata, read, write
from minivan.oracle import trace
from minivan.oracle.compare import compare
from minivan.van import VAN
from minivan.variants import Config, variant

ADAPTER = runpy.run_path(str(ROOT / "examples" / "trace_adapters" / "record_onnx.py"))
OWN = own_file.own_weights()
DESCRIBE, LAYER_NORM = own_metadata.describe, onnx_operators.OnnxOperators.layer_norm
OTHERS = {
    "one channel, one class, one stage": Config((6,), (2,), (3,), classes=1, channels=1, layer_norm_eps=1e-4),
    "13 channels, two classes": Config((4, 8), (1, 1), (2, 1), classes=2, channels=13, batch_norm_eps=1.25e-5),
    "a backbone": Config((4, 6, 8), (1, 1, 2), (2, 2, 2), classes=0),
}


def of(config):
    card = Card("net", default_preprocessing(config.channels), activation=usual_activation(config.classes))
    return Weights(config, random_tensors(config), card)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"
    assert write(OWN, path, to="onnx")[0].startswith("onnxruntime ")
    return path


def near(weights, path, x):
    model = VAN(weights.config, weights.tensors)
    ours = [model(x)] if weights.config.classes else model.features(x)
    theirs = onnxruntime_run(path, x)
    return all(np.abs(a - b).max() <= LOGITS * np.abs(a).max() for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("shape", OTHERS)
def test_any_shape_and_size_is_computed_as_exact_does_and_read_back_as_it_was(tmp_path, shape):
    weights, path = of(OTHERS[shape]), tmp_path / "net.onnx"
    write(weights, path, to="onnx")
    channels = weights.config.channels
    assert near(weights, path, images(1, 33, 47, channels=channels)) and near(
        weights, path, images(2, 64, 32, channels=channels)
    )
    again = read(path)
    assert (again.config, again.card, again.notes) == (weights.config, weights.card, ())
    assert all(again.tensors[name].tobytes() == tensor.tobytes() for name, tensor in weights.tensors.items())


def test_what_the_file_says_of_itself(file):
    model = onnx.load(file)
    (given,), (made,) = model.graph.input, model.graph.output
    sides = [[side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim] for value in (given, made)]
    assert (given.name, made.name, sides) == ("input", "logits", [["N", 3, "H", "W"], ["N", 5]])
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    texts = {entry.key: entry.value for entry in model.metadata_props}
    assert texts["name"] == "net" and texts["activation"] == "softmax" and texts["source_sha256"] == "ab" * 32
    assert '"interpolation": "bicubic"' in texts["preprocessing"] and "other" in texts["labels"]
    with opened(file) as checkpoint:
        assert checkpoint.format == "ONNX, minivan's own" and checkpoint.card == OWN.card


@pytest.mark.parametrize("optimise", [False, True])
def test_every_array_that_a_hook_sees_has_its_path_for_a_name(file, tmp_path, optimise):
    """So that a recording of onnxruntime's is compared without a map."""
    model = VAN(OWN.config, OWN.tensors)
    made = [name for node in onnx.load(file).graph.node for name in node.output]
    assert [name for name in made if "/" not in name] == [*model.paths()[1:-1], "logits"]
    x = images(1, 40, 36)
    layers, strangers = ADAPTER["record"](str(file), x, optimise, paths=model.paths())
    assert strangers == []
    np.savez(tmp_path / "port.npz", **layers)
    report = compare(trace.record(model, x), trace_of(tmp_path / "port.npz"))
    assert report.within and not report.missing and not report.unknown


def trace_of(path):
    from minivan.oracle import read as read_port

    return read_port(path)


def test_by_way_of_an_onnx_file_the_safetensors_file_is_the_same_to_the_byte(run, tmp_path):
    direct, graph, by_way = (tmp_path / name for name in ("a.safetensors", "net.ONNX", "mmpretrain.safetensors"))
    assert run("convert", CHECKPOINTS / "mmpretrain.pth", direct)[0] == 0
    status, out, errors = run("convert", CHECKPOINTS / "mmpretrain.pth", graph)
    assert status == 0 and out.startswith(f"{graph}: VAN (8, 16, 24, 32) x (1, 1, 2, 1), 10 classes")
    assert "and exact are " in errors and errors.endswith(" of the largest number apart on one image\n")
    assert run("convert", graph, by_way)[::2] == (0, "")
    assert direct.read_bytes() == by_way.read_bytes()
    written = graph.read_bytes()
    assert run("convert", by_way, graph)[0] == 0 and graph.read_bytes() == written, "equal weights give equal bytes"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--to", "authors"], "--to authors is for safetensors, and OUT.onnx is an ONNX file by its name: leave --to out"),
        (["--dtype", "float16"], "an ONNX file in float16: it is written in float32"),
    ],
)
def test_what_an_onnx_file_cannot_be_is_one_line(run, tmp_path, monkeypatch, flags, words):
    monkeypatch.chdir(tmp_path)
    status, _, errors = run("convert", CHECKPOINTS / "official.pth.tar", "OUT.onnx", *flags)
    assert status == 2 and words in errors and errors.count("\n") == 1 and list(tmp_path.iterdir()) == []


def test_without_onnxruntime_it_says_that_nothing_was_compared_and_without_onnx_nothing_is_written(tmp_path, monkeypatch):
    path = tmp_path / "net.onnx"
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert write(OWN, path, to="onnx") == (
        "it was not compared with exact: the package onnxruntime, which would run it, is not installed",
    )
    assert read(path).card == OWN.card
    path.unlink()
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(CheckpointError, match=r"the package onnx writes it: pip install '\.\[onnx\]' from a clone"):
        write(OWN, path, to="onnx")
    assert list(tmp_path.iterdir()) == []


def other_words(config, card, usual=False):
    return DESCRIBE(config, replace(card, preprocessing=replace(card.preprocessing, crop=33)), usual)


def larger_eps(self, x, weight, bias, eps):
    return LAYER_NORM(self, x, weight, bias, 2 * eps)


def relu(self, x):
    return self.add("Relu", x, shape=x.shape)


@pytest.mark.parametrize(
    ("module", "name", "value", "words"),
    [
        (onnx_operators.OnnxOperators, "gelu", relu, "'Relu' where a VAN has Gelu"),
        (onnx_operators.OnnxOperators, "layer_norm", larger_eps, "epsilons 2e-05 and 0.001"),
        (own_metadata, "describe", other_words, "metadata are not what was to be said"),
        (onnx_written, "TOLERANCE", -1.0, "more than -1; nothing was written"),
        (onnx_written, "LARGEST", onnx_written.GRAPH + 1000, "2 GiB is protobuf's limit: write safetensors"),
    ],
    ids=["another network", "another epsilon", "other words", "another answer", "too large"],
)
def test_a_file_that_would_not_be_the_network_is_not_written(tmp_path, monkeypatch, module, name, value, words):
    monkeypatch.setattr(module, name, value)
    with pytest.raises(CheckpointError, match=words):
        write(OWN, tmp_path / "net.onnx", to="onnx")
    assert list(tmp_path.iterdir()) == []


class NaNLater:
    """In the place of onnxruntime: a session whose last map has a NaN, and nothing else that is wrong."""

    __version__ = "0"
    SessionOptions = staticmethod(lambda: SimpleNamespace())

    def __init__(self, weights):
        self.weights = weights

    def InferenceSession(self, *_, **__):
        return self

    def run(self, _, given):
        maps = [np.array(array) for array in VAN(self.weights.config, self.weights.tensors).features(given["input"])]
        maps[0] *= 1.00001
        maps[-1].flat[-1] = np.nan
        return maps


def test_a_nan_in_a_later_map_is_refused(tmp_path, monkeypatch):
    weights = of(OTHERS["a backbone"])
    monkeypatch.setitem(sys.modules, "onnxruntime", NaNLater(weights))
    with pytest.raises(CheckpointError, match="nan of the largest number apart on one image: more than"):
        write(weights, tmp_path / "net.onnx", to="onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_no_text_is_written_with_its_codes(tmp_path):
    write(replace(OWN, card=replace(OWN.card, name="caf\udce9")), tmp_path / "net.onnx", to="onnx")
    assert {p.key: p.value for p in onnx.load(tmp_path / "net.onnx").metadata_props}["name"] == r"caf\udce9"


def test_numbers_that_are_none_are_written_and_not_compared(tmp_path):
    name = "head.bias"
    odd = replace(OWN, tensors=OWN.tensors | {name: np.full_like(OWN.tensors[name], np.nan)})
    assert "NaN or infinities" in write(odd, tmp_path / "net.onnx", to="onnx")[0]
    assert np.isnan(read(tmp_path / "net.onnx", allow_nonfinite=True).tensors[name]).all()


def test_a_file_that_somebody_changed_is_read_as_what_it_is_or_refused(file, tmp_path):
    path = tmp_path / "net.onnx"
    changed = onnx.load(file)
    changed.graph.node.append(onnx.helper.make_node("Sigmoid", ["logits"], ["probabilities"]))
    changed.graph.output[0].name = "probabilities"
    path.write_bytes(changed.SerializeToString())
    assert read(path).card == replace(OWN.card, activation="sigmoid") and "ends in a sigmoid" in read(path).notes[0]
    changed = onnx.load(file)
    for attribute in (a for node in changed.graph.node if node.op_type == "LayerNormalization" for a in node.attribute):
        if attribute.name == "epsilon":
            attribute.f = 2e-5
    path.write_bytes(changed.SerializeToString())
    with pytest.raises(CheckpointError, match=r"the epsilons 2e-05 and 0\.001 in the graph: its metadata say 1e-05 and 0\.001"):
        read(path)
    changed = onnx.load(file)
    next(entry for entry in changed.metadata_props if entry.key == "labels").value = "[" * 40
    path.write_bytes(changed.SerializeToString())
    with pytest.raises(CheckpointError, match="the metadata's labels"):
        read(path)
    del changed.metadata_props[:]
    path.write_bytes(changed.SerializeToString())
    assert read(path).config == OWN.config and read(path).card.labels == ()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("b0", (224, 224)), ("b0", (33, 47)), ("b1", (224, 224))])
def test_published_variants_through_onnxruntime_are_exact_s_within_rounding(tmp_path, name, size):
    weights = of(variant(name))
    write(weights, tmp_path / "net.onnx", to="onnx")
    assert near(weights, tmp_path / "net.onnx", images(1, *size))
