"""Segmentation networks from files, and into files of minivan's own: a head with its backbone, or a head by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..checkpoint import Weights, find, read
from ..checkpoint.error import CheckpointError
from ..checkpoint.hub import bundled, cached, find_head
from ..checkpoint.segmentation import HeadWeights, read_head
from ..checkpoint.segmentation import write as write_head
from ..engines import Engine
from ..errors import shown
from ..floating import standard
from ..predict.identity import identity
from ..van import VAN
from .network import SegmentationVAN

DIGITS = 12  # of a SHA-256 that a message shows


def load(
    head: str | Path | None = None,
    weights: str | Path | None = None,
    engine: str | Engine | None = None,
    *,
    key: str | None = None,
    strict: bool = False,
    allow_nonfinite: bool = False,
) -> SegmentationVAN:
    """Return the segmentation network of a file: mmsegmentation's, the authors' VAN-Segmentation's, or minivan's own.

    `head` None means the bundled one. A head by itself goes on the backbone that it was trained on: the file or the name
    `weights`, by default the weights of that name on this machine; `engine` is 'auto' unless said. `key`, `strict` and
    `allow_nonfinite` are those of `minivan.checkpoint.read`; what a person should know of how the file was read is in
    `card.notes`. Raises CheckpointError for a file without a head that minivan computes, for a head without its backbone, and
    for another backbone than its own; OSError, naming the file, where one cannot be read.
    """
    path = find_head(head)
    with standard():  # some files' weights are computed from what they hold
        network, found = read_head(path, key, strict=strict, allow_nonfinite=allow_nonfinite)
        alone = network is None
        if network is None:
            network = read(_backbone(found, weights, path), strict=strict, allow_nonfinite=allow_nonfinite)
        elif weights is not None:
            raise CheckpointError("the head has its backbone in its file", "leave out the weights", str(path))
    backbone = VAN(network.config, network.tensors, engine or "auto", replace(network.card, notes=network.notes))
    if alone and found.card.backbone_sha256:
        _check_backbone(found, backbone, path)
    try:
        return SegmentationVAN(backbone, found.tensors, replace(found.card, notes=found.notes))
    except ValueError as error:
        raise CheckpointError(str(error), where=str(path)) from None


def write(path: str | Path, model: SegmentationVAN, dtype: str = "float32", *, alone: bool | None = None) -> None:
    """Write a segmentation network as a safetensors file of minivan's own; equal ones give equal bytes.

    `dtype` is float32 or float16. With `alone` the head is written by itself, and names its backbone by the SHA-256 of its
    numbers and shape; without, the backbone is written too; by default that depends on whether the card names a backbone.
    Raises CheckpointError where float16 cannot hold a number, and for a head whose card names another backbone than the
    model's; OSError where the file cannot be written.
    """
    backbone, card = model.backbone, model.card
    head = HeadWeights(model.config, model.tensors, card)
    network = Weights(backbone.config, backbone.tensors, backbone.card)
    if alone or (alone is None and card.backbone_sha256):
        if card.backbone_sha256:
            _check_backbone(head, backbone, path)
        write_head(path, naming(head, network), None, dtype)
    else:
        write_head(path, replace(head, card=replace(card, backbone="", backbone_sha256="")), network, dtype)


def naming(head: HeadWeights, backbone: Weights) -> HeadWeights:
    """Return a head whose card names this backbone: a file with the head by itself is refused on any other."""
    sha256 = identity(VAN(backbone.config, backbone.tensors, "numpy", backbone.card))["sha256"]
    return replace(head, card=replace(head.card, backbone=shown(backbone.card.name), backbone_sha256=sha256))


def _backbone(head: HeadWeights, weights: str | Path | None, path: Path) -> Path:
    """Return the file of the backbone for a head by itself: what is given, or weights here of the name that the head says."""
    if weights is not None:
        return find(weights)
    here = next((file for file in (*bundled(), *cached()) if file.stem == head.card.backbone), None)
    if here is None:
        wanted = f"a head for the backbone {_named(head.card.backbone, head.card.backbone_sha256)}"
        raise CheckpointError(wanted, "no weights here have its name: say where they are (segment --weights FILE)", str(path))
    return here


def _check_backbone(head: HeadWeights, backbone: VAN, path: str | Path) -> None:
    given = identity(backbone)["sha256"]
    if given != head.card.backbone_sha256:
        wanted = f"a head for the backbone {_named(head.card.backbone, head.card.backbone_sha256)}"
        raise CheckpointError(wanted, f"not for {_named(backbone.card.name, given)}", str(path))


def _named(name: str, sha256: str) -> str:
    digits = f"{sha256[:DIGITS]}..." if sha256 else "of no known SHA-256"
    return f"{shown(name) or 'without a name'} ({digits})"
