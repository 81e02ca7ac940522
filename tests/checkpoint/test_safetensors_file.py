"""minivan's own file and other safetensors files: written the same way each time, read with suspicion."""

import json
import resource
import struct
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy
from support import saved
from support.judge import safetensors_torch, torch, torch_van
from support.own_file import CARD, CONFIG, LABELS, PREPROCESSING, own_weights
from support.watch import watching

from minivan import card
from minivan.card import Card
from minivan.checkpoint import (
    CheckpointError,
    file_sha256,
    load,
    opened,
    read,
    revise,
    safetensors_file,
    with_source_sha256,
    write,
)


@pytest.fixture
def weights():
    return own_weights()


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
    with safetensors_file.open_safetensors(tmp_path / "t") as (again, metadata, _):
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
    assert weights.config == saved.SMALL and not any("float64" in note for note in weights.notes)
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
