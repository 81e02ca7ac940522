"""Storages and views of them in files that torch.save never wrote: what is read is what PyTorch reads, to the bit."""

import itertools
import random

import pytest
from support import saved
from support.compare import assert_bit_equal
from support.judge import torch
from support.saved import legacy
from support.watch import refused

from minivan.checkpoint import CheckpointError, read
from minivan.checkpoint.budget import Budget
from minivan.checkpoint.torchfile import open_torch

RECORD = (8).to_bytes(8, "little") + saved.floats(*range(8))
TWO_WAYS = "is described in two ways"


def values(path):
    """{name: nested lists} of the tensors in the dictionary that a file holds."""
    with open(path, "rb") as file:
        return {name: tensor.read().tolist() for name, tensor in open_torch(file, Budget(1 << 20)).contents.items()}


def of_torch(path):
    return {name: tensor.tolist() for name, tensor in torch.load(path, weights_only=False).items()}


def viewing(*view, **others):
    return saved.pickled_tensor(count=8, view=view, **others)


def test_views_of_one_storage(file):
    """One view named twice, and two views."""
    tensors = dict(a=viewing("v", 2, 4), b=viewing("v", 2, 4, offset=1, shape=(3,)), c=viewing("w", 4, 4))
    file.write_bytes(legacy(saved.pickled_dict(**tensors), ["0"], RECORD))
    assert values(file) == of_torch(file) == {"a": [2, 3, 4, 5], "b": [3, 4, 5], "c": [4, 5, 6, 7]}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (viewing("v", 0, 4), viewing("v", 4, 4)),
        (viewing("v", 0, 4), viewing("v", 0, 5)),
        (viewing("v", 0, 4), viewing("v", 0, 4, key="1")),
        (saved.pickled_tensor(count=8), viewing("0", 4, 4)),
        (viewing("0", 4, 4), saved.pickled_tensor(count=8)),
        (viewing("1", 4, 4), saved.pickled_tensor(key="1", count=8)),
        (saved.pickled_tensor(count=8), saved.pickled_tensor(count=8, location="cuda:0")),
    ],
    ids=["offset", "length", "storage", "a storage's key", "its own storage's key", "a key that is a storage's later", "place"],
)
def test_one_key_for_two_storages(file, first, second):
    """PyTorch takes the first description for both."""
    refused(file, legacy(saved.pickled_dict(a=first, b=second), ["0", "1"], RECORD * 2), TWO_WAYS)


def test_one_storage_in_two_places(file):
    two = saved.pickled_dict(a=saved.pickled_tensor(), b=saved.pickled_tensor(location="cuda:0"))
    refused(file, saved.around(two, **{"0": saved.floats(1, 2, 3, 4)}), "storage '0' is described in two ways")


def test_locations_and_keys_of_views_that_are_none(file):
    for tensor, words in (
        (saved.pickled_tensor(count=8, location="c" * 65), "storage '0' at the location 'ccc"),
        (viewing("v" * 65, 0, 4), "a view of storage '0' with the key 'vvv"),
    ):
        refused(file, legacy(saved.pickled_dict(a=tensor), ["0"], RECORD), words)


def test_a_view_in_a_zip_file(file):
    """PyTorch refuses it; its whole storage would be other weights."""
    pickled = saved.pickled_dict(a=viewing("v", 4, 4))
    records = {"a/data.pkl": pickled, "a/version": b"3\n", "a/data/0": saved.floats(*range(8))}
    refused(file, saved.zip_of(records), "a view of storage '0'", "have none")
    with pytest.raises(ValueError, match="too many values"):
        torch.load(file, weights_only=False)


KINDS = {"ByteStorage": 1, "HalfStorage": 2, "FloatStorage": 4, "DoubleStorage": 8}
DTYPES = {"float16": 2, "float32": 4, "float64": 8}


def test_a_tensor_of_another_dtype_than_its_storage(file):
    """`_rebuild_tensor_v3` counts its offset in elements of the tensor; a view of a storage, in elements of the storage."""
    draw, read, unaligned = random.Random(0), 0, 0
    for kind, dtype in itertools.product(KINDS, DTYPES):
        for _ in range(20):
            item, own = KINDS[kind], DTYPES[dtype]
            count = 64 // item
            first = draw.randrange(count)
            length = draw.randrange(count - first + 1)
            offset = draw.randrange(3)
            shape = (draw.randrange(4),)
            tensor = saved.pickled_tensor("0", count, offset, shape, (1,), kind, ("v", first, length), dtype)
            numbers = bytes(draw.randrange(60) for _ in range(64))  # no infinities, no NaN
            file.write_bytes(legacy(saved.pickled_dict(a=tensor), ["0"], count.to_bytes(8, "little") + numbers))
            try:
                found = values(file)
            except CheckpointError as error:
                if "between two elements" in str(error):
                    assert first * item % own
                    unaligned += 1
                else:
                    held = length * item // own
                    assert "of a storage of" in str(error) and offset + shape[0] > held
                continue
            assert found == of_torch(file), (kind, dtype, first, length, offset, shape)
            read += bool(shape[0])
    assert read > 50 and unaligned > 10


