"""Test vectors whose manifest or arrays are damaged, or made to do harm: one clear line each, and exit status 2."""

import json
import os

import numpy as np
import pytest

from minivan.oracle import cases, trace, vectors

OPERATORS = ["dense_conv2d", "layer_norm", "linear", "global_average_pool", "lka", "block", "network"]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A folder of test vectors; returns it with the text of its manifest."""
    folder = tmp_path_factory.mktemp("vectors")
    vectors.write(folder, OPERATORS)
    return folder, (folder / vectors.MANIFEST).read_text()


@pytest.fixture
def compared(sound, tmp_path, run):
    """Compare a port all of whose layers are wrong with a case whose entry `change(entry, folder)` damaged."""
    folder, text = sound

    def compare(case, change):
        manifest = json.loads(text)
        entry = next(entry for entry in manifest["cases"] if entry["name"] == case)
        change(entry, folder)
        (folder / vectors.MANIFEST).write_text(json.dumps(manifest))
        for name, output in entry["outputs"].items():
            np.save(tmp_path / f"{name}.npy", -1 - np.load(folder / output["file"]))
        status, out, err = run("oracle", "compare", folder / case, tmp_path)
        assert err.count("\n") <= 1
        return status, out, err

    yield compare
    (folder / vectors.MANIFEST).write_text(text)


def attributes(**changed):
    return lambda entry, folder: entry["attributes"].update(changed)


def without(role, name):
    return lambda entry, folder: entry[role].pop(name)


def another(role, name, array):
    """Puts an array in another's place, with a manifest that fits it."""

    def change(entry, folder):
        file = f"{role}-{name}.npy"
        np.save(folder / file, array)
        entry[role][name] = {"file": file, "shape": list(array.shape), "sha256": trace.digest(array)}

    return change


def operator(name):
    return lambda entry, folder: entry.update(operator=name)


def instead(role, name, **fields):
    return lambda entry, folder: entry[role][name].update(fields)


