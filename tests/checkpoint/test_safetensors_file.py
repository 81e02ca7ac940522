"""minivan's own file and other safetensors files: written the same way each time, read with suspicion."""

import json
import os
import random
import resource
import struct
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy
from support import saved
from support.judge import safetensors_torch, torch, torch_van
from support.networks import random_tensors
from support.watch import refused, watching

from minivan import card
from minivan.card import Card, Label, Preprocessing
from minivan.checkpoint import (
    CheckpointError,
    Weights,
    file_sha256,
    load,
    opened,
    read,
    revise,
    safetensors_file,
    with_source_sha256,
    write,
)

LABELS = tuple(Label(f"n{i}", f"größe {i}, other") for i in range(5))
PREPROCESSING = Preprocessing(64, 70, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
CARD = Card("net", PREPROCESSING, LABELS, "openmmlab", "https://example.org/net.pth", "ab" * 32)
CONFIG = replace(saved.SMALL, layer_norm_eps=1e-5, batch_norm_eps=1e-3)


@pytest.fixture
def weights():
    return Weights(CONFIG, random_tensors(CONFIG), CARD)


@pytest.fixture
def file(tmp_path, weights):
    write(weights, tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


def test_what_is_written_is_read_again(file, weights):
    again = read(file)
    assert again.config == CONFIG
    assert again.card == CARD and again.card.file == file and again.card.sha256 == file_sha256(file)
    assert list(again.tensors) == list(weights.tensors)
    for name, tensor in again.tensors.items():
        assert tensor.dtype == np.float32 and tensor.tobytes() == weights.tensors[name].tobytes()


def test_float16_is_rounded_once_and_read_as_float32(tmp_path, weights):
    write(weights, tmp_path / "half.safetensors", "float16")
    again = read(tmp_path / "half.safetensors")
    for name, tensor in again.tensors.items():
        assert tensor.dtype == np.float32
        assert np.array_equal(tensor, weights.tensors[name].astype(np.float16).astype(np.float32))
    write(again, tmp_path / "twice.safetensors", "float16")
    assert (tmp_path / "twice.safetensors").read_bytes() == (tmp_path / "half.safetensors").read_bytes()


def test_float16_that_would_overflow_is_refused_and_nothing_is_written(tmp_path, weights):
    weights.tensors["norm1.bias"][2] = 70_000
    with pytest.raises(CheckpointError, match=r"norm1\.bias has numbers up to 70000: too large for float16"):
        write(weights, tmp_path / "half.safetensors", "float16")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_finished_leaves_the_old_one(file, weights, monkeypatch):
    before = file.read_bytes()
    weights.tensors["head.bias"] = "not an array"
    with pytest.raises(Exception, match="has no attribute"):
        write(weights, file)
    assert file.read_bytes() == before and [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_disk_that_is_full_is_named_and_leaves_the_old_file(file, weights):
    """The system refuses the process any file beyond 4,000 bytes, as a full disk would in the middle of writing."""
    before, limits = file.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    try:
        with pytest.raises(OSError) as raised:
            write(weights, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert raised.value.filename == str(file) and raised.value.strerror == "File too large"
    assert file.read_bytes() == before and [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_disk_that_fails_while_it_is_read_is_named():
    """This process's memory is a file whose first bytes cannot be read."""
    with pytest.raises(OSError) as raised:
        read("/proc/self/mem")
    assert raised.value.filename == "/proc/self/mem" and raised.value.strerror


def test_one_writer_for_weights_and_for_traces(tmp_path):
    """Without a dtype every tensor is written as it is; the bytes are those of the format's description, put together here."""
    x, y = np.arange(6, dtype=np.float32).reshape(1, 2, 3), np.float64([[0.1, np.inf], [np.nan, -0.0]])
    tensors = {"z": x, "a": y.T, "empty": np.empty((0, 3), np.float32), "big": y.astype(">f8"), "half": x.astype(np.float16)}
    safetensors_file.write(tmp_path / "t", tensors, {"order": "[]", "format": "ä"})
    header = {
        "__metadata__": {"format": "ä", "order": "[]"},
        "z": {"dtype": "F32", "shape": [1, 2, 3], "data_offsets": [0, 24]},
        "a": {"dtype": "F64", "shape": [2, 2], "data_offsets": [24, 56]},
        "empty": {"dtype": "F32", "shape": [0, 3], "data_offsets": [56, 56]},
        "big": {"dtype": "F64", "shape": [2, 2], "data_offsets": [56, 88]},
        "half": {"dtype": "F16", "shape": [1, 2, 3], "data_offsets": [88, 100]},
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    data = x.tobytes() + np.ascontiguousarray(y.T).tobytes() + y.tobytes() + x.astype(np.float16).tobytes()
    assert (tmp_path / "t").read_bytes() == struct.pack("<Q", len(text)) + text + data
    with safetensors_file.open_safetensors(tmp_path / "t") as (again, metadata):
        assert metadata == {"format": "ä", "order": "[]"}
        for name, tensor in tensors.items():
            assert again[name].dtype == tensor.dtype.name and np.array_equal(again[name].read(), tensor, equal_nan=True)
    with pytest.raises(CheckpointError, match="n has the dtype int64: float64, float32, float16 are written"):
        safetensors_file.write(tmp_path / "u", {"n": np.arange(3)}, {})
    assert not (tmp_path / "u").exists()


def test_a_file_is_opened_once_and_hashed_only_where_its_hash_is_read(tmp_path, file, monkeypatch):
    monkeypatch.setattr(card, "file_sha256", None)  # calling it would fail
    source = saved.save(saved.state_dict(), tmp_path / "net.pth")
    load(file, "numpy")  # whatever minivan itself imports is imported now
    for path in (file, source):
        with watching() as seen:
            model = load(path, "numpy")
        assert seen == [] and seen.opened.count(str(path)) == 1
    monkeypatch.undo()
    assert model.card.file == source and model.card.sha256 == file_sha256(source)
    source.unlink()
    assert len(model.card.sha256) == 64, "asked once, it is known"
    with pytest.raises(FileNotFoundError):
        assert replace(model.card).sha256
    assert Card("made here").sha256 == ""


def test_what_somebody_knows_better_than_the_file(weights):
    labels, preprocessing = LABELS[::-1], replace(PREPROCESSING, crop=32)
    known = revise(weights, labels, 1e-4, preprocessing)
    assert known.card == replace(CARD, labels=labels, preprocessing=preprocessing)
    assert known.config == replace(CONFIG, layer_norm_eps=1e-4) and known.tensors is weights.tensors
    assert revise(weights) == weights
    with pytest.raises(ValueError, match=r"^4 labels for 5 classes$"):
        revise(weights, LABELS[:4])
    for eps in (0.0, 1.0, -1e-6, float("nan")):
        with pytest.raises(ValueError, match=r"^eps .*: it lies between 0 and 1$"):
            revise(weights, eps=eps)


def test_equal_weights_give_equal_bytes(tmp_path, file, weights):
    """Whatever the order in which things were put together; the hash is recorded, so that a change would be noticed."""
    shuffled = dict(sorted(weights.tensors.items()))
    ordered = {name: shuffled[name] for name in weights.tensors}
    write(replace(weights, tensors=ordered), tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == file.read_bytes()
    values = {name: np.full(tensor.shape, 0.25, np.float32) for name, tensor in weights.tensors.items()}
    write(replace(weights, tensors=values), tmp_path / "quarter", "float16")
    assert file_sha256(tmp_path / "quarter") == "14819f7321014ac3c8b18a82803845e2a960bc5e6becd0eb94a93e87df3ca46f"


def test_the_format_s_own_library_reads_the_file(file, weights):
    tensors = safetensors.numpy.load_file(file)
    assert set(tensors) == set(weights.tensors)
    assert all(np.array_equal(tensors[name], weights.tensors[name]) for name in tensors)
    with safetensors.safe_open(file, "numpy") as opened_file:
        metadata = opened_file.metadata()
    assert json.loads(metadata["shape"])["dims"] == list(CONFIG.dims) and metadata["source_sha256"] == CARD.source_sha256


def test_to_authors_is_the_source_s_tensors_bit_for_bit(tmp_path):
    state = saved.state_dict()
    source = saved.save(saved.training_checkpoint(state), tmp_path / "net.pth.tar")
    write(read(source), tmp_path / "own.safetensors")
    write(read(tmp_path / "own.safetensors"), tmp_path / "authors.safetensors", to="authors")
    back = safetensors_torch.load_file(tmp_path / "authors.safetensors")
    expected = {name: tensor for name, tensor in state.items() if "num_batches" not in name}
    assert set(back) == set(expected)
    for name, tensor in expected.items():
        assert back[name].dtype == tensor.dtype and back[name].numpy().tobytes() == tensor.numpy().tobytes()
    torch_van.TorchVAN(saved.SMALL).load_state_dict(back)  # strict: the counters are filled in by BatchNorm itself
    assert read(tmp_path / "authors.safetensors").card.layout == "authors"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_libraries_files_in_other_floating_types(tmp_path, dtype):
    state = {
        name: tensor.to(getattr(torch, dtype)) for name, tensor in saved.state_dict().items() if tensor.is_floating_point()
    }
    safetensors_torch.save_file(state, tmp_path / "net.safetensors", metadata={"format": "pt"})
    weights = read(tmp_path / "net.safetensors")
    assert weights.config == saved.SMALL and weights.notes == ()
    for name, tensor in state.items():
        assert np.array_equal(weights.tensors[name], tensor.float().numpy())
    with opened(tmp_path / "net.safetensors") as checkpoint:
        assert {tensor.dtype for tensor in checkpoint.stored.values()} == {dtype}


def test_the_source_s_sha256_goes_with_the_weights_and_stays(tmp_path):
    source = saved.save(saved.state_dict(), tmp_path / "net.pth")
    write(with_source_sha256(read(source)), tmp_path / "a")
    first = read(tmp_path / "a")
    assert first.card.source_sha256 == file_sha256(source) and first.card.source == "net.pth"
    write(with_source_sha256(first), tmp_path / "b", "float16")
    assert read(tmp_path / "b").card.source_sha256 == file_sha256(source)
    assert read(source).card.source_sha256 == ""


# hostile files


def split(data):
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header, tensors=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + tensors


@pytest.mark.parametrize("length", [1 << 63, (1 << 64) - 1, 1 << 40, 9 << 20])
def test_an_absurd_header_length(file, length):
    refused(file, struct.pack("<Q", length) + b'{"a":1}' + bytes(100))


def test_a_header_of_ten_megabytes(file):
    refused(file, joined(b'{"a":' + b" " * (10 << 20) + b"1}"), "a safetensors header of", "the limit is")


def test_cut_short_anywhere(file):
    whole = file.read_bytes()
    for size in [*range(0, 200, 3), *range(200, len(whole), 211), *range(len(whole) - 20, len(whole))]:
        file.write_bytes(whole[:size])
        with pytest.raises(CheckpointError):
            read(file)


def test_bytes_left_over(file):
    refused(file, file.read_bytes() + b"x", "a damaged safetensors file")


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header["head.bias"].update(data_offsets=[0, 20]),
        lambda header: header["head.bias"].update(data_offsets=[header["head.bias"]["data_offsets"][0], 1 << 60]),
        lambda header: header["head.bias"].update(data_offsets=[-4, 16]),
        lambda header: header["head.bias"].update(data_offsets=[20, 0]),
        lambda header: header["head.bias"].update(data_offsets=[0]),
        lambda header: header["head.bias"].update(dtype="F64"),
        lambda header: header["head.bias"].update(dtype="U32X"),
        lambda header: header["head.bias"].update(dtype=4),
        lambda header: header["head.bias"].update(shape=[1 << 62, 1 << 62]),
        lambda header: header["head.bias"].update(shape=[-5]),
        lambda header: header["head.bias"].update(shape="5"),
        lambda header: header.update(extra={"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}),
        lambda header: header.update(extra=3),
        lambda header: header["head.bias"].clear(),
        lambda header: header["head.bias"].pop("shape"),
        lambda header: header["head.bias"].update(shape=[True, 5]),
        lambda header: header["head.bias"].update(shape=[5.0]),
        lambda header: header["head.bias"].update(shape=[1] * 8 + [5]),
        lambda header: header["head.bias"].update(dtype="F32", shape=[0, 1 << 62, 1 << 62]),
        lambda header: header["head.bias"].update(dtype=["F32"]),
        lambda header: header["norm1.bias"].update(data_offsets=header["norm1.weight"]["data_offsets"]),
        lambda header: header["__metadata__"].update(extra=3),
        lambda header: header.update(__metadata__=[]),
        lambda header: header.pop("head.bias"),
    ],
)
def test_a_header_that_lies(file, change):
    header, tensors = split(file.read_bytes())
    change(header)
    refused(file, joined(header, tensors))


def test_nothing_is_read_that_the_format_s_own_library_refuses(file):
    """Headers with a few of their numbers changed: ours may be the stricter check, never the laxer one."""
    header, tensors = split(file.read_bytes())
    draw, outcomes = random.Random(3), {True: 0, False: 0}
    names = [name for name in header if name != "__metadata__"]
    for _ in range(1500):
        changed = {name: json.loads(json.dumps(entry)) for name, entry in header.items()}
        for _ in range(draw.choice((1, 1, 2))):
            one, other = (changed[draw.choice(names)] for _ in range(2))
            kind = draw.randrange(4)
            if kind == 0:
                one["data_offsets"], other["data_offsets"] = other["data_offsets"], one["data_offsets"]
            elif kind == 1:
                one["data_offsets"][draw.randrange(2)] += draw.choice((-4, 4, 1, 1 << 40))
            elif kind == 2:
                one["shape"] = draw.choice(
                    (one["shape"][::-1], [*one["shape"], 1], [], [0], [-1], [1 << 63], [2, 2], "4", None)
                )
            else:
                one["dtype"] = draw.choice(("F32", "I32", "U32", "F16", "BF16", "F64", "BOOL", "F99", ""))
        file.write_bytes(joined(changed, tensors + b"xxxx" * (draw.random() < 0.1)))
        try:
            with safetensors_file.open_safetensors(file) as (found, _):
                shapes = {name: tensor.shape for name, tensor in found.items()}
        except CheckpointError:
            outcomes[False] += 1
            continue
        outcomes[True] += 1
        with safetensors.safe_open(file, "numpy") as judge:
            assert shapes == {name: tuple(judge.get_slice(name).get_shape()) for name in judge.keys()}  # noqa: SIM118
    assert min(outcomes.values()) > 100


def test_integers_where_weights_belong(file):
    header, tensors = split(file.read_bytes())
    header["head.bias"]["dtype"] = "I32"
    refused(file, joined(header, tensors), "head.bias: a tensor of int32: weights are float64, float32")


def test_a_key_twice(file):
    header, tensors = split(file.read_bytes())
    text, again = json.dumps(header).encode(), json.dumps(header["head.bias"]).encode()
    refused(file, joined(text[:-1] + b',"head.bias":' + again + b"}", tensors), "'head.bias' twice")
    refused(file, joined(text[:-1] + b',"__metadata__":{}}', tensors), "'__metadata__' twice")


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":' + b"[" * 1_000_000, b'{"a":' * 100_000, b"{", b"{}x", b'{"\xff":1}', b'{"a":NaN}', b"{a}",
        b'{"a":' + b"9" * 5000 + b"}", b'{"a":1e999}', b'{"a":null}', b'{"a":"' + b"\\u0000" * 1000 + b'"}',
    ],
    ids=lambda text: text[:12].decode("latin-1"),
)  # fmt: skip
def test_a_header_that_is_no_safetensors_header(file, text):
    refused(file, joined(text))


def test_a_header_whose_length_looks_like_another_format(file):
    """The first eight bytes are a number: one that begins with pickle's, gzip's or a JPEG's first byte is still a length."""
    header, tensors = split(file.read_bytes())
    text = json.dumps(header).encode()
    for start in (b"\x80", b"\x1f\x8b", b"\xff\xd8\xff", b"BZh", b"PK\5\6"[:2]):
        size = int.from_bytes(start, "little")
        while size < len(text):
            size += 1 << 8 * len(start)
        if size < 8 << 20:
            file.write_bytes(joined(text.ljust(size), tensors))
            assert file.read_bytes().startswith(start) and read(file).config == CONFIG


def test_no_metadata_at_all(file):
    header, tensors = split(file.read_bytes())
    for metadata in (None, {}):
        header["__metadata__"] = metadata
        file.write_bytes(joined(header, tensors))
        assert read(file).card.layout == "authors"  # the names alone say that much
    del header["__metadata__"]
    file.write_bytes(joined(header, tensors))
    assert read(file).config.layer_norm_eps == 1e-6
    header["__metadata__"] = {"minivan": 1}
    refused(file, joined(header, tensors))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("minivan", "2", "minivan's format '2': a later one wrote it"),
        ("shape", None, "shape: 'shape' is missing"),
        ("shape", "{}", "shape: 'dims' is missing"),
        ("shape", '{"dims": [4,6,6,8], "depths": [1,2,1,1], "mlp_ratios": [3,2,2,1]}', "shape: 'classes' is missing"),
        ("shape", "3", "shape"),
        ("shape", "{", "the metadata's shape is not JSON"),
        ("shape", "[" * 100_000, "the metadata's shape is nested too deep"),
        ("shape", '{"dims": [4], "dims": [4]}', "'dims' twice"),
        ("shape", '{"dims": [4,6,6,8.5], "depths": [1,2,1,1], "mlp_ratios": [3,2,2,1], "classes": 5}', "a whole number"),
        ("shape", '{"dims": [4,6,6,true], "depths": [1,2,1,1], "mlp_ratios": [3,2,2,1], "classes": 5}', "a whole number"),
        ("shape", '{"dims": [4,6,6,8], "depths": [1,2,1,1], "mlp_ratios": [3,2,2,1], "classes": 99999999999}', "classes"),
        ("shape", '{"dims": [4,6,6,8], "depths": [1,2,2,1], "mlp_ratios": [3,2,2,1], "classes": 5}', "(and 14 more)"),
        ("shape", '{"dims": [4,6,6,8], "depths": [1,2,1,1], "mlp_ratios": [3,2,2,1], "classes": 6}', "5 labels for 6 classes"),
        ("shape", '{"dims": [4,6,6,8], "depths": [1,65536,1,1], "mlp_ratios": [3,2,2,1], "classes": 5}', "most are missing"),
        ("eps", '{"layer_norm": 0.0, "batch_norm": 1e-5}', "an eps of 0.0"),
        ("eps", '{"layer_norm": NaN, "batch_norm": 1e-5}', "the number NaN"),
        ("eps", '{"layer_norm": "1", "batch_norm": 1e-5}', "an eps of '1'"),
        ("eps", '{"layer_norm": 1e-5}', "'batch_norm' is missing"),
        ("eps", "[]", "eps"),
        ("preprocessing", '{"crop": 0, "resize": 64, "mean": [0,0,0], "std": [1,1,1]}', "crop"),
        ("preprocessing", '{"crop": 64, "resize": 1e9, "mean": [0,0,0], "std": [1,1,1]}', "a whole number"),
        ("preprocessing", '{"crop": 64, "resize": 64, "mean": [0,0], "std": [1,1,1]}', "three numbers"),
        ("preprocessing", '{"crop": 64, "resize": 64, "mean": [0,0,0], "std": [1,0,1]}', "std positive"),
        ("preprocessing", '{"crop": 64, "resize": 64, "mean": [0,0,0], "std": "abc"}', "preprocessing"),
        ("preprocessing", '{"crop": 64, "resize": 64, "mean": [[],0,0], "std": [1,1,1]}', "preprocessing"),
        ("labels", '[["a","b"]]', "1 labels for 5 classes"),
        ("labels", '["a","b","c","d","e"]', "a label is a list of two texts"),
        ("labels", '[["a",1],["a","b"],["a","b"],["a","b"],["a","b"]]', "1 in the place of a text"),
        ("labels", '[["a","\\u001b[2J"],["a","b"],["a","b"],["a","b"],["a","b"]]', "in the place of a text on one line"),
        ("labels", "{}x", "labels is not JSON"),
        ("labels", "null", "labels"),
        ("source", None, "'source' is missing"),
        ("source", "a\nb", "in the place of a text on one line"),
        ("layout", None, "'layout' is missing"),
    ],
)
def test_metadata_that_make_no_sense(file, key, value, words):
    header, tensors = split(file.read_bytes())
    if value is None:
        del header["__metadata__"][key]
    else:
        header["__metadata__"][key] = value
    refused(file, joined(header, tensors), words)


def test_a_pipe_is_not_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="pipe: not a file: a pipe, a device or the like"):
        read(tmp_path / "pipe")
