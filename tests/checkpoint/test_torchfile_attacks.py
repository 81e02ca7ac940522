"""Tensors that claim what their storages do not have, and what else torch.save never writes."""

import pytest
from support import saved
from support.judge import torch
from support.saved import legacy
from support.watch import refused

HUGE = 1 << 62


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        (dict(count=5), "claims 20 bytes: its record has 16"),
        (dict(count=HUGE), f"claims {4 * HUGE} bytes"),
        (dict(count=-1), "-1 elements"),
        (dict(shape=(5,)), "it ends at element 5 of a storage of 4"),
        (dict(offset=1), "it ends at element 5 of a storage of 4"),
        (dict(offset=-1), "begins at element -1"),
        (dict(offset=1 << 63), "begins at element"),
        (dict(offset=HUGE), "of a storage of 4"),
        (dict(shape=(-4,)), "shape is not"),
        (dict(shape=(1 << 64,)), "shape is not"),
        (dict(shape=(HUGE, HUGE), strides=(0, 0)), "overlap"),
        (dict(shape=(HUGE,), strides=(0,)), "overlap"),
        (dict(shape=(65536, 65536), strides=(0, 0)), "overlap"),
        (dict(shape=(3, 2), strides=(1, 1)), "overlap"),
        (dict(shape=(2, 3), strides=(1, 1)), "overlap"),
        (dict(shape=(4,), strides=(2,)), "it ends at element 7"),
        (dict(shape=(4,), strides=(-1,)), "strides is not"),
        (dict(shape=(2, 2), strides=(1,)), "with 1 strides"),
        (dict(shape=(1,) * 9, strides=(1,) * 9), "shape is not"),
        (dict(shape=(2, 2), strides=(HUGE, HUGE)), "of a storage of 4"),
        (dict(kind="Tensor"), "a storage of the class 'torch.Tensor'"),
        (dict(kind="float32"), "'0' claims"),
        (dict(key="1"), "has no record"),
        (dict(key="../data.pkl"), "has no record"),
    ],
    ids=str,
)
def test_a_tensor_that_claims_what_its_storage_does_not_have(file, numbers, words):
    if numbers == dict(kind="float32"):
        numbers, words = dict(kind="float32", count=5), "claims 20 bytes"
    pickled = saved.pickled_dict(state_dict=b"}" + saved.short("head.bias") + saved.pickled_tensor(**numbers) + b"s")
    refused(file, saved.around(pickled, **{"0": saved.floats(1, 2, 3, 4)}), words)


def test_a_legacy_storage_that_claims_more_than_its_record(file):
    pickled = saved.pickled_dict(a=saved.pickled_tensor())
    good = (4).to_bytes(8, "little") + saved.floats(1, 2, 3, 4)
    refused(file, legacy(pickled, ["0"], good), "not a VAN: 1 entry, 'a' first")  # so the file itself is sound
    refused(file, legacy(pickled, ["0"], (5).to_bytes(8, "little") + saved.floats(1, 2, 3, 4, 5)), "claims 4 elements", "has 5")
    refused(file, legacy(pickled, ["0"], good[:-1]), "ends 1 bytes after the file")
    refused(file, legacy(pickled, ["0"], good + b"x"), "1 bytes follow the last storage")
    refused(file, legacy(pickled, ["0", "0"], good * 2), "listed twice")
    refused(file, legacy(pickled, ["1"], good), "described nowhere")
    claims = pickled.replace(saved.integer(4) + b"tQ", saved.integer(HUGE) + b"tQ")
    refused(file, legacy(claims, ["0"], good), f"claims {HUGE} elements", "its record has 4")
    two = saved.pickled_dict(a=saved.pickled_tensor(), b=saved.pickled_tensor(count=2, shape=(2,)))
    refused(file, legacy(two, ["0"], good), "described in two ways")
    refused(file, legacy(pickled, [["0"]], good), "storage a list in the list")


@pytest.mark.parametrize("other", [dict(kind="HalfStorage"), dict(count=2, shape=(2,)), dict(kind="IntStorage")], ids=str)
def test_one_storage_described_in_two_ways(file, other):
    """PyTorch takes the first description for both tensors; read one by one they would be other weights."""
    two = saved.pickled_dict(a=saved.pickled_tensor(), b=saved.pickled_tensor(**other))
    refused(file, saved.around(two, **{"0": saved.floats(1, 2, 3, 4)}), "storage '0' is described in two ways")
    record = (4).to_bytes(8, "little") + saved.floats(1, 2, 3, 4)
    refused(file, legacy(two, ["0"], record), "storage '0' is described in two ways")
    same = saved.pickled_dict(a=saved.pickled_tensor(), b=saved.pickled_tensor(offset=2, shape=(2,)))
    refused(file, saved.around(same, **{"0": saved.floats(1, 2, 3, 4)}), "not a VAN: 2 entries, 'a' first")


def test_a_few_bytes_seen_by_many_tensors(file):
    """Each tensor is sound by itself; together they would make gigabytes of a file of 40 kilobytes."""
    config = saved.SMALLEST
    state = saved.state_dict(config)
    flat = torch.zeros(10_000)
    state = {name: flat[:: 9999 // (tensor.numel() - 1)][: tensor.numel()].view(tensor.shape) if tensor.numel() > 1 else tensor
             for name, tensor in state.items()}  # fmt: skip
    saved.save(state, file)
    refused(file, file.read_bytes(), "times its size")


def test_a_persistent_id_that_is_no_storage(attack):
    for identifier in (b"N", b")", b"K\x01", saved.short("0"), b"(K\x01t", b"(" + saved.short("file") + b"t"):
        attack(b"\x80\x02" + identifier + b"Q.", "persistent id")


def test_arguments_of_the_wrong_kind(attack):
    for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3"):
        for args in (b")", b"N\x85", b"(NNNNt", b"(" + b"]" * 8 + b"t", b"(" + b"K\x01" * 8 + b"t"):
            attack(b"\x80\x02ctorch._utils\n" + name.encode() + b"\n" + args + b"R.")
    for call in (b"ctorch\nSize\n)R", b"ctorch\nSize\nK\x01\x85R", b"ccollections\nOrderedDict\nK\x01\x85R",
                 b"ccollections\nOrderedDict\n](K\x01K\x02ee\x85R", b"ctorch._tensor\n_rebuild_from_type_v2\n)R",
                 b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._tensor\n_rebuild_from_type_v2\nN)NtR",
                 b"ctorch\nFloatStorage\n)R", b"ctorch\nfloat32\n)R", b"cbuiltins\nset\nNR"):  # fmt: skip
        attack(b"\x80\x02" + call + b".")


def test_items_put_where_none_go(attack):
    for tail in (b"NNa.", b"N(Ne.", b"NNNs.", b"N(NNu.", b"}(Nu.", b"}(N\x90.", b"](NNu.", b"}Na."):
        attack(b"\x80\x02" + tail)
