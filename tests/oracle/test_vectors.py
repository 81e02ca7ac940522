"""Test vectors: made from their own manifest alone, right by brute force, and read by a C program that is then broken."""

import hashlib
import json
import shutil
import subprocess

import numpy as np
import pytest
import truth
from support import ROOT
from support.compare import assert_close
from support.judge import F, torch
from tolerances import EXACT_NETWORK, GRADIENT_OPERATOR, ROUNDED_ONCE

from minivan import seeded, splitmix
from minivan.oracle import cases, vectors
from minivan.oracle.training_cases import BACKWARD, FORWARD, TRAINING
from minivan.variants import parameter_shapes

SOURCE = ROOT / "examples" / "check_a_port" / "lka.c"
CASES = {f"{case.operator}/{case.name}": case for case in vectors.known_cases()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vectors")
    assert vectors.write(folder) == len(CASES)
    return folder


@pytest.fixture(scope="module")
def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def entries(manifest):
    for case in manifest["cases"]:
        for role in ("inputs", "parameters", "outputs"):
            yield from case[role].values()


def by_definition(seed, count):
    """The generator as the manifest words it, in Python's own integers."""
    for i in range(count):
        z = (seed + (i + 1) * 0x9E3779B97F4A7C15) % 2**64
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        yield z ^ (z >> 31)


def fnv(name):
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = (h ^ byte) * 0x100000001B3 % 2**64
    return h


def test_the_generator_is_splitmix64():
    assert list(by_definition(0, 2)) == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]  # as published with the algorithm
    assert fnv("a") == 0xAF63DC4C8601EC8C  # as published with FNV-1a
    for seed in (0, 1, 2**64 - 1, fnv("head.weight")):
        assert splitmix.words(seed, 100).tolist() == list(by_definition(seed, 100))
    assert splitmix.words(7, 5, first=95).tolist() == list(by_definition(7, 100))[95:]
    assert [splitmix.seed_of(name) for name in ("", "a", "block1.0.norm1.weight")] == [
        fnv(name) for name in ("", "a", "block1.0.norm1.weight")
    ]


def test_the_integers_are_spread_over_their_range():
    drawn = splitmix.integers("spread", (70_000,), -3, 3)
    counts = np.bincount(drawn + 3)
    assert len(counts) == 7 and counts.min() > 9_600 and counts.max() < 10_400


def test_an_array_of_several_chunks_is_one_sequence():
    count = 2 * splitmix.CHUNK + 3
    expected = [-5 + ((word >> 32) * 11 >> 32) for word in by_definition(fnv("long"), count)]
    assert splitmix.integers("long", (count,), -5, 5).tolist() == expected
    assert (splitmix.values("long", (1, count), -5, 5, shift=3) * 8).tolist() == [expected]


def test_every_drawn_array_can_be_made_from_the_manifest_alone(folder, manifest):
    assert manifest["generator"] == splitmix.GENERATOR
    drawn = 0
    for entry in entries(manifest):
        if "stream" in entry:
            s, size = entry["stream"], int(np.prod(entry["shape"]))
            span = s["high"] - s["low"] + 1
            numbers = [s["low"] + ((word >> 32) * span >> 32) for word in by_definition(fnv(s["name"]), size)]
            expected = (np.array(numbers, np.float64) * 2.0 ** -s["shift"]).astype("<f4").reshape(entry["shape"])
            assert np.load(folder / entry["file"]).tobytes() == expected.tobytes()
            drawn += 1
    assert drawn > 100


def test_files_shapes_and_digests_are_the_manifests(folder, manifest):
    files = {str(path.relative_to(folder)) for path in folder.rglob("*.npy")}
    assert files == {entry["file"] for entry in entries(manifest)}
    for entry in entries(manifest):
        array = np.load(folder / entry["file"])
        assert list(array.shape) == entry["shape"] and array.dtype == np.dtype("<f4")
        clean = np.where(np.isnan(array), np.float32(np.nan), array)
        assert hashlib.sha256(clean.tobytes()).hexdigest() == entry["sha256"], entry["file"]
    assert (folder / "FORMAT.md").read_text().startswith("# Test vectors")


