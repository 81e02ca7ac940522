"""PyTorch's files, zip and legacy, of NumPy arrays in dictionaries and lists, without PyTorch."""

import pickle
import pickletools
import struct

import numpy as np

from support import saved

KINDS = {"float32": "FloatStorage", "int64": "LongStorage", "uint8": "ByteStorage"}


def opcodes(value, storages: dict[str, np.ndarray]) -> bytes:
    """Return a value in pickle's opcodes; its arrays are put into `storages`, under the keys that the opcodes name."""
    if isinstance(value, np.ndarray):
        key = str(len(storages))
        storages[key] = array = np.array(value, order="C")
        strides = tuple(stride // array.itemsize for stride in array.strides)
        return saved.pickled_tensor(key, array.size, 0, array.shape, strides, KINDS[array.dtype.name])
    if isinstance(value, dict):
        return b"}(" + b"".join(opcodes(part, storages) for item in value.items() for part in item) + b"u"
    if isinstance(value, (list, tuple)):
        parts = b"".join(opcodes(part, storages) for part in value)
        return b"](" + parts + b"e" if isinstance(value, list) else b"(" + parts + b"t"
    return pickletools.optimize(pickle.dumps(value, 2))[2:-1]  # without its protocol and its end


def write(value, path, legacy=False):
    """Write a file as torch.save does, and return its path."""
    storages: dict[str, np.ndarray] = {}
    pickled = b"\x80\x02" + opcodes(value, storages) + b"."
    if legacy:
        numbers = b"".join(struct.pack("<q", array.size) + array.tobytes() for array in storages.values())
        path.write_bytes(saved.legacy(pickled, storages, numbers))
    else:
        path.write_bytes(saved.around(pickled, **{key: array.tobytes() for key, array in storages.items()}))
    return path
