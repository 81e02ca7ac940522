"""Distributed checkpoints: tensors put together of the chunks that several processes wrote."""

import pickle

import numpy as np
import pytest
from support import saved
from support.judge import torch
from support.watch import watching

from minivan.card import file_sha256
from minivan.checkpoint import CheckpointError, opened, read


def store(folder, state, chunks=1):
    """What torch.distributed.checkpoint writes, and where `chunks` are several, what as many processes write together."""
    from torch.distributed import checkpoint as dcp
    from torch.distributed.checkpoint import filesystem, metadata

    if chunks == 1:
        dcp.save(state, checkpoint_id=str(folder), no_dist=True)
        return folder / ".metadata"
    folder.mkdir()
    described, places = {}, {}
    files = [open(folder / f"__{rank}_0.distcp", "wb") for rank in range(chunks)]  # noqa: SIM115
    for name, tensor in state.items():
        parts = []
        for rank, part in enumerate(torch.chunk(tensor, chunks) if tensor.dim() else [tensor]):
            start = files[rank].tell()
            torch.save(part.clone(), files[rank])
            offsets = torch.Size(
                [rank * len(torch.chunk(tensor, chunks)[0]), *[0] * (tensor.dim() - 1)] if tensor.dim() else []
            )
            parts.append(metadata.ChunkStorageMetadata(offsets, part.shape))
            index = metadata.MetadataIndex(name, offsets, rank)
            places[index] = filesystem._StorageInfo(files[rank].name.rpartition("/")[2], start, files[rank].tell() - start)
        properties = metadata.TensorProperties.create_from_tensor(tensor)
        described[name] = metadata.TensorStorageMetadata(properties, tensor.shape, parts)
    for file in files:
        file.close()
    whole = metadata.Metadata(described, storage_data=places)
    (folder / ".metadata").write_bytes(pickle.dumps(whole))
    return folder / ".metadata"


def fault(path):
    with pytest.raises(CheckpointError) as raised:
        read(path)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("chunks", "dtype"),
    [(1, "float32"), *(pytest.param(chunks, "bfloat16", marks=pytest.mark.slow) for chunks in (1, 2, 3))],
)
@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_a_distributed_checkpoint_is_one_network(tmp_path, chunks, dtype):
    state = {name: tensor.to(getattr(torch, dtype)) if tensor.dim() else tensor for name, tensor in saved.state_dict().items()}
    metadata = store(tmp_path / "van", dict(state), chunks)
    for path in (metadata.parent, metadata):
        weights = read(path)
        assert weights.config == saved.SMALL and weights.card.name == "van"
        assert all(np.array_equal(weights.tensors[name], state[name].float().numpy()) for name in weights.tensors)
    files = sorted(metadata.parent.glob("*.distcp"))
    with opened(metadata) as checkpoint:
        assert checkpoint.format == "PyTorch distributed"
        assert checkpoint.size == sum(file.stat().st_size for file in [metadata, *files])
        assert checkpoint.card.sha256 == file_sha256(*files)


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_the_network_lies_below_a_key_beside_an_optimizer(tmp_path):
    state = saved.state_dict(saved.SMALLEST)
    parameter = torch.nn.Parameter(torch.ones(3))
    parameter.grad = torch.ones(3)
    optimizer = torch.optim.AdamW([parameter])
    optimizer.step()
    metadata = store(tmp_path / "van", {"model": dict(state), "optimizer": optimizer.state_dict(), "epoch": 3})
    assert all(np.array_equal(array, state[name].numpy()) for name, array in read(metadata).tensors.items())


def test_what_is_missing_or_cut_short_is_named(tmp_path):
    metadata = store(tmp_path / "van", dict(saved.state_dict(saved.SMALLEST)), 2)
    second = metadata.parent / "__1_0.distcp"
    data = second.read_bytes()
    second.write_bytes(data[:-10])
    assert "'__1_0.distcp' ends before" in fault(metadata.parent)
    second.write_bytes(data[:1000] + bytes(200) + data[1200:])
    assert "zip" in fault(metadata.parent) or "checksum" in fault(metadata.parent)
    second.unlink()
    assert "the file '__1_0.distcp' is missing" in fault(metadata.parent)


@pytest.mark.parametrize("place", ["../x.distcp", "/etc/passwd", "a/b", ""])
def test_no_chunk_lies_in_another_folder(tmp_path, place):
    metadata = store(tmp_path / "van", dict(saved.state_dict(saved.SMALLEST)), 2)
    whole = pickle.loads(metadata.read_bytes())
    next(iter(whole.storage_data.values())).relative_path = place
    metadata.write_bytes(pickle.dumps(whole))
    with watching() as seen:
        assert "a file beside it is wanted" in fault(metadata)
    assert all(name.startswith(str(metadata.parent)) for name in seen.opened)


@pytest.mark.parametrize("change", ["overlap", "gap", "shape", "dtype", "nowhere", "none"])
def test_metadata_that_contradict_the_chunks(tmp_path, change):
    metadata = store(tmp_path / "van", dict(saved.state_dict(saved.SMALLEST)), 2)
    whole = pickle.loads(metadata.read_bytes())
    tensor = whole.state_dict_metadata["block1.0.mlp.fc1.weight"]
    if change == "overlap":
        tensor.chunks[1] = tensor.chunks[0]
    elif change == "gap":
        del tensor.chunks[1]
    elif change == "shape":
        tensor.size = torch.Size([4, 4, 1, 1])
    elif change == "dtype":
        tensor.properties.dtype = torch.float64
    elif change == "nowhere":
        tensor.chunks[1].offsets = torch.Size([1, 1, 0, 0])
    else:
        whole.storage_data = None
    metadata.write_bytes(pickle.dumps(whole))
    message = fault(metadata)
    assert ".metadata" in message and "van" in message
