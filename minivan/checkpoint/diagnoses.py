"""What is recognised and not read: each with the true reason and the next step, in one table a kind.

`BEGINNINGS` is asked of a file's first bytes, `NETWORKS` of its tensors' names, `TENSORS` of how a pickle rebuilds one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from ..geometry import CONV0, CONV_SPATIAL, DWCONV
from .budget import Budget
from .error import CheckpointError
from .tensor import StoredTensor

AGAIN = "fetch it again, and compare its size with the one that the page states"
CUT_OFF = f"the download was cut off: {AGAIN}"
WHOLE_MODEL = "its class would have to be imported; in the code that has the class, save model.state_dict()"
TORCHSCRIPT = "in the code that has the class, save model.state_dict() with torch.save"
OTHER = "minivan computes VAN alone: use the library that made the file"

# First bytes -> what such a file is, and what to do. "Not a checkpoint" would leave the user to guess.
BEGINNINGS = (
    (b"\x1f\x8b", "a gzip file", "unpack it first"),
    (b"BZh", "a bzip2 file", "unpack it first"),
    (b"\xfd7zXZ\0", "an xz file", "unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it first"),
    (b"(\xb5/\xfd", "a Zstandard file", "unpack it first"),
    (b"PK\5\6", "an empty zip file", "it holds no weights"),
    (b"\x89HDF", "an HDF5 file (Keras, say)", "PyTorch and safetensors files are read"),
    (b"\x93NUMPY", "a NumPy array", "PyTorch and safetensors files are read"),
    (b"GGUF", "a GGUF file", "PyTorch and safetensors files are read"),
    (b"\xff\xd8\xff", "a JPEG image", "weights are wanted"),
    (b"\x89PNG", "a PNG image", "weights are wanted"),
    (b"version https://git-lfs", "a Git LFS pointer", "the file itself is still to be fetched (git lfs pull)"),
)
PAGE = (b"<!doctype", b"<html", b"<?xml")
OPENVINO = re.compile(rb"<net\s[^>]*name=[^>]*>|<net\s[^>]*version=")  # of its intermediate representation


def of_text(head: bytes) -> tuple[str, str] | None:
    """Return what a text is that begins like this, and what to do; None for one that is no page."""
    if not head.lstrip().lower().startswith((*PAGE, b"<net")):
        return None
    if OPENVINO.search(head):
        why = "the weights are in the .bin beside it, folded for OpenVINO: convert the checkpoint it was exported from"
        return "an .xml of OpenVINO's, a network without its weights", why
    return "a web page", "the download's address shows a page, not the file"


@dataclass(frozen=True)
class Telltale:
    """A network that is known by one of its tensors' names; `names` is looked for in all of them, one a line."""

    names: str
    what: str
    why: str = OTHER


