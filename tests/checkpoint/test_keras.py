"""Keras' HDF5 files: the arrays that h5py wrote, as PyTorch has them; what a file needs beyond groups and arrays is refused."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
from support import saved
from support.judge import torch, torch_van
from support.keras_file import write, write_automatic
from support.watch import watching
from tolerances import LOGITS

from minivan.checkpoint import CheckpointError, opened, read
from minivan.van import VAN
from minivan.variants import parameter_shapes


def tensors(config=saved.SMALL):
    draw = np.random.default_rng(0)
    return {
        name: (draw.uniform(0.5, 2, shape) if name.endswith("running_var") else draw.normal(0, 0.25, shape)).astype(np.float32)
        for name, shape in parameter_shapes(config)
    }


def fault(path):
    with watching() as seen, pytest.raises(CheckpointError) as raised:
        read(path)
    assert set(seen.opened) <= {str(path)}
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("inside", ["", "model_weights"], ids=["weights alone", "a whole model"])
def test_tfvan_gives_pytorchs_logits_with_its_own_epsilons(tmp_path, inside):
    own = tensors()
    path = write(tmp_path / "van_tiny.h5", own, inside)
    with h5py.File(path, "a") as file:
        file.create_dataset("optimizer_weights/Adam/block1.0/norm1/gamma/m:0", data=np.ones(3, "f4"))
    with opened(path) as checkpoint:
        assert checkpoint.format == "Keras HDF5"
    weights = read(path)
    assert weights.config == replace(saved.SMALL, layer_norm_eps=1.001e-5, batch_norm_eps=1.001e-5)
    assert weights.card.name == "van_tiny" and all(np.array_equal(weights.tensors[name], own[name]) for name in own)
    x = np.random.default_rng(1).normal(size=(1, 3, 48, 32)).astype(np.float32)
    with torch.no_grad():
        expected = torch_van.load(weights.config, own)(torch.from_numpy(x)).numpy()
    assert np.abs(VAN(weights.config, weights.tensors, "numpy")(x) - expected).max() <= LOGITS * np.abs(expected).max()


def test_layers_that_keras_numbers_have_pytorchs_epsilons(tmp_path):
    own = tensors()
    weights = read(write_automatic(tmp_path / "van.h5", own))
    assert weights.config == saved.SMALL and all(np.array_equal(weights.tensors[name], own[name]) for name in own)


@pytest.mark.parametrize("dtype", ["<f2", "<f8", ">f4"])
def test_numbers_of_every_floating_type(tmp_path, dtype):
    own = {name: tensor.astype("f2").astype(dtype) for name, tensor in tensors().items()}
    weights = read(write(tmp_path / "van.h5", own))
    assert all(np.array_equal(weights.tensors[name], own[name]) for name in own)


def test_a_group_of_many_members(tmp_path):
    """Its tree has more than one level."""
    own = tensors(saved.SMALLEST)
    path = write(tmp_path / "van.h5", own)
    with h5py.File(path, "a") as file:
        for number in range(600):
            file.create_group(f"dropout_{number}")
    assert all(np.array_equal(array, own[name]) for name, array in read(path).tensors.items())


@pytest.mark.parametrize("options", [dict(libver="latest"), dict(track_order=True)], ids=str)
def test_newer_ways_of_writing_are_named(tmp_path, options):
    assert "write it with h5py as Keras does" in fault(write(tmp_path / "van.h5", tensors(saved.SMALLEST), **options))


@pytest.mark.parametrize("kind", ["chunks", "gzip", "external", "virtual", "compact", "empty"])
def test_arrays_that_are_not_plain(tmp_path, kind):
    path = write(tmp_path / "van.h5", tensors())
    (tmp_path / "numbers").write_bytes(bytes(20))
    with h5py.File(path, "a") as file:
        place = "head/head/bias:0"
        del file[place]
        if kind == "external":
            file.create_dataset(place, (5,), "f4", external=[(str(tmp_path / "numbers"), 0, 20)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout((5,), "f4")
            layout[:4] = h5py.VirtualSource(str(path), "norm1/norm1/gamma:0", (4,))
            file.create_virtual_dataset(place, layout)
        elif kind == "compact":
            properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            properties.set_layout(h5py.h5d.COMPACT)
            space = h5py.h5s.create_simple((5,))
            h5py.h5d.create(file["head/head"].id, b"bias:0", h5py.h5t.IEEE_F32LE, space, properties)
        elif kind == "empty":
            file.create_dataset(place, (5,), "f4")
        else:
            file.create_dataset(place, data=np.ones(5, "f4"), chunks=(5,), compression="gzip" if kind == "gzip" else None)
    assert "head/head/bias:0" in fault(path)


def test_links_to_other_files_and_into_themselves(tmp_path):
    own = tensors()
    path = write(tmp_path / "van.h5", own)
    write(tmp_path / "other.h5", own)
    with h5py.File(path, "a") as file:
        file["soft"] = h5py.SoftLink("/norm1")
    assert all(np.array_equal(array, own[name]) for name, array in read(path).tensors.items())
    with h5py.File(path, "a") as file:
        del file["norm1"]
        file["norm1"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "norm1")
    assert "whose group '/' is of a newer kind" in fault(path)
    path = write(tmp_path / "van.h5", own)
    with h5py.File(path, "a") as file:
        file["norm1/again"] = file["/"]
    assert "may lie in itself" in fault(path)


def test_files_of_something_else(tmp_path):
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("layers/dense/vars/0", data=np.ones(2, "f4"))
    assert "Keras 3 numbers its weights" in fault(path)
    with h5py.File(path, "w") as file:
        file.create_dataset("a/b", data=np.arange(2))
    assert "0 arrays of numbers: none has a name known to tfvan" in fault(path)
    own = tensors()
    write(path, own)
    with h5py.File(path, "a") as file:
        file.create_dataset("more/norm1/gamma:0", data=np.ones(4, "f4"))
    assert "two arrays stand for norm1.weight" in fault(path)


def test_a_file_cut_short_or_changed_is_read_or_refused(tmp_path):
    data = write(tmp_path / "a.h5", tensors(saved.SMALLEST)).read_bytes()
    assert read(tmp_path / "a.h5").config.stages == 1
    draw = np.random.default_rng(1)
    structure = [at for mark in (b"TREE", b"HEAP", b"SNOD") for at in places(data, mark)]
    for case in range(120):
        other = bytearray(data[: draw.integers(16, len(data))] if case % 3 == 0 else data)
        near = structure[case % len(structure)]
        for _ in range(4):
            at = int(draw.integers(8, len(other)) if case % 2 else near + draw.integers(0, 60))
            if at < len(other):
                other[at] = draw.integers(256)
        (tmp_path / "a.h5").write_bytes(other)
        with watching() as seen:
            try:
                read(tmp_path / "a.h5")
            except CheckpointError as error:
                assert "\n" not in str(error)
        assert not seen and set(seen.opened) == {str(tmp_path / "a.h5")}


def places(data, mark):
    at = data.find(mark)
    while at >= 0:
        yield at
        at = data.find(mark, at + 1)
