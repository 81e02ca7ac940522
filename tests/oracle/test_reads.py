"""How often, and how much of, a port's and a trace's files is read: large networks' layers take gigabytes."""

import json
import os
import struct
from collections import Counter

import numpy as np
import pytest
from support import ports
from support.measure import counting, tracing
from support.ports import numpy_layers, reference, sound_port, with_tensor

from minivan.checkpoint import safetensors_file
from minivan.engines import EXACT
from minivan.oracle import recorded, trace
from minivan.oracle.baseline import Baseline
from minivan.oracle.compare import Asked
from minivan.oracle.recorded import Recorded
from minivan.oracle.stored import Held, Layers

FC1 = f"{ports.PLANTED}.mlp.fc1"


def counted(layers):
    """A port that lies in a file, and how often each layer of it was read."""
    reads = Counter()

    def held(path, array):
        def read():
            reads[path] += 1
            return array

        return Recorded(Held(array.dtype.name, array.shape, read), array.dtype.name)

    return {path: held(path, array) for path, array in layers.items()}, reads


def judge(port, **asked):
    return Baseline(reference(), lambda: (ports.run, "")).judge(port, Asked(**asked))


def test_a_layer_is_read_to_be_measured_and_to_be_weighed_and_never_to_be_found():
    port, reads = counted(sound_port())
    assert not judge(port).report.offenders
    first = reads.pop("patch_embed1.proj")  # the layer that tells whether the port's numbers are those of a shorter format
    assert first == 3 and set(reads.values()) == {2} and len(reads) == len(port) - 1
    few = ("norm1", "block2.0", "norm3", "head")
    port, reads = counted({path: sound_port()[path] for path in few})
    judge(port, layers=few)
    assert max(reads.values()) <= 4  # and once more for what the hidden layers round


def test_a_hint_reads_once_more_what_lies_before_its_layer():
    port, reads = counted(numpy_layers(tensors=with_tensor(f"{FC1}.bias", np.zeros_like)))
    judged = judge(port)
    assert judged.hint() == "missing bias"
    assert all(reads[path] <= 4 for path in port if not path.startswith((ports.PLANTED, "patch_embed1")))


@pytest.mark.parametrize("rounded", [False, True])
def test_a_layer_that_is_far_too_large_is_refused_by_its_shape(tmp_path, rounded):
    """256 GiB that take no room in the file's folder: nothing of them is read, not even to guess what the port computes in."""
    port = {path: array.astype(np.float16).astype(np.float32) if rounded else array for path, array in sound_port().items()}
    for path, array in port.items():
        np.save(tmp_path / f"{path}.npy", array)
    shape = (1 << 36,)
    with open(tmp_path / "norm2.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        os.truncate(file.fileno(), file.tell() + 4 * shape[0])
    judged = judge(recorded.read(tmp_path))
    assert [row.path for row in judged.report.offenders] == ["norm2"] and judged.hint() == ""
    assert judged.report.precision.word == ("float16" if rounded else "float32")


def test_a_traces_digests_are_compared_piece_by_piece(tmp_path):
    count = 4 << 20
    metadata = {
        "format": trace.FORMAT,
        "order": '["norm1"]',
        "sha256": json.dumps({"norm1": trace.digest(np.zeros(count, np.float32))}),
    }
    entry = {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}
    text = json.dumps({"__metadata__": metadata, "norm1": entry}).encode()
    with open(tmp_path / "trace.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.flush()
        os.truncate(file.fileno(), file.tell() + 4 * count)
    with tracing() as memory:
        assert recorded.read_trace(tmp_path / "trace.safetensors").arrays.shape("norm1") == (count,)
    assert memory.traced < count


def test_pieces_are_those_of_the_array_in_c_order():
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(2, 0, 1)
    pieces = list(Layers({"a": array}).pieces("a", 7))
    assert [piece.size for piece in pieces] == [7, 7, 7, 3] and np.array_equal(np.concatenate(pieces), array.ravel())


def test_the_list_of_an_archives_records_is_read_once(tmp_path):
    count = 500
    np.savez(tmp_path / "port.npz", **{f"layer{i}": np.full(2, i, np.float32) for i in range(count)})
    port = recorded.read(tmp_path / "port.npz")
    with counting() as cost:
        sums = [float(port[f"layer{i}"].values.sum()) for i in range(count)]
    assert sums == [2 * i for i in range(count)] and cost.calls < 300 * count
    (tmp_path / "port.npz").unlink()
    with pytest.raises(OSError, match="port"):
        assert port["layer0"].values is None


def filed(folder, how, arrays):
    """A port in a folder of .npy, or in one file."""
    if how == "npy":
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)
        return recorded.read(folder)
    if how == "npz":
        np.savez_compressed(folder / "port.npz", **arrays)
    else:
        safetensors_file.write(folder / "port.safetensors", arrays, {})
    return recorded.read(folder / f"port.{how}")


@pytest.mark.parametrize("how", ["npy", "npz", "safetensors"])
def test_a_ports_layers_are_read_piece_by_piece(tmp_path, how):
    array = np.arange(1 << 20, dtype=np.float32).reshape(64, 128, 128)
    arrays = {"a": array, "half": array[:3].astype(np.float16), "turned": np.asfortranarray(array[:2]), "none": array[:0]}
    port = filed(tmp_path, how, arrays)
    for name, expected in arrays.items():
        pieces = list(port[name].pieces(5000))
        assert all(piece.size == 5000 for piece in pieces[:-1])
        assert np.array_equal(np.concatenate([*pieces, np.empty(0, expected.dtype)]), expected.ravel())
    with tracing() as memory:
        assert sum(float(piece.sum(dtype=np.float64)) for piece in port["a"].pieces(5000)) == float(array.sum(dtype=np.float64))
    assert memory.traced < array.nbytes / 8


def test_a_file_that_has_changed_is_not_read_on(tmp_path):
    port = filed(tmp_path, "npy", {"a": np.zeros(30, np.float32)})
    np.save(tmp_path / "a.npy", np.zeros(20, np.float32))
    with pytest.raises(ValueError, match=r"a\.npy: not an .npy file.*it has changed since it was looked at"):
        list(port["a"].pieces(7))


def test_the_largest_layers_are_in_memory_once_for_the_network_and_never_for_the_port(tmp_path):
    """GELU after GELU, each 8 MB: what the second reads and what it gives, and of trace and port a piece."""
    x = np.random.default_rng(0).standard_normal((1, 8, 512, 512), np.float32)
    first = EXACT.ops.gelu(x)
    layers = {"first": first, "second": EXACT.ops.gelu(first)}

    def run(engine, hook):
        hook("second", engine.ops.gelu(hook("first", engine.ops.gelu(hook("input", x)))))

    port = filed(tmp_path, "npy", {path: array * np.float32(1 + 2.0**-23) for path, array in layers.items()})
    safetensors_file.write(tmp_path / "trace.safetensors", layers, {})
    stored = Layers(safetensors_file.lasting(tmp_path / "trace.safetensors")[0])
    made = trace.Trace(stored, x, {})
    baseline = Baseline(made, lambda: (run, ""))
    expected = baseline.judge({path: Recorded(port[path].values, "float32") for path in port}).report.rows
    with tracing() as memory:
        rows = baseline.judge(port).report.rows
    assert rows == expected and all(0 < row.own < row.line for row in rows)
    assert 2 * x.nbytes < memory.traced < 2.8 * x.nbytes
