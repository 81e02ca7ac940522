"""Recording: what a trace holds, that it says so itself, and that a damaged one is refused."""

import hashlib
import json

import numpy as np
import pytest
from support import ROOT
from support.ports import CONFIG, TENSORS, X

import minivan
from minivan.checkpoint.budget import Budget
from minivan.checkpoint.safetensors_file import open_safetensors
from minivan.cli import parser
from minivan.oracle import recorded as port_files
from minivan.oracle import trace
from minivan.van import VAN

COFFEE = ROOT / "examples" / "coffee.jpg"


@pytest.fixture(scope="module")
def recorded():
    return trace.record(VAN(CONFIG, TENSORS), X)


def test_every_operator_is_there_in_order_and_under_its_path(recorded):
    paths = list(recorded.layers)
    block = [
        "norm1", "attn.proj_1", "attn.activation",
        "attn.spatial_gating_unit.conv0", "attn.spatial_gating_unit.conv_spatial",
        "attn.spatial_gating_unit.conv1", "attn.spatial_gating_unit", "attn.proj_2", "attn",
        "layer_scale_1", "norm2", "mlp.fc1", "mlp.dwconv.dwconv", "mlp.act", "mlp.fc2",
    ]  # fmt: skip
    assert paths[:18] == ["patch_embed1.proj", "patch_embed1.norm", *(f"block1.0.{name}" for name in block), "block1.0"]
    assert paths[-3:] == ["norm3", "pool", "head"]
    assert len(paths) == 3 * 3 + 4 * 16 + 2
    model = VAN(CONFIG, TENSORS)
    assert recorded.layers["head"].tobytes() == model(X).tobytes()
    assert recorded.layers["norm2"].tobytes() == model.features(X)[1].tobytes()


