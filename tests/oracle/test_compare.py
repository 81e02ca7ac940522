"""Comparing: the measures, the formats and layouts that ports come in, and the command's exit statuses."""

import json
import math
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file
from support.compare import ulp_distance
from support.judge import safetensors_torch, torch
from support.ports import CONFIG, TENSORS, X, as_port, numpy_layers, recorded_layers, reference, sound_port

import minivan
from minivan import oracle
from minivan.oracle import naming, open_baseline, recorded, trace, ulp
from minivan.oracle.compare import compare
from minivan.oracle.measure import measure
from minivan.oracle.tolerance import Tolerance
from minivan.oracle.trace import Trace
from minivan.van import VAN

EXACT = Tolerance(0.0)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A trace and a sound port of it, as files; returns their folder, where tests put further ones."""
    folder = tmp_path_factory.mktemp("files")
    trace.write(reference(), folder / "trace.safetensors")
    np.savez(folder / "port.npz", **sound_port())
    return folder


def test_an_unchanged_trace_is_bit_equal():
    report = compare(reference(), as_port({"input": X, **reference().layers}), EXACT)
    assert report.first_divergence is None and len(report.rows) == 1 + len(reference().layers)
    for number, row in enumerate(report.rows):
        assert (row.number, row.bit_equal, row.max_abs, row.max_rel, row.max_ulp, row.ulp_999) == (number, 1, 0, 0, 0, 0)
        assert row.snr_db == math.inf and row.cosine == pytest.approx(1, abs=1e-12) and row.first is row.worst is None


def test_pytorch_passes_at_the_tolerance_of_float32_but_not_bit_for_bit():
    port = as_port(recorded_layers())
    assert compare(reference(), port).first_divergence is None
    assert compare(reference(), port, EXACT).first_divergence.path == "patch_embed1.proj"


def test_the_fast_engine_passes_at_the_tolerance_of_float32():
    fast = trace.record(VAN(CONFIG, TENSORS, engine="fast"), X)
    report = compare(reference(), as_port(fast.layers))
    assert [row.path for row in report.rows] == ["norm1", "norm2", "norm3", "head"]
    assert report.first_divergence is None


def test_ulps_are_counted_in_the_ports_format():
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=1000).astype(np.float32) * 10.0 ** rng.integers(-30, 30, 1000).astype(np.float32) for _ in "ab")
    np.testing.assert_array_equal(ulp.distance(a, b), ulp_distance(a, b))
    one = np.array([1.0], np.float32)
    for form, digits in (("float16", 10), ("bfloat16", 7), ("float32", 23), ("float64", 23)):
        step = np.array([1 + 2.0**-digits], np.float32)
        assert ulp.distance(one, step, form) == 1 and ulp.distance(step, one, form) == 1
    assert ulp.distance(np.float32([0.0, 1e-45]), np.float32([-0.0, -1e-45])).tolist() == [0, 2]
    assert ulp.distance(np.float32([np.nan, 1, np.inf]), np.float32([np.nan, np.nan, np.inf])).tolist() == [0, np.inf, 0]


def test_bfloat16_rounding_is_torchs():
    bits = np.random.default_rng(0).integers(0, 2**32, 100_000, dtype=np.uint32).view(np.float32)
    bits = np.append(bits, np.float32([0.0, -0.0, np.inf, -np.inf, 1.00390625, 1.01171875, 3.4e38, 1e-45]))
    expected = torch.from_numpy(bits).bfloat16().float().numpy()
    got = ulp.round_to(bits, "bfloat16")
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    assert got[~np.isnan(got)].tobytes() == expected[~np.isnan(expected)].tobytes()


def test_zeros_of_other_sign_are_equal_numbers_but_not_equal_bits():
    row = measure(0, "a", np.float32([0.0, 1.0]), np.float32([-0.0, 1.0]), "float32", EXACT)
    assert (row.within, row.bit_equal, row.max_ulp) == (True, 0.5, 0)


def test_nan_and_infinity_must_be_where_the_trace_has_them():
    special = np.float32([np.nan, np.inf, -np.inf, 1])
    assert measure(0, "a", special, special.copy(), "float32", EXACT).within
    wrong = [
        [1, np.inf, -np.inf, 1], [np.nan, np.nan, -np.inf, 1], [np.nan, -np.inf, -np.inf, 1], [np.nan, np.inf, -np.inf, np.nan],
    ]  # fmt: skip
    for theirs in wrong:
        row = measure(0, "a", special, np.float32(theirs), "float32", Tolerance(1.0, 1.0))
        assert not row.within and row.max_abs == np.inf


def test_tolerances_add_up_and_ulps_alone_count_alone():
    ours, theirs = np.float32([1e-9, 100.0]), np.float32([2e-9, 100.00001])
    assert measure(0, "a", ours, theirs, "float32", Tolerance(1e-6)).within  # relative to the root mean square, 70.7
    assert not measure(0, "a", ours, theirs, "float32", Tolerance(0.0, 1e-9)).within
    assert measure(0, "a", ours, theirs, "float32", Tolerance(0.0, 1e-9, max_ulp=2)).within
    assert not measure(0, "a", ours, theirs, "float32", Tolerance(0.0, 0.0, max_ulp=2)).within


def save_npz(path, layers, dtype):
    np.savez(path / "p.npz", **{name: array.astype(dtype) for name, array in layers.items()})
    return path / "p.npz"


def save_folder(path, layers, dtype):
    for name, array in layers.items():
        stage, _, rest = name.partition(".")
        file = path / "p" / stage / f"{rest}.npy" if rest else path / "p" / f"{name}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, array.astype(dtype))
    return path / "p"


def save_safetensors(path, layers, dtype):
    save_file({name: array.astype(dtype).copy() for name, array in layers.items()}, path / "p.safetensors")
    return path / "p.safetensors"


@pytest.mark.parametrize("save, dtype", [
    (save_npz, np.float16), (save_npz, np.float32), (save_folder, np.float64), (save_safetensors, np.float16),
    (save_safetensors, np.float64),
])  # fmt: skip
def test_ports_come_in_three_kinds_of_file_and_three_dtypes(tmp_path, save, dtype):
    read = recorded.read(save(tmp_path, sound_port(), dtype))
    assert set(read) == set(sound_port()) and {r.form for r in read.values()} == {np.dtype(dtype).name}
    assert compare(reference(), read).first_divergence is None
    assert all(r.values.tobytes() == sound_port()[name].astype(dtype).tobytes() for name, r in read.items())


def test_bfloat16_comes_from_safetensors_and_as_raw_halves_from_npy(tmp_path):
    rounded = {name: torch.from_numpy(array.copy()).bfloat16() for name, array in sound_port().items()}
    safetensors_torch.save_file(rounded, tmp_path / "p.safetensors")
    for name, array in rounded.items():
        (tmp_path / "p").mkdir(exist_ok=True)
        np.save(tmp_path / "p" / f"{name}.npy", array.view(torch.uint16).numpy().view("V2"))
    for path in (tmp_path / "p.safetensors", tmp_path / "p"):
        read = recorded.read(path)
        assert {r.form for r in read.values()} == {"bfloat16"}
        assert all(np.array_equal(r.values, rounded[name].float().numpy()) for name, r in read.items())
        assert compare(reference(), read).first_divergence is None


def test_channels_last_is_detected(tmp_path):
    last = {name: array.transpose(0, 2, 3, 1) if array.ndim == 4 else array for name, array in sound_port().items()}
    report = compare(reference(), as_port(last))
    assert (report.layout, report.first_divergence) == ("nhwc", None)
    assert compare(reference(), as_port(sound_port())).layout == "nchw"
    assert compare(reference(), as_port(sound_port()), layout="nhwc").first_divergence is not None


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_where_shapes_cannot_tell_the_layout_the_numbers_do(layout):
    rng = np.random.default_rng(0)
    ours = {f"l{i}": rng.normal(size=(1, 4, 4, 4)).astype(np.float32) for i in range(3)}
    theirs = {k: a.transpose(0, 2, 3, 1) if layout == "nhwc" else a for k, a in ours.items()}
    report = compare(Trace(ours, None, {}), as_port(theirs), EXACT)
    assert (report.layout, report.first_divergence) == (layout, None)


def test_tokens_pooled_axes_and_a_batch_that_is_not_mentioned():
    single = Trace({p: a[:1] for p, a in reference().layers.items()}, None, reference().metadata)
    port = {p: a[0] for p, a in sound_port().items() if p != "input"}
    port["norm1"] = (
        sound_port()["norm1"][:1].transpose(0, 2, 3, 1).reshape(1, -1, 8)
    )  # the authors' code leaves (B, HW, C) here
    port["pool"] = sound_port()["pool"][:1, :, None, None]
    assert compare(single, as_port(port)).first_divergence is None


def test_a_few_layers_are_enough_and_the_rest_is_listed():
    report = compare(reference(), as_port({"norm2": sound_port()["norm2"], "stray": X}))
    assert [row.path for row in report.rows] == ["norm2"] and report.unknown == ["stray"]
    assert len(report.missing) == len(reference().layers) - 1


def test_a_map_gives_layers_their_names(tmp_path):
    port = {
        "embed_first": sound_port()["patch_embed1.proj"], "stage1/unit0/bn1": sound_port()["block1.0.norm1"],
        "stage2/unit1/bn1": sound_port()["block2.1.norm1"], "logits": sound_port()["head"], "norm3": sound_port()["norm3"],
    }  # fmt: skip
    (tmp_path / "map.txt").write_text(
        "# ours = theirs\npatch_embed1.proj = embed_first\nblock*.*.norm1 = stage*/unit*/bn1  # two parts\n\nhead = logits\n"
    )
    report = compare(reference(), as_port(port), names=naming.read_names(tmp_path / "map.txt"))
    compared = [row.path for row in report.rows]
    assert compared == ["patch_embed1.proj", "block1.0.norm1", "block2.1.norm1", "norm3", "head"]
    assert report.first_divergence is None and report.unknown == []


@pytest.mark.parametrize("text, message", [
    ("head\n", "line 1: expected"),
    ("head = \n", "line 1: expected"),
    ("\nblock*.norm1 = bn\n", "line 2: 1 '\\*' on the left, 0 on the right"),
])  # fmt: skip
def test_a_map_that_makes_no_sense_is_refused(tmp_path, text, message):
    (tmp_path / "map.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        naming.read_names(tmp_path / "map.txt")


def test_a_map_to_a_layer_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="the map says head = logits, but the port has no layer of that name"):
        compare(reference(), as_port(sound_port()), names=[("head", "logits")])


def test_another_shape_is_a_divergence_with_both_shapes():
    row = compare(reference(), as_port({**sound_port(), "norm2": sound_port()["norm2"][:, :, :2]})).first_divergence
    assert (row.path, row.fault) == ("norm2", "shape (2, 16, 2, 6), the trace has (2, 16, 8, 6)")


def test_the_command_passes_a_sound_port_and_names_the_first_divergence(files, run):
    status, out, err = run("oracle", "compare", files / "trace.safetensors", files / "port.npz")
    assert (status, err) == (0, "") and out.splitlines()[-1] == "75 layers compared, layout nchw: within tolerance"
    status, out, err = run("oracle", "compare", files / "trace.safetensors", files / "trace.safetensors", "--max-ulp", 0)
    assert (status, err) == (0, "") and out.splitlines()[-1] == "75 layers compared, layout nchw: bit-equal"
    wrong = {**sound_port(), "block2.0.attn": sound_port()["block2.0.attn.proj_2"]}
    np.savez(files / "wrong.npz", **wrong)
    status, out, err = run("oracle", "compare", files / "trace.safetensors", files / "wrong.npz")
    assert (status, err) == (1, "") and "first divergence: block2.0.attn (layer 30)" in out
    assert f"at (0, 0, 0, 0): {reference().layers['block2.0.attn'][0, 0, 0, 0]:.9g} in the trace" in out
    assert "hint: missing inner residual" in out and out.count(">>>") == 1


def test_layers_that_went_unchecked_are_no_pass(files, run):
    command = ["oracle", "compare", files / "trace.safetensors"]
    for layers, verdict in (
        ({"norm2": sound_port()["norm2"]},
         "1 layer compared, layout nchw: within tolerance, but 74 of the trace's 75 layers went unchecked"),
        ({p: a for p, a in reference().layers.items() if p != "pool"},
         "74 layers compared, layout nchw: within tolerance, but 1 of the trace's 75 layers went unchecked"),
        ({"norm2": sound_port()["norm2"] + 1, "head": sound_port()["head"]}, "73 of the trace's 75 layers went unchecked"),
    ):  # fmt: skip
        np.savez(files / "few.npz", **layers)
        status, out, err = run(*command, files / "few.npz")
        assert (status, err, out.splitlines()[-1]) == (1, "", verdict) and "bit-equal" not in out
    np.savez(files / "few.npz", norm2=sound_port()["norm2"])
    status, out, _ = run(*command, files / "few.npz", "--json")
    assert status == 1 and json.loads(out)["within"] and len(json.loads(out)["missing"]) == 74
    few = Trace({"norm2": reference().layers["norm2"]}, reference().input, reference().metadata | {"order": '["norm2"]'})
    trace.write(few, files / "few.safetensors")  # a trace of those layers alone asks for no others
    status, out, _ = run("oracle", "compare", files / "few.safetensors", files / "few.npz")
    assert status == 0 and out.endswith("1 layer compared, layout nchw: within tolerance\n")
    assert "is there and right, 1 layers differ or went unchecked, 2 a wrong call" in " ".join(
        run("oracle", "compare", "--help")[1].split()
    )


def test_the_room_exports_what_its_docstring_calls():
    assert oracle.read is recorded.read and oracle.read_names is naming.read_names
    assert all(hasattr(oracle, name) for name in oracle.__all__) and {"read", "read_names"} <= set(oracle.__all__)


def test_what_a_terminal_obeys_is_shown_as_its_code(files, run):
    np.savez(files / "strange.npz", **{**sound_port(), "\x1b[2J": X})
    status, out, _ = run("oracle", "compare", files / "trace.safetensors", files / "strange.npz")
    assert status == 0 and "not in the trace: 1 names of the port (\\x1b[2J)" in out and "\x1b" not in out


def test_a_report_in_plain_types_is_what_the_command_prints(files, run):
    np.savez(files / "wrong.npz", **{**sound_port(), "pool": sound_port()["pool"] * np.float32(np.nan)})
    baseline = open_baseline(files / "trace.safetensors")
    judged = baseline.judge(recorded.read(files / "wrong.npz"))
    report = judged.report
    assert (report.within, report.bit_equal, report.first_divergence.path) == (False, False, "pool")
    plain = judged.plain()
    _, out, _ = run("oracle", "compare", files / "trace.safetensors", files / "wrong.npz", "--json")
    assert json.loads(out) == plain and "NaN" in plain["first_divergence"]["hint"]
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert compare(reference(), as_port(reference().layers)).bit_equal


def test_the_command_prints_json(files, run):
    np.savez(files / "wrong.npz", **{**sound_port(), "head": sound_port()["head"] * np.float32(1.01)})
    status, out, err = run("oracle", "compare", files / "trace.safetensors", files / "wrong.npz", "--json")
    result = json.loads(out)
    assert (status, err, result["within"]) == (1, "", False)
    assert result["first_divergence"]["path"] == "head" and result["first_divergence"]["first"]["index"] == [0, 0]
    assert len(result["rows"]) == 76 and result["missing"] == [] and result["unknown"] == []
    status, out, _ = run("oracle", "compare", files / "trace.safetensors", files / "trace.safetensors", "--json")
    assert status == 0 and json.loads(out)["rows"][3]["snr_db"] is None


def test_weights_given_by_name_let_more_faults_be_tried(files, run):
    from minivan.card import Card
    from minivan.checkpoint import Weights, write

    write(Weights(CONFIG, TENSORS, Card("small")), files / "small.safetensors")
    wrong = TENSORS | {"head.bias": np.zeros_like(TENSORS["head.bias"])}
    np.savez(files / "wrong.npz", **numpy_layers(tensors=wrong))
    command = ["oracle", "compare", files / "trace.safetensors", files / "wrong.npz"]
    assert "hint: name the trace's weights with --model" in run(*command)[1]
    assert "hint: missing bias" in run(*command, "--model", files / "small.safetensors")[1]
    assert "are not those of the trace" in run(*command, "--model", minivan.load().card.name)[1]


@pytest.fixture(scope="module")
def broken_files(tmp_path_factory):
    """A folder with files that cannot be judged, and a trace and a port that can."""
    folder = tmp_path_factory.mktemp("broken")
    trace.write(reference(), folder / "trace.safetensors")
    np.savez(folder / "integers.npz", head=np.arange(4))
    np.savez(folder / "pickled.npz", head=np.array([{}], object))
    np.savez(folder / "strangers.npz", a=X, b=X)
    np.savez(folder / "port.npz", **sound_port())
    (folder / "cut.npz").write_bytes((folder / "port.npz").read_bytes()[:1000])
    (folder / "cut.safetensors").write_bytes((folder / "trace.safetensors").read_bytes()[:1000])
    save_file({"head": np.zeros(1, np.float32)}, folder / "foreign.safetensors")
    save_file({"head": np.zeros(1, np.int32)}, folder / "integers.safetensors")
    np.save(folder / "array.npy", X)
    (folder / "array.npy").rename(folder / "array.npz")
    with zipfile.ZipFile(folder / "text.npz", "w") as archive:
        archive.writestr("read.me", "numbers")
    with zipfile.ZipFile(folder / "future.npz", "w") as archive:
        archive.writestr("head.npy", "numbers")
    later = (folder / "future.npz").read_bytes().replace(b"PK\x01\x02\x14\x03\x14", b"PK\x01\x02\x14\x03\xff")
    (folder / "future.npz").write_bytes(later)
    (folder / "header").mkdir()
    (folder / "header" / "head.npy").write_bytes(b"\x93NUMPY\x01\x00\x02\x00{(")
    (folder / "empty").mkdir()
    (folder / "text").mkdir()
    (folder / "text" / "head.npy").write_text("numbers")
    np.save(folder / "one.npy", X)
    (folder / "bad.map").write_text("head")
    return folder


@pytest.mark.parametrize("arguments, text", [
    (["missing.safetensors", "port.npz"], "missing.safetensors: No such file"),
    (["trace.safetensors", "missing.npz"], "missing.npz: No such file"),
    (["foreign.safetensors", "port.npz"], "foreign.safetensors: not a trace"),
    (["empty", "port.npz"], "not a test vector's folder"),
    (["cut.safetensors", "port.npz"], "cut.safetensors: "),
    (["trace.safetensors", "cut.npz"], "cut.npz: not an .npz file, or a damaged one"),
    (["trace.safetensors", "integers.npz"], "integers.npz, head: dtype int64; layers are float16"),
    (["trace.safetensors", "integers.safetensors"], "integers.safetensors, head: dtype int32; layers are float16"),
    (["trace.safetensors", "pickled.npz"], "pickled.npz, head: no array of numbers, or a damaged one (the dtype '|O'"),
    (["trace.safetensors", "array.npz"], "array.npz: not an .npz file, or a damaged one"),
    (["trace.safetensors", "text.npz"], "text.npz, read.me: not an array"),
    (["trace.safetensors", "future.npz"], "future.npz: not an .npz file, or a damaged one (zip file version 25.5)"),
    (["trace.safetensors", "header"], "head.npy: not an .npy file of numbers, or a damaged one"),
    (["trace.safetensors", "strangers.npz"], "the port has none of the trace's 75 layers: its names begin with a, b"),
    (["trace.safetensors", "empty"], "empty: a folder without .npy files"),
    (["trace.safetensors", "text"], "not an .npy file of numbers"),
    (["trace.safetensors", "one.npy"], "one.npy: one array has no layer names"),
    (["trace.safetensors", "port.npz", "--map", "bad.map"], "bad.map, line 1: expected"),
])  # fmt: skip
def test_unusable_input_is_one_line_and_exit_status_2(run, broken_files, monkeypatch, arguments, text):
    monkeypatch.chdir(broken_files)
    status, out, err = run("oracle", "compare", *arguments)
    assert (status, out) == (2, "") and text in err and err.count("\n") == 1, err


@pytest.mark.parametrize("flag", ["--rtol", "--atol", "--max-ulp"])
@pytest.mark.parametrize("value", ["-1", "nan", "inf", "much"])
def test_a_tolerance_is_a_number_from_zero(run, flag, value):
    status, _, err = run("oracle", "compare", "no.trace", "no.port", f"{flag}={value}")
    assert status == 2 and "is not a number of at least 0" in err
