"""PaddlePaddle's weights, and NumPy arrays in pickles altogether: the numbers that were saved, read when they are wanted."""

import pickle
import tracemalloc

import numpy as np
import pytest
from support import saved
from support.judge import torch, torch_van
from support.paddle_file import Named, conventions, pickled
from support.watch import refused
from tolerances import LOGITS

from minivan.checkpoint import CheckpointError, opened, read
from minivan.checkpoint.stateful import Encoded
from minivan.van import VAN
from minivan.variants import Config


def same(weights, state):
    return all(np.array_equal(array, state[name].numpy()) for name, array in weights.tensors.items())


@pytest.mark.parametrize("names", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["with its names", "without"])
@pytest.mark.parametrize("protocol", [2, pytest.param(3, marks=pytest.mark.slow), 4])  # paddle.save has no other
def test_paddles_parameters_give_pytorchs_logits(tmp_path, protocol, names):
    state = saved.state_dict()
    path = tmp_path / "van_tiny.pdparams"
    path.write_bytes(pickled(state, protocol, names))
    with opened(path) as checkpoint:
        assert checkpoint.format == "PaddlePaddle"
    weights = read(path)
    assert weights.config == saved.SMALL and weights.card.name == "van_tiny" and same(weights, state)
    net = torch_van.TorchVAN(weights.config)
    net.load_state_dict(state)
    x = np.random.default_rng(0).normal(size=(1, 3, 48, 32)).astype(np.float32)
    with torch.no_grad():
        expected = net(torch.from_numpy(x)).numpy()
    assert np.abs(VAN(weights.config, weights.tensors, "numpy")(x) - expected).max() <= LOGITS * np.abs(expected).max()


@pytest.mark.parametrize("names", [True, False], ids=["with its names", "without"])
def test_paddles_dictionaries_in_one_another(tmp_path, names):
    """Also an average of parameters alone, which has no name by which PaddlePaddle's are told."""
    state, other = (saved.state_dict(Config((2,), (1,), (2,), classes=2), seed) for seed in (0, 1))
    path = tmp_path / "a.pdparams"
    raw = pickle.loads(pickled(state, names=names))
    path.write_bytes(pickle.dumps({"model": raw, "epoch": 3}, 4))
    assert same(read(path), state)
    learned = {name: array for name, array in conventions(other).items() if not name.endswith(("_mean", "_variance"))}
    path.write_bytes(pickle.dumps({"model": raw, "ema": learned}, 4))
    assert same(read(path), state | {name: other[name] for name in learned})


def test_statistics_of_pytorchs_are_no_paddles(tmp_path):
    state = saved.state_dict(Config((2,), (1,), (2,), classes=2))
    arrays = {name: tensor.numpy() for name, tensor in state.items()} | {"loss._mean": np.ones(3, np.float32)}
    (tmp_path / "net.pkl").write_bytes(pickle.dumps(arrays, 4))
    assert same(read(tmp_path / "net.pkl"), state)


def test_a_square_head_is_transposed_too(tmp_path):
    state = saved.state_dict(Config((2,), (1,), (2,), classes=2))
    (tmp_path / "a.pdparams").write_bytes(pickled(state))
    assert same(read(tmp_path / "a.pdparams"), state)


