"""Scales that `compare` is given name layers, tensors of the weights or the port's arrays, and nothing else."""

import json

import numpy as np
import pytest

from minivan import seeded
from minivan.oracle import trace, vectors
from minivan.oracle.cases import TINY
from minivan.van import VAN

pytestmark = pytest.mark.loop


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scales")
    made = trace.record(VAN(TINY, seeded.tensors(TINY), "numpy"), seeded.images((1, 3, 40, 36)), ["head"])
    trace.write(made, folder / "trace.safetensors")
    np.savez(folder / "port.npz", head=np.rint(made.layers["head"] * 10).astype(np.int8), mine=np.int8([1]))
    return folder


def judge(run, folder, points, place="trace.safetensors"):
    (folder / "scales.json").write_text(json.dumps({name: {"scale": 0.1} for name in points}))
    return run("oracle", "compare", folder / place, folder / "port.npz", "--scales", folder / "scales.json")


@pytest.mark.parametrize("points", [
    ["input", "head"], ["head", "block1.0.attn"], ["head", "head.weight", "block2.1.layer_scale_1"], ["head", "mine"],
])  # fmt: skip
def test_names_of_layers_tensors_and_the_ports_arrays_are_taken(run, folder, points):
    status, out, err = judge(run, folder, points)
    assert status == 0 and err == "" and "precision: int8" in out


@pytest.mark.parametrize("points, said", [(["head", "haed"], "'haed'"), (["head", "a\nb", "c"], "'a\\nb', and 1 more")])
def test_another_name_is_refused_in_one_line(run, folder, points, said):
    status, out, err = judge(run, folder, points)
    wanted = f"the scales name {said}: no layer, no tensor of the weights and no array of the port; leave it out"
    assert status == 2 and out == "" and wanted in err and err.count("\n") == 1


def test_scales_are_no_matter_of_all_test_vectors_at_once(run, folder):
    (folder / "vectors").mkdir()
    (folder / "vectors" / vectors.MANIFEST).write_text("{}")
    status, _, err = judge(run, folder, ["head"], "vectors")
    assert status == 2 and "--scales is about the layers of one trace" in err


def test_names_are_those_of_any_network_that_metadata_describe():
    config = trace.record(VAN(TINY, seeded.tensors(TINY), "numpy"), seeded.images((1, 3, 40, 36)), ["head"]).metadata["config"]
    assert trace.names_of({"config": config}) == trace.names_in(TINY) > {"input", "pool", "head.bias", "block2.1.layer_scale_2"}
    for text in ("", "[]", "{}", '{"dims": [1e400]}', config.replace("[1, 2, 1, 1]", "[1000000, 1, 1, 1]"), "{" * 99):
        assert trace.names_of({"config": text}) == set(), text
