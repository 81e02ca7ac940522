"""Names of layers: map files that give a port's layers checkpoint paths, and the maps of two libraries that minivan knows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from .. import input
from ..errors import quote, shown
from ..paths import INPUT
from ..variants import RUNNING
from .gradients import PREFIX, is_gradient

Layer = TypeVar("Layer")  # whatever stands for one

LARGEST_MAP = 1 << 20  # bytes
MOST_TRIES = 2_000_000  # of lines with '*', on one path each
STAND_IN = re.compile(r"\{\*([+-][0-9]{1,4})\}|\*")  # on the right: the part that a '*' stands for, or that number shifted

# What their modules are called, from transformers/models/van/modeling_van.py and mmpretrain/models/backbones/van.py. Neither
# has a module whose output is x + layer_scale_1 * attention, or the pooled map.
HUGGING_FACE = """
patch_embed*.proj = van.encoder.stages.{*-1}.embeddings.convolution
patch_embed*.norm = van.encoder.stages.{*-1}.embeddings.normalization
block*.*.norm1 = van.encoder.stages.{*-1}.layers.*.pre_normomalization
block*.*.attn.proj_1 = van.encoder.stages.{*-1}.layers.*.attention.pre_projection.conv
block*.*.attn.activation = van.encoder.stages.{*-1}.layers.*.attention.pre_projection.act
block*.*.attn.spatial_gating_unit.conv0 = van.encoder.stages.{*-1}.layers.*.attention.attention_layer.attention.depth_wise
block*.*.attn.spatial_gating_unit.conv_spatial = \
van.encoder.stages.{*-1}.layers.*.attention.attention_layer.attention.depth_wise_dilated
block*.*.attn.spatial_gating_unit.conv1 = van.encoder.stages.{*-1}.layers.*.attention.attention_layer.attention.point_wise
block*.*.attn.spatial_gating_unit = van.encoder.stages.{*-1}.layers.*.attention.attention_layer
block*.*.attn.proj_2 = van.encoder.stages.{*-1}.layers.*.attention.post_projection
block*.*.attn = van.encoder.stages.{*-1}.layers.*.attention
block*.*.norm2 = van.encoder.stages.{*-1}.layers.*.post_normalization
block*.*.mlp.fc1 = van.encoder.stages.{*-1}.layers.*.mlp.in_dense
block*.*.mlp.dwconv.dwconv = van.encoder.stages.{*-1}.layers.*.mlp.depth_wise
block*.*.mlp.act = van.encoder.stages.{*-1}.layers.*.mlp.activation
block*.*.mlp.fc2 = van.encoder.stages.{*-1}.layers.*.mlp.out_dense
block*.* = van.encoder.stages.{*-1}.layers.*
norm* = van.encoder.stages.{*-1}.normalization
head = classifier
"""
OPENMMLAB = """
patch_embed*.proj = backbone.patch_embed*.projection
patch_embed*.norm = backbone.patch_embed*.norm
block*.*.norm1 = backbone.blocks*.*.norm1
block*.*.attn.proj_1 = backbone.blocks*.*.attn.proj_1
block*.*.attn.activation = backbone.blocks*.*.attn.activation
block*.*.attn.spatial_gating_unit.conv0 = backbone.blocks*.*.attn.spatial_gating_unit.DW_conv
block*.*.attn.spatial_gating_unit.conv_spatial = backbone.blocks*.*.attn.spatial_gating_unit.DW_D_conv
block*.*.attn.spatial_gating_unit.conv1 = backbone.blocks*.*.attn.spatial_gating_unit.conv1
block*.*.attn.spatial_gating_unit = backbone.blocks*.*.attn.spatial_gating_unit
block*.*.attn.proj_2 = backbone.blocks*.*.attn.proj_2
block*.*.attn = backbone.blocks*.*.attn
block*.*.norm2 = backbone.blocks*.*.norm2
block*.*.mlp.fc1 = backbone.blocks*.*.mlp.fc1
block*.*.mlp.dwconv.dwconv = backbone.blocks*.*.mlp.dwconv
block*.*.mlp.act = backbone.blocks*.*.mlp.act
block*.*.mlp.fc2 = backbone.blocks*.*.mlp.fc2
block*.* = backbone.blocks*.*
norm* = backbone.norm*
head = head.fc
"""
SCALES = {  # the parameters of layer scales, which no module's output has the name of
    "huggingface": [
        ("block*.*.layer_scale_1.weight", "van.encoder.stages.{*-1}.layers.*.attention_scaling.weight"),
        ("block*.*.layer_scale_2.weight", "van.encoder.stages.{*-1}.layers.*.mlp_scaling.weight"),
    ],
    "openmmlab": [(f"block*.*.layer_scale_{i}.weight", f"backbone.blocks*.*.layer_scale_{i}") for i in (1, 2)],
}
MAPS = {"huggingface": HUGGING_FACE, "openmmlab": OPENMMLAB}
WITHIN = {"huggingface": "van.", "openmmlab": "backbone."}  # where a network with a head has its backbone; a bare one has not


def read_names(path: str | Path) -> list[tuple[str, str]]:
    """Read a map file: on each line a checkpoint path, '=', and the port's name for it; '#' starts a comment.

    A '*' on the left stands for one part of a path (between dots), or for some of it, and is put in place of the '*' on the
    right, first for first: `block*.*.norm1 = stage_*/block_*/bn1`. There, `{*-1}` is the number that it stands for less one,
    for ports that count from 0. The path may also be the name of a map that minivan knows, one of MAPS, where no file is called
    so. Raises ValueError with the line's number for a line that is not of that form; OSError, also for a file of more than
    1 MiB.
    """
    if str(path) in MAPS and not Path(path).exists():
        return parse_names(MAPS[str(path)], str(path))
    try:
        text = input.read_text(path, LARGEST_MAP)
    except UnicodeDecodeError:
        raise ValueError(f"{path}: a map file is UTF-8 text") from None
    return parse_names(text, str(path))


def parse_names(text: str, path: str) -> list[tuple[str, str]]:
    """Return the pairs of a map's text; `path` is where it comes from, for what `read_names` raises."""
    pairs = []
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.partition("#")[0].strip()
        ours, equals, theirs = (part.strip() for part in line.partition("="))
        about = f"{path}, line {number}"
        if line and not (equals and ours and theirs):
            raise ValueError(f"{about}: expected 'checkpoint path = name in the port', got {quote(line)}")
        if line and ours.count("*") != len(STAND_IN.findall(theirs)):
            raise ValueError(f"{about}: {ours.count('*')} '*' on the left, {len(STAND_IN.findall(theirs))} on the right")
        if any(part.count("*") > 1 for part in ours.split(".")):
            raise ValueError(f"{about}: two '*' in one part of {quote(ours)}, which could be read in several ways")
        if line:
            pairs.append((ours, theirs))
    return pairs


