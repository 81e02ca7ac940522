"""The network's shape as it is stated beside the weights, compared with the tensors.

A file that lacks whole blocks is a network by itself, so whatever states the shape is asked: Hugging Face's config.json, and
what PyTorchModelHubMixin and timm write under that name; a training script's `args`; OpenMMLab's configuration. Numbers that
differ from the tensors' are refused. A model's name says what its code computes, and code is changed under its old name: it is
refused only where the tensors are a part of the published network of that name, and else it is a note.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..errors import quote
from ..geometry import PATCH_KERNELS, PATCH_STRIDES
from ..variants import Config, canonical, title, variant, variant_of
from .beside import CONFIG, Beside
from .error import CheckpointError
from .openmmlab_config import within
from .tensor import is_natural

# Fields by the names that libraries give them -> what they are
LISTS = {
    "depths": "depths", "embed_dims": "dims", "hidden_sizes": "dims", "mlp_ratios": "ratios", "ffn_ratios": "ratios",
    "patch_sizes": "kernels", "strides": "strides",
}  # fmt: skip
NUMBERS = {
    "num_classes": "classes", "nb_classes": "classes", "in_chans": "channels", "in_channels": "channels",
    "num_channels": "channels",
}  # fmt: skip
SHORT = {"t": "tiny", "s": "small", "b": "base", "l": "large"}  # mmpretrain's short names
KINDS = ("model_type", "architecture", "architectures")  # fields of a config.json that say what it describes
VAN = re.compile(r"VAN(?![A-Z])|VANFor|(?<![A-Za-z])[Vv]an(?![a-z])|(?<=[a-z])Van(?![a-z])")
# Fields of a script's `args` that are the network's: what else it has may be that of a neck or a detector beside it.
OF_ARGUMENTS = ("depths", "embed_dims", "mlp_ratios", "num_classes", "nb_classes", "in_chans", "num_stages")
APART = "the file is not all of that network, or the two do not belong together"
LONGEST_LIST = 2 * len(PATCH_STRIDES)  # numbers that a message shows


@dataclass(frozen=True)
class Claims:
    """What one place states."""

    where: str
    fields: Mapping[str, object]
    model: str = ""  # a variant's name, as it stands there


def compared(beside: Beside, config: Config, is_huggingface: bool) -> tuple[bool, tuple[str, ...]]:
    """Compare what is stated with the network in the file; return whether its depths are, and what could not be compared.

    Raises CheckpointError where the two disagree, and where Hugging Face's own config.json has something strange for a number.
    """
    here = _shape(config)
    confirmed, notes = False, []
    for claims in _claims(beside):
        strict = is_huggingface and claims.where == CONFIG
        stages = claims.fields.get("num_stages")
        for field, value in claims.fields.items():
            what = LISTS.get(field) or NUMBERS.get(field)
            if what is None or (value is None and not strict) or (what == "classes" and not config.classes):
                continue
            number = _list(value, stages) if field in LISTS else _natural(value)
            if number is None and not strict:
                notes.append(f"{claims.where} says {field} {_shown(value)}: it was not compared")
            elif number != here[what]:
                said = f"{claims.where} says {field} {_shown(value)}, and the network in the file has {here[what]}"
                raise CheckpointError(said, f"{APART}: without {claims.where} it is read as it is")
            else:
                confirmed |= what == "depths"
        if note := _other_model(claims, config):
            notes.append(note)
    return confirmed, tuple(notes)


def is_of_another(fields: Mapping[str, object], config: Config) -> str:
    """Return what a config.json beside weights that are not Hugging Face's is of, where that is no VAN; '' where it is.

    One that names neither a type nor an architecture holds a class's arguments, which PyTorchModelHubMixin writes. One of
    somebody's own type is a VAN's where it states the depths, and all that it states is so.
    """
    named: list[object] = []
    for field in KINDS:
        value = fields.get(field)
        named.extend(value if isinstance(value, list) else [value])
    names = [name for name in named if isinstance(name, str) and name]
    if not names or any(VAN.search(name) for name in names):
        return ""
    try:
        agrees = compared(Beside(config=fields), config, is_huggingface=False)[0]
    except CheckpointError:
        agrees = False
    return "" if agrees else quote(names[0])


def _claims(beside: Beside) -> Iterator[Claims]:
    config, arguments = beside.config, beside.arguments
    if config:
        yield Claims(CONFIG, config, _published(config.get("architecture"), of_van=True))
    if arguments:
        fields = {field: value for field, value in arguments.items() if field in OF_ARGUMENTS}
        yield Claims("args", fields, _published(arguments.get("model"), of_van=True))
    backbone, head = within(beside.configuration, "model.backbone"), within(beside.configuration, "model.head")
    if isinstance(backbone, dict) and VAN.search(str(backbone.get("type", "VAN")) + str(backbone.get("model_name", ""))):
        arch = backbone.get("arch")
        name = _published(arch) or next(
            filter(None, (_published(backbone.get(field), of_van=True) for field in ("type", "model_name"))), ""
        )
        fields = {field: value for field, value in backbone.items() if field in (*LISTS, "in_channels", "num_stages")}
        fields |= arch if isinstance(arch, dict) else {}
        if isinstance(head, dict):
            fields["num_classes"] = head.get("num_classes")
        yield Claims(beside.configuration_at, fields, name)


def _published(name: object, of_van: bool = False) -> str:
    """Return a name that is a published variant's, '' for any other; `of_van` asks that it says so: 'van_b0', not 'tiny'."""
    if not isinstance(name, str) or len(name) > 40 or (of_van and not name.lower().startswith("van")):
        return ""
    try:
        canonical(SHORT.get(name, name))
    except ValueError:
        return ""
    return name


