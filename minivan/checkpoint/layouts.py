"""Three libraries, three sets of names, one network: the key maps, and the network's shape read from its tensors.

minivan's own names are the authors'. Sources: classification/models/van.py of the authors' repository;
transformers/models/van/modeling_van.py; mmpretrain/models/backbones/van.py.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from .. import paths
from ..geometry import PATCH_STRIDES
from ..variants import COLOURS, Config, is_learned, listed, parameter_shapes, tensor_faults
from . import downstream
from .error import CheckpointError
from .tensor import StoredTensor

# The authors' module -> the same module elsewhere. {i} is the stage from 1, {s} the stage from 0, {j} the block from 0.
# Each carries its parameters along: weight and bias, and running_mean and running_var where it is a BatchNorm.
HUGGING_FACE = {
    "patch_embed{i}.proj": "van.encoder.stages.{s}.embeddings.convolution",
    "patch_embed{i}.norm": "van.encoder.stages.{s}.embeddings.normalization",
    "block{i}.{j}.norm1": "van.encoder.stages.{s}.layers.{j}.pre_normomalization",  # their spelling
    "block{i}.{j}.norm2": "van.encoder.stages.{s}.layers.{j}.post_normalization",
    "block{i}.{j}.attn.proj_1": "van.encoder.stages.{s}.layers.{j}.attention.pre_projection.conv",
    "block{i}.{j}.attn.proj_2": "van.encoder.stages.{s}.layers.{j}.attention.post_projection",
    "block{i}.{j}.attn.spatial_gating_unit.conv0":
        "van.encoder.stages.{s}.layers.{j}.attention.attention_layer.attention.depth_wise",
    "block{i}.{j}.attn.spatial_gating_unit.conv_spatial":
        "van.encoder.stages.{s}.layers.{j}.attention.attention_layer.attention.depth_wise_dilated",
    "block{i}.{j}.attn.spatial_gating_unit.conv1":
        "van.encoder.stages.{s}.layers.{j}.attention.attention_layer.attention.point_wise",
    "block{i}.{j}.mlp.fc1": "van.encoder.stages.{s}.layers.{j}.mlp.in_dense",
    "block{i}.{j}.mlp.dwconv.dwconv": "van.encoder.stages.{s}.layers.{j}.mlp.depth_wise",
    "block{i}.{j}.mlp.fc2": "van.encoder.stages.{s}.layers.{j}.mlp.out_dense",
    "block{i}.{j}.layer_scale_1": "van.encoder.stages.{s}.layers.{j}.attention_scaling.weight",
    "block{i}.{j}.layer_scale_2": "van.encoder.stages.{s}.layers.{j}.mlp_scaling.weight",
    "norm{i}": "van.encoder.stages.{s}.normalization",
    "head": "classifier",
}  # fmt: skip
OPENMMLAB = {
    "patch_embed{i}.proj": "backbone.patch_embed{i}.projection",
    "patch_embed{i}.norm": "backbone.patch_embed{i}.norm",
    "block{i}.{j}.norm1": "backbone.blocks{i}.{j}.norm1",
    "block{i}.{j}.norm2": "backbone.blocks{i}.{j}.norm2",
    "block{i}.{j}.attn.proj_1": "backbone.blocks{i}.{j}.attn.proj_1",
    "block{i}.{j}.attn.proj_2": "backbone.blocks{i}.{j}.attn.proj_2",
    "block{i}.{j}.attn.spatial_gating_unit.conv0": "backbone.blocks{i}.{j}.attn.spatial_gating_unit.DW_conv",
    "block{i}.{j}.attn.spatial_gating_unit.conv_spatial": "backbone.blocks{i}.{j}.attn.spatial_gating_unit.DW_D_conv",
    "block{i}.{j}.attn.spatial_gating_unit.conv1": "backbone.blocks{i}.{j}.attn.spatial_gating_unit.conv1",
    "block{i}.{j}.mlp.fc1": "backbone.blocks{i}.{j}.mlp.fc1",
    "block{i}.{j}.mlp.dwconv.dwconv": "backbone.blocks{i}.{j}.mlp.dwconv",
    "block{i}.{j}.mlp.fc2": "backbone.blocks{i}.{j}.mlp.fc2",
    "block{i}.{j}.layer_scale_1": "backbone.blocks{i}.{j}.layer_scale_1",
    "block{i}.{j}.layer_scale_2": "backbone.blocks{i}.{j}.layer_scale_2",
    "norm{i}": "backbone.norm{i}",
    "head": "head.fc",
}
AUTHORS = {module: module for module in OPENMMLAB}
# mmsegmentation 1.x builds its VAN (projects/van/backbones/van.py) of its MSCAN, whose MLP has a plain convolution.
MMSEGMENTATION = AUTHORS | {"block{i}.{j}.mlp.dwconv.dwconv": "block{i}.{j}.mlp.dwconv"}


@dataclass(frozen=True)
class Layout:
    """One library's names, and what goes with a checkpoint that uses them."""

    name: str
    title: str
    modules: Mapping[str, str]  # the authors' module -> this library's
    layer_norm_eps: float
    preset: str  # of minivan.card.PRESETS
    backbone: str = ""  # the prefix that a bare backbone, saved by itself, lacks
    ignored: tuple[str, ...] = ()  # tensors the network has but its output does not need

    def authors_name(self, key: str) -> str | None:
        """Return the authors' name of the tensor this library calls `key`, None where it has no such name."""
        which = self._any.fullmatch(key)
        if which is None or which.lastindex is None:
            return None
        pattern, template = self._patterns[which.lastindex - 1]
        match = pattern.fullmatch(key)
        assert match, "it fits, as one of them all"
        found = match.groupdict()
        i = int(found["s"]) + 1 if "s" in found else found.get("i")
        return template.format(i=i, j=found.get("j")) + found["parameter"]

    def find(self, key: str) -> tuple[int, str] | None:
        """Return where the longest tail of `key` begins that this library knows, and the authors' name of it; None for none.

        A tail begins after a dot, or is the whole key: 'student.norm1.weight' has 'norm1.weight' at 8.
        """
        match = self._tail.search(key, max(0, len(key) - LONGEST_TAIL))
        if match is None:
            return None
        name = self.authors_name(key[match.start() :])
        assert name, "it fits one of the patterns"
        return match.start(), name

    def ignores(self, key: str) -> bool:
        """True for a tensor that the network has and its output does not need, such as a LayerNorm that no output passes."""
        return key.removeprefix(self.backbone) in self.ignored

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], str]]:
        return [(_pattern(theirs, self.backbone), authors) for authors, theirs in self.modules.items()]

    @cached_property
    def _any(self) -> re.Pattern[str]:
        """All patterns as one, a group each: most keys of a strange file fit none, and are asked about once."""
        return re.compile("|".join(f"({re.sub(r'[?]P<[a-z]+>', '?:', pattern.pattern)})" for pattern, _ in self._patterns))

    @cached_property
    def _tail(self) -> re.Pattern[str]:
        return re.compile(rf"(?:(?<=\.)|\A)(?:{self._any.pattern})\Z")


