"""What a verdict promises: equal bits where they are asked for, everything checked, nothing judged of something else."""

import json
import shutil

import numpy as np
import pytest
from support.ports import CONFIG, TENSORS, X, as_port, reference, sound_port

from minivan.oracle import cases, recorded, trace, vectors
from minivan.oracle.compare import Asked, compare
from minivan.oracle.measure import measure
from minivan.oracle.recorded import Port, Recorded
from minivan.oracle.tolerance import Tolerance
from minivan.oracle.trace import Trace
from minivan.van import VAN

BITS = Tolerance(bits=True)
LAST = "1 layer compared, layout nchw: within tolerance, but 74 of the trace's 75 layers went unchecked"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    trace.write(reference(), folder / "trace.safetensors")
    np.savez(folder / "port.npz", **sound_port())
    np.savez(folder / "one.npz", norm2=sound_port()["norm2"])
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vectors")
    vectors.write(folder, ["gelu", "pointwise_conv2d", "lka"])
    return folder


def row(ours, theirs, tolerance, form="float32", precision=""):
    return measure(0, "a", np.float32(ours), np.asarray(theirs), form, tolerance, precision)


@pytest.mark.parametrize("tolerance", [BITS, Tolerance(0.0, 0.0, 0), Tolerance(0.0, 0.0, 0.0)])
def test_equal_bits_are_the_same_number_with_the_same_sign_and_every_nan_is_one(tolerance):
    assert row([0.0, 1, np.inf, np.nan], np.float32([0.0, 1, np.inf, -np.nan]), tolerance).within
    for theirs in ([-0.0, 1], [0.0, np.nextafter(np.float32(1), np.float32(2))], [np.nan, 1]):
        assert not row([0.0, 1], np.float32(theirs), tolerance).within
    assert row([0.0, 1], np.float32([-0.0, 1]), Tolerance(0.0)).within  # equal numbers, which is what a tolerance of 0 asks


def test_bits_are_those_of_what_the_port_stores():
    third = np.float32([1 / 3])
    assert row(third, third.astype(np.float16), BITS, "float16").within
    assert not row(third, np.nextafter(third.astype(np.float16), np.float16(1)), BITS, "float16").within
    assert row(third, third.astype(np.float64), BITS, "float64").within  # its numbers are rounded to float32 first


def test_the_command_asks_for_equal_bits(tmp_path, run):
    zeros = Trace({"head": np.float32([[0.0, 1.0]])}, None, reference().metadata | {"order": '["head"]'})
    digests = json.dumps({"head": trace.digest(zeros.layers["head"])})
    trace.write(Trace(zeros.layers, None, zeros.metadata | {"sha256": digests}), tmp_path / "trace.safetensors")
    np.savez(tmp_path / "port.npz", head=np.float32([[-0.0, 1.0]]))
    command = ["oracle", "compare", tmp_path / "trace.safetensors", tmp_path / "port.npz"]
    assert run(*command)[0] == 0
    for flags in (["--bit-equal"], ["--max-ulp", 0]):
        status, out, _ = run(*command, *flags)
        assert status == 1 and "first divergence: head" in out
    assert run(*command, "--max-ulp", 1)[0] == 0
    status, _, err = run(*command, "--bit-equal", "--rtol", "1e-3")
    assert status == 2 and "--bit-equal allows nothing" in err


def outputs(folder, case, change):
    """Copy a test vector's outputs, each changed."""
    to = folder.parent / f"port-{case.replace('/', '-')}"
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(folder / case / "outputs", to)
    for file in to.iterdir():
        np.save(file, change(np.load(file)).astype(np.float32))
    return to


