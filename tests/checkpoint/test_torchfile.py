"""PyTorch files of every kind read without PyTorch, judged by PyTorch."""

import argparse
import datetime
import io
import pathlib
import sys
import tracemalloc
import types
from collections import Counter, OrderedDict, defaultdict

import numpy as np
import pytest
from support import saved
from support.judge import torch, torch_van

from minivan.checkpoint import read
from minivan.checkpoint.budget import Budget
from minivan.checkpoint.torchfile import open_torch
from minivan.variants import Config

FORMATS = pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])


def values(path):
    """{name: array} of every tensor that can be read in the dictionary a file holds."""
    with open(path, "rb") as file:
        return {name: tensor.read() for name, tensor in open_torch(file, Budget(1 << 20)).contents.items()}


def assert_same_bits(weights, state):
    """The network's tensors are those of a state dict, converted to float32, to the bit."""
    expected = {name: tensor.detach().float().numpy() for name, tensor in state.items() if "num_batches" not in name}
    assert set(weights.tensors) == set(expected)
    for name, tensor in weights.tensors.items():
        assert tensor.dtype == np.float32 and tensor.flags.c_contiguous
        assert tensor.tobytes() == np.ascontiguousarray(expected[name]).tobytes(), name


@FORMATS
@pytest.mark.parametrize("wrap", [lambda state: state, saved.training_checkpoint], ids=["state dict", "training checkpoint"])
def test_a_network_as_torch_saves_it(tmp_path, legacy, wrap):
    state = saved.state_dict()
    path = saved.save(wrap(state), tmp_path / "net.pth.tar", legacy)
    weights = read(path)
    assert weights.config == saved.SMALL
    assert_same_bits(weights, state)
    assert list(weights.tensors) == [name for name in state if "num_batches" not in name]


@FORMATS
@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
def test_every_pickle_protocol(tmp_path, legacy, protocol):
    state = saved.state_dict()
    path = saved.save(saved.training_checkpoint(state), tmp_path / "net.pth", legacy, pickle_protocol=protocol)
    assert_same_bits(read(path), state)


@FORMATS
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_floating_types_are_read_exactly(tmp_path, legacy, dtype):
    read_as = {"float16": np.float16, "bfloat16": np.float32, "float64": np.float64}[dtype]
    dtype = getattr(torch, dtype)
    full = {"a": torch.randn(5, 3, dtype=torch.float64).to(dtype), "tiny": torch.tensor([6e-8, -0.0, 1.0], dtype=dtype)}
    found = values(saved.save(full, tmp_path / "t.pth", legacy))
    for name, tensor in full.items():
        exact = tensor.double().numpy()
        assert found[name].dtype == read_as
        assert found[name].astype(np.float64).tobytes() == exact.tobytes()
    state = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in saved.state_dict().items()}
    assert_same_bits(read(saved.save(state, tmp_path / "net.pth", legacy)), state)


def test_float64_is_rounded_to_float32_and_said_so(tmp_path):
    state = {name: tensor.double() for name, tensor in saved.state_dict().items()}
    assert not any("float64" in note for note in read(saved.save(state, tmp_path / "exact.pth")).notes)
    state["head.bias"][0] = 0.1
    weights = read(saved.save(state, tmp_path / "rounded.pth"))
    assert "1 float64 tensors were rounded to float32, the engines' type" in weights.notes
    assert weights.tensors["head.bias"][0] == np.float32(0.1)
    state["head.bias"][0] = 1e300
    with pytest.raises(ValueError, match=r"head\.bias has numbers up to 1e\+300: too large for float32"):
        read(saved.save(state, tmp_path / "large.pth"))


