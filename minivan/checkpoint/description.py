"""What is known of a checkpoint, in words, for a person to read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..card import Card
from ..errors import shortened, shown
from ..palette import own_palette
from ..variants import COLOURS, Config, variant_of

if TYPE_CHECKING:
    from .open_checkpoint import Checkpoint
    from .semantic_fpn import SemanticFPN

LONGEST_LIST = 240  # characters of the list of what was passed over


def facts(checkpoint: Checkpoint) -> dict[str, str]:
    """Return all that is known of a checkpoint besides its tensors: what -> words, in the order to show them in.

    The file's own SHA-256 is not among them, because it takes reading the whole file: `checkpoint.card.sha256`.
    """
    from .network import PASSED_OVER
    from .search import TOP

    config, card = checkpoint.config, checkpoint.card
    preprocessing = card.preprocessing
    rows = {
        "variant": variant_of(config) or "a shape of its own",
        "shape": f"dims {numbers(config.dims)}, depths {numbers(config.depths)}, MLP ratios {numbers(config.mlp_ratios)}",
        "classes": classes(config, card),
        **({} if config.channels == COLOURS else {"channels": f"{config.channels}, of each image"}),
        "eps": f"LayerNorm {config.layer_norm_eps:g}, BatchNorm {config.batch_norm_eps:g}",
        "input": f"shorter side {preprocessing.resize}, crop {preprocessing.crop}, "
        f"mean {numbers(preprocessing.mean)}, std {numbers(preprocessing.std)}"
        f"{'' if preprocessing.interpolation == 'bicubic' else f', {preprocessing.interpolation}'}",
        "layout": card.layout + (f", under {shown(checkpoint.label)}" if checkpoint.label not in ("", TOP) else ""),
    }
    if config.classes and card.activation != "softmax":
        rows["activation"] = f"{card.activation}: a probability for each class by itself"
    if card.version:
        rows["version"] = card.version
    if card.not_sure is not None:
        rows["not sure"] = f"below a first probability of {card.not_sure:g}"
    if card.source_sha256:
        rows |= {"source": card.source, "its sha256": card.source_sha256}
    if card.commit:
        rows["its commit"] = f"{card.commit}, as its host said"
    rows |= {shown(what): shortened(words, LONGEST_LIST) for what, words in card.figures if shown(what) not in rows}
    if notes := [note for note in checkpoint.notes if not note.startswith(PASSED_OVER)]:
        rows["note"] = "; ".join(notes)
    if checkpoint.passed_over:
        rows["passed over"] = shortened("; ".join(checkpoint.passed_over), LONGEST_LIST)
    return rows


def head_facts(head: SemanticFPN) -> dict[str, str]:
    """Return all that is known of a segmentation head besides its tensors: what -> words, in the order to show them in."""
    config, card = head.config, head.card
    shown_colours = " ".join("#{:02x}{:02x}{:02x}".format(*colour) for colour in card.palette[:3])
    rows = {
        "head": f"Semantic FPN: {config.channels} channels, {config.head_channels} before the classes; "
        f"on maps of {numbers(config.dims)}",
        "mask": _listed_classes(config.classes, card.classes),
        "palette": "minivan's own" if card.palette == own_palette(config.classes) else f"{shown_colours}, ...",
        "scenes": f"{f'shorter side {card.side}' if card.side else 'as large as they are'}, "
        f"mean {numbers(card.preprocessing.mean)}, std {numbers(card.preprocessing.std)}, {card.preprocessing.interpolation}",
    }
    if card.backbone_sha256:
        rows |= {"backbone": shown(card.backbone) or "without a name", "its weights": f"sha256 {card.backbone_sha256}"}
    if card.source_sha256:
        rows |= {"head from": card.source, "head sha256": card.source_sha256}
    rows |= {shown(what): shortened(words, LONGEST_LIST) for what, words in card.figures if shown(what) not in rows}
    return rows | ({"head note": "; ".join(head.notes)} if head.notes else {})


def unsaid(config: Config, card: Card, names: bool = True) -> list[str]:
    """Return what weights do not say although answers depend on it, and how to say it: a sentence each.

    `names` is whether answers name classes.
    """
    said = []
    if names and config.classes and not card.labels:
        said.append("these weights have no class names: classes go by their numbers (convert --labels FILE names them)")
    if not card.size_said:
        side = card.preprocessing.crop
        said.append(f"these weights do not say their input size: {side} x {side} pixels are taken (another: convert --crop)")
    return said


def classes(config: Config, card: Card) -> str:
    """Say how many classes there are, and the first of their names."""
    if not config.classes:
        return "none: a backbone without a head"
    return _listed_classes(config.classes, [label.short for label in card.labels])


def _listed_classes(count: int, names: Sequence[str]) -> str:
    more = ", ..." if len(names) > 3 else ""
    return f"{count} ({', '.join(map(shown, names[:3])) + more if names else 'their names are not known'})"


def numbers(values: Iterable[float]) -> str:
    """Return numbers with blanks between them, as few digits each as say it: '32 64 160 256'."""
    return " ".join(f"{value:g}" for value in values)