QUANTISED = Telltale(
    r"_packed_params|\.zero_point$|\.(?:qweight|SCB)$|activation_post_process|weight_fake_quant",
    "a quantised network",
    "save the state_dict of the network before it was quantised",
)
ADAPTER = Telltale(
    r"\.lora_(?:[AB]|embedding_[AB])\b",
    "adapters of LoRA, not the network they change",
    "merge them in PEFT with model.merge_and_unload(), and save the state_dict of what it returns",
)
FLATTENED = Telltale(
    r"(?:^|[._])flat_param",
    "one shard of a network that FSDP has flattened",
    "save it where it was trained with StateDictType.FULL_STATE_DICT",
)
# Names that stand beside a VAN's own, in networks made from it or like it: another network, whatever else is there.
RELATIVES = (
    ADAPTER,
    QUANTISED,
    Telltale(r"\.conv_squeeze\.", "LSKNet, not VAN"),
    Telltale(r"spatial_gating_unit\.conv0_1\.", "MSCAN of SegNeXt, not VAN"),
    Telltale(r"\.(?:offset_net|deform_conv)\.", "VAN with deformable kernels (D-LKA)"),
    Telltale(r"block\d\.\d+\.attn\.(?:q|kv|sr)\.", "a PVT, or MiT of SegFormer, not VAN"),
)
NETWORKS = (
    *RELATIVES,
    FLATTENED,
    Telltale(r"(?:^|\.)layer[1-4]\.\d+\.(?:conv|bn)\d\.", "a ResNet"),
    Telltale(r"(?:^|\.)resnet\.|encoder\.stages\.\d\.layers\.\d+\.layer\.\d", "a ResNet of Hugging Face's"),
    Telltale(r"relative_position_bias_table$", "a Swin Transformer"),
    Telltale(r"(?:^|\.)(?:blocks|encoder\.layers?)\.\w+\.(?:attn\.qkv|attention\.attention|self_attention)\.", "a ViT"),
    Telltale(r"(?:^|\.)(?:cls_token|class_token|pos_embed)$", "a ViT"),
    Telltale(r"(?:^|\.)downsample_layers\.\d|(?:^|\.)stages\.\d\.(?:blocks|layers)\.\d+\.(?:conv_dw|dwconv)\.", "a ConvNeXt"),
    Telltale(r"(?:^|\.)features\.\d\.\d+\.(?:layer_scale|block\.0\.weight)$", "a ConvNeXt of torchvision's"),
    Telltale(r"_depthwise_conv\.|(?:^|\.)blocks\.\d\.\d+\.(?:conv_pw|conv_dw|se\.)", "an EfficientNet, or a MobileNet"),
    Telltale(r"(?:^|\.)features\.\d+\.\d+\.block\.\d|(?:^|\.)features\.\d+\.conv\.\d", "an EfficientNet, or a MobileNet"),
    Telltale(r"(?:^|\.)denseblock\d\.", "a DenseNet"),
    Telltale(r"(?:^|\.)token_mixer\.", "a MetaFormer"),
    Telltale(r"(?:^|\.)model\.\d+\.(?:cv\d|conv|m)\.", "a YOLO"),
    Telltale(r"(?:^|\.)features\.\d+\.(?:weight|bias)$", "a VGG, or an AlexNet"),
    Telltale(r"(?:^|\.)(?:bert|roberta|gpt|llama|text_model|transformer)\.", "a network for text"),
)
FULL = "gather the whole state_dict where it was trained (get_model_state_dict with full_state_dict=True) and save that"
CLASSES = (  # beginnings of a class's or function's name in a pickle that is not known by itself -> what the file is
    ("torch.nn.modules.", "a whole pickled model", WHOLE_MODEL),
    ("torch.nn.quantized", "a whole pickled model, quantised", QUANTISED.why),
    ("torch.ao.", "a whole pickled model, quantised", QUANTISED.why),
    ("torch.jit.", "a TorchScript program", TORCHSCRIPT),
    ("torch.fx.", "a whole pickled model, traced", WHOLE_MODEL),
    ("torch.distributed._shard", "one shard of a sharded network", FULL),
    ("torch.distributed.fsdp", "one shard of a sharded network", FULL),
)
TENSORS = {  # torch._utils._rebuild_... -> what it rebuilds, and what to do
    "qtensor": ("a quantised tensor", QUANTISED.why),
    "sparse_tensor": ("a sparse tensor", "save tensor.to_dense()"),
    "sparse_csr_tensor": ("a sparse tensor", "save tensor.to_dense()"),
    "nested_tensor": ("a nested tensor", "weights are plain tensors"),
    "wrapper_subclass": ("a tensor of a class of its own", "save plain tensors"),
    "meta_tensor_no_storage": ("a tensor on PyTorch's meta device", "it never had numbers: load the weights before you save"),
}
LONGEST_NAMES = 1 << 18  # characters of names that are looked through


def of_names(names: Iterable[str], telltales: Collection[Telltale], budget: Budget) -> Telltale | None:
    """Return the first telltale that fits one of the tensors' names, None for none."""
    kept, length = [], 0
    for name in names:
        length += 1 + len(name)
        if length > LONGEST_NAMES:
            break
        kept.append(name)
    budget.step(len(telltales) * (1 + length // 100))
    budget.hold(2 * length)
    text = "\n".join(kept)
    return next((tale for tale in telltales if re.search(tale.names, text, re.MULTILINE)), None)


def check_kernels(named: Mapping[str, object]) -> None:
    """Raise CheckpointError where a VAN's large kernels all have another size than minivan computes."""
    sides: dict[str, set[tuple[int, ...]]] = {"conv0.weight": set(), "conv_spatial.weight": set(), "dwconv.weight": set()}
    for name, tensor in named.items():
        end = ".".join(name.rsplit(".", 2)[1:])
        if end in sides and isinstance(tensor, StoredTensor) and len(tensor.shape) == 4:
            sides[end].add(tensor.shape[2:])
    right = {"conv0.weight": CONV0, "conv_spatial.weight": CONV_SPATIAL, "dwconv.weight": DWCONV}
    for end, found in sides.items():
        if len(found) == 1 and (size := next(iter(found))) != (right[end].side,) * 2:
            said = " x ".join(map(str, size))
            wanted = f"{CONV0.side} x {CONV0.side}, then {CONV_SPATIAL.side} x {CONV_SPATIAL.side} with dilation"
            raise CheckpointError(
                f"a VAN whose {end.removesuffix('.weight')} has kernels of {said}",
                f"minivan computes {wanted} {CONV_SPATIAL.dilation}, and {DWCONV.side} x {DWCONV.side} in the MLP: for another "
                "size the dilation would have to be guessed, as no file states it",
            )