@FORMATS
def test_strides_offsets_and_shared_storages(tmp_path, legacy):
    base = torch.arange(120.0)
    views = {
        "transposed": base.view(10, 12).T,
        "channels_last": torch.arange(48.0).view(2, 3, 2, 4).contiguous(memory_format=torch.channels_last),
        "middle": base[30:50],
        "every third": base[5:65:3],
        "block": base.view(10, 12)[2:5, 3:9],
        "the same again": base[30:50],
        "one": base[7],
        "empty": base[:0].view(0, 4),
        "size one": base[8:9].view(1, 1, 1),
    }
    found = values(saved.save(views, tmp_path / "views.pth", legacy))
    for name, tensor in views.items():
        assert found[name].shape == tuple(tensor.shape), name
        assert np.array_equal(found[name], tensor.numpy()), name


@FORMATS
def test_a_network_in_one_storage(tmp_path, legacy):
    state = saved.state_dict()
    flat = torch.cat([tensor.flatten() for tensor in state.values() if tensor.is_floating_point()])
    parts, start = OrderedDict(), 0
    for name, tensor in state.items():
        if tensor.is_floating_point():
            parts[name] = flat[start : start + tensor.numel()].view(tensor.shape)
            start += tensor.numel()
    assert_same_bits(read(saved.save(parts, tmp_path / "flat.pth", legacy)), state)


def _parameters(state):
    return OrderedDict((name, torch.nn.Parameter(t) if t.is_floating_point() else t) for name, t in state.items())


def _with_attribute(state):
    changed = OrderedDict(state)
    changed["head.bias"] = torch.nn.Parameter(changed["head.bias"])
    changed["head.bias"].origin = "here"  # pickled by _rebuild_parameter_with_state
    return changed


def _loaded(state):
    net = torch_van.TorchVAN(saved.SMALL)
    net.load_state_dict(state)
    return net


def _prefixed(prefix):
    return lambda state: OrderedDict((prefix + name, tensor) for name, tensor in state.items())


WRAPPED = {
    "parameters": _parameters,
    "a parameter with an attribute": _with_attribute,
    "module.": _prefixed("module."),
    "_orig_mod.": _prefixed("_orig_mod."),
    "module._orig_mod.": _prefixed("module._orig_mod."),
    "averaged by torch": lambda state: torch.optim.swa_utils.AveragedModel(_loaded(state)).state_dict(),
    "plain dict": dict,
    "under model": lambda state: {"model": state, "optimizer": {}},
    "under a key of its own": lambda state: {"network": state, "other": {"a": torch.ones(2)}},
    "layer scale (C, 1, 1)": lambda state: {
        name: tensor[:, None, None] if "layer_scale" in name else tensor for name, tensor in state.items()
    },
    "list of everything": lambda state: {"state_dict": state, "history": [torch.ones(3), (torch.zeros(2), {"a": None})]},
}


@FORMATS
@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_what_training_scripts_do_to_a_state_dict(tmp_path, legacy, wrap):
    state = saved.state_dict()
    assert_same_bits(read(saved.save(wrap(state), tmp_path / "net.pth", legacy)), state)


@pytest.mark.parametrize("key", ["state_dict_ema", "model_ema"])
def test_averaged_weights_come_first_and_another_key_can_be_asked_for(tmp_path, key):
    plain, averaged = saved.state_dict(seed=0), saved.state_dict(seed=1)
    path = saved.save({"state_dict": plain, key: averaged}, tmp_path / "net.pth")
    assert_same_bits(read(path), averaged)
    assert f"'{key}' was read, the averaged weights; 'state_dict' has others" in read(path).notes
    assert_same_bits(read(path, key="state_dict"), plain)
    with pytest.raises(ValueError, match="no network under 'elsewhere': there are 2: 'state_dict', "):
        read(path, key="elsewhere")


class HistoryBuffer:
    """Stands in for MMEngine's, which pickles references to its own methods."""

    def __init__(self):
        self.history, self.methods = np.arange(5), {"mean": HistoryBuffer.mean}

    def mean(self):
        return self.history.mean()


HistoryBuffer.__module__ = HistoryBuffer.mean.__module__ = "mmengine.logging.history_buffer"

