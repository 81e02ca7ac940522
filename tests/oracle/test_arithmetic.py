"""References in a port's own precision: every operator's output rounded, recorded as traces, digests and test vectors."""

import json

import numpy as np
import pytest
from support.networks import images, random_tensors
from support.ports import CONFIG, TENSORS, X, reference

from minivan import ops
from minivan.card import Card
from minivan.checkpoint import Weights, write
from minivan.oracle import cases, recorded, trace, vectors
from minivan.oracle.arithmetic import ROUNDED, Arithmetic
from minivan.oracle.scales import read_scales
from minivan.oracle.ulp import round_to
from minivan.van import VAN
from minivan.variants import Config

SMALL = Config((4,), (1,), (2,), classes=3)


def made(word, **given):
    return trace.record(VAN(CONFIG, TENSORS), X, arithmetic=Arithmetic(word, **given))


@pytest.mark.parametrize("form", ROUNDED)
def test_every_output_is_a_number_of_the_format(form):
    rounded = made(form)
    assert list(rounded.layers) == list(reference().layers) and rounded.metadata["precision"] == form
    assert all(np.array_equal(round_to(a, form), a) for a in rounded.layers.values())
    assert all(a.dtype == np.float32 for a in rounded.layers.values())
    assert rounded.input.tobytes() == X.tobytes() and rounded.metadata["rounded"] == "outputs"
    assert rounded.metadata["weights_sha256"] == reference().metadata["weights_sha256"]
    coarse = made("bfloat16", everything=True).layers["head"]  # the seeded weights are numbers of the other two formats already
    assert coarse.tobytes() != made("bfloat16").layers["head"].tobytes()


@pytest.mark.parametrize("form", ROUNDED)
@pytest.mark.parametrize("everything", [False, True])
def test_a_block_by_hand(form, everything):
    """Operator by operator, each rounded once, the two of x + scale * z as well."""

    def r(array):
        return round_to(array, form).astype(np.float32)

    given = r if everything else np.asarray
    t = {name: given(tensor) for name, tensor in TENSORS.items()}
    layers = made(form, everything=everything).layers

    def of(name):
        return {part: t[f"{name}.{part}"] for part in ("weight", "bias")}

    def norm(name, x):
        statistics = {part: t[f"{name}.{part}"] for part in ("running_mean", "running_var")}
        return r(ops.batch_norm(x, **statistics, **of(name), eps=CONFIG.batch_norm_eps))

    x = norm("patch_embed1.norm", r(ops.conv2d(given(X), **of("patch_embed1.proj"), stride=4, padding=3)))
    b = "block1.0"
    z = norm(f"{b}.norm1", x)
    u = r(ops.gelu(r(ops.conv2d(z, **of(f"{b}.attn.proj_1")))))
    g = f"{b}.attn.spatial_gating_unit"
    v = r(ops.conv2d(u, **of(f"{g}.conv0"), padding=2, groups=8))
    v = r(ops.conv2d(v, **of(f"{g}.conv_spatial"), padding=9, dilation=3, groups=8))
    gated = r(u * r(ops.conv2d(v, **of(f"{g}.conv1"))))
    z = r(z + r(ops.conv2d(gated, **of(f"{b}.attn.proj_2"))))
    assert layers[f"{b}.attn"].tobytes() == z.tobytes()
    x = r(x + r(t[f"{b}.layer_scale_1"][:, None, None] * z))
    assert layers[f"{b}.layer_scale_1"].tobytes() == x.tobytes()


def test_the_command_records_a_reference_and_compares_with_it(tmp_path, run):
    write(Weights(SMALL, random_tensors(SMALL), Card("small")), tmp_path / "small.safetensors")
    np.save(tmp_path / "x.npy", images(1, 32))
    command = ["oracle", "record", tmp_path / "x.npy", "--model", tmp_path / "small.safetensors"]
    status, out, err = run(*command, "-o", tmp_path / "half.safetensors", "--precision", "float16")
    assert (status, err) == (0, "") and "small on engine exact, float16" in out
    status, out, _ = run(*command, "--hashes", "--precision", "bfloat16", "--round-everything")
    assert status == 0 and out.startswith("# minivan-trace 1, engine exact, bfloat16, model ")
    assert "its input and weights rounded too" in out.splitlines()[0]
    half = recorded.read_trace(tmp_path / "half.safetensors")
    np.savez(tmp_path / "port.npz", **{path: a.astype(np.float16) for path, a in half.layers.items()})
    flags = [tmp_path / "half.safetensors", tmp_path / "port.npz", "--bit-equal"]
    status, out, _ = run("oracle", "compare", *flags)
    assert status == 0 and out.endswith("bit-equal\n")