def brute_force(case):
    """A single operator's output by the loops of tests/truth.py."""
    parameters = {name: tensor.values for name, tensor in case.parameters.items()}
    attributes = dict(case.attributes)
    if case.operator in cases.CONVOLUTIONS:
        for name in ("stride", "padding", "dilation"):
            attributes[name] = (attributes.get(name, int(name != "padding")),) * 2
        if case.operator in cases.DEPTHWISE:
            attributes["groups"] = case.x.values.shape[1]
        return truth.conv2d(case.x.values, **parameters, **attributes)
    return getattr(truth, case.operator)(case.x.values, **parameters, **attributes)


BY_HAND = {
    "pointwise_conv2d/signed_zeros", "pointwise_conv2d/infinities", "batch_norm/special", "gelu/special", "softmax/large",
}  # fmt: skip
OTHERS = ("lka", "block", "network", *TRAINING)
SINGLE = [name for name, case in CASES.items() if case.operator not in OTHERS and name not in BY_HAND]


@pytest.mark.parametrize("name", SINGLE)
def test_every_operators_vectors_are_right(name):
    case = CASES[name]
    expected = brute_force(case).astype(np.float32)
    got = vectors.compute(case)["y"]
    if case.tolerance == "exact":
        assert got.tobytes() == expected.tobytes()
    else:
        assert_close(name, got, expected, ROUNDED_ONCE)


def test_the_exact_class_is_exact_in_any_order():
    """Whole numbers: no sum of magnitudes reaches 2^24, so float32 in any order, fused or not, rounds nothing."""
    for name, case in CASES.items():
        if name.split("/")[1].startswith("integers") and case.operator in (*cases.CONVOLUTIONS, "linear"):
            absolute = cases.Case(case.operator, name, "exact", cases.Tensor(np.abs(case.x.values)), {
                key: cases.Tensor(np.abs(tensor.values)) for key, tensor in case.parameters.items()
            }, case.attributes)  # fmt: skip
            assert vectors.compute(absolute)["y"].max() < 2**24
    gate = CASES["lka/integers"]
    absolute = cases.Case("lka", "integers", "exact", cases.Tensor(np.abs(gate.x.values)), {
        key: cases.Tensor(np.abs(tensor.values)) for key, tensor in gate.parameters.items()
    })  # fmt: skip
    assert max(array.max() for array in vectors.compute(absolute).values()) < 2**24


def test_special_values_by_hand():
    def y(name):
        return vectors.compute(CASES[name])["y"]

    zeros = y("pointwise_conv2d/signed_zeros")[0]
    # rows: weight 0, -0, 1, -1; columns: x 0, -0, 1, -1; bias -0 throughout
    negative = [[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]]
    assert np.signbit(zeros).reshape(4, 4).astype(int).tolist() == negative
    infinities = y("pointwise_conv2d/infinities").reshape(3, 4)
    np.testing.assert_array_equal(infinities, [[np.inf, -np.inf, np.nan, 2], [-np.inf, np.inf, np.nan, -2], [np.nan] * 3 + [1]])
    np.testing.assert_array_equal(y("batch_norm/special").ravel(), [np.inf, -np.inf, np.nan, 0])
    least = cases.LEAST
    gelu = y("gelu/special").ravel()
    np.testing.assert_array_equal(gelu, np.float32([0, 0, np.inf, np.nan, np.nan, least, -least, 20, 0]))
    assert np.signbit(gelu[[1, 8]]).all() and not np.signbit(gelu[0])
    np.testing.assert_array_equal(y("softmax/large"), [[0, 1, 0, 0]])