def test_the_metadata_say_what_made_the_trace(recorded):
    m = recorded.metadata
    assert (m["format"], m["engine"], m["minivan"]) == ("minivan-trace 1", "exact", minivan.__version__)
    assert json.loads(m["order"]) == list(recorded.layers)
    assert json.loads(m["shapes"])["head"] == [2, 12]
    assert json.loads(m["config"])["dims"] == list(CONFIG.dims)
    digests = json.loads(m["sha256"])
    assert digests["input"] == hashlib.sha256(X.tobytes()).hexdigest()
    assert digests["head"] == hashlib.sha256(recorded.layers["head"].tobytes()).hexdigest()
    lines = [f"{n} {'x'.join(map(str, t.shape))} {hashlib.sha256(t.tobytes()).hexdigest()}\n" for n, t in TENSORS.items()]
    assert m["weights_sha256"] == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_a_trace_comes_back_as_it_was_and_equal_traces_are_equal_files(recorded, tmp_path):
    trace.write(recorded, tmp_path / "a.safetensors")
    trace.write(recorded, tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    back = port_files.read_trace(tmp_path / "a.safetensors")
    assert list(back.layers) == list(recorded.layers) and back.metadata == recorded.metadata
    assert all(back.layers[path].tobytes() == array.tobytes() for path, array in recorded.layers.items())
    assert back.input.tobytes() == X.tobytes()


def test_the_numpy_engine_records_float64(tmp_path):
    recorded = trace.record(VAN(CONFIG, TENSORS, engine="numpy"), X, ["norm?"])
    trace.write(recorded, tmp_path / "t.safetensors")
    back = port_files.read_trace(tmp_path / "t.safetensors")
    assert back.metadata["engine"] == "numpy" and back.layers["norm1"].dtype == np.float64
    assert back.layers["norm3"].tobytes() == recorded.layers["norm3"].tobytes()


def test_globs_choose_layers_and_one_that_matches_nothing_is_an_error():
    recorded = trace.record(VAN(CONFIG, TENSORS), X, ["norm?", "block2.1.attn*"])
    assert next(iter(recorded.layers)) == "norm1" and len(recorded.layers) == 3 + 8
    with pytest.raises(ValueError, match=r"no layer matches stage\*; the paths run from patch_embed1.proj to head"):
        trace.record(VAN(CONFIG, TENSORS), X, ["stage*"])


@pytest.mark.parametrize("engine, first", [("exact", "patch_embed1.proj"), ("fast", "norm1")])
def test_a_glob_that_matches_nothing_is_an_error_before_the_network_runs(engine, first):
    with pytest.raises(ValueError, match=rf"no layer matches x\*; the paths run from {first} to head"):
        trace.record(VAN(CONFIG, TENSORS, engine), "no images at all", ["x*"])


def test_a_digest_is_of_the_numbers_alone_and_takes_every_nan_for_the_same():
    a = np.array([[1.0, -0.0], [2.0, 1e-45]], np.float32)
    assert trace.digest(a) == hashlib.sha256(a.astype("<f4").tobytes()).hexdigest()
    assert trace.digest(np.asfortranarray(a)) == trace.digest(a.astype(">f4")) == trace.digest(a)
    assert trace.digest(np.abs(a)) != trace.digest(a)
    negative, payload = (np.array([bits], np.uint32).view(np.float32) for bits in (0xFFC00000, 0x7FC00123))
    expected = hashlib.sha256(bytes.fromhex("0000c07f")).hexdigest()
    assert trace.digest(negative) == trace.digest(payload) == expected


def test_a_bare_backbone_is_recorded_up_to_its_last_norm():
    from dataclasses import replace

    config = replace(CONFIG, classes=0)
    tensors = {name: tensor for name, tensor in TENSORS.items() if not name.startswith("head")}
    assert list(trace.record(VAN(config, tensors), X).layers)[-1] == "norm3"


def _damage(recorded, path, change):
    trace.write(recorded, path)
    with open_safetensors(path) as (stored, metadata, _):
        tensors = {name: tensor.read() for name, tensor in stored.items()}
    change(tensors, metadata)
    return tensors, metadata


@pytest.mark.parametrize("change, text", [
    (lambda t, m: m.update(format="minivan-trace 9"), "not a trace"),
    (lambda t, m: m.pop("order"), "its order or digests cannot be read"),
    (lambda t, m: m.update(sha256="[1"), "its order or digests cannot be read"),
    (lambda t, m: m.update(sha256="[]"), "its order or digests cannot be read"),
    (lambda t, m: m.update(sha256="[" * 100_000), "its order or digests cannot be read"),
    (lambda t, m: t.pop("head"), "its order or digests cannot be read"),
    (lambda t, m: t.update(head=t["head"] + 1), "head does not have the SHA-256 it was recorded with"),
])  # fmt: skip
def test_a_damaged_trace_is_refused(recorded, tmp_path, change, text):
    tensors, metadata = _damage(recorded, tmp_path / "t.safetensors", change)
    with pytest.raises(ValueError, match=text):
        trace.from_tensors(tensors, metadata, Budget(1 << 20))


def test_the_command_records_an_image_and_a_tensor(run, tmp_path):
    out = tmp_path / "t.safetensors"
    status, said, err = run("oracle", "record", COFFEE, "-o", out)
    model = minivan.load(engine="exact")
    assert (status, err) == (0, "") and f"layers, {out.stat().st_size:,} bytes, {model.card.name} on engine exact" in said
    back = port_files.read_trace(out)
    x = minivan.image.prepare(COFFEE, model.card.preprocessing)[None]
    assert back.input.tobytes() == x.tobytes() and back.layers["head"].tobytes() == model(x).tobytes()
    np.save(tmp_path / "x.npy", x[0])
    status, said, err = run("oracle", "record", tmp_path / "x.npy", "-o", tmp_path / "u.safetensors")
    assert status == 0 and out.read_bytes() == (tmp_path / "u.safetensors").read_bytes()


@pytest.mark.parametrize("action", [["record", "x.jpg"], ["compare", "a", "b"], ["vectors", "-o", "v"]])
def test_every_action_takes_threads_and_a_cache(action):
    args = parser("oracle").parse_args(["oracle", *action, "--threads", "1", "--cache", "there"])
    assert (args.threads, args.cache) == (1, "there")


def test_the_command_prints_digests_to_commit(run):
    status, said, err = run("oracle", "record", COFFEE, "--hashes", "--layers", "norm?", "--layers", "head")
    lines = said.splitlines()
    assert (status, err) == (0, "") and lines[0] == f"# minivan-trace 1, engine exact, model {minivan.load().card.name}"
    assert [line.split()[-1] for line in lines[2:]] == ["input", "norm1", "norm2", "norm3", "norm4", "head"]
    logits = minivan.load(engine="exact")(minivan.image.prepare(COFFEE, minivan.load().card.preprocessing)[None])
    assert lines[-1] == f"{hashlib.sha256(logits.tobytes()).hexdigest()} 1x{logits.size} float32 head"


@pytest.mark.parametrize("arguments, text", [
    ([COFFEE], "say where the trace goes with -o FILE"),
    (["missing.jpg", "--hashes"], "missing.jpg: No such file or directory"),
    ([COFFEE, "--hashes", "--model", "b9"], "b9"),
    ([COFFEE, "--hashes", "--layers", "x*"], "no layer matches x*"),
    (["bad.npy", "--hashes"], "bad.npy: not an .npy file of numbers"),
    (["zip.npy", "--hashes"], "zip.npy: not an .npy file of numbers"),
    (["flat.npy", "--hashes"], "images must have the shape (N, 3, H, W), got (4, 4)"),
    (["text.jpg", "--hashes"], "text.jpg: not an image"),
    ([COFFEE, "-o", "no/such/folder/t.safetensors"], "No such file or directory"),
])  # fmt: skip
def test_what_cannot_be_recorded_is_said_in_one_line(run, tmp_path, monkeypatch, arguments, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.npy").write_bytes(b"\x93NUMPY")
    np.savez(tmp_path / "zip.npz", np.zeros((3, 64, 64), np.float32))
    (tmp_path / "zip.npz").rename(tmp_path / "zip.npy")
    (tmp_path / "text.jpg").write_text("not an image")
    np.save(tmp_path / "flat.npy", np.zeros((4, 4), np.float32))
    status, said, err = run("oracle", "record", *arguments)
    assert (status, said) == (2, "") and text in err and err.count("\n") == 1


def test_an_engine_that_there_is_not_is_a_wrong_call(run):
    status, said, err = run("oracle", "record", COFFEE, "--hashes", "--engine", "quick")
    assert (status, said) == (2, "") and "argument --engine: invalid choice: 'quick'" in err.splitlines()[-1]


def test_the_fast_engine_records_what_it_computes_itself():
    model = VAN(CONFIG, TENSORS, engine="fast")
    recorded = trace.record(model, X)
    assert list(recorded.layers) == ["norm1", "norm2", "norm3", "head"] and recorded.metadata["engine"] == "fast"
    assert recorded.layers["head"].tobytes() == model(X).tobytes()
    assert recorded.layers["head"].tobytes() != VAN(CONFIG, TENSORS)(X).tobytes()
    assert list(trace.record(model, X, ["head"]).layers) == ["head"]