def rename(layers: Mapping[str, Layer], names: Iterable[tuple[str, str]], paths: Iterable[str]) -> dict[str, Layer]:
    """Return a port's layers under checkpoint paths: those that `names` says (see `read_names`), the others as they are.

    The first line that fits a path decides. Raises ValueError where a path is mapped, by a line without '*', to a name
    that the port does not have, and for a map with too many '*' for so many layers.
    """
    renamed, wanted = dict(layers), list(paths)
    plain: dict[str, tuple[int, str]] = {}  # our name -> its line, and theirs
    globs: list[tuple[int, list[str], str]] = []
    lines = 0
    for lines, (ours, theirs) in enumerate(names, start=1):
        if "*" in ours:
            globs.append((lines, ours.split("."), theirs))
        else:
            plain.setdefault(ours, (lines, theirs))
    if len(globs) * len(wanted) > MOST_TRIES:
        raise ValueError(f"a map with {len(globs):,} lines with '*' for {len(wanted):,} layers: write fewer lines")
    for path in wanted:
        parts = path.split(".")
        line, name = plain.get(path, (lines + 1, ""))
        exact = path in plain
        for at, glob, theirs in globs:
            fitting = _fitting(glob, parts) if at < line else None
            if fitting is not None:
                exact, name = False, _filled(theirs, fitting)
                break
        if name in layers:
            renamed[path] = layers[name]
        elif exact:
            said = f"{shown(path)} = {shown(name)}"
            raise ValueError(f"the map says {said}, but the port has no layer of that name")
    return renamed


def _fitting(glob: list[str], parts: list[str]) -> list[str] | None:
    """Return what each '*' of a glob stands for in a path, both cut at the dots; None where it does not fit."""
    if len(glob) != len(parts):
        return None
    found = []
    for pattern, part in zip(glob, parts, strict=True):
        before, star, after = pattern.partition("*")
        if not star:
            if part != pattern:
                return None
        elif len(part) > len(before) + len(after) and part.startswith(before) and part.endswith(after):
            found.append(part[len(before) : len(part) - len(after)])
        else:
            return None
    return found


def _filled(theirs: str, fitting: list[str]) -> str:
    """Return the right side of a line with what the left side's '*' stand for; '' where one is to be a number and is none."""
    parts = iter(fitting)
    texts = []
    end = 0
    for match in STAND_IN.finditer(theirs):
        part = next(parts)
        if match[1] is not None:
            if not (part.isascii() and part.isdecimal() and len(part) < 10):
                return ""
            part = str(int(part) + int(match[1]))
        texts += [theirs[end : match.start()], part]
        end = match.end()
    return "".join([*texts, theirs[end:]])


def known(layers: Mapping[str, object], paths: Iterable[str]) -> str:
    """Return which of MAPS names more of a port's layers than their own names do, and most; '' for none.

    Libraries call some layers, norm1 say, as the authors do.
    """
    wanted = [path for path in paths if path != INPUT]
    found = {"": layers, **{name: of_library(layers, name, wanted) for name in MAPS}}
    counts = {name: sum(path in renamed for path in wanted) for name, renamed in found.items()}
    return max(counts, key=lambda name: counts[name])


def of_library(layers: Mapping[str, Layer], library: str, paths: Iterable[str]) -> dict[str, Layer]:
    """Return a port's layers under checkpoint paths by one of MAPS; what the port has no layer for is left out."""
    bare = not any(name.startswith(WITHIN[library]) for name in layers)
    pairs = [*parse_names(MAPS[library], library), *SCALES[library]]
    pairs = [(path, name.removeprefix(WITHIN[library]) if bare else name) for path, name in pairs]
    paths = list(paths)
    if any(is_gradient(path) for path in paths):
        ends = ("", ".weight", ".bias", *(f".{part}" for part in RUNNING))
        pairs += [(f"{mark}{path}{end}", f"{mark}{name}{end}") for mark in ("", PREFIX) for path, name in pairs for end in ends]
    names = [(path, name) for path, name in pairs if "*" in path or name in layers]
    return rename(layers, names, paths)