WAYS_FORWARD = {  # of what has a way back, in PyTorch: its output, from x and the parameters
    "conv2d": lambda x, weight, bias, **how: F.conv2d(x, weight, bias, **how),
    "batch_norm": lambda x, weight, bias, running_mean, running_var, eps: F.batch_norm(
        x, running_mean.detach(), running_var.detach(), weight, bias, eps=eps),
    "batch_norm_training": lambda x, weight, bias, eps: F.batch_norm(x, None, None, weight, bias, training=True, eps=eps),
    "layer_norm": lambda x, weight, bias, eps: F.layer_norm(
        x.movedim(1, -1), weight.shape, weight, bias, eps).movedim(-1, 1),
    "layer_scale": lambda x, scale: x * scale[:, None, None],
    "gelu": lambda x: F.gelu(x),
    "relu": lambda x: F.relu(x),
    "upsample_nearest": lambda x, size: F.interpolate(x, size, mode="nearest"),
    "upsample_bilinear": lambda x, size: F.interpolate(x, size, mode="bilinear"),
    "linear": lambda x, weight, bias: F.linear(x, weight, bias),
    "global_average_pool": lambda x: x.mean((2, 3)),
    "cross_entropy": lambda x, target: F.cross_entropy(x, target.long(), reduction="sum"),
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.operator in BACKWARD])
def test_every_way_back_is_autograds(name):
    case = CASES[name]
    operator = case.operator.removesuffix("_backward")
    given = {"x": case.x, **case.parameters}
    leaves = {part: torch.from_numpy(tensor.values.astype(np.float64)).requires_grad_() for part, tensor in given.items()}
    if "weight" in leaves:  # a derivative by the bias needs no bias
        leaves["bias"] = torch.zeros(len(leaves["weight"]), dtype=torch.float64, requires_grad=True)
    y = WAYS_FORWARD[operator](**leaves, **case.attributes)
    y.backward(None if case.dy is None else torch.from_numpy(case.dy.values.astype(np.float64)))
    outputs = vectors.compute(case)
    assert set(outputs) >= {"dx"}
    for output, got in outputs.items():
        expected = leaves[output.removeprefix("d")].grad.numpy()
        if case.tolerance == "exact":
            assert (got == expected).all(), output
        else:
            assert_close(output, got, expected, GRADIENT_OPERATOR if operator != "cross_entropy" else 1e-6)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.operator == FORWARD])
def test_batch_norms_training_form_is_pytorchs(name):
    case = CASES[name]
    given = {part: torch.from_numpy(tensor.values.astype(np.float64)) for part, tensor in case.parameters.items()}
    y = F.batch_norm(torch.from_numpy(case.x.values.astype(np.float64)), training=True, **given, **case.attributes)
    got = vectors.compute(case)
    for part, expected in {"y": y, "running_mean": given["running_mean"], "running_var": given["running_var"]}.items():
        assert_close(part, got[part], expected.numpy(), 2 * ROUNDED_ONCE)


def test_a_wrong_way_back_is_named(folder, tmp_path, run):
    """Of one operator alone, what its derivatives should be said to lack."""
    x, dy = (
        np.load(folder / f"batch_norm_training_backward/real/inputs/{name}.npy").astype(np.float64) for name in ("x", "dy")
    )
    weight = np.load(folder / "batch_norm_training_backward/real/parameters/weight.npy")
    right = folder / "batch_norm_training_backward/real/outputs"
    shutil.copytree(right, tmp_path / "port")
    constants = dy * (weight / np.sqrt(x.var((0, 2, 3)) + 1e-5))[:, None, None]
    np.save(tmp_path / "port" / "dx.npy", constants.astype(np.float32))
    status, out, _ = run("oracle", "compare", right.parent, tmp_path / "port")
    assert status == 1 and "hint: BatchNorm's statistics are taken for constants on the way back" in out
    np.save(tmp_path / "port" / "dx.npy", np.load(right / "dx.npy"))
    np.save(tmp_path / "port" / "dbias.npy", np.zeros(5, np.float32))
    status, out, _ = run("oracle", "compare", right.parent, tmp_path / "port")
    assert status == 1 and "hint: the bias's gradient is forgotten: it is zero" in out


