"""Checkpoints for tests: as PyTorch saves them, and as somebody with a hex editor might."""

import argparse
import functools
import io
import pickle
import struct
import zipfile
from collections import OrderedDict

from minivan.checkpoint.torchfile import LEGACY_VERSION, MAGIC
from minivan.variants import Config
from support.judge import torch, torch_van

SMALL = Config((4, 6, 6, 8), (1, 2, 1, 1), (3, 2, 2, 1), classes=5)
SMALLEST = Config((2,), (1,), (2,), classes=3)


def state_dict(config=SMALL, seed=0):
    """What a PyTorch VAN of this shape saves, BatchNorm's counters included, with numbers that a float16 holds exactly."""
    state = _state_dict(config, seed)
    copy = OrderedDict((name, tensor.clone()) for name, tensor in state.items())
    copy._metadata = state._metadata
    return copy


@functools.cache
def _state_dict(config, seed):
    torch.manual_seed(seed)
    state = torch_van.TorchVAN(config).state_dict()
    for name, tensor in state.items():
        if tensor.is_floating_point():
            tensor.copy_(torch.randn(tensor.shape).mul_(0.25).half().float())
            if name.endswith("running_var"):
                tensor.abs_().add_(0.5)
    return state


def training_checkpoint(state):
    """What the authors' training script saves: the network, its optimizer's state, the arguments."""
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(3, 4)), torch.nn.Parameter(torch.ones(2))])
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    args = argparse.Namespace(model="van_tiny", lr=1e-3, opt_betas=None, aa="rand-m9-mstd0.5-inc1")
    return {
        "epoch": 309, "arch": "van_tiny", "state_dict": state, "version": 2, "args": args, "metric": 75.4,
        "optimizer": optimizer.state_dict(),
    }  # fmt: skip


def save(value, path, legacy=False, **options):
    torch.save(value, path, _use_new_zipfile_serialization=not legacy, **options)
    return path


# The same network under the other two libraries' names, written out from their code and not from minivan's maps.
def huggingface_name(name, prefix="van."):
    parts = name.split(".")
    if parts[0] == "head":
        return f"classifier.{parts[1]}"
    stage = f"{prefix}encoder.stages.{int(parts[0][-1]) - 1}"
    rest = ".".join(parts[2:])
    if parts[0].startswith("patch_embed"):
        return f"{stage}.embeddings.{ {'proj': 'convolution', 'norm': 'normalization'}[parts[1]] }.{parts[2]}"
    if parts[0].startswith("norm"):
        return f"{stage}.normalization.{parts[1]}"
    for ours, theirs in (
        ("norm1", "pre_normomalization"), ("norm2", "post_normalization"),
        ("attn.proj_1", "attention.pre_projection.conv"), ("attn.proj_2", "attention.post_projection"),
        ("attn.spatial_gating_unit.conv0", "attention.attention_layer.attention.depth_wise"),
        ("attn.spatial_gating_unit.conv_spatial", "attention.attention_layer.attention.depth_wise_dilated"),
        ("attn.spatial_gating_unit.conv1", "attention.attention_layer.attention.point_wise"), ("mlp.fc1", "mlp.in_dense"),
        ("mlp.dwconv.dwconv", "mlp.depth_wise"), ("mlp.fc2", "mlp.out_dense"),
        ("layer_scale_1", "attention_scaling.weight"), ("layer_scale_2", "mlp_scaling.weight"),
    ):  # fmt: skip
        if rest == ours or rest.startswith(f"{ours}."):
            return f"{stage}.layers.{parts[1]}.{theirs}{rest.removeprefix(ours)}"
    raise AssertionError(name)


def openmmlab_name(name):
    if name.startswith("head."):
        return name.replace("head.", "head.fc.")
    for ours, theirs in (
        (".proj.", ".projection."), ("block", "blocks"), ("conv0", "DW_conv"), ("conv_spatial", "DW_D_conv"),
        ("dwconv.dwconv", "dwconv"),
    ):  # fmt: skip
        name = name.replace(ours, theirs)
    return f"backbone.{name}"


