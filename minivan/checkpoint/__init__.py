"""Checkpoints in, weights out: PyTorch files read without PyTorch, safetensors, and minivan's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .error import CheckpointError
from .hub import fetch, find
from .published import SOURCES, published
from .weights import Weights, digest, opened, read, resolve_folder, with_digest, write

if TYPE_CHECKING:
    from ..engines import Engine
    from ..van import VAN

__all__ = [
    "SOURCES",
    "CheckpointError",
    "Weights",
    "digest",
    "fetch",
    "find",
    "load",
    "opened",
    "published",
    "read",
    "resolve_folder",
    "with_digest",
    "write",
]


def load(name_or_path: str | Path | None = None, engine: str | Engine = "exact") -> VAN:
    """Return a VAN with the weights of a name ('b0', 'van_b0_tiny_imagenet200') or of any file that `read` takes.

    None means the default weights: what was fetched last, or else the bundled ones. Raises CheckpointError for a file
    that is no VAN and for a name whose weights are not here, with the command that fetches them.
    """
    from ..van import VAN

    weights = read(find(name_or_path))
    return VAN(weights.config, weights.tensors, engine, weights.card)