def test_named_tensors_and_bfloat16(tmp_path):
    state = saved.state_dict(saved.SMALLEST)
    arrays = conventions(state)
    named = {name: Named(f"t{i}", array) for i, (name, array) in enumerate(arrays.items())}
    (tmp_path / "named.pdparams").write_bytes(pickle.dumps(named, 4))
    assert same(read(tmp_path / "named.pdparams"), state)
    halves = {name: (array.view(np.uint32) >> 16).astype(np.uint16) for name, array in arrays.items()}
    (tmp_path / "bf16.pdparams").write_bytes(pickle.dumps(halves, 4))
    cut = {name: tensor.bfloat16().float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    for name, array in read(tmp_path / "bf16.pdparams").tensors.items():
        assert np.abs(array - cut[name].numpy()).max() <= np.abs(array).max() / 128


@pytest.mark.parametrize("protocol", [2, pytest.param(3, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow), 5])
def test_a_plain_pickle_of_arrays_has_pytorchs_conventions(tmp_path, protocol):
    state = saved.state_dict()
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    arrays["head.weight"] = np.asfortranarray(arrays["head.weight"])
    arrays["norm1.weight"] = arrays["norm1.weight"].astype(">f8")
    if protocol == 5:
        for array in arrays.values():
            array.flags.writeable = False  # else the buffer is a bytearray, an opcode that is refused
    for contents in (arrays, {"state_dict": arrays, "epoch": 3}):
        (tmp_path / "net.pkl").write_bytes(pickle.dumps(contents, protocol))
        assert same(read(tmp_path / "net.pkl"), state)


def test_arrays_in_a_file_of_torch_save(tmp_path):
    state = saved.state_dict()
    for legacy in (False, True):
        path = saved.save({name: tensor.numpy() for name, tensor in state.items()}, tmp_path / "net.pth", legacy)
        assert same(read(path), state)


@pytest.mark.parametrize("function", ["_rebuild_device_tensor_from_numpy", "_rebuild_xla_tensor"])
def test_tensors_from_a_device_without_storages(tmp_path, function):
    """torch.Tensor._reduce_ex_internal: one of XLA's, say, is pickled as an array; bfloat16 as one of float32."""

    class OnDevice:
        def __init__(self, tensor):
            self.tensor = tensor

        def __reduce__(self):
            of = torch.bfloat16 if self.tensor.dim() == 4 else self.tensor.dtype
            rebuild = getattr(torch._utils, function, torch._utils._rebuild_device_tensor_from_numpy)
            return rebuild, (self.tensor.numpy(), of, "xla:0", False)

    state = saved.state_dict(saved.SMALLEST)
    path = saved.save({name: OnDevice(tensor) for name, tensor in state.items()}, tmp_path / "net.pth")
    assert same(read(path), state)


def test_numbers_stay_in_the_file_until_they_are_wanted(tmp_path):
    """An optimizer's arrays, ten megabytes, are stepped over."""
    state = saved.state_dict(saved.SMALLEST)
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    for protocol in (2, 4):
        moments = {"optimizer": {str(i): np.full(1 << 19, i, np.float32) for i in range(5)}}
        (tmp_path / "net.pkl").write_bytes(pickle.dumps({"state_dict": arrays} | moments, protocol))
        assert same(read(tmp_path / "net.pkl"), state)
        tracemalloc.start()
        read(tmp_path / "net.pkl")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()


# attacks

DTYPE = b"cnumpy\ndtype\n(X\x02\x00\x00\x00f4\x89\x88tR(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
START = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"


def array(shape, data, dtype=DTYPE, fortran=b"\x89", version=b"K\x01"):
    return START + b"(" + version + shape + dtype + fortran + data + b"tb"


def held(value):
    return b"\x80\x04}X\x0f\x00\x00\x00norm1._variance" + value + b"s."


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (array(b"K\x03\x85", b"C\x08" + bytes(8)), "a NumPy array of 12 bytes that holds 8 bytes"),
        (array(b"J\xff\xff\xff\x7f\x85", b"C\x08" + bytes(8)), "that holds 8 bytes"),
        (array(b"J\xff\xff\xff\xff\x85", b"C\x00"), "integers from 0 on"),
        (array(b"(" + b"K\x01" * 9 + b"t", b"C\x04" + bytes(4)), "at most 8 integers"),
        (array(b"K\x02\x85", b"B\xff\xff\xff\x7f" + bytes(8)), "a text of 2147483647 bytes"),
        (array(b"K\x02\x85", b"C\x08" + bytes(8)) + b"(K\x01K\x02\x85" + DTYPE + b"\x89C\x08" + bytes(8) + b"tb", "has one"),
        (START + b"Nb", "a NumPy array whose state is not one"),
        (START + b"}b", "a NumPy array whose state is not one"),
        (b"cnumpy\ndtype\n(X\x02\x00\x00\x00f4tR(K\x03]tb", "a NumPy dtype whose state is not one"),
        (b"cnumpy\ndtype\n(X\x02\x00\x00\x00f4tR" + b"Nb", "a NumPy dtype whose state is not one"),
        (b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13tR", "_codecs.encode"),
        (b"cbuiltins\neval\n(X\x04\x00\x00\x00datatR", "the file names 'builtins.eval'"),
    ],
    ids=range(12),
)
def test_arrays_that_are_not_what_they_say(tmp_path, value, words):
    refused(tmp_path / "a.pdparams", held(value), words)


def test_an_array_of_objects_is_no_tensor(tmp_path):
    arrays = conventions(saved.state_dict(saved.SMALLEST))
    for other in (np.array(["a"]), np.array([None]), np.array([(1, 2.0)], "i4,f4")):
        (tmp_path / "a.pdparams").write_bytes(pickle.dumps(arrays | {"head.bias": other}, 4))
        with pytest.raises(CheckpointError, match=r"head\.bias"):
            read(tmp_path / "a.pdparams")


def test_bytes_written_as_a_text_are_characters_of_one_byte():
    assert Encoded("\x00\xff").read(1, 1).tobytes() == b"\xff"
    for text, place in (("\u0100", (0, 1)), ("a", (0, 2)), ("a", (-1, 1))):
        with pytest.raises(CheckpointError):
            Encoded(text).read(*place)
