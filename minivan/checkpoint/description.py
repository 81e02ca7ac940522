"""What is known of a checkpoint, in words, for a person to read."""

from __future__ import annotations

from collections.abc import Iterable

from ..card import Card
from ..errors import shown
from ..variants import COLOURS, Config, variant_of
from .search import TOP
from .weights import Checkpoint


def facts(checkpoint: Checkpoint) -> dict[str, str]:
    """Return all that is known of a checkpoint besides its tensors: what -> words, in the order to show them in.

    The file's own SHA-256 is not among them, because it takes reading the whole file: `checkpoint.card.sha256`.
    """
    config, card = checkpoint.config, checkpoint.card
    preprocessing = card.preprocessing
    rows = {
        "variant": variant_of(config) or "a shape of its own",
        "dims": numbers(config.dims),
        "depths": numbers(config.depths),
        "MLP ratios": numbers(config.mlp_ratios),
        "classes": classes(config, card),
        **({} if config.channels == COLOURS else {"channels": f"{config.channels}, of each image"}),
        "eps": f"LayerNorm {config.layer_norm_eps:g}, BatchNorm {config.batch_norm_eps:g}",
        "input": f"shorter side {preprocessing.resize}, crop {preprocessing.crop}, "
        f"mean {numbers(preprocessing.mean)}, std {numbers(preprocessing.std)}"
        f"{'' if preprocessing.interpolation == 'bicubic' else f', {preprocessing.interpolation}'}",
        "layout": card.layout,
    }
    if config.classes and card.activation != "softmax":
        rows["activation"] = f"{card.activation}: a probability for each class by itself"
    if checkpoint.label not in ("", TOP):
        rows["found under"] = shown(checkpoint.label)
    if card.version:
        rows["version"] = card.version
    if card.not_sure is not None:
        rows["not sure"] = f"below a first probability of {card.not_sure:g}"
    if card.source_sha256:
        rows |= {"source": card.source, "its sha256": card.source_sha256}
    if checkpoint.notes:
        rows["note"] = "; ".join(checkpoint.notes)
    if checkpoint.passed_over:
        rows["passed over"] = "; ".join(checkpoint.passed_over)
    return rows


def classes(config: Config, card: Card) -> str:
    """Say how many classes there are, and the first of their names."""
    if not config.classes:
        return "none: a backbone without a head"
    names = f"{', '.join(shown(label.short) for label in card.labels[:3])}, ..." if card.labels else "their names are not known"
    return f"{config.classes} ({names})"


def numbers(values: Iterable[float]) -> str:
    """Return numbers with blanks between them, as few digits each as say it: '32 64 160 256'."""
    return " ".join(f"{value:g}" for value in values)