def test_the_tiny_network_and_the_block_are_the_models_own(folder):
    outputs = {p.stem: np.load(p) for p in (folder / "network" / "tiny" / "outputs").glob("*.npy")}
    from minivan.van import VAN

    tensors = seeded.tensors(cases.TINY)
    x = np.load(folder / "network/tiny/inputs/x.npy")
    assert outputs["head"].tobytes() == VAN(cases.TINY, tensors)(x).tobytes()
    assert len(outputs) == 4 * 3 + 5 * 16 + 2 and set(tensors) == {name for name, _ in parameter_shapes(cases.TINY)}
    block = {p.stem for p in (folder / "block" / "real" / "outputs").glob("*.npy")}
    assert block == {name for name in outputs if name.startswith("block2.0")}
    assert_close("numpy", VAN(cases.TINY, tensors, engine="numpy")(x), outputs["head"], EXACT_NETWORK)


@pytest.mark.parametrize("operator, wrong, right", [("layer_norm", 1e-5, 1e-6), ("batch_norm", 1e-3, 1e-5)])
def test_small_variances_betray_a_wrong_eps(folder, tmp_path, run, operator, wrong, right):
    """On features of ordinary size PyTorch's default of 1e-5 in a LayerNorm hides below rounding errors; here it cannot."""
    case = CASES[f"{operator}/small_variance"]
    parameters = {name: tensor.values for name, tensor in case.parameters.items()}
    np.save(tmp_path / "y.npy", getattr(truth, operator)(case.x.values, **parameters, eps=wrong).astype(np.float32))
    status, out, _ = run("oracle", "compare", folder / operator / "small_variance", tmp_path)
    assert status == 1 and f"hint: wrong eps: {wrong:g} instead of {right:g}" in out


def interpolated(mode, **how):
    return lambda x, size: F.interpolate(x, size, mode=mode, **how)


