"""Keras' HDF5 files: the arrays that h5py wrote, as PyTorch has them; what leads out of the file is refused unread."""

import zlib
from dataclasses import replace

import h5py
import numpy as np
import pytest
from support import saved
from support.judge import torch, torch_van
from support.keras_file import write, write_automatic
from support.measure import tracing
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
        file.create_dataset("names", data=[b"a", b"b"], compression="lzf")  # of no numbers, and not read
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
    own = {name: tensor.astype("f2").astype(dtype) for name, tensor in tensors(saved.SMALLEST).items()}
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
def test_newer_ways_of_writing(tmp_path, options):
    own = tensors(saved.SMALLEST)
    weights = read(write(tmp_path / "van.h5", own, **options))
    assert all(np.array_equal(weights.tensors[name], own[name]) for name in own)


def replaced(path, place, kind):
    """Put an array of another kind in the place of one; return what it held."""
    with h5py.File(path, "a") as file:
        values = file[place][()]
        del file[place]
        if kind == "external":
            (path.parent / "numbers").write_bytes(values.tobytes())
            file.create_dataset(place, values.shape, "f4", external=[(str(path.parent / "numbers"), 0, values.nbytes)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout(values.shape, "f4")
            layout[:2] = h5py.VirtualSource(str(path), "norm1/norm1/gamma:0", (2,))
            file.create_virtual_dataset(place, layout)
        elif kind == "compact":
            properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            properties.set_layout(h5py.h5d.COMPACT)
            space = h5py.h5s.create_simple(values.shape)
            made = h5py.h5d.create(file[place.rpartition("/")[0]].id, b"bias:0", h5py.h5t.IEEE_F32LE, space, properties)
            made.write(h5py.h5s.ALL, h5py.h5s.ALL, values)
        elif isinstance(kind, tuple):
            file.create_dataset(place, kind, "f4", chunks=(1,) if len(kind) == 1 else None)
        elif kind == "empty":
            file.create_dataset(place, values.shape, "f4")
        else:
            file.create_dataset(place, data=values, **kind)


@pytest.mark.parametrize(
    "kind",
    [
        dict(chunks=(2,)),
        dict(compression="gzip"),
        dict(compression="gzip", shuffle=True),
        dict(chunks=(3,), shuffle=True),
        "compact",
    ],
    ids=str,
)
def test_arrays_in_chunks_and_deflated(tmp_path, kind):
    own = tensors(saved.SMALLEST)
    path = write(tmp_path / "van.h5", own)
    replaced(path, "head/head/bias:0", kind)
    weights = read(path)
    assert all(np.array_equal(weights.tensors[name], own[name]) for name in own)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("external", "lies in other files"),
        ("virtual", "lies in other files"),
        ("empty", "cut short, or never written"),
        ((1 << 40,), "cut short, or never written"),
        ((0,) * 9, "none of a network's"),
        (dict(chunks=(9,), maxshape=(9,)), "of the shape (3,) has chunks of (9,)"),
        (dict(compression="lzf"), "HDF5's filters (32000,)"),
        (dict(fletcher32=True), "HDF5's filters (3,)"),
        (dict(scaleoffset=2), "HDF5's filters (6,)"),
    ],
    ids=str,
)
def test_arrays_that_are_refused_before_they_are_read(tmp_path, kind, words):
    path = write(tmp_path / "van.h5", tensors(saved.SMALLEST))
    replaced(path, "head/head/bias:0", kind)
    message = fault(path)
    assert "head/head/bias:0" in message and words in message


def test_chunks_are_unpacked_to_the_size_that_they_say(tmp_path):
    """HDF5 itself would unpack a chunk of any size."""
    path = write(tmp_path / "van.h5", tensors(saved.SMALLEST))
    replaced(path, "head/head/bias:0", dict(compression="gzip", chunks=(3,)))
    sound = path.read_bytes()
    for data in (zlib.compress(bytes(1 << 20)), zlib.compress(bytes(8)), b"no deflated bytes"):
        path.write_bytes(sound)
        with h5py.File(path, "a") as file:
            file["head/head/bias:0"].id.write_direct_chunk((0,), data)
        message = fault(path)
        assert "head.bias: a chunk of" in message or "a damaged HDF5 file" in message
        with opened(path) as checkpoint, tracing() as memory, pytest.raises(CheckpointError):
            checkpoint.stored["head.bias"].read()
        assert memory.traced < 100_000
    path.write_bytes(sound)
    with h5py.File(path, "a") as file:
        del file["head/head/bias:0"]
        file.create_dataset("head/head/bias:0", (3,), "f4", chunks=(2,))[:2] = 1
    assert "head.bias: a damaged HDF5 file" in fault(path)


def test_links_to_other_files_and_into_themselves(tmp_path):
    own = tensors(saved.SMALLEST)
    path = write(tmp_path / "van.h5", own)
    write(tmp_path / "other.h5", own)
    with h5py.File(path, "a") as file:
        file["soft"] = h5py.SoftLink("/norm1")
        file["nowhere"] = h5py.SoftLink("/not/there")
    assert all(np.array_equal(array, own[name]) for name, array in read(path).tensors.items())
    with h5py.File(path, "a") as file:
        del file["norm1"]
        file["norm1"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "norm1")
    assert "whose group '/' has a link to another file, 'norm1'" in fault(path)
    path = write(tmp_path / "van.h5", own)
    with h5py.File(path, "a") as file:
        file["norm1/again"] = file["/"]
    message = fault(path)
    assert "may lie in itself" in message or "too many steps" in message


def test_files_of_something_else(tmp_path):
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("layers/dense/vars/0", data=np.ones(2, "f4"))
    assert "Keras 3 numbers its weights" in fault(path)
    with h5py.File(path, "w") as file:
        file.create_dataset("a/b", data=np.arange(2))
    assert "0 arrays of numbers: none has a name known to tfvan" in fault(path)
    own = tensors(saved.SMALLEST)
    write(path, own)
    with h5py.File(path, "a") as file:
        file.create_dataset("more/norm1/gamma:0", data=np.ones(2, "f4"))
    assert "two arrays stand for norm1.weight" in fault(path)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_file_cut_short_or_changed_is_read_or_refused(tmp_path, seed):
    data = write(tmp_path / "a.h5", tensors(saved.SMALLEST)).read_bytes()
    assert read(tmp_path / "a.h5").config.stages == 1
    draw = np.random.default_rng(seed)
    structure = [at for mark in (b"TREE", b"HEAP", b"SNOD") for at in places(data, mark)]
    for case in range(60):
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
