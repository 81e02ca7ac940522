"""The process that reads an HDF5 file says what the reader says; whatever becomes of it, one line is said of the file."""

import struct
import subprocess
import sys

import h5py
import numpy as np
import pytest
from support import saved
from support.keras_file import write

from minivan.checkpoint import CheckpointError, opened, read
from minivan.checkpoint.hdf5_apart import Child
from minivan.variants import parameter_shapes

TENSORS = {name: np.ones(shape, np.float32) for name, shape in parameter_shapes(saved.SMALLEST)}


@pytest.fixture
def children(monkeypatch):
    """The processes that were started."""
    started = []

    class Watched(subprocess.Popen):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Watched)
    return started


def fault(path):
    with pytest.raises(CheckpointError) as raised:
        read(path)
    return str(raised.value).removeprefix(f"{path}: ")


def test_what_is_read_and_what_is_refused_is_the_same(tmp_path, children):
    path = write(tmp_path / "van.h5", TENSORS)
    with opened(path) as checkpoint:
        found = {name: tensor.read() for name, tensor in checkpoint.stored.items()}
        (child,) = children
        assert child.poll() is None
    assert child.poll() is not None and child.stdin.closed and child.stdout.closed
    assert found.keys() == TENSORS.keys() and all(np.array_equal(found[name], TENSORS[name]) for name in found)
    with h5py.File(path, "a") as file:
        file.create_dataset("more/norm1/gamma:0", data=np.ones(2, "f4"))
    assert "two arrays stand for norm1.weight" in fault(path)
    with h5py.File(path, "a") as file:
        del file["more"], file["head/head/bias:0"]
        file.create_dataset("head/head/bias:0", (3,), "f4", fletcher32=True)
    assert "HDF5's filters (3,)" in fault(path)
    path.write_bytes(path.read_bytes()[:3000])
    assert fault(path).startswith("a damaged HDF5 file: ")


def many_ways(data):
    """Return a file whose root group is a tree of ten levels, with 32 ways from each to the next, and no member anywhere."""
    (half,), old = struct.unpack("<H", data[18:20]), struct.pack("<Q", data.index(b"TREE"))
    tree, below = bytearray(data), len(data)
    tree += b"SNOD" + bytes([1, 0, 0, 0]) + bytes(40 * 8)
    for level in range(10):
        ways = struct.pack("<QQ", 0, below) * (2 * half) + bytes(8)
        below = len(tree)
        tree += b"TREE" + bytes([0, level]) + struct.pack("<H", 2 * half) + b"\xff" * 16 + ways
    tree[40:48] = struct.pack("<Q", len(tree))
    return tree.replace(old, struct.pack("<Q", below), 2)


@pytest.mark.slow
def test_a_search_without_an_end_is_ended(tmp_path, children):
    path = write(tmp_path / "van.h5", TENSORS)
    path.write_bytes(many_ways(path.read_bytes()))
    assert fault(path) == "a damaged HDF5 file: reading it takes too long"
    assert children[0].poll() is not None


def test_a_fault_in_the_library_ends_that_process_alone(tmp_path, children):
    path = write(tmp_path / "van.h5", TENSORS)
    data = bytearray(path.read_bytes())
    root = data.index(b"TREE")
    data[root + 5], data[root + 32 : root + 40] = 1, struct.pack("<Q", root)  # a tree that is its own branch
    path.write_bytes(data)
    assert fault(path).startswith("a damaged HDF5 file: ")
    assert children[0].poll() is not None


def test_it_may_end_while_arrays_are_read(tmp_path, children):
    path = write(tmp_path / "van.h5", TENSORS)
    with opened(path) as checkpoint:
        children[0].kill()
        with pytest.raises(CheckpointError, match="ended without a word"):
            checkpoint.stored["head.bias"].read()


@pytest.mark.parametrize("name", ["executable", "frozen"])
def test_a_program_that_is_no_python_starts_none(tmp_path, children, monkeypatch, name):
    path = write(tmp_path / "van.h5", TENSORS)
    monkeypatch.setattr(sys, name, "" if name == "executable" else True, raising=False)
    assert "this program is no Python" in fault(path) and not children


def test_no_more_processes(tmp_path, monkeypatch):
    def none(*args, **options):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", none)
    assert "no process can be started that reads it: Resource" in fault(write(tmp_path / "van.h5", TENSORS))


def test_a_file_that_is_cut_short_meanwhile(tmp_path):
    path = write(tmp_path / "van.h5", TENSORS)
    size = path.stat().st_size
    child = Child(size + 1000, "")
    with path.open("rb") as file:
        child.give(file, size + 1000)
    assert child.questions.closed and child.ask()  # what is there may be enough
    child.close()
    assert child.process.returncode is not None