@pytest.mark.parametrize("name, wrong, hint", [
    ("upsample_bilinear/real", interpolated("bilinear", align_corners=True), "align_corners is true instead of false"),
    ("upsample_bilinear/odd_sides", interpolated("nearest"), "nearest instead of bilinear"),
    ("upsample_nearest/odd_sides", interpolated("nearest-exact"), "the nearest by the places' middles"),
    ("upsample_nearest/border", lambda x, size: x[:, :, np.arange(46) * 14 // 46][..., [0, 0, 1, 1, 2]], "in whole numbers"),
    ("relu/special", lambda x: F.gelu(x), "GELU instead of ReLU"),
])  # fmt: skip
def test_what_is_not_the_operator_is_named(folder, tmp_path, run, name, wrong, hint):
    case = CASES[name]
    np.save(tmp_path / "y.npy", np.asarray(wrong(torch.from_numpy(case.x.values), **case.attributes)))
    status, out, err = run("oracle", "compare", folder / name, tmp_path)
    assert (status, err) == (1, "") and hint in out.split("hint: ")[1].splitlines()[0], out


def test_one_operator_alone(tmp_path, run):
    status, out, err = run("oracle", "vectors", "-o", tmp_path / "v", "--op", "gelu", "--op", "softmax")
    assert (status, err) == (0, "") and out.startswith(f"{tmp_path / 'v'}: 5 test vectors")
    assert sorted(p.name for p in (tmp_path / "v").iterdir()) == ["FORMAT.md", "gelu", "manifest.json", "softmax"]
    status, out, err = run("oracle", "vectors", "-o", tmp_path / "v", "--op", "conv3d")
    assert (status, out) == (2, "") and "no operator is called 'conv3d'; test vectors exist for dense_conv2d" in err
    (tmp_path / "file").write_text("")
    status, out, err = run("oracle", "vectors", "-o", tmp_path / "file")
    assert (status, out) == (2, "") and err.count("\n") == 1


def test_damaged_vectors_are_refused(folder, tmp_path, run):
    copy = tmp_path / "v"
    shutil.copytree(folder, copy)
    x = copy / "lka/real/inputs/x.npy"
    np.save(x, np.load(x) + 1)
    status, _, err = run("oracle", "compare", copy / "lka/real", copy / "lka/real/outputs")
    assert status == 2 and "'lka/real/inputs/x.npy' does not have its SHA-256" in err
    x.write_bytes(b"")
    status, _, err = run("oracle", "compare", copy / "lka/real", copy / "lka/real/outputs")
    assert status == 2 and "x.npy: not an .npy file of numbers" in err and err.count("\n") == 1
    for role in ("inputs", "parameters", "outputs", "attributes"):
        damaged = json.loads((folder / "manifest.json").read_text())
        next(case for case in damaged["cases"] if case["name"] == "lka/integers")[role] = []
        (copy / "manifest.json").write_text(json.dumps(damaged))
        status, _, err = run("oracle", "compare", copy / "lka/integers", copy / "lka/integers/outputs")
        assert status == 2 and "damaged manifest" in err and role in err and err.count("\n") == 1
    (copy / "manifest.json").write_text("{}")
    assert run("oracle", "compare", copy / "lka/real", copy / "lka/real/outputs")[0] == 2
    status, _, err = run("oracle", "compare", copy / "lka", copy / "lka/real/outputs")
    assert status == 2 and "not a test vector's folder" in err


def build(tmp_path, *flags):
    program = tmp_path / "lka"
    command = ["gcc", "-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic", *flags, "-o", str(program), str(SOURCE)]
    subprocess.run(command, check=True)
    return program


@pytest.mark.parametrize("flags", [("-ffp-contract=off",), ("-ffp-contract=fast", "-march=native", "-O3")])
def test_the_c_port_gives_the_same_bits_with_fused_multiply_add_and_without(folder, tmp_path, run, flags):
    program = build(tmp_path, *flags)
    for case in ("integers", "real"):
        out = tmp_path / case
        out.mkdir()
        done = subprocess.run([program, folder / "lka" / case, out], capture_output=True, text=True)
        assert done.returncode == 0 and done.stdout.count(" 0 of ") == 4, done.stdout + done.stderr
        status, said, err = run("oracle", "compare", folder / "lka" / case, out, "--max-ulp", 0)
        assert (status, err) == (0, "") and "4 layers compared, layout nchw: bit-equal" in said


@pytest.mark.parametrize("fault, layer, hint", [
    ("MISSING_BIAS", "conv0", "missing bias"),
    ("MISSING_DILATION", "conv_spatial", "missing dilation: 1 instead of 3"),
    ("TRANSPOSED_WEIGHT", "conv1", "the weight matrix is transposed"),
    ("NO_GATE", "lka", "the attention is not multiplied with its input"),
])  # fmt: skip
def test_the_c_port_broken_is_found_out(folder, tmp_path, run, fault, layer, hint):
    program = build(tmp_path, f"-DFAULT_{fault}")
    done = subprocess.run([program, folder / "lka" / "real", tmp_path], capture_output=True, text=True)
    assert done.returncode == 1
    status, said, err = run("oracle", "compare", folder / "lka" / "real", tmp_path)
    assert (status, err) == (1, "") and f"first divergence: {layer} (layer " in said and f"hint: {hint}" in said


def test_the_c_port_says_what_it_cannot_read(tmp_path):
    program = build(tmp_path)
    for arguments in ([], ["nowhere", "out"]):
        done = subprocess.run([program, *arguments], capture_output=True, text=True)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