@pytest.mark.parametrize("case, off, status", [
    ("pointwise_conv2d/integers", 0, 0), ("pointwise_conv2d/integers", 1e-6, 1),
    ("pointwise_conv2d/real_160_channels", 2e-6, 0), ("pointwise_conv2d/real_160_channels", 3e-5, 1),
    ("lka/integers", 1e-6, 1), ("lka/real", 2e-6, 0),
])  # fmt: skip
def test_a_test_vector_is_judged_by_its_class(folder, run, case, off, status):
    port = outputs(folder, case, lambda a: a * np.float64(1 + off))
    assert run("oracle", "compare", folder / case, port)[0] == status
    assert run("oracle", "compare", folder / case, port, "--rtol", "1e-3")[0] == 0  # what is asked for goes before the class


def test_signed_zeros_and_denormals_count_in_the_vectors_made_for_them(folder, run):
    port = outputs(folder, "pointwise_conv2d/signed_zeros", np.abs)
    assert run("oracle", "compare", folder / "pointwise_conv2d/signed_zeros", port)[0] == 1
    port = outputs(folder, "pointwise_conv2d/denormals", lambda a: np.where(np.abs(a) < 2.0**-126, 0, a))
    assert run("oracle", "compare", folder / "pointwise_conv2d/denormals", port)[0] == 1
    port = outputs(folder, "pointwise_conv2d/infinities", lambda a: np.where(np.isnan(a), -np.nan, a))
    status, out, _ = run("oracle", "compare", folder / "pointwise_conv2d/infinities", port)
    assert status == 0 and out.endswith("bit-equal\n") and "not finite: 9 numbers of the port, in 1 layer (y)" in out


def test_a_class_that_there_is_not_is_refused(folder, tmp_path, run):
    copy = tmp_path / "v"
    shutil.copytree(folder, copy)
    damaged = json.loads((folder / "manifest.json").read_text())
    next(case for case in damaged["cases"] if case["name"] == "lka/real")["class"] = "near enough"
    (copy / "manifest.json").write_text(json.dumps(damaged))
    status, _, err = run("oracle", "compare", copy / "lka/real", copy / "lka/real/outputs")
    assert status == 2 and "lka/real is of the class 'near enough', which is none of exact" in err


def test_a_port_of_halves_is_allowed_what_halves_are_in_a_vectors_class():
    assert cases.allowed("exact", "float16") == BITS and cases.allowed("rounded").rtol == 1e-5
    assert cases.allowed("rounded", "float16").rtol == 2.0**-9 and cases.allowed("network", "bfloat16").rtol == 0.4
    assert cases.classes("float32") is cases.CLASSES and cases.classes("tf32")["exact"]["rtol"] == 0


def test_one_layer_of_many_is_no_pass_unless_it_was_asked_for(files, run):
    command = ["oracle", "compare", files / "trace.safetensors", files / "one.npz"]
    status, out, _ = run(*command)
    assert (status, out.splitlines()[-1]) == (1, LAST)
    status, out, _ = run(*command, "--layers", "norm2")
    assert (status, out.splitlines()[-1]) == (0, "1 layer compared, layout nchw: within tolerance")
    status, out, _ = run(*command, "--layers", "norm2", "--require-all")
    assert (status, out.splitlines()[-1]) == (1, LAST)
    status, out, _ = run(*command, "--layers", "norm?")
    assert status == 1 and "2 of the trace's 75 layers went unchecked" in out
    status, _, err = run(*command, "--layers", "norm9")
    assert status == 2 and "no layer of the trace matches norm9" in err
    status, _, err = run(*command, "--layers", "head")
    assert status == 2 and "the port has none of the" in err


def test_only_what_was_asked_for_is_judged(files, run):
    np.savez(files / "wrong.npz", **{**sound_port(), "norm1": sound_port()["norm1"] + 1})
    command = ["oracle", "compare", files / "trace.safetensors", files / "wrong.npz"]
    assert run(*command)[0] == 1 and run(*command, "--layers", "norm[234]", "--layers", "head")[0] == 0


def test_a_test_vector_has_to_be_there_as_a_whole(folder, run, tmp_path):
    shutil.copy(folder / "lka/real/outputs/conv0.npy", tmp_path)
    status, out, _ = run("oracle", "compare", folder / "lka/real", tmp_path, "--layers", "conv0")
    assert status == 1 and "3 of the trace's 4 layers went unchecked" in out


