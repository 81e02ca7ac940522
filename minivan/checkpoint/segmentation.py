"""Segmentation heads in, segmentation heads out: with the backbone that they lie on, or by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .. import fpn
from ..card import Label, SegmentationCard
from . import own_metadata, reading, safetensors_file, semantic_fpn
from .budget import Budget
from .error import CheckpointError
from .open_checkpoint import Checkpoint
from .semantic_fpn import SemanticFPN
from .weights import Weights, opened_any, read_opened


@dataclass(frozen=True)
class HeadWeights:
    """A Semantic FPN's shape, its tensors (mmsegmentation's names, float32, in `fpn.parameter_shapes` order), and its card."""

    config: fpn.FPNConfig
    tensors: reading.Tensors
    card: SegmentationCard
    notes: tuple[str, ...] = ()  # what a person should know of how they were read, a sentence each

    @property
    def summary(self) -> str:
        """'Semantic FPN of 64 channels, 11 classes'."""
        return semantic_fpn.title(self.config).removeprefix("a ")

    @property
    def unsaid(self) -> tuple[str, ...]:
        """What it does not say although answers depend on it, and how to say it: a sentence each."""
        unnamed = "the head has no class names: classes go by their numbers (convert --labels FILE names them)"
        return () if self.card.classes else (unnamed,)


def read_any(
    path: str | Path, key: str | None = None, *, strict: bool = False, allow_nonfinite: bool = False
) -> tuple[Weights | None, HeadWeights | None]:
    """Read a network and the segmentation head on it, where it has one; a head by itself has no network.

    Arguments and errors as for `read`. Where a segmentation network has a head that minivan does not compute, the network's
    notes say what it is.
    """
    with opened_any(path, key, strict=strict) as found:
        return _parts(found, allow_nonfinite)


def read_head(
    path: str | Path, key: str | None = None, *, strict: bool = False, allow_nonfinite: bool = False
) -> tuple[Weights | None, HeadWeights]:
    """Read a segmentation head, and the network that it lies on where the file has it. Arguments and errors as for `read`.

    Raises CheckpointError for a file without a head that minivan computes: it says what the file has instead.
    """
    with opened_any(path, key, strict=strict) as found:
        if isinstance(found, Checkpoint) and found.head is None:
            raise CheckpointError("no segmentation head", found.no_head or "these weights classify, or give features")
        network, head = _parts(found, allow_nonfinite)
    assert head, "there was one"
    return network, head


def _parts(found: Checkpoint | SemanticFPN, allow_nonfinite: bool) -> tuple[Weights | None, HeadWeights | None]:
    network, head = (found, found.head) if isinstance(found, Checkpoint) else (None, found)
    weights = read_opened(network, allow_nonfinite) if network else None
    if head is None:
        return weights, None
    tensors, said = reading.sound(head.stored, dict(fpn.parameter_shapes(head.config)), head.size, allow_nonfinite)
    return weights, HeadWeights(head.config, tensors, head.card, (*head.notes, *said))


def named(head: HeadWeights, labels: Sequence[Label]) -> HeadWeights:
    """Return a head with these names of its classes. Raises ValueError where they are not one a class."""
    if len(labels) != head.config.classes:
        raise ValueError(f"{len(labels)} labels for {head.config.classes} classes")
    return replace(head, card=replace(head.card, classes=tuple(label.name for label in labels)))


def with_source_sha256(head: HeadWeights) -> HeadWeights:
    """Return a head with the SHA-256 of the file it came from on its card; what was converted keeps its first."""
    if head.card.source_sha256:
        return head
    return replace(head, card=replace(head.card, source_sha256=head.card.sha256))


def write(path: str | Path, head: HeadWeights, backbone: Weights | None, dtype: str = "float32") -> None:
    """Write a segmentation head as a safetensors file of minivan's own, by itself or with its backbone; equal ones alike.

    `dtype` is float32 or float16. Raises CheckpointError where float16 cannot hold a number and for a head that `read_any`
    would not read again, OSError where the file cannot be written.
    """
    metadata = own_metadata.describe_segmentation(head.card)
    semantic_fpn.check_counts(head.config, head.card)

    def check(texts: Mapping[str, str], budget: Budget) -> None:
        own_metadata.understand_segmentation(head.card.name, texts, budget)
        if backbone:
            own_metadata.understand(backbone.card.name, texts, budget)

    if backbone is None:
        safetensors_file.write(path, head.tensors, metadata, dtype, check)
    else:
        metadata |= own_metadata.describe(backbone.config, backbone.card)
        safetensors_file.write(path, backbone.tensors | head.tensors, metadata, dtype, check)
