"""Tensors that PyTorch rebuilds from a device or from several processes: read where the whole tensor is there, else refused."""

import pytest
from support import saved
from support.judge import torch

from minivan.checkpoint import CheckpointError, read

NAME = "block1.0.mlp.fc1.weight"
FULL = "full_state_dict=True"


@pytest.fixture(scope="module")
def meshes():
    """Meshes of one process and of two, neither of which is there: this one is the first of them."""
    from torch.distributed import destroy_process_group, init_process_group
    from torch.distributed.device_mesh import DeviceMesh
    from torch.testing._internal.distributed.fake_pg import FakeStore

    init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    yield {1: DeviceMesh("cpu", [0]), 2: DeviceMesh("cpu", [0, 1])}
    destroy_process_group()


def with_one(tensor):
    return saved.state_dict() | {NAME: tensor}


def refusal(path):
    with pytest.raises(CheckpointError) as raised:
        read(path)
    return str(raised.value)


@pytest.mark.slow
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("parameter", [False, True])
def test_a_distributed_tensor_whose_whole_is_there_is_read(tmp_path, meshes, legacy, parameter):
    from torch.distributed.tensor import DTensor, Replicate, Shard

    whole = saved.state_dict()[NAME]
    for size, placement in ((1, Shard(0)), (1, Replicate()), (2, Replicate())):
        tensor = DTensor.from_local(whole, meshes[size], [placement], run_check=False)
        tensor = torch.nn.Parameter(tensor) if parameter else tensor
        path = saved.save(with_one(tensor), tmp_path / "net.pth", legacy)
        assert read(path).tensors[NAME].tobytes() == whole.numpy().tobytes()


@pytest.mark.slow
def test_every_tensor_may_be_distributed(tmp_path, meshes):
    from torch.distributed.tensor import DTensor, Replicate

    state = saved.state_dict()
    tensors = {name: DTensor.from_local(tensor, meshes[2], [Replicate()], run_check=False) for name, tensor in state.items()}
    weights = read(saved.save({"model": tensors}, tmp_path / "net.pth"))
    assert all(tensor.tobytes() == state[name].numpy().tobytes() for name, tensor in weights.tensors.items())


@pytest.mark.slow
def test_one_shard_of_a_tensor_is_known_for_one(tmp_path, meshes):
    from torch.distributed.tensor import DTensor, Shard

    tensor = DTensor.from_local(saved.state_dict()[NAME][:6], meshes[2], [Shard(0)], run_check=False)
    assert tensor.shape == (12, 4, 1, 1)
    message = refusal(saved.save(with_one(tensor), tmp_path / "net.pth"))
    assert f"{NAME} cannot be read: it is one shard, (6, 4, 1, 1), of a tensor of (12, 4, 1, 1)" in message and FULL in message


@pytest.mark.slow
def test_parts_that_are_still_to_be_added_are_no_tensor(tmp_path, meshes):
    from torch.distributed.tensor import DTensor, Partial

    tensor = DTensor.from_local(saved.state_dict()[NAME], meshes[2], [Partial()], run_check=False)
    message = refusal(saved.save(with_one(tensor), tmp_path / "net.pth"))
    assert "it is one of several parts that are still to be added" in message and FULL in message


def rebuilt(tensor: bytes, dtype: str) -> bytes:
    name = b"ctorch._utils\n_rebuild_device_tensor_from_cpu_tensor\n"
    return name + b"(" + tensor + f"ctorch\n{dtype}\n".encode() + saved.short("xla:0") + b"\x89tR"


def test_tensors_of_other_devices_that_were_saved_from_memory(file):
    """As PyTorch 2.1 and later save a tensor of XLA's."""
    from minivan.checkpoint.budget import Budget
    from minivan.checkpoint.torchfile import open_torch

    numbers = saved.floats(1, 2, 3, 4)
    file.write_bytes(saved.around(saved.pickled_dict(a=rebuilt(saved.pickled_tensor(), "float32")), **{"0": numbers}))
    with open(file, "rb") as opened:
        assert open_torch(opened, Budget(1 << 20)).contents["a"].read().tolist() == [1, 2, 3, 4]
    file.write_bytes(saved.around(saved.pickled_dict(a=rebuilt(saved.pickled_tensor(), "bfloat16")), **{"0": numbers}))
    with open(file, "rb") as opened, pytest.raises(CheckpointError, match="another dtype on its device"):
        open_torch(opened, Budget(1 << 20)).contents["a"].read()


def test_a_distributed_tensor_that_says_too_little_is_not_read(attack):
    start = b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_wrapper_subclass\n"
    for rest in (b"ctorch.distributed.tensor\nDTensor\n)NtR.", b"ctorch.distributed.tensor\nDTensor\n)}tR."):
        attack(start + rest, "the file holds an Unread")