EXTRAS = {
    "numpy": lambda: [np.float64(3.5), np.int32(3), np.arange(6.0).reshape(2, 3), np.dtype("f4"), np.bool_(True)],
    "paths and dates": lambda: [pathlib.Path("a/b/c"), datetime.datetime(2022, 5, 1), datetime.timedelta(seconds=3)],
    "containers": lambda: [{1, 2}, frozenset("ab"), defaultdict(list, a=[1]), Counter("aab"), OrderedDict(a=1), bytearray(1)],
    "numbers": lambda: [2**70, -(2**31), 1j, float("nan"), True, None, -1, 255, 65535, 1 << 31, b"bytes", "\udcff \U0001f600"],
    "torch": lambda: [torch.float32, torch.device("cpu"), torch.Size([1, 2]), torch.Size([])],
    "tensors": lambda: [
        torch.ones(2, dtype=d) for d in (torch.int64, torch.int32, torch.int8, torch.uint8, torch.bool, torch.complex64)
    ],
    "new tensors": lambda: [torch.ones(2, dtype=torch.uint16), torch.ones(2).to(torch.float8_e4m3fn)],
    "sparse": lambda: torch.eye(3).to_sparse(),
    "quantised": lambda: torch._empty_affine_quantized([3], scale=0.1, zero_point=0, dtype=torch.qint8),
    "namespace in a namespace": lambda: argparse.Namespace(a=argparse.Namespace(b=1), c=[1, 2]),
}


@pytest.mark.filterwarnings("ignore:.*quantized tensor creation")
@FORMATS
@pytest.mark.parametrize("extra", EXTRAS.values(), ids=EXTRAS)
@pytest.mark.parametrize("protocol", [2, 4])
def test_what_else_lies_in_a_checkpoint_is_passed_over(tmp_path, legacy, extra, protocol):
    state = saved.state_dict()
    path = saved.save({"extra": extra(), "state_dict": state}, tmp_path / "net.pth", legacy, pickle_protocol=protocol)
    assert_same_bits(read(path), state)