def test_numbers_that_are_not_finite_are_said_though_both_have_them(tmp_path, run):
    x = X.copy()
    x[0, 0, 5, 5] = np.nan
    made = trace.record(VAN(CONFIG, TENSORS), x, finite=False)
    trace.write(made, tmp_path / "trace.safetensors")
    np.savez(tmp_path / "port.npz", **made.arrays)
    status, out, err = run("oracle", "compare", tmp_path / "trace.safetensors", tmp_path / "port.npz")
    assert (status, err) == (0, "") and out.endswith("bit-equal\n")
    assert "not finite: " in out and "numbers of the trace, in 76 layers (input, patch_embed1.proj" in out
    rows = compare(made, as_port(made.arrays)).rows
    assert rows[0].not_finite == (1, 1) and all(r.not_finite[0] for r in rows)


@pytest.mark.parametrize("change, said", [
    (lambda x: np.where(x > 1.5, np.nan, x), "are NaN or infinite; to record what comes of them, say --allow-nonfinite"),
    (lambda x: np.where(x > 1.5, -np.inf, x), "numbers are NaN or infinite"),
    (lambda x: x.astype(np.float64) * 1e300, "numbers are NaN or infinite in float32, which ends at 3.4e38"),
    (lambda x: x[:0], "nothing to record: the input of shape (0, 3, 64, 48) holds no numbers"),
])  # fmt: skip
def test_an_input_that_tells_nothing_is_not_recorded(tmp_path, run, change, said):
    x = change(X)
    with pytest.raises(ValueError, match="numbers"):
        trace.record(VAN(CONFIG, TENSORS), x)
    np.save(tmp_path / "x.npy", x)
    status, _, err = run("oracle", "record", tmp_path / "x.npy", "--hashes", "--engine", "numpy", "--layers", "norm?")
    assert status == 2 and said in err and err.count("\n") == 1
    if x.size and x.dtype == np.float32:
        flags = ("--layers", "patch_embed1.proj", "--allow-nonfinite")
        assert run("oracle", "record", tmp_path / "x.npy", "--hashes", "--engine", "numpy", *flags)[0] == 0


def test_traces_of_other_weights_or_another_input_are_not_judged(files, run):
    other = {**TENSORS, "head.bias": TENSORS["head.bias"] + 1}
    trace.write(trace.record(VAN(CONFIG, other), X, ["norm?"]), files / "weights.safetensors")
    trace.write(trace.record(VAN(CONFIG, TENSORS), X[:, ::-1], ["head"]), files / "input.safetensors")
    for name, said in (("weights", "other weights (SHA-256 "), ("input", "another input (SHA-256 ")):
        status, out, err = run("oracle", "compare", files / "trace.safetensors", files / f"{name}.safetensors")
        assert (status, out) == (2, "") and f"the port was recorded with {said}" in err and "nothing was judged" in err
    trace.write(trace.record(VAN(CONFIG, TENSORS, "fast"), X), files / "fast.safetensors")
    flags = ("--layers", "norm?", "--layers", "head")
    assert run("oracle", "compare", files / "trace.safetensors", files / "fast.safetensors", *flags)[0] == 0


@pytest.mark.parametrize("metadata", [
    {}, {"weights_sha256": "0" * 64, "sha256": '{"input": "0"}'},  # no trace: another tool's words
    *({"format": trace.FORMAT} | said for said in (
        {}, {"weights_sha256": ""}, {"sha256": "["}, {"sha256": "[]"}, {"sha256": '{"input": 3}'}, {"sha256": "[" * 100_000},
    )),
])  # fmt: skip
def test_a_port_that_says_nothing_of_its_origin_is_judged(metadata):
    port = Port({"head": Recorded(sound_port()["head"], "float32")}, metadata)
    assert compare(reference(), port, asked=Asked(layers=("head",))).within
    assert recorded.Port({}).metadata == {}