def test_a_tensor_of_another_dtype_in_a_big_endian_file(file):
    """PyTorch swaps the bytes of the storage's elements, not of the tensor's."""
    for kind, dtype, words in (("ByteStorage", "float32", "float32 in a big-endian storage of uint8"),
                               ("DoubleStorage", "float32", "float32 in a big-endian storage of float64"),
                               ("FloatStorage", "float32", "not a VAN: 1 entries")):  # fmt: skip
        pickled = saved.pickled_dict(a=saved.pickled_tensor(kind=kind, dtype=dtype, shape=(1,)))
        refused(file, saved.zip_of({"a/data.pkl": pickled, "a/byteorder": b"big", "a/data/0": bytes(32)}), words)


def negated_view(tensor):
    """Return the same numbers as a view that PyTorch negates when it is read."""
    view = torch.complex(torch.zeros_like(tensor), -tensor).conj().imag
    assert view.is_neg() and torch.equal(view, tensor)
    return view


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_tensor_that_is_negated_when_it_is_read(file, legacy):
    """PyTorch keeps that apart from the numbers, in the tensor's metadata; a zero's sign is turned too."""
    state = saved.state_dict()
    state["head.weight"][0, :2] = torch.tensor([0.0, -0.0])
    saved.save(state | {"head.weight": negated_view(state["head.weight"])}, file, legacy)
    assert_bit_equal("head.weight", read(file).tensors["head.weight"], state["head.weight"].numpy())


def test_a_tensor_with_a_bit_that_is_not_known(file):
    """It is refused where its numbers are wanted, and nowhere else."""
    state = saved.state_dict()
    saved.save(state | {"head.weight": negated_view(state["head.weight"])}, file, legacy=True)
    refused(file, file.read_bytes().replace(b"\x03\0\0\0neg", b"\x03\0\0\0odd"), "head.weight cannot be read: "
            "PyTorch has marked it with 'odd', which minivan does not know")  # fmt: skip
    saved.save({"state_dict": state, "optimizer": negated_view(torch.ones(2))}, file, legacy=True)
    file.write_bytes(file.read_bytes().replace(b"\x03\0\0\0neg", b"\x03\0\0\0odd"))
    assert read(file).config == saved.SMALL


def test_other_numbers_in_a_tensor_s_state(file):
    """What PyTorch sets on a tensor after it has rebuilt it may be its numbers; a state with anything else is let go."""
    one, other = viewing("v", 0, 2, shape=(2,)), viewing("w", 4, 2, shape=(2,))
    hooks = b"\x89ccollections\nOrderedDict\n)R"
    for key, words in (("data", "hold other numbers"), ("real", "hold other numbers"), ("origin", "not a VAN: 1 entries")):
        state = b"}" + saved.short(key) + other + b"s"
        for attributes in (state, b"N" + state + b"\x86", state + b"N\x86"):
            rebuilt = b"ctorch._utils\n_rebuild_parameter_with_state\n(" + one + hooks + attributes + b"tR"
            data = legacy(saved.pickled_dict(a=rebuilt), ["0"], RECORD)
            refused(file, data, words)
            if key == "data":
                assert of_torch(file) == {"a": [4, 5]}  # and not the [0, 1] that it was rebuilt with
    function, arguments = one.removesuffix(b"R").split(b"(", 1)
    by_type = b"ctorch._tensor\n_rebuild_from_type_v2\n(" + function + b"ctorch\nTensor\n(" + arguments
    refused(
        file, legacy(saved.pickled_dict(a=by_type + b"}" + saved.short("data") + other + b"stR"), ["0"], RECORD), "hold other"
    )
    set_later = one + b"(" + saved.pickled_storage(count=8) + b"K\x04K\x02\x85K\x01\x85tb"
    refused(file, legacy(saved.pickled_dict(a=set_later), ["0"], RECORD), "a state set on a tensor")