def _other_model(claims: Claims, config: Config) -> str:
    """Say that a model's name is another variant's than the tensors are; CheckpointError where they are a part of that one."""
    if not claims.model:
        return ""
    short = canonical(SHORT.get(claims.model, claims.model))
    if variant_of(config) == short:
        return ""
    said, whole = f"{claims.where} names the model {quote(claims.model)}", variant(short)
    pairs = list(zip(config.depths, whole.depths, strict=False))
    fewer = config.depths != whole.depths and all(few <= all_ for few, all_ in pairs)
    if fewer and (config.dims, config.mlp_ratios) == (whole.dims[: config.stages], whole.mlp_ratios[: config.stages]):
        depths, here = (" ".join(map(str, one.depths)) for one in (whole, config))
        why = f"blocks are missing from it, or it is another network: without {claims.where} it is read as it is"
        raise CheckpointError(f"{said}, whose depths are {depths}, and the network in the file has {here}", why)
    return f"{said}, and its shape is not {title(whole)}'s: the tensors' own was taken"


def _shape(config: Config) -> dict[str, object]:
    return {
        "depths": list(config.depths),
        "dims": list(config.dims),
        "ratios": list(config.mlp_ratios),
        "kernels": list(PATCH_KERNELS[: config.stages]),
        "strides": list(PATCH_STRIDES[: config.stages]),
        "classes": config.classes,
        "channels": config.channels,
    }


def _natural(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
        value = int(value)
    return value if is_natural(value) else None


def _list(value: object, stages: object) -> list[int] | None:
    """Return a list of numbers, as many of them as there are said to be stages; None for anything else."""
    if not isinstance(value, (list, tuple)) or not 0 < len(value) <= LONGEST_LIST:
        return None
    numbers = [number for item in value if (number := _natural(item)) is not None]
    if len(numbers) != len(value):
        return None
    return numbers[:stages] if is_natural(stages) and stages > 0 else numbers


def _shown(value: object) -> str:
    """Return a field's value for a message: short lists of numbers as they are."""
    return quote(value) if (numbers := _list(value, None)) is None else str(numbers)
