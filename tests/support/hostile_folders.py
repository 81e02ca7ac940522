"""Distributed checkpoints that ask for more time than they have bytes: each kind in any size, a folder as {name: bytes}."""

from __future__ import annotations

import struct

from minivan.variants import Config, parameter_shapes
from support.hostile import filled, text, zipped

LISTED = "head.bias"  # the tensor with many chunks, and the last one that is read


def integers(values) -> bytes:
    return b"(" + b"".join(b"J" + struct.pack("<l", value) for value in values) + b"t"


def record(kind: str, state: bytes, module: str = "metadata") -> bytes:
    return f"ctorch.distributed.checkpoint.{module}\n{kind}\n".encode() + b")\x81" + state + b"b"


def fields(**values: bytes) -> bytes:
    return b"}(" + b"".join(text(name) + value for name, value in values.items()) + b"u"


def chunk(shape, steps: int = 0) -> bytes:
    """What torch.save writes of a tensor of zeros, its pickle with steps that do nothing."""
    count = 1
    for side in shape:
        count *= side
    strides = [1] * len(shape)
    for axis in reversed(range(len(shape) - 1)):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + integers([count])[1:-1] + b"tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + integers(shape) + integers(strides) + b"\x89NtR"
    return zipped({"a/data.pkl": b"\x80\x04" + b"N0" * (steps // 2) + tensor + b".", "a/data/0": bytes(4 * count)})


def described(shape, chunks) -> bytes:
    """What `.metadata` says of a tensor; `chunks` are offsets and sizes."""
    parts = (record("ChunkStorageMetadata", fields(offsets=integers(o), sizes=integers(s))) for o, s in chunks)
    properties = record("TensorProperties", b"(ctorch\nfloat32\nt")
    listed = b"](" + b"".join(parts) + b"e"
    return record("TensorStorageMetadata", fields(properties=properties, size=integers(shape), chunks=listed))


def folder(listed, places, evil: bytes, classes: int) -> dict[str, bytes]:
    """A network of one channel whose other tensors are sound; `places` says where in `evil` each listed chunk lies."""
    tensors, stored, data = [], [], b""

    def store(name, offsets, file, start, length):
        index = record("MetadataIndex", fields(fqn=text(name), offset=integers(offsets)))
        numbers = (b"J" + struct.pack("<l", value) for value in (start, length))
        info = dict(zip(("offset", "length"), numbers, strict=True))
        stored.append(index + record("_StorageInfo", fields(relative_path=text(file), **info), "filesystem"))

    for name, shape in parameter_shapes(Config((1,), (1,), (1,), classes=classes)):
        if name == LISTED:
            tensors.append(text(name) + described(shape, listed))
            for (offsets, _), (start, length) in zip(listed, places, strict=True):
                store(name, offsets, "evil", start, length)
            continue
        one = chunk(shape)
        tensors.append(text(name) + described(shape, [((0,) * len(shape), shape)]))
        store(name, (0,) * len(shape), "sound", len(data), len(one))
        data += one
    whole = fields(state_dict_metadata=b"}(" + b"".join(tensors) + b"u", storage_data=b"}(" + b"".join(stored) + b"u")
    return {".metadata": b"\x80\x02" + record("Metadata", whole) + b".", "sound": data, "evil": evil}


def same(size: int) -> dict[str, bytes]:
    """As many chunks as the metadata name, all of them the same bytes, whose pickle is long."""
    count, one = size // 1000, chunk((1,), size // 2)
    return folder([((i,), (1,)) for i in range(count)], [(0, len(one))] * count, one, count)


def empty(size: int) -> dict[str, bytes]:
    """Chunks without elements, all of them the same long bytes, before one that is the tensor."""
    count, one = size // 1000, chunk((1,), size // 2)
    listed = [((0,), (0,))] * count + [((0,), (1,))]
    return folder(listed, [(0, len(one))] * len(listed), one, 1)


def long(size: int) -> dict[str, bytes]:
    """Chunks side by side, each with a long pickle."""
    count = 10
    one = chunk((1,), size // count)
    listed = [((i,), (1,)) for i in range(count)]
    return folder(listed, [(i * len(one), len(one)) for i in range(count)], one * count, count)


def metadata(size: int) -> dict[str, bytes]:
    """A description that is long itself."""
    return {".metadata": b"\x80\x02" + filled(b"N0", size) + record("Metadata", b"}") + b"."}


DISTRIBUTED = {
    "chunks that are the same bytes": same, "empty chunks that are the same bytes": empty,
    "chunks with long pickles": long, "a long description": metadata,
}  # fmt: skip
KINDS = {"distributed": DISTRIBUTED}