STRIDED, GATE, BLOCK, NETWORK = "dense_conv2d/integers_3x3_stride2", "lka/real", "block/real", "network/tiny"
NORM, LINEAR, POOL = "layer_norm/real", "linear/real", "global_average_pool/real"
FLOATS = np.ones((2, 3), np.float32)
DAMAGE = {
    "no such operator": (STRIDED, operator("conv3d"), "no operator is called 'conv3d'"),
    "a function that is no operator": (STRIDED, operator("__class__"), "no operator is called '__class__'"),
    "an operator that is a list": (STRIDED, operator([]), "no operator is called a list"),
    "another operator": (STRIDED, operator("gelu"), "cannot be computed as the manifest says"),
    "a stride in words": (STRIDED, attributes(stride="two"), "the attribute 'stride' is 'two', which no operator takes"),
    "two strides": (STRIDED, attributes(stride=[2, 2]), "the attribute 'stride' is a list"),
    "a padding of gigabytes": (STRIDED, attributes(padding=10**9), "the attribute 'padding' is 1000000000"),
    "a stride of zero": (STRIDED, attributes(stride=0), "cannot be computed as the manifest says (stride must be an int"),
    "groups that do not divide": (STRIDED, attributes(groups=2), "(channels do not match"),
    "a hook among the attributes": (BLOCK, attributes(hook=1), "the attribute 'hook' is 1"),
    "an eps that an operator lacks": (STRIDED, attributes(eps=1e-5), "unexpected keyword argument 'eps'"),
    "an eps in words": (NORM, attributes(eps="tiny"), "the attribute 'eps' is 'tiny'"),
    "an eps that is no number": (NORM, attributes(eps=float("nan")), "its text has the number NaN"),
    "a parameter too few": (STRIDED, without("parameters", "weight"), "damaged manifest (KeyError('weight'))"),
    "a layer's parameters too few": (BLOCK, without("parameters", "mlp.fc1.weight"), "cannot be computed as"),
    "a parameter too many": (STRIDED, another("parameters", "gain", FLOATS), "unexpected keyword argument 'gain'"),
    "a parameter below another": (GATE, another("parameters", "conv0.weight.x", FLOATS), "damaged manifest (IndexError"),
    "a parameter in a module's stead": (GATE, another("parameters", "conv0", FLOATS), "cannot be computed as the manifest"),
    "a misshapen parameter": (GATE, another("parameters", "conv0.bias", FLOATS), "(bias must have the shape (8,)"),
    "a kernel that is not square":
        (STRIDED, another("parameters", "weight", np.ones((4, 3, 3, 1), np.float32)), "a kernel is square"),
    "an x of another rank": (POOL, another("inputs", "x", FLOATS), "x must have the shape (N, C, H, W)"),
    "an empty x": (POOL, another("inputs", "x", np.ones((1, 5, 0, 7), np.float32)), "holds 0 numbers of dtype float32"),
    "doubles": (LINEAR, another("parameters", "bias", np.ones(10)), "holds 10 numbers of dtype float64"),
    "no input": (STRIDED, without("inputs", "x"), "damaged manifest (KeyError('x'))"),
    "another shape": (STRIDED, instead("inputs", "x", shape=[2, 3, 8, 9]), "has the shape (2, 3, 9, 8), not its own"),
    "a shape that is none": (STRIDED, instead("inputs", "x", shape=7), "has the shape (2, 3, 9, 8), not its own"),
    "a file elsewhere": (STRIDED, instead("inputs", "x", file="/dev/zero"), "'/dev/zero' is no file of this folder"),
    "a file above": (STRIDED, instead("inputs", "x", file="../x.npy"), "'../x.npy' is no file of this folder"),
    "a folder for a file": (STRIDED, instead("inputs", "x", file="lka"), "'lka' is no file of this folder"),
    "a number for a file": (STRIDED, instead("inputs", "x", file=3), "damaged manifest (TypeError"),
    "a name with a zero byte": (STRIDED, instead("inputs", "x", file="x\0.npy"), "embedded null"),
    "dims that are a number": (NETWORK, attributes(dims=4), "the attribute 'dims' is 4"),
    "dims that are infinite": (NETWORK, attributes(dims=[float("inf")] * 4), "its text has the number Infinity"),
    "blocks by the thousand": (NETWORK, attributes(depths=[65536] * 4), "most are missing"),
    "an input that no network takes": (NETWORK, another("inputs", "x", FLOATS), "images must have the shape (N, 3, H, W)"),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGE)
def test_a_manifest_that_asks_for_the_impossible_is_one_line(compared, what):
    case, change, text = DAMAGE[what]
    status, out, err = compared(case, change)
    assert (status, out) == (2, "") and text in err and vectors.MANIFEST in err, err


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(compared, sound):
    os.mkfifo(sound[0] / "pipe.npy")
    status, _, err = compared(STRIDED, instead("inputs", "x", file="pipe.npy"))
    assert status == 2 and "'pipe.npy' is no file of this folder" in err


@pytest.mark.parametrize(
    "text", ["[]", "3", "{", '{"format": "minivan-vectors 2", "cases": []}', '{"cases": 3}', "[" * 100_000]
)
def test_what_is_no_manifest_is_one_line(sound, run, text):
    folder, right = sound
    (folder / vectors.MANIFEST).write_text(text)
    status, out, err = run("oracle", "compare", folder / GATE, folder / GATE / "outputs")
    (folder / vectors.MANIFEST).write_text(right)
    assert (status, out) == (2, "") and vectors.MANIFEST in err and err.count("\n") == 1


@pytest.mark.parametrize("case", [STRIDED, NORM, LINEAR, GATE, BLOCK, NETWORK])
def test_an_undamaged_manifest_gets_a_verdict(compared, case):
    status, out, err = compared(case, lambda entry, folder: None)
    assert (status, err) == (1, "") and "first divergence: " in out


def test_the_operators_are_those_that_there_are_vectors_of():
    assert {case.operator for case in cases.all_cases()} == set(cases.OPERATORS)