def huggingface(state, prefix="van."):
    """With the LayerNorm that Hugging Face's VanModel carries and never uses."""
    renamed = OrderedDict((huggingface_name(name, prefix), tensor) for name, tensor in state.items())
    renamed[f"{prefix}layernorm.weight"] = renamed[f"{prefix}layernorm.bias"] = torch.ones(7)
    return renamed


def openmmlab(state):
    return OrderedDict((openmmlab_name(name), tensor) for name, tensor in state.items())


def prefixed(prefix, state):
    return OrderedDict((prefix + name, tensor) for name, tensor in state.items())


def without_head(state):
    return OrderedDict((name, tensor) for name, tensor in state.items() if not name.startswith("head"))


def assert_same(weights, state):
    """The network's tensors are those of a state dict, to the bit."""
    expected = {name: tensor for name, tensor in state.items() if "num_batches" not in name}
    assert set(weights.tensors) == set(expected)
    for name, tensor in weights.tensors.items():
        assert tensor.tobytes() == expected[name].detach().float().contiguous().numpy().tobytes(), name


def records(path):
    """The records of a zip file, {name: bytes}."""
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def zip_of(contents, compression=zipfile.ZIP_STORED) -> bytes:
    """A zip file of [(name, bytes)] or {name: bytes}, written by Python."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, data in contents.items() if isinstance(contents, dict) else contents:
            info = zipfile.ZipInfo(name)
            info.compress_type = compression
            file.writestr(info, data)
    return buffer.getvalue()


def around(pickled: bytes, **storages: bytes) -> bytes:
    """A zip checkpoint with this data.pkl and these storages."""
    return zip_of({"archive/data.pkl": pickled} | {f"archive/data/{key}": data for key, data in storages.items()})


def legacy(contents: bytes, keys=(), storages=b"") -> bytes:
    """A file of the kind that torch.save wrote before it wrote zip files, around what it is to hold."""
    head = b"".join(pickle.dumps(value, 2) for value in (MAGIC, LEGACY_VERSION, {"little_endian": True}))
    return head + contents + pickle.dumps(list(keys), 2) + storages


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def short(text: str) -> bytes:
    """SHORT_BINUNICODE: a text in pickle's opcodes."""
    data = text.encode()
    return b"\x8c" + bytes([len(data)]) + data


def integer(value: int) -> bytes:
    """LONG1: an integer in pickle's opcodes."""
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def pickled_storage(key="0", count=4, kind="FloatStorage", location="cpu", view=None) -> bytes:
    """The opcodes that name a storage, or with (key, offset, length) a view of it."""
    part = b"" if view is None else b"(" + short(view[0]) + integer(view[1]) + integer(view[2]) + b"t"
    start = b"(" + short("storage") + f"ctorch\n{kind}\n".encode() + short(key) + short(location)
    return start + integer(count) + part + b"tQ"


def pickled_tensor(
    key="0", count=4, offset=0, shape=(4,), strides=(1,), kind="FloatStorage", view=None, dtype=None, **more
) -> bytes:
    """The opcodes that rebuild a tensor, with any numbers in them; one with a dtype of its own by `_rebuild_tensor_v3`."""
    storage = pickled_storage(key, count, kind, view=view, **more)
    numbers = [b"(" + b"".join(integer(v) for v in values) + b"t" for values in (shape, strides)]
    function, last = ("_rebuild_tensor_v2", b"") if dtype is None else ("_rebuild_tensor_v3", f"ctorch\n{dtype}\n".encode())
    arguments = storage + integer(offset) + numbers[0] + numbers[1] + b"\x89ccollections\nOrderedDict\n)R" + last
    return f"ctorch._utils\n{function}\n".encode() + b"(" + arguments + b"tR"


def pickled_dict(**values: bytes) -> bytes:
    """A whole pickle: a dictionary of text keys and values given as opcodes."""
    return b"\x80\x02}(" + b"".join(short(key) + value for key, value in values.items()) + b"u."


def floats(*values) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)
