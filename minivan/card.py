"""What a set of weights says about itself: name, preprocessing, class names, origin."""

from __future__ import annotations

from dataclasses import dataclass

from .labels import Label
from .preprocessing import PRESETS, Preprocessing


@dataclass(frozen=True)
class Card:
    """Everything about a model's weights that is neither a shape nor a tensor."""

    name: str  # short, as the user sees it: 'van_b0_tiny_imagenet200'
    preprocessing: Preprocessing = PRESETS["official"]
    labels: tuple[Label, ...] = ()  # in index order; empty where the class names are not known
    layout: str = "authors"  # the layout the checkpoint came in: authors, huggingface or openmmlab
    source: str = ""  # the file the weights were converted from
    source_sha256: str = ""  # and its SHA-256, 64 hex digits
    sha256: str = ""  # SHA-256 of the file these weights were read from

    def label(self, index: int) -> Label:
        """Return the class at `index`, or a stand-in such as 'class 17' where names are not known."""
        return self.labels[index] if self.labels else Label("", f"class {index}")