@pytest.mark.parametrize("flags, said", [
    (["--precision", "int8"], "int8 needs scales"),
    (["--scales", "scales.json"], "say how --precision rounds"),
    (["--round-everything"], "say how --precision rounds"),
    (["--precision", "float16", "--scales", "scales.json"], "int8 needs scales"),
    (["--precision", "float16", "--engine", "fast"], "--precision rounds what exact computes, not fast"),
    (["--precision", "float64"], "invalid choice: 'float64'"),
    (["--precision", "int8", "--scales", "missing.json"], "missing.json: No such file"),
])  # fmt: skip
def test_what_cannot_be_rounded_to_is_said_in_one_line(tmp_path, run, monkeypatch, flags, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scales.json").write_text('{"norm1": {"scale": 0.1}}')
    np.save(tmp_path / "x.npy", images(1, 32))
    status, out, err = run("oracle", "record", "x.npy", "--hashes", *flags)
    assert (status, out) == (2, "") and said in err.splitlines()[-1]


def test_no_word_but_those_that_there_are():
    with pytest.raises(ValueError, match="no reference is rounded to 'float8'"):
        Arithmetic("float8")


@pytest.mark.parametrize("form", ROUNDED)
def test_test_vectors_in_a_shorter_format(tmp_path, run, form):
    status, _, err = run("oracle", "vectors", "-o", tmp_path / "v", "--precision", form, "--op", "lka", "--op", "gelu")
    assert (status, err) == (0, "")
    manifest = json.loads((tmp_path / "v" / "manifest.json").read_text())
    assert (manifest["precision"], manifest["rounded"]) == (form, "outputs")
    assert manifest["classes"]["rounded"]["rtol"] == cases.classes(form)["rounded"]["rtol"] > 1e-3
    right = vectors.compute(next(case for case in cases.all_cases() if case.name == "real" and case.operator == "gelu"))
    written = np.load(tmp_path / "v/gelu/real/outputs/y.npy")
    assert written.dtype == np.float32 and written.tobytes() == round_to(right["y"], form).astype(np.float32).tobytes()
    for case in ("lka/real", "lka/integers", "gelu/special"):
        status, out, _ = run("oracle", "compare", tmp_path / "v" / case, tmp_path / "v" / case / "outputs", "--bit-equal")
        assert status == 0 and out.endswith("bit-equal\n")
    (tmp_path / "port").mkdir()
    for off, status in ((1e-4, 0), (1e-1, 1)):  # no number of the format any more: the vectors say what is computed in
        np.save(tmp_path / "port" / "y.npy", written * np.float32(1 + off))
        assert run("oracle", "compare", tmp_path / "v/gelu/real", tmp_path / "port")[0] == status


SCALES = {
    "input": {"scale": 0.02, "zero_point": 120, "type": "uint8"},
    "block1.0.attn.proj_1": {"scale": [0.5, 0.25, 1, 0.125], "axis": 1},
    "block1.0.attn.proj_1.weight": {"scale": [0.01, 0.02, 0.005, 0.01], "zero_point": [0, 1, -2, 0], "axis": 0},
}


def test_int8_rounds_what_the_scales_name(tmp_path):
    (tmp_path / "s.json").write_text(json.dumps(SCALES))
    scales = read_scales(tmp_path / "s.json")
    tensors, x = random_tensors(SMALL), images(1, 32)
    got = trace.record(VAN(SMALL, tensors), x, arithmetic=Arithmetic("int8", scales=scales))
    q = np.clip(np.rint(x / np.float32(0.02)) + 120, 0, 255)
    quantised = ((q - 120) * np.float32(0.02)).astype(np.float32)
    plain = trace.record(VAN(SMALL, tensors), quantised).layers
    assert got.layers["patch_embed1.norm"].tobytes() == plain["patch_embed1.norm"].tobytes()
    weight = scales.rounded("block1.0.attn.proj_1.weight", tensors["block1.0.attn.proj_1.weight"])
    right = ops.conv2d(plain["block1.0.norm1"], weight, tensors["block1.0.attn.proj_1.bias"])
    steps = np.float32([0.5, 0.25, 1, 0.125])[:, None, None]
    right = ((np.clip(np.rint(right / steps), -128, 127) + 0) * steps).astype(np.float32)  # a whole number has one zero
    assert got.layers["block1.0.attn.proj_1"].tobytes() == right.tobytes()
    assert got.layers["block1.0.attn.activation"].tobytes() == ops.gelu(right).tobytes()
    assert got.metadata["precision"] == "int8" and got.metadata["scales_sha256"] == scales.sha256


def test_eight_bits_by_hand():
    from minivan.oracle.scales import Point

    affine = Point(np.float32([0.5]), np.array([3], np.int32), None, "int8")
    x = np.float32([0.25, 0.75, -70, 70, np.nan])
    assert affine.rounded("x", x)[:4].tolist() == [0, 1, -65.5, 62]  # ties to even; kept within -128..127
    assert affine.restored("x", np.int8([3, 5, -128])).tolist() == [0, 1, -65.5]


@pytest.mark.parametrize("text, said", [
    ("[]", "it is no JSON object of points"),
    ("{", "is not JSON"),
    ('{"a": {"scale": 0}}', "'a' has a scale that is not between 2**-126 and 2**127"),
    ('{"a": {"scale": 1e300}}', "'a' has a scale that is not between"),
    ('{"a": {"scale": -1}}', "'a' has a scale that is not between"),
    ('{"a": {"scale": "1"}}', "scales and zero points are numbers"),
    ('{"a": {"scale": [1, 2]}}', "'a' has 2 scales and no axis"),
    ('{"a": {"scale": [1, 2], "axis": 0, "zero_point": [1, 2, 3]}}', "'a' has 2 scales and 3 zero points"),
    ('{"a": {"scale": 1, "zero_point": 200}}', "'a' has a zero point that is no int8"),
    ('{"a": {"scale": 1, "zero_point": 0.5}}', "'a' has a zero point that is no int8"),
    ('{"a": {"scale": 1, "axis": -1}}', "'a' has the axis -1"),
    ('{"a": {"scale": 1, "type": "int4"}}', "'a' has the type 'int4'"),
    ('{"a": {"scale": 1, "type": []}}', "'a' has the type a list"),
    ('{"a": {"scale": 1, "bits": 4}}', "'a' is no object with a scale, and nothing beside axis, type, zero_point"),
    ('{"a": {"scale": ' + "9" * 400 + "}}", "no file of scales"),
])  # fmt: skip
def test_a_file_of_scales_that_makes_no_sense_is_refused(tmp_path, text, said):
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(ValueError, match=r"s\.json: no file of scales") as error:
        read_scales(tmp_path / "s.json")
    assert said in str(error.value) and "\n" not in str(error.value)


def test_scales_of_what_a_network_does_not_have_are_refused(tmp_path):
    (tmp_path / "s.json").write_text(json.dumps({**SCALES, "block9.0.attn": {"scale": 1}, "head.wait": {"scale": 1}}))
    arithmetic = Arithmetic("int8", scales=read_scales(tmp_path / "s.json"))
    with pytest.raises(ValueError, match=r"the scales name 'block9\.0\.attn', and 1 more: no layer, nor a tensor"):
        trace.record(VAN(SMALL, random_tensors(SMALL)), images(1, 32), arithmetic=arithmetic)


def test_scales_that_do_not_fit_an_array_are_refused():
    from minivan.oracle.scales import Point

    point = Point(np.float32([1, 2]), np.zeros(2, np.int32), 1, "int8")
    with pytest.raises(ValueError, match=r"a has the shape \(1, 3\), and 2 scales along its axis 1"):
        point.rounded("a", np.ones((1, 3), np.float32))