def _pattern(template: str, backbone: str) -> re.Pattern[str]:
    """Turn 'backbone.norm{i}' into a regular expression that also knows a tensor's own name at the end."""
    body = re.escape(template.removeprefix(backbone))
    last = len(PATCH_STRIDES)
    for field, digits in (("i", f"[1-{last}]"), ("s", f"[0-{last - 1}]"), ("j", "0|[1-9][0-9]{0,4}")):
        body = body.replace(re.escape(f"{{{field}}}"), f"(?P<{field}>{digits})")
    prefix = f"(?:{re.escape(backbone)})?" if template.startswith(backbone) else ""
    suffix = "" if "scal" in template.rpartition("}.")[2] else r"\.(?:weight|bias|running_mean|running_var)"
    return re.compile(f"{prefix}{body}(?P<parameter>{suffix})")


LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("authors", "the authors'", AUTHORS, 1e-6, "official"),
        Layout("huggingface", "Hugging Face", HUGGING_FACE, 1e-6, "hf", "van.", ("layernorm.weight", "layernorm.bias")),
        # mmpretrain/configs/van: 248 then 224, mean = std = 127.5, which is the authors' preprocessing
        Layout("openmmlab", "OpenMMLab", OPENMMLAB, 1e-5, "official", "backbone."),
        Layout("mmsegmentation", "mmsegmentation", MMSEGMENTATION, downstream.LAYER_NORM_EPS, downstream.PRESET),
    )
}
BLOCK_TENSORS = sum(paths.block_of(name) is not None for name, _ in parameter_shapes(Config((1,), (1,), (1,))))  # of one block
HEAD_WEIGHT = f"{paths.HEAD}.weight"  # a Linear's, or of a 1x1 convolution
LONGEST_TAIL = 200  # characters: no library's name of a tensor has as many