@FORMATS
@pytest.mark.parametrize("protocol", [2, 4])
def test_mmengine_log_buffers_are_passed_over(tmp_path, legacy, protocol, monkeypatch):
    for name in ("mmengine", "mmengine.logging", "mmengine.logging.history_buffer"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["mmengine.logging.history_buffer"].HistoryBuffer = HistoryBuffer
    state = saved.openmmlab(saved.state_dict())
    checkpoint = {"meta": {"epoch": 3}, "state_dict": state, "message_hub": {"log_scalars": {"loss": HistoryBuffer()}}}
    path = saved.save(checkpoint, tmp_path / "net.pth", legacy, pickle_protocol=protocol)
    monkeypatch.undo()
    assert_same_bits(read(path), saved.state_dict())


def test_a_file_saved_into_memory_and_one_without_checksums(tmp_path):
    state, buffer = saved.state_dict(), io.BytesIO()
    torch.save(state, buffer)
    (tmp_path / "a.pth").write_bytes(buffer.getvalue())
    assert_same_bits(read(tmp_path / "a.pth"), state)
    torch.serialization.set_crc32_options(False)
    try:
        saved.save(state, tmp_path / "b.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert_same_bits(read(tmp_path / "b.pth"), state)


def test_files_of_older_pytorch_have_fewer_records(tmp_path):
    state = saved.state_dict()
    records = saved.records(saved.save(state, tmp_path / "new.pth"))
    old = {name: data for name, data in records.items() if name.endswith("data.pkl") or "/data/" in name}  # 1.6 to 2.0
    assert len(old) < len(records)
    (tmp_path / "old.pth").write_bytes(saved.zip_of(old))
    assert_same_bits(read(tmp_path / "old.pth"), state)


def test_numbers_of_a_big_endian_machine(tmp_path):
    state = saved.state_dict()
    records = saved.records(saved.save(state, tmp_path / "little.pth"))
    for name, data in records.items():
        if name.endswith("/byteorder"):
            records[name] = b"big"
        elif "/data/" in name:
            records[name] = np.frombuffer(data, "u8" if len(data) == 8 and data[1:] == bytes(7) else "u4").byteswap().tobytes()
    (tmp_path / "big.pth").write_bytes(saved.zip_of(records))
    assert_same_bits(read(tmp_path / "big.pth"), state)


def test_a_legacy_file_with_a_view_of_a_storage(tmp_path):
    """PyTorch 0.3 saved a storage that is part of another as (key, offset, length) of a view."""
    import pickle

    from minivan.checkpoint.torchfile import LEGACY_VERSION, MAGIC

    storage = b"(" + saved.short("storage") + b"ctorch\nFloatStorage\n" + saved.short("whole") + saved.short("cpu")
    storage += saved.integer(6) + b"(" + saved.short("view") + saved.integer(2) + saved.integer(3) + b"ttQ"
    tensor = b"ctorch._utils\n_rebuild_tensor\n(" + storage + b"K\x01K\x02\x85K\x01\x85tR"
    head = b"".join(pickle.dumps(value, 2) for value in (MAGIC, LEGACY_VERSION, {"little_endian": True}))
    numbers = (6).to_bytes(8, "little") + saved.floats(0, 1, 2, 3, 4, 5)
    path = tmp_path / "view.pth"
    path.write_bytes(head + saved.pickled_dict(a=tensor) + pickle.dumps(["whole"], 2) + numbers)
    assert values(path)["a"].tolist() == [3, 4]  # the view begins at element 2, the tensor at the view's element 1


@FORMATS
def test_storages_that_nobody_asks_for_are_never_read(tmp_path, legacy, monkeypatch):
    """The optimizer's bytes are not looked at: nothing but headers and lengths is read between the model's tensors."""
    state = saved.state_dict()
    moments = {i: {"exp_avg": torch.full((1000,), float("nan"))} for i in range(20)}
    path = saved.save({"optimizer": {"state": moments}, "state_dict": state}, tmp_path / "net.pth", legacy)
    wanted = sum(tensor.numel() * 4 for tensor in state.values() if tensor.is_floating_point())
    from minivan.checkpoint import archive, torchfile

    asked = []

    def counted(file, position, size):
        asked.append((position, size))
        return read_into(file, position, size)

    read_into = archive.read_into
    monkeypatch.setattr(archive, "read_into", counted)
    monkeypatch.setattr(torchfile, "read_into", counted)
    assert_same_bits(read(path), state)
    nan = np.float32("nan").tobytes() * 8
    data = path.read_bytes()
    assert sum(size for _, size in asked) <= wanted + 16
    assert not any(nan in data[position : position + size] for position, size in asked)


@FORMATS
def test_peak_memory_is_near_the_model_s_own_size(tmp_path, legacy):
    state = saved.state_dict(Config((64, 64, 96, 128), (1, 1, 2, 1)))
    model = sum(tensor.numel() * 4 for tensor in state.values() if tensor.is_floating_point())
    moments = {i: {"exp_avg": torch.ones(2_000_000)} for i in range(4)}
    path = saved.save({"optimizer": {"state": moments}, "state_dict": state}, tmp_path / "net.pth", legacy)
    read(path)
    tracemalloc.start()
    try:
        weights = read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert path.stat().st_size > 9 * model
    assert sum(tensor.nbytes for tensor in weights.tensors.values()) <= peak < 1.25 * model + 500_000


def test_an_integer_where_a_weight_belongs_is_refused_by_name(tmp_path):
    state = saved.state_dict()
    state["head.bias"] = torch.ones(5, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"net\.pth, head\.bias: a tensor of int64: weights are float64, "):
        read(saved.save(state, tmp_path / "net.pth"))
