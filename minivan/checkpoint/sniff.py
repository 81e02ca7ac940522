"""What a file is, told by its first bytes; its name proves nothing."""

from __future__ import annotations

import re
from io import BufferedIOBase

from .diagnoses import AGAIN, BEGINNINGS, of_text
from .error import CheckpointError

PROTOCOL_1 = b"L119547037146038801333356L\n"  # torch.save's magic number in pickle protocol 1, which has no mark of its own
# An ONNX file has no mark of its own: its first field is its version of the format, its second one of six of ModelProto's.
ONNX = re.compile(rb"\x08[\x01-\x3f][\x12\x1a\x22\x28\x32\x3a\x42]")


def kind_of(file: BufferedIOBase) -> str:
    """Return 'torch' (of another pickle too), 'safetensors', 'hdf5' or 'onnx'; CheckpointError says what any other file is."""
    file.seek(0)
    head = file.read(512)
    size = file.seek(0, 2)
    if not head:
        raise CheckpointError("the file is empty", AGAIN)
    if head.startswith(b"PK\3\4"):
        return "torch"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= max(size, 1 << 32):
        return "safetensors"  # asked before the others: the length it begins with may look like any of them
    if head.startswith((b"\x80", PROTOCOL_1)):
        return "torch"
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "hdf5"
    if ONNX.match(head):
        return "onnx"
    for start, what, why in BEGINNINGS:
        if head.startswith(start):
            raise CheckpointError(what, why)
    if head[257:262] == b"ustar":
        raise CheckpointError("a tar file", "PyTorch's format before 0.1.10, or an archive: save it again with a newer PyTorch")
    text = of_text(head)
    if text:
        raise CheckpointError(*text)
    if not any(head.count(c) for c in range(9)):
        raise CheckpointError("a text file", "PyTorch and safetensors files are read")
    raise CheckpointError("neither a PyTorch nor a safetensors file", f"it begins with the bytes {head[:8].hex(' ')}")