def complete(
    config: Config, named: Mapping[str, object], strangers: Mapping[str, object] | None = None
) -> dict[str, StoredTensor]:
    """Return a network's tensors in order, or raise CheckpointError naming each that is missing, unknown or misshapen.

    `strangers` are tensors without a name of the authors', by the names they have.
    """
    if sum(config.depths) * BLOCK_TENSORS > 2 * len(named):  # before a list of all that is missing takes any time
        raise CheckpointError("not a complete VAN", f"depths {config.depths} with {len(named)} tensors: most are missing")
    expected = dict(parameter_shapes(config))
    tensors = {name: tensor for name, tensor in named.items() if isinstance(tensor, StoredTensor)}
    found = {name: _shape(value) for name, value in named.items()}
    for name, shape in expected.items():
        if (paths.is_layer_scale(name) or name == HEAD_WEIGHT) and found.get(name) == (*shape, 1, 1):  # as some files have them
            found[name] = shape
    faults = listed(tensor_faults(config, found, {name: _shape(value) for name, value in (strangers or {}).items()}))
    if faults:
        sought = f"dims {config.dims}, depths {config.depths}, {config.classes} classes"
        raise CheckpointError(f"not a complete VAN with {sought}", faults)
    return {name: tensors[name] for name in expected}


def _shape(value: object) -> tuple[int, ...] | None:
    return value.shape if isinstance(value, StoredTensor) else None


def _told_by(name: str) -> str:
    """Return the number of the network's shape that a tensor's first axis is: 'dim 1', 'hidden 1', 'classes'; '' for none."""
    module, stage = name.rpartition(".")[0], paths.stage_of(name)
    if not is_learned(name):
        return ""
    if stage is None:
        return "classes" if module == paths.HEAD else ""
    if paths.block_of(name) is None:
        return f"dim {stage}"
    return f"hidden {stage}" if paths.within_block(module) in paths.HIDDEN else ""


def shape_of(named: Mapping[str, object], layout: Layout, headless: bool) -> Config:
    """Read dims, depths, MLP ratios, classes and an image's channels from the tensors' shapes.

    The channels are those of the first convolution, which alone knows them. Each other number is the one that most of
    the tensors agree on, so that a single wrong tensor is named as such afterwards.
    """
    votes: dict[str, Counter[int]] = {}
    depths: Counter[int] = Counter()  # stage -> blocks
    for name, tensor in named.items():
        shape = _shape(tensor)
        block = paths.block_place(name)
        if block:
            stage, index = block
            depths[stage] = max(depths[stage], index + 1)
        what = _told_by(name)
        if what and shape:
            votes.setdefault(what, Counter())[shape[0]] += 1
    stages = range(1, 1 + max(depths, default=0))
    lost = next((i for i in stages if not (depths[i] and f"dim {i}" in votes and f"hidden {i}" in votes)), None)
    if not stages or lost:
        raise CheckpointError("not a complete VAN", f"stage {lost or 1} has no block, or no patch embedding")
    dims, hidden = ([votes[f"{what} {i}"].most_common(1)[0][0] for i in stages] for what in ("dim", "hidden"))
    uneven = next((i for i, d, h in zip(stages, dims, hidden, strict=True) if d < 1 or h % d), None)
    if uneven:
        raise CheckpointError("not a VAN", f"stage {uneven}: dims {dims}, hidden channels of the MLPs {hidden}")
    stem = _shape(named.get(f"{paths.patch_embed(1)}.proj.weight"))
    channels = stem[1] if stem is not None and len(stem) == 4 else COLOURS
    classes = 0 if headless else votes.get("classes", Counter({1: 1})).most_common(1)[0][0]
    try:
        ratios = [h // d for d, h in zip(dims, hidden, strict=True)]
        blocks = tuple(depths[i] for i in stages)
        return Config(tuple(dims), blocks, tuple(ratios), classes, layout.layer_norm_eps, channels=channels)
    except ValueError as error:
        raise CheckpointError("not a VAN that can be run", str(error)) from None
